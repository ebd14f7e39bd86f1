import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { Account } from "../base/account.ts";
import { concat } from "../base/bytes.ts";
import { Lease } from "../base/lease.ts";
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
import { ReadBuffers } from "../protocol/read_buffers.ts";
import { decodeTopic, encodeTopic, topicBlockMax, topicEnd } from "../protocol/topic_block.ts";
import { framesEnd } from "../protocol/topic_run.ts";
import { type Random, randomOf } from "../tools/harness/random.ts";
import { Copies, put } from "./helpers/copies.ts";

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
    reasonOf(FrameType.OPEN, 38 + 64 + 4 + 4 * (264 + topicBlockMax(LIMITS)) + 1),
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
      [FrameType.ACK, 20, 0],
    ]);
  }
});

Deno.test("FrameReader has space, and finds all, although nobody looks for the frames that are there", () => {
  for (const size of [100, 700, 70_000]) {
    const reader = new FrameReader(clientFrameLimits({ ...LIMITS, messageBytes: 100_000 }));
    const stream = concat(...Array.from({ length: 20 }, () => publishOf(size)));
    for (let at = 0; at < stream.length;) {
      const space = reader.space();
      assert(space.length > 0);
      const piece = stream.subarray(at, at + Math.min(space.length, 1000));
      space.set(piece);
      reader.wrote(piece.length);
      at += piece.length;
    }
    let found = 0;
    while (reader.next()) found++;
    assertEquals(found, 20);
  }
});

Deno.test("FrameReader gives back the room that a long frame took", () => {
  const limits = clientFrameLimits({ ...LIMITS, messageBytes: 2 ** 22 });
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
  const kept = length();
  assert(kept > 2 ** 20 && kept <= 2 ** 21, `${kept} where another long frame may come`);
  for (let n = 0; n < 40; n++) feed(encodeFrame(FrameType.ASK));
  assert(length() <= 8192, `${length()} after many short ones`);
  feed(encodeFrame(FrameType.PUBLISH, bytesOf(2 ** 22)));
  assert(length() <= 2 ** 18, `${length()} after a longer one`);
  feed(long);
  reader.trim();
  assert(length() <= 8192, `${length()} after a rest`);
});

/** What a stream costs: bytes that are copied, and bytes of new buffers, for each of its own. */
interface Cost {
  readonly copied: number;
  readonly made: number;
}

/** Reads a stream; `take` does what it likes with each frame. */
function costOf(
  stream: Uint8Array,
  readBytes: () => number,
  take: (reader: FrameReader) => void = () => {},
): Cost {
  const reader = new FrameReader(clientFrameLimits({ ...LIMITS, messageBytes: 2 ** 26 }));
  const known = new WeakSet<ArrayBufferLike>();
  let made = 0;
  using copies = new Copies();
  for (let at = 0; at < stream.length;) {
    const space = reader.space();
    if (!known.has(space.buffer)) made += space.buffer.byteLength;
    known.add(space.buffer);
    const piece = stream.subarray(at, at + Math.min(readBytes(), space.length));
    put(space, piece);
    reader.wrote(piece.length);
    at += piece.length;
    while (reader.next()) take(reader);
  }
  assert(!reader.next());
  return { copied: copies.bytes / stream.length, made: made / stream.length };
}

function publishOf(size: number): Uint8Array {
  return encodeFrame(FrameType.PUBLISH, encodeTopic(["t"]), new Uint8Array(size));
}

/** Holds the frames that are worth it, eight at a time, as a broker does. */
function holding(): (reader: FrameReader) => void {
  const held: Lease[] = [];
  return (reader) => {
    if (reader.end - reader.start < 16_384) return;
    const lease = reader.keep();
    lease.holders++;
    held.push(lease);
    if (held.length > 8) held.shift()!.holders--;
  };
}

for (const readBytes of [1000, 16_384, 65_536, 1_000_000]) {
  Deno.test(`FrameReader moves each byte of a long frame a few times, in reads of ${readBytes} bytes`, () => {
    for (const size of [1, 2, 8, 9, 32]) {
      const frame = publishOf(size * 2 ** 20);
      const { copied, made } = costOf(frame, () => readBytes);
      assert(copied <= 2, `each byte of ${size} MiB was copied ${copied} times`);
      assert(made <= 4, `buffers of ${made} times ${size} MiB were made`);
    }
  });
}

/** Frames of random sizes, about 32 MiB in all. */
function streamOf(random: Random, sizeMax: () => number): Uint8Array {
  const frames: Uint8Array[] = [];
  for (let total = 0; total < 2 ** 25;) {
    const frame = publishOf(random.int(sizeMax()));
    frames.push(frame);
    total += frame.length;
  }
  return concat(...frames);
}

for (
  const [what, sizeMax] of [
    ["small", [1000]],
    ["middle-sized", [400_000]],
    ["long", [3_000_000]],
    ["all", [100, 30_000, 300_000, 3_000_000]],
  ] as const
) {
  for (const [how, taker] of [["let go of", () => () => {}], ["held", holding]] as const) {
    Deno.test(`FrameReader moves each byte a few times, in frames of ${what} sizes that are ${how}`, () => {
      const random = randomOf(20_26);
      const stream = streamOf(random, () => random.pick(sizeMax));
      for (const readMax of [1000, 16_384, 300_000]) {
        for (const reads of [() => readMax, () => 1 + random.int(readMax)]) {
          const { copied, made } = costOf(stream, reads, taker());
          assert(copied <= 3, `${copied} times, in reads of ${readMax} bytes`);
          assert(
            made <= 5,
            `new buffers of ${made} times the stream, in reads of ${readMax} bytes`,
          );
        }
      }
    });
  }
}

Deno.test("FrameReader copies nothing of long messages of one length that are held, but of the first", () => {
  for (const size of [2 ** 19, 2 ** 20]) {
    const stream = concat(...Array.from({ length: 40 }, () => publishOf(size)));
    const frame = publishOf(size).length;
    // Reads end with a frame, as they do when each is acknowledged before the next is sent.
    let at = 0;
    const readBytes = () => {
      const count = Math.min(16_384, frame - at % frame);
      at += count;
      return count;
    };
    const held: Lease[] = [];
    const { copied, made } = costOf(stream, readBytes, (reader) => {
      const lease = reader.keep();
      lease.holders++;
      held.push(lease);
      if (held.length > 1) held.shift()!.holders--;
    });
    assert(copied <= 2 / 40, `each byte of ${size} was copied ${copied} times`);
    assert(made <= 8 / 40, `${made} times the bytes were made`);
  }
});

Deno.test("FrameReader moves nothing of a message that is too long", () => {
  const stream = concat(...Array.from({ length: 4 }, () => publishOf(2 ** 26 + 10_000)));
  const { copied, made } = costOf(stream, () => 16_384, ({ oversize }) => assert(oversize > 0));
  assert(copied < 0.01 && made < 0.01, `${copied} and ${made} times its bytes`);
});

Deno.test("ReadBuffers remembers lent buffers of 3 MiB together, and eight of them", () => {
  for (
    const [bytes, remembered] of [[2 ** 18, 8], [2 ** 20, 3], [2 ** 21, 1], [2 ** 22, 0]] as const
  ) {
    const account = new Account();
    const buffers = new ReadBuffers(account);
    const lent = Array.from({ length: 20 }, () => new Lease(new Uint8Array(bytes), account));
    for (const lease of lent) buffers.lend(lease);
    const known = new Set<Uint8Array>(lent.map(({ buffer }) => buffer));
    const again = new Set<Uint8Array>();
    for (let n = 0; n < 20; n++) {
      buffers.plan(bytes, { unread: bytes / 2, promised: 2 ** 30 });
      const buffer = buffers.next();
      if (known.has(buffer)) again.add(buffer);
    }
    assertEquals(again.size, remembered, `of ${bytes} bytes`);
  }
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
    ["size 0", Uint8Array.of(0)],
    ["size 0 in its long form", Uint8Array.of(255, 0, 0, 0, 0)],
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
