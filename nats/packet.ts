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
 *
 * Whoever may publish to the bus can send what looks like a packet. {@linkcode readPacket} lets none
 * through whose numbers no broker writes, so nothing behind it has to doubt them.
 */
import { clock } from "../base/clock.ts";
import { readCount, writeCount } from "../base/count.ts";
import { ProtocolError } from "../errors.ts";
import { LIMITS_MAX } from "../protocol/frame_bodies.ts";
import { decodeTopic, topicEnd } from "../protocol/topic_block.ts";
import { TOPIC_ELEMENTS_MAX, type TopicPath } from "../topic.ts";

/** The longest packet, with its header. */
export const PACKET_BYTES_MAX = 256 * 1024;
/** What NATS has to take in one message: a packet, the topics that it names, and headers. */
export const PAYLOAD_BYTES_MIN = PACKET_BYTES_MAX + 16 * 1024;
/** How many messages one packet tells of. */
export const MESSAGES_MAX = 2 ** 32 - 1;
const VERSION = 1;
const BROKER_AT = 2;
const LANE_AT = 10;
const NUMBER_AT = 12;
const MESSAGES_AT = 20;
const LENGTHS_AT = 24;
const COUNTS_AT = 26;
const COUNT_BYTES = 9;
/** A topic and those that cover it have so many lengths. */
const COUNTS_MAX = TOPIC_ELEMENTS_MAX + 1;
/** Room for a header with a count for each length that a topic may have. */
export const HEADER_BYTES_MAX = COUNTS_AT + COUNTS_MAX * COUNT_BYTES;
/** The length of a part of a frame that goes on in the next packet. */
export const PART_BYTES = PACKET_BYTES_MAX - HEADER_BYTES_MAX;
/** The shortest frame: its size, its type, the topic of a broadcast, and a payload of one byte. */
const FRAME_BYTES_MIN = 4;
/** How many lanes to a stream a broker has. */
export const LANES = 64;
/** How many packets of a lane are under way at a time; each names the topics of those before it. */
export const UNDER_WAY_MAX = 16;
/** How many bytes the topics of those before it may have together: a later packet names them all. */
export const BEFORE_BYTES_MAX = 2048;

/** Bits of the flags. */
export const PacketFlag = {
  /** It begins with the rest of the frame of the packet before. */
  REST: 1,
  /** Its frame goes on in the next packet. */
  MORE: 2,
  /**
   * It holds nothing: its messages were dropped before they were passed on, or refused. Without
   * messages it only takes the place of a part of one, of which the last part tells.
   */
  DROPPED: 4,
} as const;
const FLAGS_MAX = 7;

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
  writeCount(view, NUMBER_AT, number);
  view.setUint32(MESSAGES_AT, messages, true);
  view.setUint8(LENGTHS_AT, counts.length);
  view.setUint8(LENGTHS_AT + 1, before.length);
  let at = COUNTS_AT;
  for (const { depth, count } of counts) {
    view.setUint8(at, depth);
    writeCount(view, at + 1, count);
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
 * @throws {ProtocolError} If no broker of this version writes that.
 */
export function readPacket(bytes: Uint8Array): { header: PacketHeader; body: Uint8Array } {
  const counted = COUNTS_AT + COUNT_BYTES * (bytes[LENGTHS_AT] ?? 0);
  if (bytes.length < counted) throw unreadable(`it has ${bytes.length} bytes`);
  if (bytes[0] !== VERSION) throw unreadable(`its version is ${bytes[0]}, not ${VERSION}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const number = readCount(view, NUMBER_AT);
  const messages = view.getUint32(MESSAGES_AT, true);
  const counts = readCounts(view, counted, messages);
  const { before, end } = readBefore(bytes, counted, number);
  const header = {
    flags: bytes[1]!,
    broker: view.getBigUint64(BROKER_AT).toString(16).padStart(16, "0"),
    lane: view.getUint16(LANE_AT, true),
    number,
    messages,
    counts,
    before,
  };
  const body = bytes.subarray(end);
  check(header, body);
  return { header, body };
}

function readCounts(view: DataView, end: number, messages: number): PacketCount[] {
  const counts: PacketCount[] = [];
  for (let at = COUNTS_AT; at < end; at += COUNT_BYTES) {
    const one = { depth: view.getUint8(at), count: readCount(view, at + 1) };
    if (one.depth >= COUNTS_MAX) throw unreadable(`it counts for ${one.depth} elements`);
    if (one.count < messages) {
      throw unreadable(`it counts ${one.count}, and has ${messages} messages`);
    }
    counts.push(one);
  }
  if (counts.length > COUNTS_MAX) throw unreadable(`it has ${counts.length} counts`);
  return counts;
}

/** The topics of the packets before, and where they end. */
function readBefore(
  bytes: Uint8Array,
  start: number,
  number: number,
): { before: TopicPath[]; end: number } {
  const length = bytes[LENGTHS_AT + 1]!;
  if (number <= length || length >= UNDER_WAY_MAX) {
    throw unreadable(`its number is ${number}, and it names ${length} before it`);
  }
  const before: TopicPath[] = [];
  let at = start;
  while (before.length < length) {
    const end = topicEnd(bytes, at, bytes.length);
    before.push(decodeTopic(bytes, at, end, LIMITS_MAX));
    at = end;
  }
  if (at - start > BEFORE_BYTES_MAX) throw unreadable(`it names ${at - start} bytes of topics`);
  return { before, end: at };
}

function check({ flags, lane, messages }: PacketHeader, { length }: Uint8Array): void {
  if (flags > FLAGS_MAX) throw unreadable(`its flags are ${flags}`);
  if (lane > LANES) throw unreadable(`its lane is ${lane}`);
  if (length > PART_BYTES) throw unreadable(`its frames have ${length} bytes`);
  // Parts are as long as they may be: nobody holds many short ones.
  if (flags & PacketFlag.MORE && length < PART_BYTES) {
    throw unreadable(`a part has ${length} bytes`);
  }
  const most = flags & PacketFlag.DROPPED ? Infinity : Math.max(1, length / FRAME_BYTES_MIN);
  if (messages > most) throw unreadable(`it has ${messages} messages in ${length} bytes`);
}

function unreadable(why: string): ProtocolError {
  return new ProtocolError(`Cannot read a packet: ${why}`);
}

/** A packet that says that messages were dropped, at most {@linkcode MESSAGES_MAX}. */
export function droppedPacket<R extends PacketRoute>(route: R, messages: number): Packet<R> {
  return {
    route,
    since: clock.now(),
    buffer: new Uint8Array(HEADER_BYTES_MAX),
    end: HEADER_BYTES_MAX,
    messages,
    flags: PacketFlag.DROPPED,
  };
}
