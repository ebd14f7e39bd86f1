/**
 * Runs: messages of one topic whose frames are side by side, and are passed on as one.
 */
import { LONG, LONG_BYTES, readLong } from "../base/size_prefix.ts";
import { ProtocolError } from "../errors.ts";
import { FrameType } from "./frame.ts";
import { topicEnd } from "./topic_block.ts";

/** Messages of one topic whose frames are side by side. */
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
 * frames. One whose payload is longer than `payloadMax` is a run of its own.
 *
 * @throws {ProtocolError} If there is another frame, or a frame is cut short.
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
  throw new ProtocolError("Cannot read messages: there is a frame that is not a message");
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
  return new ProtocolError("Cannot read messages: the last frame is cut short");
}

function isSame(bytes: Uint8Array, start: number, end: number, other: number): boolean {
  for (let i = 0; i < end - start; i++) if (bytes[start + i] !== bytes[other + i]) return false;
  return true;
}

/** Where the first `count` frames from `start` on end; for our own frames, which need no checks. */
export function framesEnd(bytes: Uint8Array, start: number, count: number): number {
  let at = start;
  for (let n = 0; n < count; n++) {
    const size = bytes[at]!;
    at += size === LONG ? 5 + readLong(bytes, at) : 1 + size;
  }
  return at;
}
