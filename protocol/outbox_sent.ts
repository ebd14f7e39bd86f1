/**
 * Frames that have a number: kept until they are acknowledged, and handed again to each connection that
 * replaces the one before.
 *
 * ```
 *      acknowledged        handed             numbered
 *           │                 │                  │
 *  ┌────────┼─────────────────┼──────────────────┤
 *  │  gone  │  may have come  │  goes out again  │ ◀── add()
 *  └────────┼─────────────────┼──────────────────┘
 * ```
 *
 * - A number is a place in the order, from 1. Acknowledged frames are dropped chunk by chunk, so the
 *   first chunk may begin with some.
 */
import { Fifo } from "../base/fifo.ts";
import { ProtocolError } from "../errors.ts";
import type { Buffers } from "./outbox_buffers.ts";
import { type Chunk, CHUNK_BYTES, keptBy } from "./outbox_chunk.ts";
import { framesEnd } from "./topic_run.ts";

/** Up to this size, frames that were handed over apart are kept as one chunk. */
const JOINED_BYTES_MAX = 16 * 1024;

/** What notices take, besides their bytes. */
const NOTICES_BYTES = 64;

/** Numbered frames that are not messages; `number` is that of the last. */
interface Notices {
  readonly number: number;
  readonly frames: number;
  readonly weight: number;
}

/** Keeps numbered frames until they are acknowledged. */
export class Sent {
  /** The number of the last frame that has one. */
  numbered = 0;
  /** The number of the last frame that is acknowledged. */
  acknowledged = 0;
  /** The number of the last frame that was handed to this connection. */
  handed = 0;
  /** How many bytes are held. */
  bytes = 0;
  readonly #chunks = new Fifo<Chunk>();
  /** The number of the last frame before the chunks. */
  #base = 0;
  /** The chunk that is sent again next. */
  #cursor = 0;
  /** How many of its frames the other side has. */
  #skip = 0;
  /** The chunk that was handed over last, which holds its buffer until it is written. */
  #writing: Chunk | undefined;
  /** The notices that are not acknowledged, in their order. */
  readonly #notices = new Fifo<Notices>();
  readonly #buffers: Buffers;

  /** Makes one without frames; `first` is the number of the last one before. */
  constructor(buffers: Buffers, first = 0) {
    this.#buffers = buffers;
    this.numbered =
      this.acknowledged =
      this.handed =
      this.#base =
        first;
  }

  /**
   * Returns a function: given how many frames the other side has taken, how many of the messages that
   * are here now it misses. It throws a `ProtocolError` if the other side cannot have taken so many.
   */
  missing(): (taken: number) => number {
    const { acknowledged, numbered } = this;
    const notices = Array.from({ length: this.#notices.length }, (_, i) => this.#notices.at(i)!);
    return (taken) => {
      checkTaken(taken, acknowledged, numbered);
      return notices.reduce(
        (sum, { number, frames, weight }) =>
          sum + (weight - 1) * Math.max(0, Math.min(frames, number - taken)),
        numbered - taken,
      );
    };
  }

  /** At least so many bytes are not acknowledged: a chunk of which some are does not count. */
  get bytesMin(): number {
    const first = this.#chunks.at(0);
    if (first === undefined || this.#base === this.acknowledged) return this.bytes;
    return this.bytes - (first.end - first.start);
  }

  /** How many bytes it keeps in memory; what is being written also when it is acknowledged already. */
  get keptBytes(): number {
    let sum = this.#notices.length * NOTICES_BYTES + (this.#writing?.lease.share ?? 0);
    for (let i = 0; i < this.#chunks.length; i++) sum += keptBy(this.#chunks.at(i)!);
    return sum;
  }

  /** All that is held, in its order; the first may begin with frames that are acknowledged. */
  *chunks(): Generator<Chunk, void, undefined> {
    for (let i = 0; i < this.#chunks.length; i++) yield this.#chunks.at(i)!;
  }

  /** The next bytes to send again; those before are written. */
  again(): Uint8Array | undefined {
    const chunk = this.#chunks.at(this.#cursor);
    this.#writes(chunk);
    if (chunk === undefined) return undefined;
    const start = framesEnd(chunk.buffer, chunk.start, this.#skip);
    this.handed += chunk.frames - this.#skip;
    this.#skip = 0;
    this.#cursor++;
    return chunk.buffer.subarray(start, chunk.end);
  }

  /** The chunk before is written; this one is next. */
  #writes(chunk: Chunk | undefined): void {
    const before = this.#writing;
    this.#writing = chunk;
    if (chunk !== undefined) chunk.lease.holders++;
    if (before !== undefined) this.#buffers.release(before);
  }

  /** Gives the next numbers to frames that are handed over now; returns their bytes. */
  add(chunk: Chunk): Uint8Array {
    const { buffer, start, end, frames, lease, weight } = chunk;
    this.handed = this.numbered += frames;
    if (weight !== undefined) {
      this.#notices.push({ number: this.numbered, frames, weight });
      this.#buffers.account.add(NOTICES_BYTES);
    }
    this.bytes += end - start;
    const last = this.#chunks.at(this.#chunks.length - 1);
    if (last?.buffer === buffer && last.end === start && end - last.start <= JOINED_BYTES_MAX) {
      last.end = end;
      last.frames += frames;
      lease.holders--;
      this.#writes(last);
    } else {
      this.#chunks.push(chunk);
      this.#buffers.account.add(CHUNK_BYTES);
      this.#writes(chunk);
    }
    this.#cursor = this.#chunks.length;
    return buffer.subarray(start, end);
  }

  /**
   * Drops what the other side has acknowledged.
   *
   * @param count The number of the last frame that is acknowledged.
   * @returns Whether that is more than before.
   * @throws {ProtocolError} If it is less than before, or more than was sent.
   */
  acknowledge(count: number): boolean {
    if (count < this.acknowledged || count > this.handed) {
      throw new ProtocolError(
        `Cannot take an acknowledgement of ${count}: ${this.handed} frames were sent and ` +
          `${this.acknowledged} acknowledged`,
      );
    }
    if (count === this.acknowledged) return false;
    this.acknowledged = count;
    while (this.#notices.length > 0 && this.#notices.at(0)!.number <= count) {
      this.#notices.shift();
      this.#buffers.account.add(-NOTICES_BYTES);
    }
    let first = this.#chunks.at(0);
    while (first !== undefined && this.#base + first.frames <= count) {
      this.#chunks.shift();
      this.#buffers.account.add(-CHUNK_BYTES);
      this.#base += first.frames;
      this.#cursor--;
      this.bytes -= first.end - first.start;
      this.#buffers.release(first);
      first = this.#chunks.at(0);
    }
    return true;
  }

  /**
   * Goes back to a frame, for a connection that replaces the one before.
   *
   * @param count The number of the last frame that the other side has.
   * @throws {ProtocolError} If there is no such number, or what follows it is gone.
   */
  rewind(count: number): void {
    checkTaken(count, this.acknowledged, this.numbered);
    this.#abandonWriting();
    this.handed = count;
    this.#cursor = 0;
    this.#skip = count - this.#base;
    let chunk = this.#chunks.at(0);
    while (chunk !== undefined && chunk.frames <= this.#skip) {
      this.#skip -= chunk.frames;
      chunk = this.#chunks.at(++this.#cursor);
    }
  }

  /**
   * The connection before may still write what it was handed last, and nobody hears when it has: so
   * that buffer is never used again.
   */
  #abandonWriting(): void {
    const writing = this.#writing;
    if (writing === undefined) return;
    this.#writing = undefined;
    writing.lease.isSpoilt = true;
    this.#buffers.release(writing);
  }

  /**
   * Gives new numbers, from 1, to what is not acknowledged.
   *
   * @returns How many frames that are.
   */
  restart(): number {
    this.#abandonWriting();
    const again = this.numbered - this.acknowledged;
    const first = this.#chunks.at(0);
    if (first !== undefined) {
      const gone = this.acknowledged - this.#base;
      const end = framesEnd(first.buffer, first.start, gone);
      this.bytes -= end - first.start;
      first.start = end;
      first.frames -= gone;
    }
    this.#forgetNumbers();
    this.numbered = again;
    return again;
  }

  #forgetNumbers(): void {
    this.numbered =
      this.acknowledged =
      this.handed =
      this.#base =
      this.#cursor =
      this.#skip =
        0;
  }

  /** Drops everything. */
  clear(): void {
    const { account } = this.#buffers;
    account.add(-this.#chunks.length * CHUNK_BYTES - this.#notices.length * NOTICES_BYTES);
    this.#abandonWriting();
    for (let i = 0; i < this.#chunks.length; i++) this.#buffers.release(this.#chunks.at(i)!);
    this.#chunks.clear();
    this.#notices.clear();
    this.bytes = 0;
    this.#forgetNumbers();
  }
}

/**
 * Checks that the other side can have taken so many frames.
 *
 * @throws {ProtocolError} If it cannot.
 */
function checkTaken(taken: number, acknowledged: number, numbered: number): void {
  if (taken >= acknowledged && taken <= numbered) return;
  throw new ProtocolError(
    `Cannot resume after ${taken} frames: ${numbered} were sent and ${acknowledged} acknowledged`,
  );
}
