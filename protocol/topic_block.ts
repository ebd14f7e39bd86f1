/**
 * Topics in the bodies of frames: blocks that can be compared byte by byte.
 *
 * ```
 * ┌────────┬──────────────────────────────────────────┐
 * │  size  │ for each element: size, its UTF-8 bytes  │
 * └────────┴──────────────────────────────────────────┘
 * ```
 *
 * An element of size 0 is `any`, where topics are wanted.
 */
import { LONG, LONG_BYTES, readLong, sizeLength, writeSize } from "../base/size_prefix.ts";
import { ProtocolError } from "../errors.ts";
import { any, ANY_MAX, type PatternElement, type TopicPath, type TopicPattern } from "../topic.ts";
import { FrameError, type Limits, Reason } from "./frame.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Longer topics are left to `TextEncoder`; up to here, all sizes take one byte. */
const ASCII_TOPIC_BYTES_MAX = 63;

/** The longest topic block under these limits, in bytes; sizes may be written in the long form. */
export function topicBlockMax(
  { topicElements, elementBytes }: Pick<Limits, "topicElements" | "elementBytes">,
): number {
  return LONG_BYTES + topicElements * (LONG_BYTES + elementBytes);
}

/** A topic as a block of bytes. */
export function encodeTopic(path: TopicPattern): Uint8Array {
  return encodeAsciiTopic(path) ?? encodeUtf8Topic(path);
}

function encodeUtf8Topic(path: TopicPattern): Uint8Array {
  const elements = path.map((element) => encoder.encode(textOf(element)));
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
function encodeAsciiTopic(path: TopicPattern): Uint8Array | undefined {
  let size = 0;
  for (let i = 0; i < path.length; i++) size += 1 + textOf(path[i]!).length;
  if (size > ASCII_TOPIC_BYTES_MAX) return undefined;
  const block = new Uint8Array(1 + size);
  block[0] = size;
  let at = 1;
  for (let i = 0; i < path.length; i++) {
    const element = textOf(path[i]!);
    block[at++] = element.length;
    for (let j = 0; j < element.length; j++) {
      const unit = element.charCodeAt(j);
      if (unit > 0x7f) return undefined;
      block[at++] = unit;
    }
  }
  return block;
}

function textOf(element: PatternElement): string {
  return element === any ? "" : element;
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
    throw new ProtocolError(`Cannot read a topic: its size is ${size}; ${end - at} bytes are left`);
  }
  return at + size;
}

/** How many bytes the longest element of a topic has, whose block was encoded here. */
export function longestElement(block: Uint8Array): number {
  let longest = 0;
  for (let at = block[0] === LONG ? LONG_BYTES : 1; at < block.length;) {
    const isLong = block[at] === LONG;
    const size = isLong ? readLong(block, at) : block[at]!;
    longest = Math.max(longest, size);
    at += (isLong ? LONG_BYTES : 1) + size;
  }
  return longest;
}

/** The path of the whole block from `start` to before `end`, checked against the limits. */
export function decodeTopic(
  bytes: Uint8Array,
  start: number,
  end: number,
  limits: Limits,
): TopicPath {
  return decode(bytes, start, end, limits, false) as TopicPath;
}

/** The topic that somebody wants of the whole block, checked against the limits. */
export function decodePattern(
  bytes: Uint8Array,
  start: number,
  end: number,
  limits: Limits,
): TopicPattern {
  return decode(bytes, start, end, limits, true);
}

function decode(
  bytes: Uint8Array,
  start: number,
  end: number,
  limits: Limits,
  isWanted: boolean,
): TopicPattern {
  const path: PatternElement[] = [];
  let anys = 0;
  let at = start + (bytes[start] === LONG ? 5 : 1);
  while (at < end) {
    let size = bytes[at]!;
    const from = at + (size === LONG ? 5 : 1);
    if (from > end) {
      throw new ProtocolError("Cannot read a topic: it ends in the size of an element");
    }
    if (size === LONG) size = readLong(bytes, at);
    if (size === 0 && !isWanted) {
      throw new ProtocolError("Cannot read a topic: an element is empty");
    }
    if (size === 0 && ++anys > ANY_MAX) {
      throw new FrameError(
        `Cannot read a topic: more than ${ANY_MAX} elements have any name`,
        Reason.TOPIC_TOO_BIG,
      );
    }
    if (size > limits.elementBytes) {
      throw new FrameError(
        `Cannot read a topic: an element has ${size} bytes; the limit is ${limits.elementBytes}`,
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
    path.push(size === 0 ? any : decodeText(bytes, from, at));
  }
  return Object.freeze(path);
}

/** The text of bytes that must be UTF-8. */
export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  try {
    return decoder.decode(bytes.subarray(start, end));
  } catch (error) { // TextDecoder's TypeError for bytes that are not UTF-8.
    throw new ProtocolError("Cannot read a text: it is not UTF-8", { cause: error });
  }
}
