/** Groups at a broker: what is counted, told and let go of at the edges. */
import { assertEquals } from "@std/assert";
import { Broker } from "../broker.ts";
import { NetPubSub } from "../mod.ts";
import { until } from "../tools/harness/until.ts";

Deno.test("Broker counts all that it gives up when a group is left, however many these are", async () => {
  const jobs = 50_000;
  await using broker = new Broker({ resumeWindow: 100 });
  await broker.start();
  let told = 0;
  await using publisher = new NetPubSub(broker.address, broker.authkey, { onError: () => told++ });
  await using bus = new NetPubSub(broker.address, broker.authkey);
  await bus.connect();
  await publisher.connect();
  const ends: (() => void)[] = [];
  const member = bus.addSubscriber(
    "jobs",
    () => new Promise<void>((resolve) => ends.push(resolve)),
    { group: "g", concurrency: 1 },
  );
  await bus.flush();
  for (let n = 0; n < jobs; n++) publisher.publish("jobs", { n });
  await publisher.flush();
  await until(() => ends.length === 1);
  member.remove();
  ends[0]!();
  await until(() => told === jobs - 1);
  const { abandoned, groups } = broker.stats().jobs;
  assertEquals({ abandoned, groups }, { abandoned: jobs - 1, groups: 0 });
});
