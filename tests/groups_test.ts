/** Groups on one bus. */
import { assert, assertEquals, assertInstanceOf, assertMatch, assertThrows } from "@std/assert";
import { any, BacklogError, PubSub } from "../mod.ts";
import type { ErrorContext } from "../pubsub/subscriber.ts";
import { randomOf } from "../tools/harness/random.ts";

/** A bus, and the errors that it tells. */
function busAndErrors() {
  const errors: [error: unknown, context: ErrorContext][] = [];
  return { bus: new PubSub({ onError: (...told) => errors.push(told) }), errors };
}

Deno.test("PubSub gives each message to one member of a group, and to all others", () => {
  const bus = new PubSub();
  const got: Record<string, unknown[]> = { a: [], b: [], other: [], plain: [] };
  for (const [name, group] of [["a", "one"], ["b", "one"], ["other", "two"]] as const) {
    bus.addSubscriber("jobs", (_topic, { n }) => got[name]!.push(n), { group });
  }
  bus.addSubscriber("jobs", (_topic, { n }) => got.plain!.push(n));
  for (let n = 0; n < 4; n++) bus.publish("jobs", { n });
  assertEquals(got, { a: [0, 2], b: [1, 3], other: [0, 1, 2, 3], plain: [0, 1, 2, 3] });
});

Deno.test("PubSub takes a group for its name and its topic, so with any, too", () => {
  const bus = new PubSub();
  const heard: string[] = [];
  const join = (name: string, topic: string[] | readonly (string | typeof any)[]) =>
    bus.addSubscriber(topic, () => heard.push(name), { group: "g" });
  join("a/+", ["a", any]);
  join("a/+ too", ["a", any]);
  join("a", ["a"]);
  bus.publish(["a", "x"]);
  bus.publish(["a", "x", "y"]);
  bus.publish(["a"]);
  assertEquals(heard, ["a/+", "a", "a/+ too", "a", "a"]);
});

Deno.test("PubSub gives a broadcast to one member of each group, and none to those of *broker", () => {
  const bus = new PubSub();
  const heard: string[] = [];
  for (const topic of ["a", "a", "b", "*broker"]) {
    bus.addSubscriber(topic, () => heard.push(topic), { group: "g" });
  }
  bus.publish(null);
  assertEquals(heard, ["a", "b"]);
});

Deno.test("PubSub hands a function no more messages of a group than it may have unsettled", async () => {
  const bus = new PubSub();
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  bus.addSubscriber("jobs", (_topic, { n }) => {
    begun.push(n);
    return new Promise<void>((resolve) => ends.push(resolve));
  }, { group: "g", concurrency: 2 });
  for (let n = 0; n < 5; n++) bus.publish("jobs", { n });
  assertEquals(begun, [0, 1]);
  ends[1]!();
  await Promise.resolve();
  await Promise.resolve();
  assertEquals(begun, [0, 1, 2]);
});

Deno.test("PubSub finishes a message of a group that its member fails at, and tells of it", async () => {
  const { bus, errors } = busAndErrors();
  const heard: number[] = [];
  bus.addSubscriber("jobs", (_topic, { n }) => {
    heard.push(n);
    if (n === 0) throw new Error("at once");
    if (n === 1) return Promise.reject(new Error("later"));
  }, { group: "g", concurrency: 1, accepts: ["n"] });
  bus.publish("jobs", { n: 0 });
  bus.publish("jobs", { other: 0 });
  bus.publish("jobs", { n: 1 });
  bus.publish("jobs", { n: 2 });
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(heard, [0, 1, 2]);
  const told = errors.map(([error]) => (error as Error).message);
  assertEquals([told[0], told.at(-1)], ["at once", "later"]);
  assertMatch(told[1]!, /other/);
});

Deno.test("PubSub gives a loop of a group its next message when it asks for it", async () => {
  const bus = new PubSub();
  const loop = bus.subscribe("jobs", { group: "g", limit: 1 });
  const heard: number[] = [];
  bus.addSubscriber("jobs", (_topic, { n }) => {
    heard.push(n);
    return new Promise(() => {}); // It never ends.
  }, { group: "g", concurrency: 1 });
  for (let n = 0; n < 4; n++) bus.publish("jobs", { n });
  const taken: number[] = [];
  for await (const { message, info } of loop) {
    assertEquals(info, {});
    taken.push(message.n);
    if (taken.length === 3) break;
  }
  assertEquals([taken, heard], [[0, 2, 3], [1]]);
});

for (const how of ["break", "dispose", "abort"] as const) {
  Deno.test(`PubSub gives others what a loop of a group has not begun (${how})`, async () => {
    const { bus } = busAndErrors();
    const abort = new AbortController();
    const heard: number[] = [];
    const loop = bus.subscribe("jobs", { group: "g", limit: 8, signal: abort.signal });
    for (let n = 0; n < 4; n++) bus.publish("jobs", { n });
    bus.addSubscriber("jobs", (_topic, { n }) => heard.push(n), { group: "g" });
    if (how === "dispose") loop[Symbol.dispose]();
    else if (how === "abort") abort.abort(new Error("enough"));
    else for await (const _ of loop) break;
    bus.publish("jobs", { n: 4 });
    assertEquals(heard, how === "break" ? [1, 2, 3, 4] : [0, 1, 2, 3, 4]);
  });
}

Deno.test("PubSub lets a loop of a group end with what it holds after clearSubscribers", async () => {
  const bus = new PubSub();
  const loop = bus.subscribe("jobs", { group: "g" });
  for (let n = 0; n < 3; n++) bus.publish("jobs", { n });
  bus.clearSubscribers();
  bus.publish("jobs", { n: 3 });
  const taken: number[] = [];
  for await (const { message } of loop) taken.push(message.n);
  assertEquals(taken, [0, 1, 2]);
});

Deno.test("PubSub removes members of groups in each way that it removes subscribers", () => {
  const bus = new PubSub();
  const heard: string[] = [];
  const member = (name: string) => () => heard.push(name);
  const group = "g";
  const [a, c] = [member("a"), member("c")];
  const abort = new AbortController();
  bus.addSubscriber("t", a, { group });
  const handle = bus.addSubscriber("t", member("b"), { group });
  bus.addSubscriber("t", c, { group, signal: abort.signal });
  bus.addSubscriber("t", member("once"), { group, once: true });
  const publish = (count: number) => {
    heard.length = 0;
    for (let n = 0; n < count; n++) bus.publish("t");
    return heard.toSorted();
  };
  assertEquals(publish(6), ["a", "a", "b", "b", "c", "once"]);
  assert(bus.removeSubscriber("t", a) && !bus.removeSubscriber("t", a));
  handle.remove();
  assertEquals(publish(2), ["c", "c"]);
  abort.abort();
  assertEquals(publish(2), []);
});

Deno.test("PubSub tells how many messages waited when the last member of a group leaves", () => {
  const { bus, errors } = busAndErrors();
  const handle = bus.addSubscriber("t", () => new Promise(() => {}), {
    group: "g",
    concurrency: 1,
  });
  for (let n = 0; n < 4; n++) bus.publish("t");
  handle.remove();
  const [[error, context]] = errors as [[BacklogError, ErrorContext]];
  assertInstanceOf(error, BacklogError);
  assertMatch(error.message, /^Nobody gets 3 messages for a group of \["t"\]/);
  assertEquals([context.topic, errors.length], [["t"], 1]);
});

Deno.test("PubSub.publish throws when too much waits for a group, and nobody gets the message", () => {
  const { bus } = busAndErrors();
  let heard = 0;
  bus.addSubscriber("t", () => heard++);
  bus.addSubscriber("t", () => new Promise(() => {}), { group: "g", concurrency: 1 });
  for (let n = 0; n < 65_537; n++) bus.publish("t");
  const error = assertThrows(() => bus.publish(["t", "below"]), BacklogError, "a group of");
  assertEquals([heard, error.limit], [65_537, 65_536]);
  bus.addSubscriber("t", () => {}, { group: "g", once: true });
  bus.publish("t");
  assertEquals(heard, 65_538);
});

for (
  const [options, kind, problem] of [
    [{ group: "" }, RangeError, "has 0 bytes"],
    [{ group: "x".repeat(256) }, RangeError, "has 256 bytes"],
    [{ group: 1 }, TypeError, "it is number"],
    [{ group: "\ud800" }, TypeError, "well-formed"],
    [{ group: "g", concurrency: 0 }, RangeError, "concurrency is 0"],
    [{ group: "g", concurrency: 1.5 }, RangeError, "concurrency is 1.5"],
    [{ concurrency: 1 }, TypeError, "concurrency without group"],
    [{ group: "g", accepts: 1 }, TypeError, "accepts"],
  ] as const
) {
  Deno.test(`PubSub.addSubscriber refuses ${JSON.stringify(options)}`, () => {
    const { bus } = busAndErrors();
    assertThrows(() => bus.addSubscriber("t", () => {}, options as never), kind, problem);
    bus.publish("t");
  });
}

for (
  const [options, kind, problem] of [
    [{ group: "g", overflow: "wait" }, TypeError, "overflow with group"],
    [{ group: "g", limitBytes: 1 }, TypeError, "limitBytes with group"],
    [{ group: "g", limit: 0 }, RangeError, "limit is 0"],
    [{ group: "" }, RangeError, "has 0 bytes"],
  ] as const
) {
  Deno.test(`PubSub.subscribe refuses ${JSON.stringify(options)}`, () => {
    assertThrows(() => new PubSub().subscribe("t", options as never), kind, problem);
  });
}

Deno.test("PubSub does each job of a group once, in each member's order, in random operations", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = randomOf(seed);
    const { bus, errors } = busAndErrors();
    const done: number[] = [];
    const orders: number[][] = [];
    const handles: { remove(): void }[] = [];
    const join = () => {
      const order: number[] = [];
      orders.push(order);
      const concurrency = 1 + random.int(3);
      let running = 0;
      handles.push(bus.addSubscriber("jobs", async (_topic, { n }) => {
        order.push(n);
        assert(++running <= concurrency, `seed ${seed}`);
        for (let turns = random.int(4); turns > 0; turns--) await Promise.resolve();
        running--;
        done.push(n);
      }, { group: "g", concurrency }));
    };
    join();
    let published = 0;
    for (let step = 0; step < 200; step++) {
      const kind = random.int(10);
      if (kind === 0) join();
      else if (kind === 1 && handles.length > 1) {
        handles.splice(random.int(handles.length), 1)[0]!.remove();
      } else if (kind < 8) bus.publish("jobs", { n: published++ });
      else await Promise.resolve();
    }
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(done.toSorted((a, b) => a - b), [...Array(published).keys()], `seed ${seed}`);
    for (const order of orders) {
      assertEquals(
        order,
        order.toSorted((a, b) => a - b),
        `seed ${seed}`,
      );
    }
    assertEquals(errors, [], `seed ${seed}`);
  }
});
