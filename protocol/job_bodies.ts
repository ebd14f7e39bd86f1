/**
 * The bodies of the frames of groups ↔ bytes, as `docs/protocol.md` has them.
 *
 * ```
 *  member   number u32 · concurrency u32 · group size u8 · group · topic block     in OPEN, and JOIN
 *  job      member u32 · redelivered u8 · topic block · payload                    JOB
 *  ranges   (first u64 · count u32) …                                  FINISHED, RETURNED
 * ```
 */
import { concat } from "../base/bytes.ts";
import { readCount, writeCount } from "../base/count.ts";
import { ProtocolError } from "../errors.ts";
import { decodeText, topicEnd } from "./topic_block.ts";

/** Bytes of a member before its group. */
const MEMBER_BYTES = 9;
/** The longest name of a group, in bytes of UTF-8. */
const GROUP_BYTES_MAX = 255;
/** The most bytes of a member before its topic. */
export const MEMBER_BYTES_MAX = MEMBER_BYTES + GROUP_BYTES_MAX;
/** Bytes of a JOB before its topic. */
export const JOB_HEAD_BYTES = 5;
/** Bytes of one range. */
export const RANGE_BYTES = 12;
/** The most ranges of one frame. */
export const JOB_RANGES_MAX = 1024;
const U32_MAX = 2 ** 32 - 1;

const encoder = new TextEncoder();

/** A member of a group, as a client tells of it. */
export interface GroupMember {
  /** Which of its session's it is; never one that another has or had. */
  readonly number: number;
  /** How many jobs it may have unfinished; a larger number than 32 bits hold is as good as the largest. */
  readonly concurrency: number;
  /** The name of its group. */
  readonly group: string;
  /** The topic of its group, as a block. */
  readonly topic: Uint8Array;
}

/** What JOIN says, and OPEN of each member. */
export function encodeMember({ number, concurrency, group, topic }: GroupMember): Uint8Array {
  const name = encoder.encode(group);
  const head = new Uint8Array(MEMBER_BYTES);
  const view = new DataView(head.buffer);
  view.setUint32(0, number, true);
  view.setUint32(4, Math.min(concurrency, U32_MAX), true);
  view.setUint8(8, name.length);
  return concat(head, name, topic);
}

/**
 * The member that begins at `at`, and where it ends.
 *
 * @throws {ProtocolError} If it cannot be one.
 */
export function decodeMember(body: Uint8Array, at = 0): { member: GroupMember; end: number } {
  const name = at + MEMBER_BYTES;
  const topic = name + body[at + 8]!;
  if (!(topic <= body.length)) {
    throw new ProtocolError(`Cannot read a member of a group: ${body.length - at} bytes are left`);
  }
  if (topic === name) throw new ProtocolError("Cannot read a member of a group: it has no name");
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const concurrency = view.getUint32(at + 4, true);
  if (concurrency === 0) throw new ProtocolError("Cannot take a member that takes no jobs");
  const end = topicEnd(body, topic, body.length);
  const number = view.getUint32(at, true);
  const group = decodeText(body, name, topic);
  return { member: { number, concurrency, group, topic: body.slice(topic, end) }, end };
}

/** The body of LEAVE, and how many topics an OPEN has. */
export function encodeNumber(number: number): Uint8Array {
  const body = new DataView(new ArrayBuffer(4));
  body.setUint32(0, number, true);
  return new Uint8Array(body.buffer);
}

/** What a LEAVE says, or the number at `at`. */
export function decodeNumber(body: Uint8Array, at = 0): number {
  if (body.length < at + 4) {
    throw new ProtocolError(`Cannot read a number: ${body.length - at} bytes are left, not 4`);
  }
  return new DataView(body.buffer, body.byteOffset, body.length).getUint32(at, true);
}

/** What stands before the topic of a JOB, in `into` from `at` on. */
export function writeJobHead(
  into: Uint8Array,
  at: number,
  member: number,
  redelivered: number,
): void {
  for (let byte = 0; byte < 4; byte++) into[at + byte] = member >>> 8 * byte;
  into[at + 4] = redelivered;
}

function memberAt(buffer: Uint8Array, at: number): number {
  const low = buffer[at]! | buffer[at + 1]! << 8 | buffer[at + 2]! << 16;
  return (low | buffer[at + 3]! << 24) >>> 0;
}

/** What a JOB says, from `body` to before `end`. */
export function decodeJob(
  buffer: Uint8Array,
  body: number,
  end: number,
): { member: number; redelivered: number; topic: number } {
  const topic = body + JOB_HEAD_BYTES;
  if (topic >= end) throw new ProtocolError(`Cannot read JOB: it has ${end - body} bytes`);
  return { member: memberAt(buffer, body), redelivered: buffer[body + 4]!, topic };
}

/** Jobs of a session with successive numbers. */
export interface JobRange {
  readonly first: number;
  readonly count: number;
}

/** The body of FINISHED and RETURNED. */
export function encodeRanges(ranges: readonly JobRange[]): Uint8Array {
  const body = new DataView(new ArrayBuffer(RANGE_BYTES * ranges.length));
  ranges.forEach(({ first, count }, index) => {
    writeCount(body, RANGE_BYTES * index, first);
    body.setUint32(RANGE_BYTES * index + 8, count, true);
  });
  return new Uint8Array(body.buffer);
}

/** What a FINISHED or a RETURNED says. */
export function decodeRanges(body: Uint8Array): JobRange[] {
  if (body.length === 0 || body.length % RANGE_BYTES !== 0) {
    throw new ProtocolError(`Cannot read ranges of jobs: they have ${body.length} bytes`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const ranges: JobRange[] = [];
  for (let at = 0; at < body.length; at += RANGE_BYTES) {
    ranges.push({ first: readCount(view, at), count: view.getUint32(at + 8, true) });
  }
  return ranges;
}
