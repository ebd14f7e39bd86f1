/** Messages that take much more memory than they have bytes, and what bounds them at a client. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { BacklogError, MessageError, NetPubSub, ProtocolError } from "../mod.ts";
import { frame, join, size, topic, Type } from "../tools/attacks/raw_client.ts";
import { until } from "../tools/harness/until.ts";
import { MockBroker } from "./helpers/mock_broker.ts";
import { KEY, MESSAGE, RawStage } from "./helpers/raw_stage.ts";
import { Scene } from "./helpers/scene.ts";

const MIB = 1024 * 1024;

/** A payload of so many bytes: `{ m: [new Map(), new Map(), …] }`. */
function mapsOf(bytes: number): Uint8Array<ArrayBuffer> {
  const count = (bytes - 9) >> 1;
  const maps = new Uint8Array(2 * count);
  for (let i = 0; i < count; i++) maps[2 * i] = 0xb2;
  return join(Uint8Array.of(2, 1, 0x6d, 0xb4), size(count), maps);
}

function maps(count: number): object[] {
  return Array.from({ length: count }, () => new Map());
}

Deno.test("NetPubSub.publish refuses what takes too much where it arrives, before anybody gets it", async () => {
  await using scene = await Scene.start();
  const bus = await scene.connected();
  const heard: number[] = [];
  bus.addSubscriber("t", (_topic, { m }) => heard.push((m as unknown[]).length));
  const many = maps(MIB / 2 - 8);
  const error = assertThrows(() => bus.publish("t", { m: many }), RangeError);
  assertStringIncludes(error.message, "the limit is 16777216");
  bus.publish("t", { m: many }, { local: true });
  bus.publish("t", { m: maps(80_000) });
  await bus.flush();
  assertEquals(heard, [many.length, 80_000]);
  assertEquals(scene.broker.stats().received, 1);
});

Deno.test("NetPubSub drops a message that takes too much, says so once, and goes on with the rest", async () => {
  await using stage = await RawStage.start();
  const errors: unknown[] = [];
  const topics: unknown[] = [];
  await using bus = new NetPubSub(stage.broker.address, KEY.key, {
    onError(error, context) {
      errors.push(error);
      topics.push(context.topic);
    },
  });
  await bus.connect();
  const heard: unknown[] = [];
  bus.addSubscriber("t", (_topic, message) => heard.push(message));
  bus.addSubscriber(null, () => {});
  await bus.flush();
  const raw = await stage.opened();
  const block = topic("t");
  // Behind the first of a run, and as the first.
  for (const payload of [MESSAGE, mapsOf(MIB), MESSAGE]) {
    await raw.send(frame(Type.PUBLISH, block, payload));
  }
  await raw.flush();
  await until(() => heard.length === 2);
  assertEquals(heard, [{ n: 1 }, { n: 1 }]);
  assertEquals(topics, [["t"]]);
  assertInstanceOf(errors[0], ProtocolError);
  assertStringIncludes(errors[0].message, "the limit is 16777216");
  assertEquals(bus.state, "connected");
});

Deno.test("NetPubSub checks what messages that wait take, once the broker has told its limits", async () => {
  await using broker = await MockBroker.start();
  broker.limits = { ...broker.limits, messageBytes: 100_000 };
  broker.hold("handshake");
  const errors: unknown[] = [];
  await using bus = new NetPubSub(broker.address, "k", { onError: (error) => errors.push(error) });
  const connecting = bus.connect();
  bus.publish("fits", { m: maps(7900) });
  bus.publish("heavy", { m: maps(8100) });
  bus.publish("light");
  broker.letIn();
  await connecting;
  await bus.flush();
  assertEquals(broker.received, ["fits", "light"]);
  assertEquals(errors.length, 1);
  assertInstanceOf(errors[0], MessageError);
  assertEquals(errors[0].topic, ["heavy"]);
  assertStringIncludes(errors[0].issues[0]!, "the broker's limit is 1600000");
  assert(errors[0].issues[0]!.includes("bytes of memory"));
});

/** A client with a subscription that is not read, and another that publishes texts to it. */
async function unread(
  options: { limitBytes: number; overflow?: "wait" | "throw" | "drop-oldest" },
) {
  const scene = await Scene.start({ maxPatience: 60_000 });
  const errors: unknown[] = [];
  const overflow = options.overflow === "wait" ? "wait" : "drop-oldest";
  const bus = await scene.connected({ overflow, onError: (error) => errors.push(error) });
  const subscription = bus.subscribe("t", options);
  let arrived = 0;
  bus.addSubscriber("t", () => arrived++);
  await bus.flush();
  const publisher = await scene.connected();
  return {
    bus,
    errors,
    subscription,
    arrived: () => arrived,
    /** Each takes 64 + 96 + 49 + 48 bytes and a thousand. */
    publish: async (from: number, to: number) => {
      for (let i = from; i < to; i++) publisher.publish("t", { n: `${i}`.padStart(1000) });
      await publisher.flush();
    },
    [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose](),
  };
}

const TAKES = 64 + 96 + 49 + 48 + 1000;

/** The numbers of the next messages. */
async function numbers(source: AsyncIterable<{ message: object }>): Promise<number[]> {
  const found: number[] = [];
  for await (const { message } of source) found.push(Number((message as { n: string }).n));
  return found;
}

Deno.test("Subscription drops the oldest of what came from a broker beyond limitBytes, and says so", async () => {
  await using it = await unread({ limitBytes: 10 * TAKES + 1 });
  await it.publish(0, 25);
  await until(() => it.arrived() === 25);
  assertEquals(it.subscription.dropped, 15);
  assertEquals(it.errors.length, 1);
  assertInstanceOf(it.errors[0], BacklogError);
  assertEquals(it.errors[0].limit, 10 * TAKES + 1);
  assertStringIncludes(it.errors[0].message, `limitBytes is ${10 * TAKES + 1}`);
  it.bus.clearSubscribers();
  assertEquals(await numbers(it.subscription), Array.from({ length: 10 }, (_, i) => 15 + i));
});

Deno.test("Subscription that throws on overflow ends with limitBytes, after what it holds", async () => {
  await using it = await unread({ limitBytes: 10 * TAKES, overflow: "throw" });
  await it.publish(0, 11);
  await until(() => it.arrived() === 11);
  await assertRejects(() => numbers(it.subscription), BacklogError, "limitBytes");
});

Deno.test("Subscription that waits holds back what comes from a broker, as soon as it is full in bytes", async () => {
  await using it = await unread({ limitBytes: 10 * TAKES, overflow: "wait" });
  await it.publish(0, 25);
  await until(() => it.arrived() === 10);
  const problem = `holds ${10 * TAKES} bytes (limitBytes is ${10 * TAKES})`;
  assertThrows(() => it.bus.publish("t"), BacklogError, problem);
  const found: number[] = [];
  let most = 0;
  for await (const { message } of it.subscription) {
    found.push(Number((message as { n: string }).n));
    most = Math.max(most, it.arrived() - found.length);
    if (found.length === 25) break;
  }
  assertEquals(found, Array.from({ length: 25 }, (_, i) => i));
  assertEquals(most, 10, "never more than fit");
});

Deno.test("Subscription counts nothing for messages of its own process", async () => {
  await using it = await unread({ limitBytes: 1 });
  for (let i = 0; i < 100; i++) it.bus.publish("t", { n: `${i}` });
  assertEquals(it.subscription.dropped, 0);
  await it.publish(100, 101);
  await until(() => it.arrived() === 101);
  assertEquals(it.subscription.dropped, 0, "a single one always fits");
});

Deno.test("Subscription holds as many messages of a usual size as limit says, by default", async () => {
  await using scene = await Scene.start();
  const bus = await scene.connected();
  const subscription = bus.subscribe("t");
  const end = bus.subscribe("end");
  await bus.flush();
  const publisher = await scene.connected();
  const names = ["id", "celsius", "humidity", "room", "device", "battery", "at", "ok"];
  for (let i = 0; i < 65_536; i++) {
    publisher.publish("t", Object.fromEntries(names.map((name) => [name, i / 3])));
    if (i % 10_000 === 0) await publisher.flush();
  }
  publisher.publish("end");
  for await (const _ of end) break;
  assertEquals(subscription.dropped, 0);
});

Deno.test("NetPubSub with a heap of 256 MiB outlives messages that would take 800 MiB together", async () => {
  await using stage = await RawStage.start();
  const code = `
    import { NetPubSub } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
    const bus = new NetPubSub(${JSON.stringify(stage.broker.address)}, "secret", { onError() {} });
    await bus.connect();
    const subscription = bus.subscribe("t");
    const end = bus.subscribe("end");
    await bus.flush();
    console.log("ready");
    for await (const { message } of end) break;
    console.log(subscription.dropped);
    await bus.disconnect();
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--allow-net=127.0.0.1",
      "--v8-flags=--max-old-space-size=256",
      `data:text/typescript,${encodeURIComponent(code)}`,
    ],
    cwd: new URL("../", import.meta.url),
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
  assertEquals((await lines.next()).value, "ready\n");
  const raw = await stage.opened();
  // Each of them is within what a message may take.
  const payload = mapsOf(65_536);
  const block = topic("t");
  for (let sent = 0; sent < 128; sent++) {
    await raw.send(frame(Type.PUBLISH, block, payload));
    await raw.flush();
  }
  await raw.send(frame(Type.PUBLISH, topic("end"), MESSAGE));
  const dropped = Number((await lines.next()).value);
  // 64 MiB divided by 200 bytes for each of the Maps.
  assertEquals(dropped, 128 - Math.floor(64 * MIB / (200 * (65_527 >> 1))));
  assertEquals((await lines.next()).done, true);
  assert((await child.status).success);
});
