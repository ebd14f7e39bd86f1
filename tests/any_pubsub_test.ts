/** Subscribers to topics with `any`, on a bus alone and across a broker. */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  any,
  BacklogError,
  Broker,
  MessageError,
  NetPubSub,
  PubSub,
  type Topic,
  type TopicPath,
} from "../mod.ts";
import { any as anyOfBroker } from "../broker.ts";
import { any as anyOfNet } from "../net.ts";
import { any as anyOfPubSub } from "../pubsub.ts";
import { any as anyOfWeb } from "../web.ts";
import { until } from "../tools/harness/until.ts";
import { Scene } from "./helpers/scene.ts";
import { Warnings } from "./helpers/warnings.ts";

/** A topic as a text; `any` is `+`. */
function show(topic: Topic): string {
  return [topic].flat().map((element) => element === any ? "+" : String(element)).join("/");
}

/** A bus whose subscribers write down which topic they hear. */
function listening(topics: readonly Topic[], bus = new PubSub()) {
  const heard: string[] = [];
  for (const topic of topics) bus.addSubscriber(topic, () => heard.push(show(topic)));
  return { bus, heard };
}

Deno.test("PubSub calls longer topics first, an exact name before any at the first difference, then as subscribed", () => {
  const { bus, heard } = listening([
    null,
    [any],
    ["a", any],
    [any, "b"],
    ["a", any, any],
    "a",
    [any, any],
    [any, "b"],
    ["a", "b"],
    [any, "b", "c"],
  ]);
  bus.publish(["a", "b", "c"]);
  const shorter = ["a/b", "a/+", "+/b", "+/b", "+/+", "a", "+", "null"];
  assertEquals(heard.splice(0), ["a/+/+", "+/b/c", ...shorter]);
  bus.publish(["a", "b"]);
  assertEquals(heard.splice(0), shorter);
  bus.publish("z");
  assertEquals(heard, ["+", "null"]);
});

Deno.test("PubSub broadcasts to topics with any once per subscription, in the order of subscription", () => {
  const { bus, heard } = listening([["a", any], [any], "a", [any, "b"], ["*broker", any]]);
  bus.publish(null);
  assertEquals(heard, ["a/+", "+", "a", "+/b"]);
});

Deno.test('PubSub takes "*local" behind any as what stays in the process', () => {
  const { bus, heard } = listening([[any, "*local"], ["a", any]]);
  bus.publish(["a", "*local"]);
  bus.publish(["a", "b"]);
  assertEquals(heard, ["a/+", "+/*local", "a/+"]);
});

Deno.test("PubSub.addSubscriber with once, a signal and accepts does with any what it does without", () => {
  const errors: unknown[] = [];
  const bus = new PubSub({ onError: (error) => errors.push(error) });
  const heard: string[] = [];
  const controller = new AbortController();
  const topic = ["s", any] as const;
  const note = (name: string) => (path: TopicPath) => heard.push(`${name} ${path}`);
  bus.addSubscriber(topic, note("once"), { once: true });
  bus.addSubscriber(topic, note("signal"), { signal: controller.signal });
  bus.addSubscriber(topic, note("accepts"), { accepts: ["n"] });
  bus.publish(["s", "x"], { n: 1 });
  assertEquals(heard.splice(0), ["once s,x", "signal s,x", "accepts s,x"]);
  controller.abort();
  bus.publish(["s", "y"], { wrong: 1 });
  assertEquals(heard, []);
  const [error] = errors;
  assert(error instanceof MessageError);
  assertEquals([errors.length, error.topic], [1, ["s", "y"]]);
});

Deno.test("PubSub.removeSubscriber takes away the subscription of exactly that topic with any", () => {
  const bus = new PubSub();
  let heard = 0;
  const subscriber = () => void heard++;
  bus.addSubscriber(["a", any], subscriber);
  for (const topic of [["a", "b"], [any, any], ["a"], [any]] as const) {
    assertEquals(bus.removeSubscriber(topic, subscriber), false, show(topic));
  }
  bus.publish(["a", "b"]);
  assert(bus.removeSubscriber(["a", any], subscriber));
  assertEquals(bus.removeSubscriber(["a", any], subscriber), false);
  bus.publish(["a", "b"]);
  assertEquals(heard, 1);
});

Deno.test("PubSub heeds topics with any that come and go between messages to the same topic", () => {
  const bus = new PubSub();
  const heard: string[] = [];
  bus.addSubscriber(["a", "b"], () => heard.push("a/b"));
  const told = () => {
    bus.publish(["a", "b"]);
    return heard.splice(0);
  };
  assertEquals(told(), ["a/b"]);
  const first = bus.addSubscriber([any], () => heard.push("+"));
  assertEquals(told(), ["a/b", "+"]);
  const second = bus.addSubscriber(["a", any], () => heard.push("a/+"));
  assertEquals(told(), ["a/b", "a/+", "+"]);
  first.remove();
  assertEquals(told(), ["a/b", "a/+"]);
  second.remove();
  assertEquals(told(), ["a/b"]);
  bus.addSubscriber([any, "b"], () => heard.push("+/b"));
  bus.clearSubscribers();
  assertEquals(told(), []);
});

Deno.test("PubSub.subscribe yields what comes to a topic with any, with the names that it had", async () => {
  const bus = new PubSub();
  using rooms = bus.subscribe(["sensors", any, "celsius"]);
  bus.publish(["sensors", "kitchen", "celsius"], { value: 21 });
  bus.publish(["sensors", "kitchen", "humidity"], { value: 40 });
  bus.publish(["sensors", "hall", "celsius", "mean"], { value: 19 });
  const taken = [];
  for await (const { topic, message } of rooms) {
    taken.push([show(topic), message.value]);
    if (taken.length === 2) break;
  }
  assertEquals(taken, [["sensors/kitchen/celsius", 21], ["sensors/hall/celsius/mean", 19]]);
});

Deno.test("PubSub.publish throws where a subscription with any that waits has no room, and nowhere else", () => {
  const bus = new PubSub();
  using _full = bus.subscribe(["a", any], { limit: 1, overflow: "wait" });
  bus.publish(["a", "b"]);
  const publish = () => bus.publish(["a", "c", "d"]);
  assertThrows(publish, BacklogError, 'the subscription of ["a",any] holds 1 messages');
  for (const topic of ["a", ["z", "b"]]) bus.publish(topic);
  assertThrows(() => bus.publish(null), BacklogError);
});

Deno.test("PubSub keeps to the topic with any to which was subscribed, when its array is changed", () => {
  const topic: (string | typeof any)[] = ["a", any];
  const { bus, heard } = listening([topic]);
  topic[1] = "x";
  bus.publish(["a", "b"]);
  assertEquals(heard.length, 1);
});

for (
  const [what, topic, kind, says] of [
    ["publish", ["a", any], TypeError, 'Cannot use ["a",any] as a topic here: element 1 is any'],
    ["subscribe", [any, any, any, any], RangeError, "4 elements are any; the limit is 3"],
    ["subscribe", ["a", null], TypeError, "element 1 is null; it must be a string, or any"],
    ["subscribe", ["a", Symbol("any")], TypeError, "element 1 is Symbol(any)"],
    ["subscribe", any, TypeError, "it must be a string, an array of strings or null"],
  ] as const
) {
  Deno.test(`PubSub refuses to ${what} where a topic is ${String(says)}`, () => {
    const bus = new PubSub();
    const wrong = topic as unknown as Topic;
    const calls = what === "publish" ? [() => bus.publish(wrong)] : [
      () => void bus.addSubscriber(wrong, () => {}),
      () => void bus.subscribe(wrong),
      () => void bus.removeSubscriber(wrong, () => {}),
    ];
    for (const call of calls) assertStringIncludes(assertThrows(call, kind).message, says);
  });
}

Deno.test("any is the same in each entry point, and in each copy of the package", () => {
  assertEquals([anyOfBroker, anyOfNet, anyOfPubSub, anyOfWeb].map((one) => one === any), [
    ...[true, true, true, true],
  ]);
  const elsewhere = ["a", Symbol.for("mpubsub.any")] as unknown as Topic;
  const { bus, heard } = listening([elsewhere]);
  bus.publish(["a", "b"]);
  assertEquals(heard, ["a/+"]);
});

Deno.test("NetPubSub hears below *broker with any what the broker publishes, and with a first any nothing of it", async () => {
  await using scene = await Scene.start();
  const watcher = await scene.connected();
  const [reports, others]: [string[], string[]] = [[], []];
  watcher.addSubscriber([any, any], (topic) => others.push(show(topic)));
  watcher.addSubscriber(["*broker", any], (topic) => reports.push(show(topic)));
  await watcher.flush();
  await until(() => reports.includes("*broker/stats") && reports.includes("*broker/clients"));
  assertEquals(others, []);
});

Deno.test("NetPubSub is told of a subscription with any of which its key grants nothing", async () => {
  const keys = [{ name: "screen", key: "secret", subscribe: [["rooms", any, "celsius"]] as const }];
  await using broker = new Broker({ keys: keys.map((key) => ({ ...key })) });
  await broker.start();
  const errors: string[] = [];
  const client = new NetPubSub(broker.address, "secret", {
    keyName: "screen",
    onError: (error) => errors.push(String(error)),
  });
  const heard: string[] = [];
  client.addSubscriber([any, "hall"], (topic) => heard.push(show(topic)));
  await client.connect();
  const publisher = new NetPubSub(broker.address, broker.authkey);
  await publisher.connect();
  for (
    const topic of [["rooms", "hall"], ["rooms", "x", "celsius"], ["rooms", "hall", "celsius"]]
  ) {
    publisher.publish(topic);
  }
  await until(() => heard.length > 0);
  assertEquals([heard, errors], [["rooms/hall/celsius"], []]);
  client.addSubscriber(["rooms", any, "humidity"], () => {});
  await client.flush().catch(() => {});
  assertStringIncludes(errors.join(), 'Cannot subscribe to ["rooms",any,"humidity"]');
  await Promise.all([client.disconnect(), publisher.disconnect()]);
});

Deno.test("PubSub warns of what fails at a topic with any as at any other, with the name that it had", () => {
  using warnings = new Warnings();
  const bus = new PubSub();
  bus.addSubscriber(["a", any], () => {
    throw new Error("it failed");
  });
  bus.publish(["a", "b"]);
  assertEquals(warnings.lines.length, 1);
  assertStringIncludes(warnings.lines[0]!, '["a","b"]');
});
