/**
 * Frames ↔ bytes. Knows neither sockets, nor what topics mean, nor what messages contain.
 *
 * ```
 * ┌────────┬─────────┬──────────────┐   size: one byte 0…254, or 255 and then a
 * │  size  │ type u8 │ body         │         32-bit number, little endian;
 * └────────┴─────────┴──────────────┘         it counts the type and the body
 * ```
 *
 * `frame_bodies.ts` and `topic_block.ts` have what the bodies hold. Everything from the other side is
 * checked before it is buffered: a frame that is too long for its type is refused as soon as its first
 * bytes are there.
 */
import type { Lease } from "../base/lease.ts";
import { sizeLength, writeSize } from "../base/size_prefix.ts";
import { ProtocolError } from "../errors.ts";

/** The types of frames; the numbers are those on the wire and in `docs/protocol.md`. */
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
  /** Broker: a message of the client was refused. Counted. */
  REFUSED: 10,
  /** Broker: the client may not subscribe to this topic. */
  DENIED: 11,
  /** Broker: so many messages of other brokers were lost on the way to this one. Counted. */
  LOST: 12,
  /** Client: one more member of a group: its number, how many jobs it takes at a time, group, topic. */
  JOIN: 13,
  /** Client: a member gets no more jobs. */
  LEAVE: 14,
  /** Broker: a message for one member of a group. A call. */
  JOB: 15,
  /** Client: members have finished these jobs. A call. */
  FINISHED: 16,
  /** Client: members give these jobs back, which they have not begun. A call. */
  RETURNED: 17,
} as const;

/** The number of a type of frames. */
export type FrameType = typeof FrameType[keyof typeof FrameType];

/** Whether frames of this type are counted in the lane of messages. */
export function isMessage(type: number): boolean {
  return type === FrameType.PUBLISH || type === FrameType.GAP || type === FrameType.REFUSED ||
    type === FrameType.LOST;
}

/** Whether frames of this type are counted in the lane of calls, which nobody holds back. */
export function isCall(type: number): boolean {
  return type === FrameType.JOB || type === FrameType.FINISHED || type === FrameType.RETURNED;
}

/**
 * Why a side ends a session, or refuses a message; the numbers are those on the wire and in
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
  /** The other side may not publish, or subscribe, to the topic. */
  FORBIDDEN: 6,
  /** The session goes on over another connection. */
  REPLACED: 7,
  /** A topic has too many elements, or one that is too long. */
  TOPIC_TOO_BIG: 8,
  /** More messages came than the key allows. */
  TOO_FAST: 9,
  /** The key is no longer one of the broker's. */
  KEY_REVOKED: 10,
  /** The other side does not read the answers to it. */
  NOT_READING: 11,
  /** There is no place for the other side: it may try again later. */
  BUSY: 12,
  /** The ticket has expired: the other side may come back with another. */
  EXPIRED: 13,
  /** No member of a group was free for too long. */
  GROUP_FULL: 14,
  /** No member of a group has finished the message, and none is left that could. */
  ABANDONED: 15,
} as const;

/** The number of a reason. */
export type Reason = typeof Reason[keyof typeof Reason];

/** What a broker allows, as OPENED says. */
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

/** The longest body of each type of frames that a side takes; other types are refused. */
export type FrameLimits = readonly (number | undefined)[];

/** A frame that has arrived: the bytes from `start` to before `end` of `buffer`. */
export interface Frame {
  /** Where the frame is. */
  readonly buffer: Uint8Array;
  /** The type of the frame. */
  readonly type: number;
  /** Where it begins, with its size. */
  readonly start: number;
  /** Where its body begins. */
  readonly body: number;
  /** Where it ends. */
  readonly end: number;
  /** The length of a body that is too long, and was skipped; otherwise 0. */
  readonly oversize: number;
  /** Where the bytes end that have arrived after it. */
  readonly filled: number;
  /** How many frames it is; more than one after {@linkcode Frame.extend}. */
  readonly frames: number;
  /**
   * Adds the next frame to a PUBLISH, or a run of them, if it is whole and for the same topic, and the
   * run may be longer before others have their turn.
   *
   * @param topicBytes How long the topic block is.
   * @param payloadMax The longest payload that is taken.
   * @param bytesMax How many bytes all of them may be.
   * @returns Where the payload of the new one begins; 0 if none was added.
   */
  extend(topicBytes: number, payloadMax: number, bytesMax?: number): number;
  /**
   * Notes what taking it caused elsewhere, so that others have their turn in time: as much work as so
   * many further messages of a run.
   */
  spend(work: number): void;
  /** Lends the bytes: the buffer is not written to again while somebody holds the lease. */
  keep(): Lease;
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
