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
import { ProtocolError } from "./errors.ts";

/** The kinds of frames; the numbers stand on the wire and in `docs/protocol.md`. */
export const FrameType = {
  /** A message: topic block, payload. The only kind that is counted. */
  PUBLISH: 1,
  /** Client: its topics, one block after the other. The first frame of a session. */
  OPEN: 2,
  /** Broker: the session is open; its limits. */
  OPENED: 3,
  /** Client: send messages for this topic from now on. */
  SUBSCRIBE: 4,
  /** Client: send no more messages for this topic. */
  UNSUBSCRIBE: 5,
  /** How many messages, and how many requests for an ACK, have arrived. */
  ACK: 6,
  /** Asks for an ACK. */
  ASK: 7,
  /** The last frame of a side: a reason and a text. */
  GOODBYE: 8,
} as const;

/** The number of a kind of frame. */
export type FrameType = typeof FrameType[keyof typeof FrameType];

/** Why a side ends a session; the numbers stand on the wire and in `docs/protocol.md`. */
export const Reason = {
  /** It has nothing more to do. */
  DONE: 0,
  /** The broker is shutting down. */
  SHUTDOWN: 1,
  /** The other side broke the protocol. */
  PROTOCOL: 2,
  /** The other side published a message that is larger than the limit. */
  TOO_BIG: 3,
  /** The other side subscribed to more topics than the limit. */
  TOO_MANY_SUBSCRIPTIONS: 4,
  /** The other side does not read what it asked for, and the queue for it is full. */
  TOO_SLOW: 5,
  /** The other side published to a topic that is not its to publish to. */
  FORBIDDEN: 6,
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
const TEXT_BYTES_MAX = 255;
const READ_BYTES_MIN = 4 * 1024;
const READ_BYTES_MAX = 256 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** How many bytes a size takes. */
export function sizeLength(size: number): number {
  return size < LONG ? 1 : 5;
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
  return at + 5;
}

function readLong(bytes: Uint8Array, at: number): number {
  return (bytes[at + 1]! | bytes[at + 2]! << 8 | bytes[at + 3]! << 16 | bytes[at + 4]! << 24) >>> 0;
}

/** The longest topic block under these limits, in bytes. */
export function topicBlockMax(limits: Limits): number {
  const element = sizeLength(limits.elementBytes) + limits.elementBytes;
  const elements = limits.topicElements * element;
  return sizeLength(elements) + elements;
}

/** A topic as a block of bytes. */
export function encodeTopic(path: readonly string[]): Uint8Array {
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
      throw new ProtocolError(
        `Cannot read a topic: an element has ${size} bytes, limit is ${limits.elementBytes}`,
      );
    }
    if (size > end - from) throw new ProtocolError("Cannot read a topic: it ends in an element");
    if (path.length === limits.topicElements) {
      throw new ProtocolError(
        `Cannot read a topic: it has more than ${limits.topicElements} elements`,
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

/** The body of OPENED. */
export function encodeLimits(limits: Limits): Uint8Array {
  const body = new DataView(new ArrayBuffer(16));
  body.setUint32(0, limits.messageBytes, true);
  body.setUint32(4, limits.topicElements, true);
  body.setUint32(8, limits.elementBytes, true);
  body.setUint32(12, limits.subscriptions, true);
  return new Uint8Array(body.buffer);
}

/** The limits in the body of OPENED; what stands after them is for later versions. */
export function decodeLimits(body: Uint8Array): Limits {
  if (body.length < 16) {
    throw new ProtocolError(`Cannot read OPENED: it has ${body.length} bytes, not 16`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  return {
    messageBytes: view.getUint32(0, true),
    topicElements: view.getUint32(4, true),
    elementBytes: view.getUint32(8, true),
    subscriptions: view.getUint32(12, true),
  };
}

/** The body of ACK: messages in 64 bits, requests in 32. */
export function encodeAck(messages: number, asks: number): Uint8Array {
  const body = new DataView(new ArrayBuffer(12));
  body.setBigUint64(0, BigInt(messages), true);
  body.setUint32(8, asks, true);
  return new Uint8Array(body.buffer);
}

/** What an ACK says. */
export function decodeAck(body: Uint8Array): { messages: number; asks: number } {
  if (body.length !== 12) {
    throw new ProtocolError(`Cannot read ACK: it has ${body.length} bytes, not 12`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  return { messages: Number(view.getBigUint64(0, true)), asks: view.getUint32(8, true) };
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

/**
 * The longest body of each kind of frame that a side takes, by type; kinds that are not listed are
 * not taken.
 */
export type FrameLimits = ReadonlyMap<number, number>;

/** What a broker takes from a client. */
export function clientFrameLimits(limits: Limits): FrameLimits {
  const topic = topicBlockMax(limits);
  return new Map<number, number>([
    [FrameType.PUBLISH, topic + limits.messageBytes],
    [FrameType.OPEN, topic * limits.subscriptions],
    [FrameType.SUBSCRIBE, topic],
    [FrameType.UNSUBSCRIBE, topic],
    [FrameType.ACK, 12],
    [FrameType.ASK, 0],
    [FrameType.GOODBYE, 1 + TEXT_BYTES_MAX],
  ]);
}

/** What a client takes from a broker: before OPENED tells the limits, and after. */
export function brokerFrameLimits(limits?: Limits): FrameLimits {
  const types = new Map<number, number>([[FrameType.GOODBYE, 1 + TEXT_BYTES_MAX]]);
  if (limits === undefined) return types.set(FrameType.OPENED, 1024);
  return types.set(FrameType.PUBLISH, topicBlockMax(limits) + limits.messageBytes)
    .set(FrameType.ACK, 12).set(FrameType.ASK, 0);
}

/**
 * Finds the frames in a stream of bytes.
 *
 * Read into {@linkcode FrameReader.space}, say how much with {@linkcode FrameReader.wrote}, then take
 * frames with {@linkcode FrameReader.next} until it is `false`. The frame is then the bytes from
 * `start` to before `end` of `buffer`, its body begins at `body`.
 *
 * - Those bytes stay as they are until the next call of `space`; after
 *   {@linkcode FrameReader.keep} they stay for ever, and the reader goes on in another buffer.
 * - The buffer is small while little arrives and grows as reads fill it. A long frame makes it grow
 *   as its bytes arrive, never because its header promises them.
 */
export class FrameReader {
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
  #filled = 0;
  #kept = false;
  #readBytes: number = READ_BYTES_MIN;

  /** Makes a reader that takes the frames that `limits` lists. */
  constructor(limits: FrameLimits) {
    this.limits = limits;
  }

  /** Room for the next read; at least one byte. Bytes of earlier frames may move or go. */
  space(): Uint8Array {
    const held = this.#filled - this.end;
    const wanted = Math.max(this.#readBytes, 2 * held);
    if (held === 0 && !this.#kept && this.buffer.length === wanted) {
      this.#filled = this.end = 0;
    } else if (2 * (this.buffer.length - this.#filled) < wanted) {
      const rest = this.buffer.subarray(this.end, this.#filled);
      if (this.#kept || this.buffer.length < wanted) this.buffer = new Uint8Array(wanted);
      this.#kept = false;
      this.buffer.set(rest);
      this.end = 0;
      this.#filled = held;
    }
    return this.buffer.subarray(this.#filled);
  }

  /** Tells that the first `count` bytes of the latest space were filled. */
  wrote(count: number): void {
    if (count === this.buffer.length - this.#filled) {
      this.#readBytes = Math.min(4 * this.#readBytes, READ_BYTES_MAX);
    } else if (count < this.#readBytes / 16) this.#readBytes = READ_BYTES_MIN;
    this.#filled += count;
  }

  /** The bytes handed out so far are still needed: the buffer is not written to again. */
  keep(): void {
    this.#kept = true;
  }

  /** Whether bytes wait that are not a whole frame yet. */
  get partial(): boolean {
    return this.#filled > this.end;
  }

  /**
   * Goes to the next frame; `false` when more bytes are needed.
   *
   * @throws {ProtocolError} When the frame is of a kind that is not taken, or longer than it may be.
   */
  next(): boolean {
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
    const limit = this.limits.get(type);
    if (limit === undefined) {
      throw new ProtocolError(`Cannot read a frame: type ${type} is not expected here`);
    }
    if (size - 1 > limit) throw tooLong(type, size - 1, limit);
    if (size > this.#filled - at) return false;
    this.type = type;
    this.start = start;
    this.body = at + 1;
    this.end = at + size;
    return true;
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
  const reason = type === FrameType.PUBLISH
    ? Reason.TOO_BIG
    : type === FrameType.OPEN
    ? Reason.TOO_MANY_SUBSCRIPTIONS
    : Reason.PROTOCOL;
  return new FrameError(
    `Cannot read a frame of type ${type}: its body has ${size} bytes, limit is ${limit}`,
    reason,
  );
}
