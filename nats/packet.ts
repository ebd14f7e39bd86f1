/**
 * Packets: messages of one topic on their way through NATS, with a header that says whose they are.
 *
 * ```
 * ┌────────────┬──────────┬──────────┬──────────┬────────────┬──────────────┬──────┬──────┬───┬───┐
 * │ version u8 │ flags u8 │ broker 8 │ lane u16 │ number u64 │ messages u32 │ n u8 │ m u8 │ N │ M │
 * └────────────┴──────────┴──────────┴──────────┴────────────┴──────────────┴──────┴──────┴───┴───┘
 *   N: n counts: elements of a covering topic u8, messages up to here for all below it u64
 *   M: the topic blocks of the m packets before this one, which were not confirmed when it was sent
 *   then: whole PUBLISH frames as they came; a frame that is too long goes on in the next packet
 * ```
 *
 * All numbers but the broker's id are little endian. `docs/scaling.md` says what they are for.
 */
import { ProtocolError } from "../errors.ts";
import { LIMITS_MAX } from "../protocol/frame_bodies.ts";
import { decodeTopic, topicEnd } from "../protocol/topic_block.ts";
import type { TopicPath } from "../topic.ts";

/** The longest packet, with its header. */
export const PACKET_BYTES_MAX = 256 * 1024;
const VERSION = 1;
const BROKER_AT = 2;
const LANE_AT = 10;
const NUMBER_AT = 12;
const MESSAGES_AT = 20;
const LENGTHS_AT = 24;
const COUNTS_AT = 26;
const COUNT_BYTES = 9;
/** Room for a header with a count for each length that a topic may have. */
export const HEADER_BYTES_MAX = COUNTS_AT + 17 * COUNT_BYTES;

/** Bits of the flags. */
export const PacketFlag = {
  /** It begins with the rest of the frame of the packet before. */
  REST: 1,
  /** Its frame goes on in the next packet. */
  MORE: 2,
  /** It holds nothing: its messages were dropped before they were passed on. */
  DROPPED: 4,
} as const;

/** The header of a packet. */
export interface PacketHeader {
  readonly flags: number;
  /** The id of the broker, 16 hexadecimal digits. */
  readonly broker: string;
  /** Which of the broker's lanes to a stream it comes from, from 1; 0: it is not for a stream. */
  readonly lane: number;
  /** Its number there, from 1. */
  readonly number: number;
  /** How many messages end in it; or were dropped. */
  readonly messages: number;
  /** By the length of a topic that covers this one: how many messages there were below it so far. */
  readonly counts: readonly PacketCount[];
  /** The topics of those before this one that were not confirmed when it was sent. */
  readonly before: readonly TopicPath[];
}

/** One count of a header. */
export interface PacketCount {
  readonly depth: number;
  readonly count: number;
}

/** Where a packet goes. */
export interface PacketRoute {
  readonly subject: string;
}

/** Messages that were gathered, with room for their header. */
export interface Packet<R extends PacketRoute> {
  readonly route: R;
  /** Since when its first message has been waiting, in milliseconds. */
  readonly since: number;
  buffer: Uint8Array;
  end: number;
  messages: number;
  flags: number;
}

/** What {@linkcode sealPacket} writes besides what the packet has. */
export interface PacketSeal {
  readonly broker: string;
  readonly lane?: number;
  readonly number: number;
  readonly counts?: readonly PacketCount[];
  /** Topic blocks. */
  readonly before?: readonly Uint8Array[];
}

/** Writes the header before a packet's frames; returns the bytes of both. */
export function sealPacket(packet: Packet<PacketRoute>, seal: PacketSeal): Uint8Array {
  const { flags, messages } = packet;
  const { broker, lane = 0, number, counts = [], before = [] } = seal;
  const length = before.reduce(
    (sum, { length }) => sum + length,
    COUNTS_AT + COUNT_BYTES * counts.length,
  );
  const bytes = withRoom(packet, length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint8(0, VERSION);
  view.setUint8(1, flags);
  view.setBigUint64(BROKER_AT, BigInt(`0x${broker}`));
  view.setUint16(LANE_AT, lane, true);
  view.setBigUint64(NUMBER_AT, BigInt(number), true);
  view.setUint32(MESSAGES_AT, messages, true);
  view.setUint8(LENGTHS_AT, counts.length);
  view.setUint8(LENGTHS_AT + 1, before.length);
  let at = COUNTS_AT;
  for (const { depth, count } of counts) {
    view.setUint8(at, depth);
    view.setBigUint64(at + 1, BigInt(count), true);
    at += COUNT_BYTES;
  }
  for (const block of before) {
    bytes.set(block, at);
    at += block.length;
  }
  return bytes;
}

/** The frames with room for so many bytes before them. */
function withRoom({ buffer, end }: Packet<PacketRoute>, length: number): Uint8Array {
  if (length <= HEADER_BYTES_MAX) return buffer.subarray(HEADER_BYTES_MAX - length, end);
  const bytes = new Uint8Array(length + end - HEADER_BYTES_MAX);
  bytes.set(buffer.subarray(HEADER_BYTES_MAX, end), length);
  return bytes;
}

/**
 * Reads a packet: its header, and its frames as `body`.
 *
 * @throws {ProtocolError} If it is not a valid packet.
 */
export function readPacket(bytes: Uint8Array): { header: PacketHeader; body: Uint8Array } {
  const counted = COUNTS_AT + COUNT_BYTES * (bytes[LENGTHS_AT] ?? 0);
  if (bytes.length < counted) {
    throw new ProtocolError(`Cannot read a packet: it has ${bytes.length} bytes`);
  }
  if (bytes[0] !== VERSION) {
    throw new ProtocolError(`Cannot read a packet: its version is ${bytes[0]}, not ${VERSION}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const counts: PacketCount[] = [];
  let at = COUNTS_AT;
  for (; at < counted; at += COUNT_BYTES) {
    counts.push({ depth: bytes[at]!, count: Number(view.getBigUint64(at + 1, true)) });
  }
  const before: TopicPath[] = [];
  for (let left = bytes[LENGTHS_AT + 1]!; left > 0; left--) {
    const end = topicEnd(bytes, at, bytes.length);
    before.push(decodeTopic(bytes, at, end, LIMITS_MAX));
    at = end;
  }
  const header = {
    flags: bytes[1]!,
    broker: view.getBigUint64(BROKER_AT).toString(16).padStart(16, "0"),
    lane: view.getUint16(LANE_AT, true),
    number: Number(view.getBigUint64(NUMBER_AT, true)),
    messages: view.getUint32(MESSAGES_AT, true),
    counts,
    before,
  };
  return { header, body: bytes.subarray(at) };
}

/** A packet that says that messages were dropped. */
export function droppedPacket<R extends PacketRoute>(route: R, messages: number): Packet<R> {
  return {
    route,
    since: performance.now(),
    buffer: new Uint8Array(HEADER_BYTES_MAX),
    end: HEADER_BYTES_MAX,
    messages,
    flags: PacketFlag.DROPPED,
  };
}
