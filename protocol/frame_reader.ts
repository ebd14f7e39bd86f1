/**
 * Finds the frames in a stream of bytes, in buffers that grow and shrink with what comes.
 */
import { Account } from "../base/account.ts";
import { NO_BYTES } from "../base/bytes.ts";
import type { Lease } from "../base/lease.ts";
import { LONG, LONG_BYTES, readLong } from "../base/size_prefix.ts";
import { ProtocolError } from "../errors.ts";
import { type Frame, FrameError, type FrameLimits, FrameType, Reason } from "./frame.ts";
import { type Begun, READ_BYTES_MIN, ReadBuffers } from "./read_buffers.ts";

/** No bound. */
const RUN_MAX = 2 ** 30;
const NOTHING: Begun = { unread: 0, promised: 0 };

/**
 * Finds the frames in a stream of bytes.
 *
 * Read into {@linkcode FrameReader.space}, say how much with {@linkcode FrameReader.wrote}, then take
 * frames with {@linkcode FrameReader.next} until it is `false`. The frame is then the bytes from
 * `start` to before `end` of `buffer`, its body begins at `body`.
 *
 * - Those bytes stay as they are until the next call of `space`; after
 *   {@linkcode FrameReader.keep} the reader continues in another buffer, and they stay as long as the
 *   lease is held.
 * - A PUBLISH that is too long is not an error here: its body is skipped as it arrives, and `oversize`
 *   is its length.
 * - The buffer is small while little arrives and grows as reads fill it. A long frame makes it grow
 *   as its bytes arrive, never because its header promises them.
 */
export class FrameReader implements Frame {
  /** Longest bodies by type; may be replaced between frames. */
  limits: FrameLimits;
  readonly #buffers: ReadBuffers;
  /** Where the current frame is. */
  buffer: Uint8Array;
  /** The type of the current frame. */
  type = 0;
  /** Where the current frame begins, with its size. */
  start = 0;
  /** Where the body of the current frame begins. */
  body = 0;
  /** Where the current frame ends. */
  end = 0;
  oversize = 0;
  frames = 1;
  /** The most frames of a run, as far as that is known; may be replaced between frames. */
  runMax = RUN_MAX;
  /** How much work was noted with {@linkcode FrameReader.spend}. */
  spent = 0;
  /** How many bytes are still to be skipped. */
  #skip = 0;
  #filled = 0;
  /** The lease of this buffer, if it is lent. */
  #lease: Lease | undefined;

  /** Makes a run longer that has as many frames as it may have; returns how many it may have then. */
  readonly #longer: () => number;

  /**
   * Makes a reader that takes the frames that `limits` lists.
   *
   * @param account Where its buffers count.
   * @param longer Is called for a run of {@linkcode FrameReader.runMax} frames; returns how many it may
   * have.
   */
  constructor(
    limits: FrameLimits,
    longer: () => number = () => RUN_MAX,
    account: Account = new Account(),
  ) {
    this.limits = limits;
    this.#longer = longer;
    this.#buffers = new ReadBuffers(account);
    this.buffer = this.#buffers.first();
  }

  /** How many bytes it keeps in memory, besides what those hold to whom it has lent them. */
  get keptBytes(): number {
    const isHeld = this.#lease !== undefined && this.#lease.holders > 0;
    return this.#buffers.freeBytes + (isHeld ? 0 : this.buffer.length);
  }

  get filled(): number {
    return this.#filled;
  }

  /** Room for the next read; at least one byte. Bytes of earlier frames may move or go. */
  space(): Uint8Array {
    if (this.#buffers.isClosed) return new Uint8Array(READ_BYTES_MIN);
    if (this.#filled > this.end || this.#lease !== undefined) return this.#spaceBehind();
    this.end = this.#filled = 0;
    const { length } = this.buffer;
    this.#buffers.plan(length, NOTHING);
    if (!this.#buffers.fits(length)) this.#turn();
    return this.buffer;
  }

  /** The same where something is in the buffer that has to stay there, or somewhere. */
  #spaceBehind(): Uint8Array {
    const isLent = this.#lease !== undefined;
    const begun = this.#begun();
    const buffers = this.#buffers;
    const { length } = this.buffer;
    buffers.plan(length, begun);
    const room = length - this.#filled;
    const isShort = isLent
      ? buffers.isCramped(room, begun)
      : buffers.isFull(length - begun.unread, begun);
    if (isShort || !buffers.fits(length)) this.#turn();
    else if (!isLent && buffers.isCramped(room, begun)) this.#moveTo(this.buffer);
    return this.buffer.subarray(this.#filled);
  }

  /** What has begun to arrive, behind the frames that were found. */
  #begun(): Begun {
    const { buffer, end } = this;
    const unread = this.#filled - end;
    if (unread < LONG_BYTES) return { unread, promised: 0 };
    const size = buffer[end]!;
    const whole = size === LONG ? LONG_BYTES + readLong(buffer, end) : 1 + size;
    return { unread, promised: whole > unread ? whole : 0 };
  }

  /** Continues in another buffer, and leaves this one to those who hold it. */
  #turn(): void {
    const { length } = this.buffer;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease !== undefined) this.#buffers.lend(lease);
    const { buffer } = this;
    // If frames filled much of one that is lent, so they will of the next.
    const isFilled = lease !== undefined && 4 * this.end >= length;
    this.#moveTo(this.#buffers.next(isFilled ? length : 0));
    if (lease === undefined) this.#buffers.drop(buffer);
  }

  /** Puts what is not read yet at the start of a buffer. */
  #moveTo(buffer: Uint8Array): void {
    const { end } = this;
    const unread = this.#filled - end;
    if (buffer !== this.buffer) buffer.set(this.buffer.subarray(end, this.#filled));
    else if (end > 0) buffer.copyWithin(0, end, this.#filled);
    this.buffer = buffer;
    this.end = 0;
    this.#filled = unread;
  }

  /** Drops what it keeps for speed, as of the next read. */
  trim(): void {
    this.#buffers.trim();
  }

  /** Lets go of all buffers: what is still read is of no use. */
  close(): void {
    if (this.#buffers.isClosed) return;
    if (this.#lease === undefined) this.#buffers.drop(this.buffer);
    else this.#lease.disown();
    this.#buffers.close();
    this.#lease = undefined;
    this.buffer = NO_BYTES;
    this.end = this.#filled = 0;
  }

  /** Notes that the first `count` bytes of the latest space were filled. */
  wrote(count: number): void {
    this.#buffers.wrote(count, this.buffer.length - this.#filled);
    this.#filled += count;
  }

  spend(work: number): void {
    this.spent += work;
  }

  keep(): Lease {
    return this.#lease ??= this.#buffers.leased(this.buffer);
  }

  /**
   * Goes to the next frame; returns `false` when more bytes are needed.
   *
   * @throws {ProtocolError} If the frame is of a type that is not taken, or too long.
   */
  next(): boolean {
    if (this.#skip > 0 && !this.#skipped()) return false;
    const { buffer } = this;
    const start = this.end;
    const filled = this.#filled;
    if (start === filled) return false;
    let size = buffer[start]!;
    let at = start + 1;
    if (size === LONG) {
      at = start + LONG_BYTES;
      if (at > filled) return false;
      size = readLong(buffer, start);
    }
    if (size === 0) throw new ProtocolError("Cannot read a frame: its size is 0");
    if (at === filled) return false;
    const type = buffer[at]!;
    const limit = this.limits[type];
    if (limit === undefined) {
      throw new ProtocolError(`Cannot read a frame: type ${type} is not expected here`);
    }
    const oversize = size - 1 > limit;
    if (oversize && type !== FrameType.PUBLISH) throw tooLong(type, size - 1, limit);
    if (!oversize && size > filled - at) return false;
    this.type = type;
    this.frames = 1;
    this.start = start;
    this.body = at + 1;
    this.end = oversize ? at + 1 : at + size;
    this.oversize = this.#skip = oversize ? size - 1 : 0;
    return true;
  }

  extend(topicBytes: number, payloadMax: number, bytesMax = this.buffer.length): number {
    if (this.frames >= this.runMax && this.#isOver()) return 0;
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

  /** Whether a run has as many frames as it may have. */
  #isOver(): boolean {
    this.runMax = this.#longer();
    return this.frames >= this.runMax;
  }

  /** Skips what is to be skipped, as far as it is here; returns whether that was all. */
  #skipped(): boolean {
    const count = Math.min(this.#skip, this.#filled - this.end);
    this.end += count;
    this.#skip -= count;
    return this.#skip === 0;
  }
}

function tooLong(type: number, size: number, limit: number): FrameError {
  return new FrameError(
    `Cannot read a frame of type ${type}: its body has ${size} bytes; the limit is ${limit}`,
    type === FrameType.OPEN ? Reason.TOO_MANY_SUBSCRIPTIONS : Reason.PROTOCOL,
  );
}
