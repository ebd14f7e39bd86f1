/**
 * Composes a PUBLISH in its place, after the frames that wait, so that its payload is written once.
 *
 * ```
 *          start                                          end
 *  ┌────────┬───────────────┬──────┬─────────────┬─────────┬──────┐
 *  │ frames │ room for size │ type │ topic block │ payload │ free │
 *  └────────┴───────────────┴──────┴─────────────┴─────────┴──────┘
 * ```
 *
 * - How many bytes the size takes is known only at the end; as many are left free as it took last time,
 *   or in another buffer as many as a long frame takes.
 * - A frame that does not fit the buffer moves to another. What others add meanwhile goes before it, and
 *   into another buffer.
 */
import { NO_BYTES } from "../base/bytes.ts";
import { LONG, LONG_BYTES, sizeLength, writeSize } from "../base/size_prefix.ts";
import { FrameType } from "./frame.ts";
import type { Waiting } from "./outbox_waiting.ts";

/** Up to this size a topic is copied byte by byte, which costs less than the call. */
const TOPIC_LOOP_BYTES = 32;

/** Composes PUBLISH frames, one after the other. */
export class Composer {
  /** Where one is being composed. */
  bytes: Uint8Array<ArrayBuffer> = NO_BYTES;
  /** Where it begins. */
  start = 0;
  #sizeBytes = 1;
  readonly #waiting: Waiting;

  /** Makes one that composes after these frames. */
  constructor(waiting: Waiting) {
    this.#waiting = waiting;
  }

  /** Whether a PUBLISH is being composed. */
  get isBusy(): boolean {
    return this.bytes !== NO_BYTES;
  }

  /** Whether the frame is being composed right after the frames that wait, in their buffer. */
  get isInPlace(): boolean {
    return this.isBusy && this.bytes === this.#waiting.buffer;
  }

  /**
   * Begins with the topic. Then the payload is written into `bytes`, for which
   * {@linkcode Composer.room} makes room.
   *
   * @returns Where the payload begins.
   */
  begin(topic: Uint8Array): number {
    const header = this.#sizeBytes + 1;
    const { length } = topic;
    const waiting = this.#waiting;
    if (waiting.buffer.length - waiting.end < header + length) waiting.turn(header + length);
    const bytes = this.bytes = waiting.buffer;
    const start = this.start = waiting.end;
    let at = start + header;
    bytes[at - 1] = FrameType.PUBLISH;
    if (length > TOPIC_LOOP_BYTES) bytes.set(topic, at);
    else for (let i = 0; i < length; i++) bytes[at + i] = topic[i]!;
    at += length;
    return at;
  }

  /** Makes room for `count` bytes from `at` on, if need be in another buffer; returns where `at` is then. */
  room(at: number, count: number): number {
    const before = this.bytes;
    if (before.length - at >= count) return at;
    const { start } = this;
    const composed = at - start;
    // A long frame, which is moved here, is not moved once more for its size.
    const more = composed + count < LONG ? 0 : LONG_BYTES - this.#sizeBytes;
    const length = Math.max(2 * composed, composed + count) + more;
    if (this.isInPlace) {
      this.#waiting.turn(length);
      this.bytes = this.#waiting.buffer;
    } else this.bytes = new Uint8Array(length);
    this.bytes.set(before.subarray(start, at), more);
    this.start = 0;
    this.#sizeBytes += more;
    return composed + more;
  }

  /** How many bytes the frame has, when it ends at `end`. */
  lengthTo(end: number): number {
    return end - this.start;
  }

  /** Writes the size before what ends at `end`; returns where the frame ends then. */
  finish(end: number): number {
    const size = end - this.start - this.#sizeBytes;
    const needed = sizeLength(size);
    if (needed > this.#sizeBytes) end = this.room(end, needed - this.#sizeBytes);
    const left = this.#sizeBytes;
    if (needed !== left) {
      this.bytes.copyWithin(this.start + needed, this.start + left, end);
      end += needed - left;
      this.#sizeBytes = needed;
    }
    writeSize(this.bytes, this.start, size);
    return end;
  }

  /** Gives up what was composed. */
  abandon(): void {
    this.bytes = NO_BYTES;
  }
}
