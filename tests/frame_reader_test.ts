import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { concat, type Lease } from "../base/bytes.ts";
import { ProtocolError } from "../errors.ts";
import {
  encodeFrame,
  FrameError,
  type FrameLimits,
  FrameType,
  type Limits,
  Reason,
} from "../protocol/frame.ts";
import {
  brokerFrameLimits,
  clientFrameLimits,
  decodeAck,
  decodeGoodbye,
  encodeAck,
  encodeGoodbye,
} from "../protocol/frame_bodies.ts";
import { FrameReader } from "../protocol/frame_reader.ts";
import { decodeTopic, encodeTopic, topicBlockMax, topicEnd } from "../protocol/topic_block.ts";
import { framesEnd } from "../protocol/topic_run.ts";
import { randomOf } from "../tools/harness/random.ts";

const LIMITS: Limits = {
  messageBytes: 1000,
  topicElements: 16,
  elementBytes: 255,
  subscriptions: 4,
};

/** Feeds pieces to a reader; the type and body of each frame. */
function framesOf(pieces: readonly Uint8Array[], limits: FrameLimits): [number, Uint8Array][] {
  const reader = new FrameReader(limits);
  const frames: [number, Uint8Array][] = [];
  for (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const space = reader.space();
      const count = Math.min(space.length, piece.length - at);
      space.set(piece.subarray(at, at + count));
      at += count;
      reader.wrote(count);
      while (reader.next()) {
        frames.push([reader.type, reader.buffer.slice(reader.body, reader.end)]);
      }
    }
  }
  return frames;
}

function bytesOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i * 7);
}

Deno.test("FrameReader finds the same frames wherever the stream is split", () => {
  const limits = clientFrameLimits(LIMITS);
  const topic = encodeTopic(["a", "b".repeat(254), "c".repeat(255)]);
  const stream = concat(
    encodeFrame(FrameType.ASK),
    encodeFrame(FrameType.PUBLISH, topic, bytesOf(1)),
    encodeFrame(FrameType.PUBLISH, encodeTopic([]), bytesOf(1000)),
    encodeFrame(FrameType.SUBSCRIBE, encodeTopic(["é"])),
    encodeFrame(FrameType.ACK, encodeAck(2 ** 40, 7)),
    encodeFrame(FrameType.GOODBYE, encodeGoodbye(Reason.DONE, "")),
  );
  const whole = framesOf([stream], limits);
  assertEquals(whole.map(([type]) => type), [7, 1, 1, 4, 6, 8]);
  for (let at = 1; at < stream.length; at++) {
    assertEquals(framesOf([stream.subarray(0, at), stream.subarray(at)], limits), whole);
  }
  assertEquals(framesOf([...stream].map((byte) => Uint8Array.of(byte)), limits), whole);
});

Deno.test("FrameReader finds frames in random pieces of a long stream", () => {
  const random = randomOf(20_26);
  const limits = clientFrameLimits({ ...LIMITS, messageBytes: 300_000 });
  const frames = Array.from({ length: 60 }, () => {
    const size = random.int(random.int(2) === 0 ? 300 : 300_000);
    return encodeFrame(FrameType.PUBLISH, encodeTopic(["t"]), bytesOf(size));
  });
  const stream = concat(...frames);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < stream.length;) {
    const size = 1 + random.int(100_000);
    pieces.push(stream.subarray(at, at + size));
    at += size;
  }
  const found = framesOf(pieces, limits);
  assertEquals(found.length, frames.length);
  frames.forEach((frame, i) => {
    const [, body] = found[i]!;
    assertEquals(body.length, frame.subarray(frame[0] === 255 ? 6 : 2).length);
    assert(body.every((byte, j) => byte === frame[frame.length - body.length + j]));
  });
});

Deno.test("FrameReader leaves bytes as they are while somebody holds them", () => {
  const reader = new FrameReader(clientFrameLimits(LIMITS));
  const held: { view: Uint8Array; copy: Uint8Array; lease: Lease }[] = [];
  const buffers = new Set<ArrayBufferLike>();
  for (let i = 0; i < 4000; i++) {
    const frame = encodeFrame(FrameType.PUBLISH, encodeTopic(["t"]), bytesOf(i % 400));
    for (const piece of [frame.subarray(0, 3), frame.subarray(3)]) {
      reader.space().set(piece);
      reader.wrote(piece.length);
      while (reader.next()) {
        const view = reader.buffer.subarray(reader.start, reader.end);
        const lease = reader.keep();
        lease.holders++;
        held.push({ view, copy: view.slice(), lease });
        buffers.add(view.buffer);
      }
    }
    if (held.length > 5) held.shift()!.lease.holders--;
    for (const { view, copy } of held) assertEquals(view, copy);
  }
  assert(buffers.size < 50, `${buffers.size} buffers were made, few are ever held`);
});

Deno.test("FrameReader takes a frame at each limit and refuses one past it", async (t) => {
  const cases = [clientFrameLimits(LIMITS), brokerFrameLimits(LIMITS)].flatMap((limits) =>
    limits.map((limit, type) => ({ limits, limit, type }))
  );
  for (const { type, limit, limits } of cases) {
    if (limit === undefined) continue;
    await t.step(`type ${type}, ${limit} bytes`, () => {
      const frame = encodeFrame(type as FrameType, bytesOf(limit));
      assertEquals(framesOf([frame], limits), [[type, bytesOf(limit)]]);
      if (type === FrameType.PUBLISH) return; // Has a test of its own.
      // Refused as soon as the header is there, before the body is.
      const longer = encodeFrame(type as FrameType, bytesOf(limit + 1));
      const header = longer.subarray(0, longer[0] === 255 ? 6 : 2);
      assertThrows(() => framesOf([header], limits), ProtocolError, `limit is ${limit}`);
    });
  }
});

Deno.test("FrameReader says which limit a frame broke", () => {
  const limits = clientFrameLimits(LIMITS);
  const reasonOf = (type: FrameType, size: number) => {
    const error = assertThrows(() => framesOf([encodeFrame(type, bytesOf(size))], limits));
    assertInstanceOf(error, FrameError);
    return error.reason;
  };
  assertEquals(
    reasonOf(FrameType.OPEN, 30 + 64 + 4 * topicBlockMax(LIMITS) + 1),
    Reason.TOO_MANY_SUBSCRIPTIONS,
  );
  assertEquals(reasonOf(FrameType.ASK, 1), Reason.PROTOCOL);
});

Deno.test("FrameReader lets a message that is too long go as it arrives, in whatever pieces", () => {
  const size = 1000 + topicBlockMax(LIMITS) + 1;
  const stream = concat(
    encodeFrame(FrameType.ASK),
    encodeFrame(FrameType.PUBLISH, bytesOf(size)),
    encodeFrame(FrameType.ACK, encodeAck(1, 1)),
  );
  for (const step of [1, 7, 100, stream.length]) {
    const reader = new FrameReader(clientFrameLimits(LIMITS));
    const seen: number[][] = [];
    for (let at = 0; at < stream.length;) {
      const space = reader.space();
      assert(space.buffer.byteLength <= 2 ** 16);
      const piece = stream.subarray(at, at + Math.min(step, space.length));
      space.set(piece);
      reader.wrote(piece.length);
      at += piece.length;
      while (reader.next()) seen.push([reader.type, reader.end - reader.body, reader.oversize]);
    }
    assertEquals(seen, [
      [FrameType.ASK, 0, 0],
      [FrameType.PUBLISH, 0, size],
      [FrameType.ACK, 12, 0],
    ]);
  }
});

Deno.test("FrameReader gives back the room that a long frame took", () => {
  const limits = clientFrameLimits({ ...LIMITS, messageBytes: 2 ** 20 });
  const reader = new FrameReader(limits);
  const feed = (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) {
      const space = reader.space();
      const piece = bytes.subarray(at, at + space.length);
      space.set(piece);
      reader.wrote(piece.length);
      at += piece.length;
      while (reader.next()) continue;
    }
  };
  const length = () => reader.space().buffer.byteLength;
  const long = encodeFrame(FrameType.PUBLISH, bytesOf(2 ** 20));
  feed(long);
  assert(length() <= 2 ** 18, `${length()} while busy`);
  for (let n = 0; n < 40; n++) feed(encodeFrame(FrameType.ASK));
  assert(length() <= 8192, `${length()} after many short ones`);
  feed(long);
  reader.trim();
  assert(length() <= 8192, `${length()} after a rest`);
});

Deno.test("FrameReader does not allocate for bytes that are only promised", () => {
  const reader = new FrameReader(clientFrameLimits({ ...LIMITS, messageBytes: 2 ** 30 }));
  const header = Uint8Array.of(255, 0, 0, 0, 32, FrameType.PUBLISH);
  reader.space().set(header);
  reader.wrote(header.length);
  assertEquals(reader.next(), false);
  assert(reader.space().buffer.byteLength <= 8192);
});

Deno.test("FrameReader refuses frames that are none", async (t) => {
  const cases: [string, Uint8Array][] = [
    ["size 0", Uint8Array.of(0, 0)],
    ["unknown type", Uint8Array.of(1, 99)],
    ["a type of the other side", encodeFrame(FrameType.OPENED, bytesOf(57))],
    ["HTTP", new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")],
  ];
  for (const [name, bytes] of cases) {
    await t.step(name, () => {
      assertThrows(() => framesOf([bytes], clientFrameLimits(LIMITS)), ProtocolError);
    });
  }
});

Deno.test("FrameReader and decodeTopic throw nothing but ProtocolError for 100 000 random inputs", () => {
  const seed = Date.now() % 2 ** 31;
  const random = randomOf(seed);
  const seeds = [
    encodeFrame(FrameType.PUBLISH, encodeTopic(["foo", "bar"]), bytesOf(20)),
    encodeFrame(FrameType.OPEN, encodeTopic(["a"]), encodeTopic(["b", "c"])),
    encodeFrame(FrameType.SUBSCRIBE, encodeTopic(["x".repeat(255)])),
    encodeFrame(FrameType.ACK, encodeAck(3, 4)),
    encodeFrame(FrameType.GOODBYE, encodeGoodbye(Reason.PROTOCOL, "text")),
  ];
  const limits = clientFrameLimits(LIMITS);
  let frames = 0;
  let refused = 0;
  for (let round = 0; round < 100_000; round++) {
    const input = random.int(3) === 0
      ? random.bytes(random.int(40))
      : random.mutate(concat(random.pick(seeds), random.pick(seeds)));
    try {
      for (const [type, body] of framesOf([input], limits)) {
        frames++;
        if (type === FrameType.ACK) decodeAck(body);
        else if (type === FrameType.GOODBYE) decodeGoodbye(body);
        else decodeTopic(body, 0, topicEnd(body, 0, body.length), LIMITS);
      }
    } catch (error) {
      refused++;
      assertInstanceOf(error, ProtocolError, `seed ${seed}, round ${round}: ${error}`);
    }
  }
  assert(frames > 1000 && refused > 1000, `seed ${seed}: ${frames} frames, ${refused} refused`);
});

Deno.test("FrameReader.extend takes what next would find, as long as topic and limits allow", () => {
  const seed = 20261125;
  const random = randomOf(seed);
  const topics = [["a"], ["b"], ["a", "c"], [], ["d".repeat(254)]].map(encodeTopic);
  const limits = clientFrameLimits({ ...LIMITS, messageBytes: 2000 });
  let longest = 0;
  for (let round = 0; round < 300; round++) {
    let topic = topics[0]!;
    const frames = Array.from({ length: random.int(60) }, () => {
      if (random.int(8) === 0) topic = random.pick(topics);
      if (random.int(20) === 0) return encodeFrame(FrameType.ASK);
      const size = random.pick([0, 1, 1, 2, 3, 247, 248, 252, 253, 900, 1000, 1001]);
      return encodeFrame(FrameType.PUBLISH, topic, random.bytes(size));
    });
    const stream = concat(...frames);
    const reader = new FrameReader(limits);
    const found: Uint8Array[] = [];
    for (let at = 0; at < stream.length;) {
      const space = reader.space();
      const count = Math.min(space.length, stream.length - at, 1 + random.int(3000));
      space.set(stream.subarray(at, at + count));
      reader.wrote(count);
      at += count;
      while (reader.next()) {
        const { type, start, body, buffer } = reader;
        assertEquals(reader.frames, 1);
        const first = framesEnd(buffer, start, 1);
        const bytesMax = random.pick([10, 1000, 100_000]);
        if (type === FrameType.PUBLISH && random.int(4) > 0) {
          const topicBytes = topicEnd(buffer, body, reader.end) - body;
          for (let before = reader.end;; before = reader.end) {
            const payload = reader.extend(topicBytes, 1000, bytesMax);
            if (payload === 0) break;
            const frame = partsOf(buffer.slice(before, reader.end));
            assertEquals(buffer.slice(payload, reader.end), frame.payload);
          }
        }
        const { frames: count, end } = reader;
        longest = Math.max(longest, count);
        assertEquals(framesEnd(buffer, start, count), end);
        assert(end === first || end - start <= bytesMax, `seed ${seed}`);
        for (let n = 0; n < count; n++) {
          const frame = buffer.slice(
            framesEnd(buffer, start, n),
            framesEnd(buffer, start, n + 1),
          );
          if (n > 0) {
            const { payload, topic } = partsOf(frame);
            assertEquals(topic, partsOf(buffer.slice(start, first)).topic, `seed ${seed}`);
            assert(payload.length > 0 && payload.length <= 1000, `seed ${seed}`);
          }
          found.push(frame);
        }
      }
    }
    assertEquals(concat(...found), stream, `seed ${seed}`);
    assertEquals(found.length, frames.length, `seed ${seed}`);
  }
  assert(longest > 5);
});

/** The parts of a PUBLISH. */
function partsOf(frame: Uint8Array): { topic: Uint8Array; payload: Uint8Array } {
  const body = frame[0] === 255 ? 6 : 2;
  const end = topicEnd(frame, body, frame.length);
  return { topic: frame.slice(body, end), payload: frame.slice(end) };
}
