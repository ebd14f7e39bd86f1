/** Groups on one bus and at a client: what happens at the edges. */
import { assertEquals } from "@std/assert";
import { Broker } from "../broker.ts";
import { NetPubSub, PubSub } from "../mod.ts";

Deno.test("PubSub tells once of all that a loop had not begun when the last member leaves", () => {
  const errors: string[] = [];
  const bus = new PubSub({ onError: (error) => errors.push((error as Error).message) });
  const gone = new AbortController();
  bus.subscribe("jobs", { group: "g", limit: 4, signal: gone.signal });
  for (let n = 0; n < 6; n++) bus.publish("jobs", { n });
  gone.abort();
  assertEquals(errors, [
    'Nobody gets 6 messages for a group of ["jobs"]: its last member has left',
  ]);
});

Deno.test("NetPubSub gives its own broadcast to a group of a topic that ends in *local", async () => {
  await using broker = new Broker();
  await broker.start();
  await using bus = new NetPubSub(broker.address, broker.authkey);
  const got: string[] = [];
  bus.addSubscriber(["a", "*local"], () => got.push("plain"));
  bus.addSubscriber(["a", "*local"], () => got.push("member"), { group: "g" });
  bus.publish(null);
  assertEquals(got.splice(0), ["plain", "member"]);
  await bus.connect();
  bus.publish(null);
  assertEquals(got, ["plain", "member"]);
});

Deno.test("NetPubSub keeps no job that a loop holds beyond its limit when all are cleared", async () => {
  await using broker = new Broker();
  await broker.start();
  await using bus = new NetPubSub(broker.address, broker.authkey);
  await using other = new NetPubSub(broker.address, broker.authkey);
  const loop = bus.subscribe("jobs", { group: "g", limit: 1 });
  await bus.connect();
  await other.connect();
  const mark = bus.subscribe("mark");
  await bus.flush();
  bus.publish("jobs", { n: "local" }, { local: true });
  other.publish("jobs", { n: "remote" });
  await other.flush();
  other.publish("mark");
  for await (const _mark of mark) break;
  assertEquals(broker.stats().jobs.unfinished, 1);
  bus.clearSubscribers();
  const got: unknown[] = [];
  for await (const { message } of loop) got.push(message.n);
  await bus.flush();
  const { unfinished, waiting } = broker.stats().jobs;
  assertEquals([unfinished, waiting], got.length === 2 ? [0, 0] : [0, 1]);
});
