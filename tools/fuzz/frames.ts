/**
 * Frames: `FrameReader` finds what a naive reader finds in the whole stream, however that is cut into
 * pieces, and never makes room for what is only promised.
 */
import { concat } from "../../base/bytes.ts";
import type { Lease } from "../../base/lease.ts";
import { ProtocolError } from "../../errors.ts";
import {
  encodeFrame,
  type FrameLimits,
  FrameType,
  type Limits,
  Reason,
} from "../../protocol/frame.ts";
import {
  brokerFrameLimits,
  clientFrameLimits,
  encodeAck,
  encodeGap,
  encodeGoodbye,
  encodeOpening,
  encodeRefused,
} from "../../protocol/frame_bodies.ts";
import { encodeNumber } from "../../protocol/job_bodies.ts";
import { FrameReader } from "../../protocol/frame_reader.ts";
import { encodeTopic, topicEnd } from "../../protocol/topic_block.ts";
import { framesEnd } from "../../protocol/topic_run.ts";
import { any, type TopicPattern } from "../../topic.ts";
import type { Random } from "../harness/random.ts";
import { bomb, isSame, mangle, must, type Notes, piecesOf, type Target } from "./target.ts";

const LIMITS: Limits = {
  messageBytes: 1000,
  topicElements: 16,
  elementBytes: 255,
  subscriptions: 4,
};
const LARGE: Limits = { ...LIMITS, messageBytes: 300_000, subscriptions: 1000 };
const HUGE: Limits = {
  messageBytes: 2 ** 32 - 1,
  topicElements: 2 ** 32 - 1,
  elementBytes: 2 ** 32 - 1,
  subscriptions: 2 ** 32 - 1,
};
const SIDES: readonly { readonly takes: FrameLimits; readonly messageBytes: number }[] = [
  ...[LIMITS, LARGE, HUGE].flatMap((limits) =>
    [clientFrameLimits(limits), brokerFrameLimits(limits)]
      .map((takes) => ({ takes, messageBytes: limits.messageBytes }))
  ),
  { takes: brokerFrameLimits(), messageBytes: 0 },
];
const TOPICS = [[], ["a"], ["b", "c"], ["é", "*local"], ["d".repeat(255)]].map(encodeTopic);
const ANYS: readonly TopicPattern[] = [[any], ["a", any], [any, "b", any, any]];
const WANTED = [...TOPICS, ...ANYS.map(encodeTopic)];
/** A stream up to this size is cut at each byte now and then. */
const CUT_EVERYWHERE_MAX = 300;

/** A frame as it stands in the stream; of one that is too long its head. */
interface Found {
  readonly bytes: Uint8Array;
  readonly oversize: number;
}

/** What was found, and the error at the end if there was one. */
interface Reading {
  readonly frames: readonly Found[];
  readonly error?: ProtocolError;
}

/** A body for a type of frame; mostly one that is right. */
function bodyOf(random: Random, type: number): Uint8Array {
  const topic = random.pick(TOPICS);
  const size = random.pick([0, 1, 40, 250, 999, 1001, random.int(2000)]);
  switch (random.int(12) === 0 ? undefined : type) {
    case FrameType.PUBLISH:
      return concat(topic, random.bytes(size));
    case FrameType.OPEN: {
      const opening = {
        session: random.bytes(16),
        taken: 0,
        calls: 0,
        wait: true,
        patience: 7,
        name: "f",
      };
      return concat(encodeOpening(opening), encodeNumber(1), random.pick(WANTED));
    }
    case FrameType.SUBSCRIBE:
    case FrameType.UNSUBSCRIBE:
      return random.pick(WANTED);
    case FrameType.ACK:
      return encodeAck(random.int(2 ** 53), random.int(2 ** 32));
    case FrameType.ASK:
      return new Uint8Array();
    case FrameType.GOODBYE:
      return encodeGoodbye(random.int(12) as Reason, "text");
    case FrameType.GAP:
      return encodeGap(random.int(100));
    case FrameType.REFUSED:
    case FrameType.DENIED:
      return encodeRefused(Reason.FORBIDDEN, random.pick(WANTED), "text");
    default:
      return random.bytes(size);
  }
}

function frameOf(random: Random, type = random.int(13)): Uint8Array {
  return encodeFrame(type as FrameType, bodyOf(random, type));
}

/** A frame of one of these types, or another, that is mangled, or has a body that is. */
export function mangledFrame(random: Random, takes: FrameLimits): Uint8Array {
  const type = random.int(8) === 0 ? random.int(13) : random.pick(typesIn(takes));
  if (random.int(2) === 0) return mangle(random, frameOf(random, type));
  return encodeFrame(type as FrameType, mangle(random, bodyOf(random, type)));
}

/** The types of frames that a side takes. */
function typesIn(takes: FrameLimits): number[] {
  return takes.flatMap((limit, type) => limit === undefined ? [] : [type]);
}

/** Frames of one kind side by side, some with their size in the long form. */
function runOf(random: Random): Uint8Array {
  const topic = random.pick(TOPICS);
  const frames = Array.from({ length: random.int(30) }, () => {
    const frame = encodeFrame(FrameType.PUBLISH, topic, random.bytes(random.int(40)));
    const size = frame[0]!;
    const isLonger = random.int(6) === 0 && size < 255;
    return isLonger ? concat(Uint8Array.of(255, size, 0, 0, 0), frame.subarray(1)) : frame;
  });
  return concat(...frames);
}

/** A stream of what one side takes, mostly. */
function streamOf(random: Random, takes: FrameLimits): Uint8Array {
  const types = typesIn(takes);
  const right = () => frameOf(random, random.pick(types));
  const parts = Array.from({ length: random.int(8) }, () => {
    const kind = random.int(6);
    if (kind === 0) return random.int(3) > 0 ? right() : random.bytes(random.int(40));
    if (kind === 1) return mangledFrame(random, takes);
    if (kind === 2) return random.int(8) === 0 ? bomb(random) : runOf(random);
    return right();
  });
  const large = encodeFrame(FrameType.PUBLISH, TOPICS[1]!, new Uint8Array(random.int(400_000)));
  return concat(...parts, ...random.int(60) === 0 ? [large, right()] : []);
}

/** Reads a whole stream without a thought for speed. */
function readNaively(stream: Uint8Array, limits: FrameLimits): Reading {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.length);
  const frames: Found[] = [];
  const refuse = () => ({ frames, error: new ProtocolError("refused") });
  for (let at = 0;;) {
    const head = stream[at] === 255 ? 5 : 1;
    if (at + head > stream.length) return { frames };
    const size = head === 5 ? view.getUint32(at + 1, true) : stream[at]!;
    // A size of 0 is wrong before there is a type.
    if (size === 0) return refuse();
    if (at + head + 1 > stream.length) return { frames };
    const limit = limits[stream[at + head]!];
    if (limit === undefined) return refuse();
    const isLarge = size - 1 > limit;
    if (isLarge && stream[at + head] !== FrameType.PUBLISH) return refuse();
    const end = at + head + size;
    if (!isLarge && end > stream.length) return { frames };
    const bytes = stream.subarray(at, isLarge ? at + head + 1 : end);
    frames.push({ bytes, oversize: isLarge ? size - 1 : 0 });
    at = end;
  }
}

/** A `FrameReader` under observation. */
class Reader {
  readonly #reader: FrameReader;
  readonly #random: Random;
  readonly #messageBytes: number;
  readonly #frames: Found[] = [];
  readonly #held: { readonly view: Uint8Array; readonly copy: Uint8Array; lease: Lease }[] = [];
  #given = 0;

  constructor(limits: FrameLimits, messageBytes: number, random: Random) {
    this.#reader = new FrameReader(limits);
    this.#messageBytes = messageBytes;
    this.#random = random;
  }

  read(pieces: readonly Uint8Array[]): Reading {
    try {
      for (const piece of pieces) this.#take(piece);
      return { frames: this.#frames };
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return { frames: this.#frames, error };
    }
  }

  #take(piece: Uint8Array): void {
    const reader = this.#reader;
    for (let at = 0; at < piece.length;) {
      if (this.#random.int(50) === 0) reader.trim();
      const space = reader.space();
      must(space.length > 0, "there is no space");
      const part = piece.subarray(at, at + space.length);
      space.set(part);
      reader.wrote(part.length);
      at += part.length;
      this.#given += part.length;
      while (reader.next()) this.#found();
      const { length } = reader.buffer;
      must(length <= 1024 + 16 * this.#given, `${length} bytes of room for ${this.#given}`);
      this.#checkHeld();
    }
  }

  #found(): void {
    const reader = this.#reader;
    const { buffer, start, type, oversize } = reader;
    if (type === FrameType.PUBLISH && oversize === 0 && this.#random.int(2) === 0) this.#extend();
    const { frames, end } = reader;
    for (let n = 0, from = start; n < frames; n++) {
      const to = oversize > 0 ? end : framesEnd(buffer, from, 1);
      this.#frames.push({ bytes: buffer.slice(from, to), oversize });
      from = to;
      must(n < frames - 1 || to === end, "a run does not end with its last frame");
    }
    if (this.#random.int(4) === 0) this.#hold();
  }

  /** Takes what stands behind a message, as clients and brokers do. */
  #extend(): void {
    const reader = this.#reader;
    const { buffer, body, end } = reader;
    let payload: number;
    try {
      payload = topicEnd(buffer, body, end);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return;
    }
    const bytesMax = this.#random.pick([10, 300, 100_000]);
    const topic = buffer.subarray(body, payload);
    for (;;) {
      const next = reader.extend(topic.length, this.#messageBytes, bytesMax);
      if (next === 0) return;
      must(isSame(buffer.subarray(next - topic.length, next), topic), "a run has two topics");
    }
  }

  #hold(): void {
    const { buffer, start, end } = this.#reader;
    const view = buffer.subarray(start, end);
    const lease = this.#reader.keep();
    lease.holders++;
    this.#held.push({ view, copy: view.slice(), lease });
    if (this.#held.length > 4) this.#held.shift()!.lease.release();
  }

  #checkHeld(): void {
    for (const { view, copy } of this.#held) {
      must(isSame(view, copy), "bytes that are held changed");
    }
  }
}

function compare(actual: Reading, expected: Reading, split: string): void {
  const [found, wanted] = [actual.frames, expected.frames];
  const isRight = found.length === wanted.length &&
    found.every(({ bytes, oversize }, i) =>
      oversize === wanted[i]!.oversize && isSame(bytes, wanted[i]!.bytes)
    );
  must(isRight, `${found.length} frames, ${wanted.length} expected, or others; split ${split}`);
  must(
    (actual.error === undefined) === (expected.error === undefined),
    `${actual.error ?? "no error"}, expected ${expected.error ?? "none"}; split ${split}`,
  );
}

function runFrames(random: Random, notes: Notes): void {
  const { takes, messageBytes } = random.pick(SIDES);
  const stream = streamOf(random, takes);
  notes.fed(stream);
  const expected = readNaively(stream, takes);
  const read = (pieces: readonly Uint8Array[]) =>
    new Reader(takes, messageBytes, random).read(pieces);
  const whole = read([stream]);
  compare(whole, expected, "nowhere");
  const check = (pieces: readonly Uint8Array[], split: string) => {
    const reading = read(pieces);
    compare(reading, expected, split);
    must(reading.error?.message === whole.error?.message, `${reading.error} ≠ ${whole.error}`);
  };
  for (let n = 0; n < 3; n++) {
    const pieces = piecesOf(random, stream);
    check(pieces, pieces.map(({ length }) => length).join().slice(0, 200));
  }
  if (stream.length <= CUT_EVERYWHERE_MAX && random.int(8) === 0) {
    for (let at = 1; at < stream.length; at++) {
      check([stream.subarray(0, at), stream.subarray(at)], `at ${at}`);
    }
  }
  notes.ended(whole.error?.message ?? `types ${typesOf(expected)}`);
}

/** The kinds of frames that were found, as letters. */
function typesOf({ frames }: Reading): string {
  const types = frames.map(({ bytes }) => bytes[bytes[0] === 255 ? 5 : 1]!);
  return [...new Set(types)].toSorted().map((type) => String.fromCharCode(97 + type)).join("");
}

/** See the module. */
export const frames: Target = { name: "frames", run: runFrames };
