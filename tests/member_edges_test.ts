/** Groups on one bus and at a client: what happens at the edges. */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { Broker } from "../broker.ts";
import { type ConnectionLostError, NetPubSub, PubSub } from "../mod.ts";
import { until } from "../tools/harness/until.ts";

Deno.test("PubSub tells of all at once that a loop had not begun when the last member leaves", () => {
  const errors: string[] = [];
  const bus = new PubSub({ onError: (error) => errors.push((error as Error).message) });
  const gone = new AbortController();
  bus.subscribe("jobs", { group: "g", limit: 4, signal: gone.signal });
  for (let n = 0; n < 6; n++) bus.publish("jobs", { n });
  gone.abort();
  const lost = (count: number) =>
    `Nobody gets ${count} messages for a group of ["jobs"]: its last member has left`;
  assertEquals(errors, [lost(2), lost(4)]);
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

Deno.test("PubSub gives a loop the next message of a group that was asked for before it got the last", async () => {
  const bus = new PubSub();
  const loop = bus.subscribe("jobs", { group: "g", limit: 1 })[Symbol.asyncIterator]();
  const asked = [loop.next(), loop.next(), loop.next()];
  for (let n = 0; n < 4; n++) bus.publish("jobs", { n });
  const got = [];
  for (const next of asked) got.push((await next).value?.message.n);
  assertEquals(got, [0, 1, 2]);
  const other: unknown[] = [];
  bus.addSubscriber("jobs", (_topic, { n }) => other.push(n), { group: "g" });
  await loop.return!();
  assertEquals(other, [3], "nobody else has what it got");
});

Deno.test("NetPubSub tells that a member was not finished, not that delivered messages were undelivered", async () => {
  await using broker = new Broker();
  await broker.start();
  const errors: unknown[] = [];
  const bus = new NetPubSub(broker.address, broker.authkey, {
    onError: (error) => errors.push(error),
  });
  const begun = Promise.withResolvers<void>();
  bus.addSubscriber("jobs", () => {
    begun.resolve();
    return new Promise<void>(() => {});
  }, { group: "g" });
  await bus.connect();
  bus.publish("jobs");
  await begun.promise;
  const gone = new AbortController();
  const disconnected = bus.disconnect({ signal: gone.signal });
  await until(() => bus.pending === 0, 2000).catch(() => {});
  gone.abort(new Error("the test gives up"));
  await assertRejects(() => disconnected, Error, "the test gives up");
  assertEquals(errors.map((error) => (error as ConnectionLostError).undelivered), [0]);
  assertMatch(String(errors[0]), /1 message of a group was not finished here/);
});
