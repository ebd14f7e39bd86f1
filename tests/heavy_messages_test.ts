/** Messages that take much more memory than they have bytes, and what bounds them at a client. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { MessageError, NetPubSub, ProtocolError } from "../mod.ts";
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
