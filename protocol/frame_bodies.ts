/**
 * The bodies of frames that are not messages ↔ bytes, as `docs/protocol.md` has them, and how long each
 * may be.
 */
import { concat } from "../base/bytes.ts";
import { knownCount, readCount, writeCount } from "../base/count.ts";
import { ProtocolError } from "../errors.ts";
import { ELEMENT_BYTES_MAX, TOPIC_ELEMENTS_MAX, type TopicPattern } from "../topic.ts";
import { type FrameLimits, FrameType, type Limits, type Reason } from "./frame.ts";
import { JOB_HEAD_BYTES, JOB_RANGES_MAX, MEMBER_BYTES_MAX, RANGE_BYTES } from "./job_bodies.ts";
import { decodePattern, decodeText, topicBlockMax, topicEnd } from "./topic_block.ts";

const TEXT_BYTES_MAX = 255;
/** Leaves room for what later versions may add. */
const OPENED_BYTES_MAX = 1024;
/** The limits that no broker exceeds; a client does not believe in more. */
export const LIMITS_MAX: Limits = {
  messageBytes: 2 ** 30,
  topicElements: TOPIC_ELEMENTS_MAX,
  elementBytes: ELEMENT_BYTES_MAX,
  subscriptions: 2 ** 20,
};
/** The heartbeats that a broker may choose, in milliseconds; a client does not believe in others. */
export const HEARTBEAT_MIN_MS = 10;
export const HEARTBEAT_MAX_MS = 2 ** 31 - 1;

const encoder = new TextEncoder();

/** What a client says in OPEN, before its topics and members. */
export interface Opening {
  /** The session to resume; `undefined` for a new one. */
  readonly session: Uint8Array | undefined;
  /** How many messages of that session the client has taken, as frames are counted. */
  readonly taken: number;
  /** How many calls. */
  readonly calls: number;
  /** Whether the broker is to hold publishers back rather than drop messages. */
  readonly wait: boolean;
  /** For how long without progress, in milliseconds. */
  readonly patience: number;
  /** What the client calls itself, for people; at most {@linkcode CLIENT_NAME_BYTES_MAX}. */
  readonly name: string;
}

/** What became of the session that a client wanted to resume. */
export const Resumption = {
  /** This is a new session. */
  NEW: 0,
  /** It goes on. */
  RESUMED: 1,
  /** It was cut off; this is a new one. */
  CUT_OFF: 2,
} as const;

/** The number of an outcome. */
export type Resumption = typeof Resumption[keyof typeof Resumption];

/** What a broker says in OPENED. */
export interface Opened {
  /** What became of the session that the client named. */
  readonly outcome: number;
  /** The secret id of the session, for resuming it. */
  readonly session: Uint8Array;
  /** How many messages of a resumed session the broker has taken, as frames are counted. */
  readonly taken: number;
  /** How many calls. */
  readonly calls: number;
  /** How many messages a session that was cut off missed; `undefined`: nobody knows. */
  readonly missed: number | undefined;
  /** How long a side may be silent before it sends an ACK, in milliseconds. */
  readonly heartbeat: number;
  /** How many bytes of frames may be sent and not acknowledged, in each lane. */
  readonly window: number;
  /** What the client may send. */
  readonly limits: Limits;
}

/** Bytes of the id of a session. */
export const SESSION_ID_BYTES = 16;
/** The longest name that a client gives itself, in bytes of UTF-8. */
export const CLIENT_NAME_BYTES_MAX = 64;
/** Bytes of an OPEN before the name. */
const OPENING_BYTES = SESSION_ID_BYTES + 8 + 8 + 1 + 4 + 1;
const OPENED_BYTES = 1 + SESSION_ID_BYTES + 8 + 8 + 8 + 4 + 4 + 16;
const ACK_BYTES = 8 + 8 + 4;

/** The body of OPEN before its topics and members. */
export function encodeOpening(opening: Opening): Uint8Array {
  const { session, taken, calls, wait, patience, name } = opening;
  const nameBytes = encoder.encode(name);
  const body = new Uint8Array(OPENING_BYTES + nameBytes.length);
  const view = new DataView(body.buffer);
  if (session !== undefined) body.set(session);
  writeCount(view, SESSION_ID_BYTES, taken);
  writeCount(view, SESSION_ID_BYTES + 8, calls);
  view.setUint8(SESSION_ID_BYTES + 16, wait ? 1 : 0);
  view.setUint32(SESSION_ID_BYTES + 17, patience, true);
  view.setUint8(OPENING_BYTES - 1, nameBytes.length);
  body.set(nameBytes, OPENING_BYTES);
  return body;
}

/** What an OPEN says, and where its topics begin. */
export function decodeOpening(body: Uint8Array): { opening: Opening; topics: number } {
  if (body.length < OPENING_BYTES) {
    throw new ProtocolError(`Cannot read OPEN: it has ${body.length} bytes, not ${OPENING_BYTES}`);
  }
  const end = OPENING_BYTES + body[OPENING_BYTES - 1]!;
  if (end > OPENING_BYTES + CLIENT_NAME_BYTES_MAX || end > body.length) {
    throw new ProtocolError(
      `Cannot read OPEN: the client's name has ${end - OPENING_BYTES} bytes; ` +
        `${body.length - OPENING_BYTES} are left, and the limit is ${CLIENT_NAME_BYTES_MAX}`,
    );
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const session = body.slice(0, SESSION_ID_BYTES);
  const opening = {
    session: session.every((byte) => byte === 0) ? undefined : session,
    taken: readCount(view, SESSION_ID_BYTES),
    calls: readCount(view, SESSION_ID_BYTES + 8),
    wait: view.getUint8(SESSION_ID_BYTES + 16) === 1,
    patience: view.getUint32(SESSION_ID_BYTES + 17, true),
    name: decodeText(body, OPENING_BYTES, end),
  };
  return { opening, topics: end };
}

/** The body of OPENED. */
export function encodeOpened(opened: Opened): Uint8Array {
  const { outcome, session, taken, calls, missed, heartbeat, window, limits } = opened;
  const body = new Uint8Array(OPENED_BYTES);
  const view = new DataView(body.buffer);
  body[0] = outcome;
  body.set(session, 1);
  let at = 1 + SESSION_ID_BYTES;
  for (const count of [taken, calls, missed]) {
    writeCount(view, at, count);
    at += 8;
  }
  const { messageBytes, topicElements, elementBytes, subscriptions } = limits;
  for (
    const number of [
      heartbeat,
      window,
      messageBytes,
      topicElements,
      elementBytes,
      subscriptions,
    ]
  ) {
    view.setUint32(at, number, true);
    at += 4;
  }
  return body;
}

/** What an OPENED says, within what a broker may say; ignores what later versions may add. */
export function decodeOpened(body: Uint8Array): Opened {
  if (body.length < OPENED_BYTES) {
    throw new ProtocolError(`Cannot read OPENED: it has ${body.length} bytes, not ${OPENED_BYTES}`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const numbers = 1 + SESSION_ID_BYTES;
  const number = (at: number) => view.getUint32(numbers + 24 + at, true);
  const limit = (at: number, name: keyof Limits) => Math.min(number(at), LIMITS_MAX[name]);
  return {
    outcome: body[0]!,
    session: body.slice(1, numbers),
    taken: readCount(view, numbers),
    calls: readCount(view, numbers + 8),
    missed: knownCount(view, numbers + 16),
    heartbeat: Math.max(HEARTBEAT_MIN_MS, Math.min(number(0), HEARTBEAT_MAX_MS)),
    window: number(4),
    limits: {
      messageBytes: limit(8, "messageBytes"),
      topicElements: limit(12, "topicElements"),
      elementBytes: limit(16, "elementBytes"),
      subscriptions: limit(20, "subscriptions"),
    },
  };
}

/** The body of GAP and LOST: how many messages; 0 in LOST, or `undefined`: an unknown number. */
export function encodeGap(missed: number | undefined): Uint8Array {
  const body = new DataView(new ArrayBuffer(8));
  writeCount(body, 0, missed);
  return new Uint8Array(body.buffer);
}

/** What a GAP or a LOST says; `undefined` if that cannot be read: messages were lost all the same. */
export function decodeGap(body: Uint8Array): number | undefined {
  if (body.length !== 8) return undefined;
  return knownCount(new DataView(body.buffer, body.byteOffset, 8), 0);
}

/** The body of REFUSED and DENIED: the topic, why, and a text that is cut to 255 bytes. */
export function encodeRefused(reason: Reason, topic: Uint8Array, text: string): Uint8Array {
  return concat(topic, encodeGoodbye(reason, text));
}

/** What a DENIED says, or a REFUSED, whose topic has no `any`. */
export function decodeRefused(
  body: Uint8Array,
  limits: Limits,
): { topic: TopicPattern; reason: number; text: string } {
  const end = topicEnd(body, 0, body.length);
  return { topic: decodePattern(body, 0, end, limits), ...decodeGoodbye(body.subarray(end)) };
}

/** The body of ACK: frames of messages and of calls, the low 32 bits of the number of requests. */
export function encodeAck(messages: number, asks: number, calls = 0): Uint8Array {
  const body = new DataView(new ArrayBuffer(ACK_BYTES));
  writeCount(body, 0, messages);
  writeCount(body, 8, calls);
  body.setUint32(16, asks, true);
  return new Uint8Array(body.buffer);
}

/** What an ACK says. */
export function decodeAck(body: Uint8Array): { messages: number; calls: number; asks: number } {
  if (body.length !== ACK_BYTES) {
    throw new ProtocolError(`Cannot read ACK: it has ${body.length} bytes, not ${ACK_BYTES}`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  return {
    messages: readCount(view, 0),
    calls: readCount(view, 8),
    asks: view.getUint32(16, true),
  };
}

/** The body of GOODBYE: a reason, and a text that is cut to 255 bytes. */
export function encodeGoodbye(reason: Reason, text: string): Uint8Array {
  const body = new Uint8Array(1 + TEXT_BYTES_MAX);
  body[0] = reason;
  const { written } = encoder.encodeInto(text, body.subarray(1));
  return body.subarray(0, 1 + written);
}

/** What a GOODBYE says; the reason may be one that only a later version knows. */
export function decodeGoodbye(body: Uint8Array): { reason: number; text: string } {
  if (body.length === 0) throw new ProtocolError("Cannot read GOODBYE: it has no reason");
  return { reason: body[0]!, text: decodeText(body, 1, body.length) };
}

function frameLimitsOf(limits: Readonly<Record<number, number>>): FrameLimits {
  return Array.from({ length: FrameType.RETURNED + 1 }, (_, type) => limits[type]);
}

/** What a broker takes from a client. */
export function clientFrameLimits(limits: Limits): FrameLimits {
  const topic = topicBlockMax(limits);
  return frameLimitsOf({
    [FrameType.PUBLISH]: topic + limits.messageBytes,
    [FrameType.OPEN]: OPENING_BYTES + CLIENT_NAME_BYTES_MAX + 4 +
      (MEMBER_BYTES_MAX + topic) * limits.subscriptions,
    [FrameType.SUBSCRIBE]: topic,
    [FrameType.UNSUBSCRIBE]: topic,
    [FrameType.JOIN]: MEMBER_BYTES_MAX + topic,
    [FrameType.LEAVE]: 4,
    [FrameType.FINISHED]: RANGE_BYTES * JOB_RANGES_MAX,
    [FrameType.RETURNED]: RANGE_BYTES * JOB_RANGES_MAX,
    [FrameType.ACK]: ACK_BYTES,
    [FrameType.ASK]: 0,
    [FrameType.GOODBYE]: 1 + TEXT_BYTES_MAX,
  });
}

/** What a client takes from a broker: before OPENED tells the limits, and after. */
export function brokerFrameLimits(limits?: Limits): FrameLimits {
  const goodbye = 1 + TEXT_BYTES_MAX;
  const topic = topicBlockMax(limits ?? LIMITS_MAX);
  if (limits === undefined) {
    return frameLimitsOf({
      [FrameType.GOODBYE]: goodbye,
      [FrameType.OPENED]: OPENED_BYTES_MAX,
      [FrameType.DENIED]: topic + goodbye,
    });
  }
  return frameLimitsOf({
    [FrameType.GOODBYE]: goodbye,
    [FrameType.PUBLISH]: topic + limits.messageBytes,
    [FrameType.JOB]: JOB_HEAD_BYTES + topic + limits.messageBytes,
    [FrameType.ACK]: ACK_BYTES,
    [FrameType.ASK]: 0,
    [FrameType.GAP]: 8,
    [FrameType.LOST]: 8,
    [FrameType.REFUSED]: topic + goodbye,
    [FrameType.DENIED]: topic + goodbye,
  });
}
