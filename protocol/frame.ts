/**
 * Frames ↔ bytes. Knows no sockets, no topics' meaning, no messages' contents.
 *
 * ```
 * ┌────────┬─────────┬──────────────┐   size: one byte 0…254, or 255 and then a
 * │  size  │ type u8 │ body         │         32-bit number, little endian;
 * └────────┴─────────┴──────────────┘         it counts the type and the body
 * ```
 *
 * A topic inside a body is a block that is told apart by comparing bytes:
 *
 * ```
 * ┌────────┬──────────────────────────────────────────┐
 * │  size  │ for each element: size, its UTF-8 bytes  │
 * └────────┴──────────────────────────────────────────┘
 * ```
 *
 * Everything from the other side is checked here before it is buffered: a frame that is longer than
 * its type may be is refused as soon as its first bytes are there.
 */
import { concat, type Lease } from "../base/bytes.ts";
import { ProtocolError } from "../errors.ts";

/** The kinds of frames; the numbers stand on the wire and in `docs/protocol.md`. */
export const FrameType = {
  /** A message: topic block, payload. Counted. */
  PUBLISH: 1,
  /** Client: which session, its policy, and its topics. The first frame of a connection. */
  OPEN: 2,
  /** Broker: the session is open; what is left of it, and the limits. */
  OPENED: 3,
  /** Client: send messages for this topic from now on. */
  SUBSCRIBE: 4,
  /** Client: send no more messages for this topic. */
  UNSUBSCRIBE: 5,
  /** How many counted frames are acknowledged, and how many requests for an ACK have arrived. */
  ACK: 6,
  /** Asks for an ACK. */
  ASK: 7,
  /** The last frame of a side: a reason and a text. */
  GOODBYE: 8,
  /** Broker: so many messages were dropped here. Counted. */
  GAP: 9,
  /** Broker: a message of the client's was not taken. Counted. */
  REFUSED: 10,
  /** Broker: the client may not subscribe to this topic. */
  DENIED: 11,
  /** Broker: so many messages of other brokers were lost on the way to this one. Counted. */
  LOST: 12,
} as const;

/** The number of a kind of frame. */
export type FrameType = typeof FrameType[keyof typeof FrameType];

/** Whether frames of this type have a number of their own, and are sent again if they got lost. */
export function isCounted(type: number): boolean {
  return type === FrameType.PUBLISH || type === FrameType.GAP || type === FrameType.REFUSED ||
    type === FrameType.LOST;
}

/**
 * Why a side ends a session, or refuses a message; the numbers stand on the wire and in
 * `docs/protocol.md`.
 */
export const Reason = {
  /** It has nothing more to do. */
  DONE: 0,
  /** The broker is shutting down. */
  SHUTDOWN: 1,
  /** The other side broke the protocol. */
  PROTOCOL: 2,
  /** A message is larger than the limit. */
  TOO_BIG: 3,
  /** The other side subscribed to more topics than the limit. */
  TOO_MANY_SUBSCRIPTIONS: 4,
  /** The other side held its publishers back for longer than it may. */
  CUT_OFF: 5,
  /** The topic is not the other side's to publish, or subscribe, to. */
  FORBIDDEN: 6,
  /** The session goes on over another connection. */
  REPLACED: 7,
  /** A topic has more elements, or a longer one, than the limit. */
  TOPIC_TOO_BIG: 8,
  /** More messages come than the key allows. */
  TOO_FAST: 9,
  /** The key is no longer one of the broker's. */
  KEY_REVOKED: 10,
  /** The other side does not read what it is answered. */
  NOT_READING: 11,
} as const;

/** The number of a reason. */
export type Reason = typeof Reason[keyof typeof Reason];

/** What the two sides tell each other about limits, in OPENED. */
export interface Limits {
  /** The largest payload, in bytes. */
  messageBytes: number;
  /** The most elements of a topic. */
  topicElements: number;
  /** The longest element of a topic, in bytes of UTF-8. */
  elementBytes: number;
  /** The most topics to which one client subscribes. */
  subscriptions: number;
}

/** The first byte of a size that takes five bytes. */
const LONG = 255;
/** Bytes of a size in its long form. */
const LONG_BYTES = 5;
const TEXT_BYTES_MAX = 255;
/** Leaves room for what later versions may tell. */
const OPENED_BYTES_MAX = 1024;
/** Longer topics are left to `TextEncoder`; all of their sizes take one byte. */
const ASCII_TOPIC_BYTES_MAX = 63;
/** What no broker allows more of. */
const TOPIC_LIMITS_MAX = { topicElements: 16, elementBytes: 255 };
const READ_BYTES_MIN = 512;
const READ_BYTES_MAX = 256 * 1024;
/** After so many reads in a row that fill little of it the buffer is small again. */
const SMALL_READS_MAX = 32;
/** How many lent buffers a reader remembers. */
const LENT_MAX = 8;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** How many bytes a size takes. */
export function sizeLength(size: number): number {
  return size < LONG ? 1 : LONG_BYTES;
}

/** Writes a size at `at`; returns the place after it. */
export function writeSize(bytes: Uint8Array, at: number, size: number): number {
  if (size < LONG) {
    bytes[at] = size;
    return at + 1;
  }
  bytes[at] = LONG;
  bytes[at + 1] = size;
  bytes[at + 2] = size >>> 8;
  bytes[at + 3] = size >>> 16;
  bytes[at + 4] = size >>> 24;
  return at + LONG_BYTES;
}

function readLong(bytes: Uint8Array, at: number): number {
  return (bytes[at + 1]! | bytes[at + 2]! << 8 | bytes[at + 3]! << 16 | bytes[at + 4]! << 24) >>> 0;
}

/** A count in 64 bits; one that a number does not hold exactly is none that a side can have. */
function readCount(view: DataView, at: number): number {
  const count = view.getBigUint64(at, true);
  if (count <= Number.MAX_SAFE_INTEGER) return Number(count);
  throw new ProtocolError(
    `Cannot read a count: it is ${count}, the largest is ${Number.MAX_SAFE_INTEGER}`,
  );
}

/** The longest topic block under these limits, in bytes; sizes may be written in the long form. */
export function topicBlockMax(
  { topicElements, elementBytes }: Pick<Limits, "topicElements" | "elementBytes">,
): number {
  return LONG_BYTES + topicElements * (LONG_BYTES + elementBytes);
}

/** A topic as a block of bytes. */
export function encodeTopic(path: readonly string[]): Uint8Array {
  return encodeAsciiTopic(path) ?? encodeAnyTopic(path);
}

function encodeAnyTopic(path: readonly string[]): Uint8Array {
  const elements = path.map((element) => encoder.encode(element));
  const size = elements.reduce((sum, { length }) => sum + sizeLength(length) + length, 0);
  const block = new Uint8Array(sizeLength(size) + size);
  let at = writeSize(block, 0, size);
  for (const element of elements) {
    at = writeSize(block, at, element.length);
    block.set(element, at);
    at += element.length;
  }
  return block;
}

/** The same for a short topic in ASCII, without a `TextEncoder`; `undefined` for another. */
function encodeAsciiTopic(path: readonly string[]): Uint8Array | undefined {
  let size = 0;
  for (let i = 0; i < path.length; i++) size += 1 + path[i]!.length;
  if (size > ASCII_TOPIC_BYTES_MAX) return undefined;
  const block = new Uint8Array(1 + size);
  block[0] = size;
  let at = 1;
  for (let i = 0; i < path.length; i++) {
    const element = path[i]!;
    block[at++] = element.length;
    for (let j = 0; j < element.length; j++) {
      const unit = element.charCodeAt(j);
      if (unit > 0x7f) return undefined;
      block[at++] = unit;
    }
  }
  return block;
}

/** Where the topic block that begins at `start` ends; it must end at or before `end`. */
export function topicEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start + 1;
  if (at > end) throw new ProtocolError("Cannot read a topic: the frame ends before it");
  let size = bytes[start]!;
  if (size === LONG) {
    at = start + 5;
    if (at > end) throw new ProtocolError("Cannot read a topic: the frame ends in its size");
    size = readLong(bytes, start);
  }
  if (size > end - at) {
    throw new ProtocolError(`Cannot read a topic: its size is ${size}, ${end - at} bytes are left`);
  }
  return at + size;
}

/** The topic of the whole block from `start` to before `end`, checked against the limits. */
export function decodeTopic(
  bytes: Uint8Array,
  start: number,
  end: number,
  limits: Limits,
): readonly string[] {
  const path: string[] = [];
  let at = start + (bytes[start] === LONG ? 5 : 1);
  while (at < end) {
    let size = bytes[at]!;
    const from = at + (size === LONG ? 5 : 1);
    if (from > end) {
      throw new ProtocolError("Cannot read a topic: it ends in the size of an element");
    }
    if (size === LONG) size = readLong(bytes, at);
    if (size === 0) throw new ProtocolError("Cannot read a topic: an element is empty");
    if (size > limits.elementBytes) {
      throw new FrameError(
        `Cannot read a topic: an element has ${size} bytes, limit is ${limits.elementBytes}`,
        Reason.TOPIC_TOO_BIG,
      );
    }
    if (size > end - from) throw new ProtocolError("Cannot read a topic: it ends in an element");
    if (path.length === limits.topicElements) {
      throw new FrameError(
        `Cannot read a topic: it has more than ${limits.topicElements} elements`,
        Reason.TOPIC_TOO_BIG,
      );
    }
    at = from + size;
    path.push(decodeText(bytes, from, at));
  }
  return Object.freeze(path);
}

function decodeText(bytes: Uint8Array, start: number, end: number): string {
  try {
    return decoder.decode(bytes.subarray(start, end));
  } catch (error) { // TextDecoder's TypeError for bytes that are not UTF-8.
    throw new ProtocolError("Cannot read a text: it is not UTF-8", { cause: error });
  }
}

/** A whole frame. */
export function encodeFrame(type: FrameType, ...parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, { length }) => sum + length, 1);
  const frame = new Uint8Array(sizeLength(size) + size);
  let at = writeSize(frame, 0, size);
  frame[at++] = type;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

/** What a client says in OPEN, before its topics. */
export interface Opening {
  /** The session to go on with; none for a new one. */
  readonly session: Uint8Array | undefined;
  /** How many counted frames of that session the client has taken. */
  readonly taken: number;
  /** Whether the broker is to hold publishers back rather than drop messages. */
  readonly wait: boolean;
  /** For how long without progress, in milliseconds. */
  readonly patience: number;
}

/** What became of the session that a client wanted to go on with. */
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
  /** How many counted frames of a resumed session the broker has taken. */
  readonly taken: number;
  /** How many messages a session that was cut off missed. */
  readonly missed: number;
  /** After how long without anything to send a side sends an ACK, in milliseconds. */
  readonly heartbeat: number;
  /** How many bytes of counted frames may be sent and not acknowledged. */
  readonly window: number;
  /** What the client may send. */
  readonly limits: Limits;
}

/** Bytes of the id of a session. */
export const SESSION_ID_BYTES = 16;
const OPENING_BYTES = SESSION_ID_BYTES + 8 + 1 + 4;
const OPENED_BYTES = 1 + SESSION_ID_BYTES + 8 + 8 + 4 + 4 + 16;

/** The body of OPEN before its topics. */
export function encodeOpening({ session, taken, wait, patience }: Opening): Uint8Array {
  const body = new Uint8Array(OPENING_BYTES);
  const view = new DataView(body.buffer);
  if (session !== undefined) body.set(session);
  view.setBigUint64(SESSION_ID_BYTES, BigInt(taken), true);
  view.setUint8(SESSION_ID_BYTES + 8, wait ? 1 : 0);
  view.setUint32(SESSION_ID_BYTES + 9, patience, true);
  return body;
}

/** What an OPEN says, and where its topics begin. */
export function decodeOpening(body: Uint8Array): { opening: Opening; topics: number } {
  if (body.length < OPENING_BYTES) {
    throw new ProtocolError(`Cannot read OPEN: it has ${body.length} bytes, not ${OPENING_BYTES}`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const session = body.slice(0, SESSION_ID_BYTES);
  const opening = {
    session: session.every((byte) => byte === 0) ? undefined : session,
    taken: readCount(view, SESSION_ID_BYTES),
    wait: view.getUint8(SESSION_ID_BYTES + 8) === 1,
    patience: view.getUint32(SESSION_ID_BYTES + 9, true),
  };
  return { opening, topics: OPENING_BYTES };
}

/** The body of OPENED. */
export function encodeOpened(opened: Opened): Uint8Array {
  const { outcome, session, taken, missed, heartbeat, window, limits } = opened;
  const body = new Uint8Array(OPENED_BYTES);
  const view = new DataView(body.buffer);
  body[0] = outcome;
  body.set(session, 1);
  let at = 1 + SESSION_ID_BYTES;
  for (const count of [taken, missed]) {
    view.setBigUint64(at, BigInt(count), true);
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

/** What an OPENED says; what stands after it is for later versions. */
export function decodeOpened(body: Uint8Array): Opened {
  if (body.length < OPENED_BYTES) {
    throw new ProtocolError(`Cannot read OPENED: it has ${body.length} bytes, not ${OPENED_BYTES}`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const numbers = 1 + SESSION_ID_BYTES;
  const count = (at: number) => readCount(view, numbers + at);
  const number = (at: number) => view.getUint32(numbers + at, true);
  return {
    outcome: body[0]!,
    session: body.slice(1, numbers),
    taken: count(0),
    missed: count(8),
    heartbeat: number(16),
    window: number(20),
    limits: {
      messageBytes: number(24),
      topicElements: number(28),
      elementBytes: number(32),
      subscriptions: number(36),
    },
  };
}

/** The body of GAP and LOST: how many messages; 0 in LOST: nobody knows how many. */
export function encodeGap(missed: number): Uint8Array {
  const body = new DataView(new ArrayBuffer(8));
  body.setBigUint64(0, BigInt(missed), true);
  return new Uint8Array(body.buffer);
}

/** What a GAP or a LOST says. */
export function decodeGap(body: Uint8Array): number {
  if (body.length !== 8) {
    throw new ProtocolError(`Cannot read GAP: it has ${body.length} bytes, not 8`);
  }
  return readCount(new DataView(body.buffer, body.byteOffset, 8), 0);
}

/** The body of REFUSED and DENIED: the topic, why, and a text that is cut to 255 bytes. */
export function encodeRefused(reason: Reason, topic: Uint8Array, text: string): Uint8Array {
  return concat(topic, encodeGoodbye(reason, text));
}

/** What a REFUSED or a DENIED says. */
export function decodeRefused(
  body: Uint8Array,
  limits: Limits,
): { topic: readonly string[]; reason: number; text: string } {
  const end = topicEnd(body, 0, body.length);
  return { topic: decodeTopic(body, 0, end, limits), ...decodeGoodbye(body.subarray(end)) };
}

/** The body of ACK: counted frames in 64 bits, requests in 32. */
export function encodeAck(count: number, asks: number): Uint8Array {
  const body = new DataView(new ArrayBuffer(12));
  body.setBigUint64(0, BigInt(count), true);
  body.setUint32(8, asks, true);
  return new Uint8Array(body.buffer);
}

/** What an ACK says. */
export function decodeAck(body: Uint8Array): { count: number; asks: number } {
  if (body.length !== 12) {
    throw new ProtocolError(`Cannot read ACK: it has ${body.length} bytes, not 12`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  return { count: readCount(view, 0), asks: view.getUint32(8, true) };
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

/** The longest body of each kind of frame that a side takes, by type; others are not taken. */
export type FrameLimits = readonly (number | undefined)[];

function frameLimitsOf(limits: Readonly<Record<number, number>>): FrameLimits {
  return Array.from({ length: FrameType.LOST + 1 }, (_, type) => limits[type]);
}

/** What a broker takes from a client. */
export function clientFrameLimits(limits: Limits): FrameLimits {
  const topic = topicBlockMax(limits);
  return frameLimitsOf({
    [FrameType.PUBLISH]: topic + limits.messageBytes,
    [FrameType.OPEN]: OPENING_BYTES + topic * limits.subscriptions,
    [FrameType.SUBSCRIBE]: topic,
    [FrameType.UNSUBSCRIBE]: topic,
    [FrameType.ACK]: 12,
    [FrameType.ASK]: 0,
    [FrameType.GOODBYE]: 1 + TEXT_BYTES_MAX,
  });
}

/** What a client takes from a broker: before OPENED tells the limits, and after. */
export function brokerFrameLimits(limits?: Limits): FrameLimits {
  const goodbye = 1 + TEXT_BYTES_MAX;
  const topic = topicBlockMax(limits ?? TOPIC_LIMITS_MAX);
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
    [FrameType.ACK]: 12,
    [FrameType.ASK]: 0,
    [FrameType.GAP]: 8,
    [FrameType.LOST]: 8,
    [FrameType.REFUSED]: topic + goodbye,
    [FrameType.DENIED]: topic + goodbye,
  });
}

/** Messages of one topic whose frames stand side by side. */
export interface Run {
  /** Where their topic block begins, in the first of them. */
  readonly topic: number;
  /** Where the payload of the first begins. */
  readonly payload: number;
  /** Where the last ends. */
  readonly end: number;
  /** How many there are. */
  readonly frames: number;
}

/**
 * The PUBLISH frames from `start` on that have the same topic as the first, in bytes that hold whole
 * frames. One whose payload is longer than `payloadMax` stands alone.
 *
 * @throws {ProtocolError} When there is something else, or a frame is cut.
 */
export function runAt(bytes: Uint8Array, start: number, payloadMax = Infinity): Run {
  const topic = publishBody(bytes, start);
  let end = frameEnd(bytes, start);
  const payload = topicEnd(bytes, topic, end);
  if (payload === end) throw new ProtocolError("Cannot take a message: it has no payload");
  let frames = 1;
  if (end - payload > payloadMax) return { topic, payload, end, frames };
  for (let at = end; at < bytes.length; at = end) {
    const next = frameEnd(bytes, at);
    const other = publishBody(bytes, at);
    const length = next - other - (payload - topic);
    if (length < 1 || length > payloadMax || !isSame(bytes, topic, payload, other)) break;
    end = next;
    frames++;
  }
  return { topic, payload, end, frames };
}

function publishBody(bytes: Uint8Array, start: number): number {
  const at = start + (bytes[start] === LONG ? LONG_BYTES : 1);
  if (bytes[at] === FrameType.PUBLISH) return at + 1;
  throw new ProtocolError("Cannot read messages: there is a frame that is none");
}

function frameEnd(bytes: Uint8Array, start: number): number {
  const isLong = bytes[start] === LONG;
  if (isLong && bytes.length - start < LONG_BYTES) throw cutFrame();
  const size = isLong ? readLong(bytes, start) : bytes[start]!;
  const at = start + (isLong ? LONG_BYTES : 1);
  if (size === 0 || size > bytes.length - at) throw cutFrame();
  return at + size;
}

function cutFrame(): ProtocolError {
  return new ProtocolError("Cannot read messages: the last frame is cut");
}

function isSame(bytes: Uint8Array, start: number, end: number, other: number): boolean {
  for (let i = 0; i < end - start; i++) if (bytes[start + i] !== bytes[other + i]) return false;
  return true;
}

/** A frame that has arrived: the bytes from `start` to before `end` of `buffer`. */
export interface Frame {
  /** Where the frame is. */
  readonly buffer: Uint8Array;
  /** The kind of frame. */
  readonly type: number;
  /** Where it begins, with its size. */
  readonly start: number;
  /** Where its body begins. */
  readonly body: number;
  /** Where it ends. */
  readonly end: number;
  /** How long the body is when that is longer than it may be, and not here; else 0. */
  readonly oversize: number;
  /** Up to where the bytes behind it are here. */
  readonly filled: number;
  /** How many frames stand there; more than one after {@linkcode Frame.extend}. */
  readonly frames: number;
  /**
   * Takes to a PUBLISH, or a run of them, the one that stands right behind, if it is whole and has
   * the same topic.
   *
   * @param topicBytes How long the topic block is.
   * @param payloadMax The longest payload that is taken.
   * @param bytesMax How many bytes all of them may be.
   * @returns Where the payload of the new one begins; 0 when there is none.
   */
  extend(topicBytes: number, payloadMax: number, bytesMax?: number): number;
  /** Lends the bytes: the buffer is not written to again while somebody holds what is returned. */
  keep(): Lease;
}

/** How many whole frames' bytes the first `count` frames from `start` on are; for our own frames. */
export function framesEnd(bytes: Uint8Array, start: number, count: number): number {
  let at = start;
  for (let n = 0; n < count; n++) {
    const size = bytes[at]!;
    at += size === LONG ? 5 + readLong(bytes, at) : 1 + size;
  }
  return at;
}

/**
 * Finds the frames in a stream of bytes.
 *
 * Read into {@linkcode FrameReader.space}, say how much with {@linkcode FrameReader.wrote}, then take
 * frames with {@linkcode FrameReader.next} until it is `false`. The frame is then the bytes from
 * `start` to before `end` of `buffer`, its body begins at `body`.
 *
 * - Those bytes stay as they are until the next call of `space`; after
 *   {@linkcode FrameReader.keep} the reader goes on in another buffer, and they stay as long as the
 *   lease is held.
 * - A PUBLISH that is too long is not an error here: its body is let go as it arrives, and
 *   `oversize` tells its length.
 * - The buffer is small while little arrives and grows as reads fill it. A long frame makes it grow
 *   as its bytes arrive, never because its header promises them.
 */
export class FrameReader implements Frame {
  /** Longest bodies by type; may be replaced between frames. */
  limits: FrameLimits;
  /** Where the current frame is. */
  buffer: Uint8Array = new Uint8Array(READ_BYTES_MIN);
  /** The kind of the current frame. */
  type = 0;
  /** Where the current frame begins, with its size. */
  start = 0;
  /** Where the body of the current frame begins. */
  body = 0;
  /** Where the current frame ends. */
  end = 0;
  oversize = 0;
  frames = 1;
  /** How many bytes to let go. */
  #skip = 0;
  #filled = 0;
  /** The lease of this buffer, if it is lent. */
  #lease: Lease | undefined;
  /** Buffers that were lent, and may be free again. */
  #lent: Lease[] = [];
  #readBytes: number = READ_BYTES_MIN;
  /** How many reads in a row filled little of the buffer. */
  #smallReads = 0;

  /** Makes a reader that takes the frames that `limits` lists. */
  constructor(limits: FrameLimits) {
    this.limits = limits;
  }

  get filled(): number {
    return this.#filled;
  }

  /** Room for the next read; at least one byte. Bytes of earlier frames may move or go. */
  space(): Uint8Array {
    const held = this.#filled - this.end;
    const wanted = Math.max(this.#readBytes, 2 * held);
    const { length } = this.buffer;
    const isFit = length >= wanted && length <= 2 * wanted;
    if (held === 0 && isFit && this.#lease === undefined) this.end = this.#filled = 0;
    else if (!isFit || 2 * (length - this.#filled) < wanted) this.#move(wanted);
    return this.buffer.subarray(this.#filled);
  }

  /** Puts what is held at the start of a buffer of this size. */
  #move(size: number): void {
    const rest = this.buffer.subarray(this.end, this.#filled);
    if (this.#lease !== undefined) this.#lend(this.#lease, size);
    else if (this.buffer.length !== size) this.buffer = new Uint8Array(size);
    this.buffer.set(rest);
    this.end = 0;
    this.#filled = rest.length;
  }

  /** Leaves the buffer to those who hold it, and goes on in one that nobody holds. */
  #lend(lease: Lease, size: number): void {
    this.#lease = undefined;
    const lent = this.#lent;
    if (lent.push(lease) > LENT_MAX) lent.shift();
    const free = lent.findLastIndex(({ buffer, holders }) =>
      holders === 0 && buffer.length === size
    );
    this.buffer = free < 0 ? new Uint8Array(size) : lent.splice(free, 1)[0]!.buffer;
  }

  /** Lets go of what it keeps for speed, as of the next read. */
  rest(): void {
    this.#lent = [];
    this.#shrink();
  }

  #shrink(): void {
    this.#readBytes = READ_BYTES_MIN;
    this.#smallReads = 0;
  }

  /** Tells that the first `count` bytes of the latest space were filled. */
  wrote(count: number): void {
    if (count === this.buffer.length - this.#filled) {
      this.#readBytes = Math.min(4 * this.#readBytes, READ_BYTES_MAX);
      this.#smallReads = 0;
    } else if (count >= this.#readBytes / 16) this.#smallReads = 0;
    else if (++this.#smallReads === SMALL_READS_MAX) this.#shrink();
    this.#filled += count;
  }

  keep(): Lease {
    return this.#lease ??= { buffer: this.buffer, holders: 0 };
  }

  /**
   * Goes to the next frame; `false` when more bytes are needed.
   *
   * @throws {ProtocolError} When the frame is of a kind that is not taken, or longer than it may be.
   */
  next(): boolean {
    if (this.#skip > 0 && !this.#skipped()) return false;
    const { buffer } = this;
    const start = this.end;
    const available = this.#filled - start;
    if (available < 2) return false;
    let size = buffer[start]!;
    let at = start + 1;
    if (size === LONG) {
      at = start + 5;
      if (available < 6) return false;
      size = readLong(buffer, start);
    }
    if (size === 0) throw new ProtocolError("Cannot read a frame: its size is 0");
    const type = buffer[at]!;
    const limit = this.limits[type];
    if (limit === undefined) {
      throw new ProtocolError(`Cannot read a frame: type ${type} is not expected here`);
    }
    const oversize = size - 1 > limit;
    if (oversize && type !== FrameType.PUBLISH) throw tooLong(type, size - 1, limit);
    if (!oversize && size > this.#filled - at) return false;
    this.type = type;
    this.frames = 1;
    this.start = start;
    this.body = at + 1;
    this.end = oversize ? at + 1 : at + size;
    this.oversize = this.#skip = oversize ? size - 1 : 0;
    return true;
  }

  extend(topicBytes: number, payloadMax: number, bytesMax = this.buffer.length): number {
    const { buffer, body, end } = this;
    const last = Math.min(this.#filled, this.start + bytesMax);
    if (last - end <= LONG_BYTES) return 0;
    let size = buffer[end]!;
    let at = end + 1;
    if (size === LONG) {
      size = readLong(buffer, end);
      at = end + LONG_BYTES;
    }
    const payloadBytes = size - 1 - topicBytes;
    if (at + size > last || payloadBytes < 1 || payloadBytes > payloadMax) return 0;
    if (buffer[at++] !== FrameType.PUBLISH) return 0;
    for (let i = 0; i < topicBytes; i++) if (buffer[at + i] !== buffer[body + i]) return 0;
    this.end = at + size - 1;
    this.frames++;
    return at + topicBytes;
  }

  /** Lets go of what is to be skipped, as far as it is here; whether that was all. */
  #skipped(): boolean {
    const count = Math.min(this.#skip, this.#filled - this.end);
    this.end += count;
    this.#skip -= count;
    return this.#skip === 0;
  }
}

/** The other side broke a rule that has a {@linkcode Reason} of its own. */
export class FrameError extends ProtocolError {
  /** The reason to give in GOODBYE. */
  readonly reason: Reason;

  /** Makes an error that says which rule was broken. */
  constructor(message: string, reason: Reason) {
    super(message);
    this.reason = reason;
  }
}

function tooLong(type: number, size: number, limit: number): FrameError {
  return new FrameError(
    `Cannot read a frame of type ${type}: its body has ${size} bytes, limit is ${limit}`,
    type === FrameType.OPEN ? Reason.TOO_MANY_SUBSCRIPTIONS : Reason.PROTOCOL,
  );
}
