/**
 * Bodies of frames: what can be read can be written again and means the same, and nothing but
 * `ProtocolError` is thrown.
 */
import { concat } from "../../base/bytes.ts";
import { ProtocolError } from "../../errors.ts";
import type { Limits, Reason } from "../../protocol/frame.ts";
import {
  decodeAck,
  decodeGap,
  decodeGoodbye,
  decodeOpened,
  decodeOpening,
  decodeRefused,
  encodeAck,
  encodeGap,
  encodeGoodbye,
  encodeOpened,
  encodeOpening,
  encodeRefused,
} from "../../protocol/frame_bodies.ts";
import {
  decodeMember,
  decodeRanges,
  encodeMember,
  encodeRanges,
} from "../../protocol/job_bodies.ts";
import { decodePattern, decodeTopic, encodeTopic, topicEnd } from "../../protocol/topic_block.ts";
import {
  any,
  ANY_MAX,
  isPath,
  type PatternElement,
  type TopicPath,
  type TopicPattern,
} from "../../topic.ts";
import { show } from "../harness/payload.ts";
import type { Random } from "../harness/random.ts";
import { mangle, must, type Notes, type Target } from "./target.ts";

const LIMITS: Limits = { messageBytes: 1, topicElements: 16, elementBytes: 255, subscriptions: 1 };
/** The longest text that is written. */
const TEXT_BYTES_MAX = 255;
const ELEMENTS = [
  "a",
  "é",
  "日本",
  "😀",
  "*local",
  "\0",
  "\ufeff",
  "x".repeat(254),
  "y".repeat(255),
];
const COUNTS = [0, 1, 255, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];

/** One kind of body. */
interface Kind {
  readonly name: string;
  /** Bytes of that kind. */
  make(random: Random): Uint8Array;
  /** What bytes mean. */
  read(body: Uint8Array): unknown;
  /** What `read` returned, as bytes. */
  write(meaning: never): Uint8Array;
}

function kind<M>(kind: {
  readonly name: string;
  make(random: Random): Uint8Array;
  read(body: Uint8Array): M;
  write(meaning: M): Uint8Array;
}): Kind {
  return kind;
}

function patternOf(random: Random): TopicPattern {
  const length = random.int(18);
  const pattern: PatternElement[] = Array.from({ length }, () => random.pick(ELEMENTS));
  if (length > 0 && random.int(2) === 0) {
    for (let anys = random.int(ANY_MAX + 2); anys > 0; anys--) pattern[random.int(length)] = any;
  }
  return pattern;
}

/** A topic, or what looks like one, with sizes in the long form among others. */
function topicOf(random: Random): Uint8Array {
  if (random.int(3) > 0) return encodeTopic(patternOf(random));
  const elements = patternOf(random).map((element) => {
    const bytes = new TextEncoder().encode(element === any ? "" : element);
    return concat(longSize(bytes.length), bytes);
  });
  const rest = concat(...elements);
  return concat(longSize(rest.length), rest);
}

function longSize(size: number): Uint8Array {
  return Uint8Array.of(255, size, size >>> 8, size >>> 16, size >>> 24);
}

/** The whole topic that a body is, where somebody wants it. */
function readPattern(body: Uint8Array): TopicPattern {
  const end = topicEnd(body, 0, body.length);
  must(end > 0 && end <= body.length, `a topic ends at ${end} of ${body.length}`);
  const pattern = decodePattern(body, 0, end, LIMITS);
  must(pattern.length <= LIMITS.topicElements, `${pattern.length} elements`);
  const names = pattern.filter((element) => element !== any);
  must(names.every((name) => name.isWellFormed() && name !== ""), "an element is none");
  must(pattern.length - names.length <= ANY_MAX, `too many of ${show(pattern)} are any`);
  return pattern;
}

/** The same where a message goes there. */
function readTopic(body: Uint8Array): TopicPath {
  const pattern = readPattern(body);
  const path = decodeTopic(body, 0, topicEnd(body, 0, body.length), LIMITS);
  must(isPath(pattern), `a message goes to ${show(pattern)}`);
  must(show(path) === show(pattern), `${show(path)} is wanted as ${show(pattern)}`);
  return path;
}

const count = (random: Random) => random.pick(COUNTS);

const KINDS: readonly Kind[] = [
  kind({
    name: "OPEN",
    make: (random) =>
      encodeOpening({
        session: random.int(2) === 0 ? undefined : random.bytes(16),
        taken: count(random),
        calls: count(random),
        wait: random.int(2) === 0,
        patience: random.int(2 ** 32),
        name: random.pick(["", "a", "é".repeat(32), "x".repeat(64)]),
      }),
    read: (body) => decodeOpening(body).opening,
    write: encodeOpening,
  }),
  kind({
    name: "OPENED",
    make: (random) =>
      encodeOpened({
        outcome: random.int(4),
        session: random.bytes(16),
        taken: count(random),
        calls: count(random),
        missed: count(random),
        heartbeat: random.int(2 ** 32),
        window: random.int(2 ** 32),
        limits: LIMITS,
      }),
    read: decodeOpened,
    write: encodeOpened,
  }),
  kind({
    name: "ACK",
    make: (random) => encodeAck(count(random), random.int(2 ** 32), count(random)),
    read: decodeAck,
    write: ({ messages, asks, calls }) => encodeAck(messages, asks, calls),
  }),
  kind({
    name: "GAP",
    make: (random) => encodeGap(count(random)),
    read: decodeGap,
    write: encodeGap,
  }),
  kind({
    name: "GOODBYE",
    make: (random) => encodeGoodbye(random.int(256) as Reason, random.pick(ELEMENTS)),
    read: (body) => decodeGoodbye(body.subarray(0, 1 + TEXT_BYTES_MAX)),
    write: ({ reason, text }) => encodeGoodbye(reason as Reason, text),
  }),
  kind({
    name: "REFUSED",
    make: (random) =>
      encodeRefused(random.int(256) as Reason, topicOf(random), random.pick(ELEMENTS)),
    read: (body) => decodeRefused(body.subarray(0, topicSize(body) + 1 + TEXT_BYTES_MAX), LIMITS),
    write: ({ topic, reason, text }) => encodeRefused(reason as Reason, encodeTopic(topic), text),
  }),
  kind({
    name: "member",
    make: (random) =>
      encodeMember({
        number: random.int(2 ** 32),
        concurrency: random.pick([1, 16, 2 ** 32 - 1]),
        group: random.pick(["a", "é".repeat(127), "x".repeat(255)]),
        topic: topicOf(random),
      }),
    read: (body) => decodeMember(body).member,
    write: encodeMember,
  }),
  kind({
    name: "ranges",
    make: (random) =>
      encodeRanges(
        Array.from(
          { length: 1 + random.int(3) },
          () => ({ first: count(random), count: random.int(2 ** 32) }),
        ),
      ),
    read: decodeRanges,
    write: encodeRanges,
  }),
  kind({ name: "topic", make: topicOf, read: readTopic, write: encodeTopic }),
  kind({ name: "wanted topic", make: topicOf, read: readPattern, write: encodeTopic }),
];

function topicSize(body: Uint8Array): number {
  return topicEnd(body, 0, body.length);
}

/** The same bytes somewhere in a larger buffer. */
function placed(random: Random, bytes: Uint8Array): Uint8Array {
  const before = random.bytes(random.int(5));
  const buffer = concat(before, bytes, random.bytes(random.int(5)));
  return buffer.subarray(before.length, before.length + bytes.length);
}

function runBodies(random: Random, notes: Notes): void {
  const { name, make, read, write } = random.pick(KINDS);
  const body = placed(random, mangle(random, make(random)));
  notes.fed(`as ${name}`);
  notes.fed(body);
  let meaning: unknown;
  try {
    meaning = read(body);
  } catch (error) {
    return notes.failed(error, ProtocolError);
  }
  notes.ended(`${name}, read`);
  const again = read(placed(random, write(meaning as never)));
  must(show(again) === show(meaning), `${show(meaning)}\nwritten and read: ${show(again)}`);
}

/** See the module. */
export const bodies: Target = { name: "bodies", run: runBodies };
