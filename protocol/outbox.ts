/**
 * Counted frames on their way to one peer: they wait, get their numbers when they are first handed
 * to a connection, and are kept until they are acknowledged. Knows no connection.
 *
 * ```
 *  composer ─▶ commit()
 *                 ▼
 *     push ──▶ ┌ Waiting ────────┐ ── next(): numbered ──▶ ┌ Sent ────────────┐ ── acknowledge()
 *              │ may be dropped, │    at most a window     │ kept; rewind()   │
 *              │ a GAP for them  │    in here              │ sends them again │
 *              └─────────────────┘                         └──────────────────┘
 * ```
 *
 * - A number is a place in the order, from 1; it is not in the frames.
 * - Frames are held in chunks, as they are written: small ones are copied side by side into a buffer; a
 *   large slice that is most of its buffer is kept as it is, and shared with whoever else holds it. So
 *   what is counted here is, within a factor, what is kept in memory.
 */
import { Account } from "../base/account.ts";
import type { Lease } from "../base/lease.ts";
import { Buffers } from "./outbox_buffers.ts";
import { wholeChunk } from "./outbox_chunk.ts";
import { Composer } from "./outbox_composer.ts";
import { type Fits, fittingParts } from "./outbox_sift.ts";
import { Sent } from "./outbox_sent.ts";
import { Waiting } from "./outbox_waiting.ts";

/** From this size on, keeping a slice is cheaper than copying it. */
const SLICE_BYTES_MIN = 16 * 1024;
/** A slice that is a smaller part of its buffer is copied all the same. */
const SLICE_PART_MIN = 1 / 4;

/** Whether a slice is kept as it is by whoever takes it, and not copied. */
export function isKept({ length, buffer }: Uint8Array): boolean {
  return length > SLICE_BYTES_MIN && length >= SLICE_PART_MIN * buffer.byteLength;
}

/** What an {@linkcode Outbox} begins with. */
export interface OutboxOptions {
  /** The number of the last frame before. */
  readonly first?: number;
  /** Where what it keeps in memory counts. */
  readonly account?: Account;
}

/** Keeps the counted frames of one direction of a session until they are acknowledged. */
export class Outbox {
  /** How many bytes of frames may be numbered and not acknowledged. */
  window: number;
  /**
   * Composes a PUBLISH in its place; then {@linkcode Outbox.commit} adds it, or
   * {@linkcode Composer.abandon} gives it up.
   *
   * - Other frames may be pushed meanwhile; they go before it.
   */
  readonly composer: Composer;
  readonly #onBytes: (change: number) => void;
  readonly #buffers: Buffers;
  readonly #waiting: Waiting;
  readonly #sent: Sent;
  #total = 0;

  /** Makes an empty one; calls `onBytes` with each change of `heldBytes`. */
  constructor(
    window: number,
    onBytes: (change: number) => void = () => {},
    { first = 0, account = new Account() }: OutboxOptions = {},
  ) {
    this.window = window;
    this.#onBytes = onBytes;
    const buffers = this.#buffers = new Buffers(account);
    this.#waiting = new Waiting(buffers);
    this.#sent = new Sent(buffers, first);
    this.composer = new Composer(this.#waiting);
  }

  /** How many bytes of frames it holds. */
  get heldBytes(): number {
    return this.#waiting.bytes + this.#sent.bytes;
  }

  /** How many bytes it keeps in memory; of buffers that others hold, too, only its share. */
  get keptBytes(): number {
    return this.#waiting.keptBytes + this.#sent.keptBytes;
  }

  /** How many frames wait or are not acknowledged. */
  get unacknowledged(): number {
    return this.#sent.numbered - this.#sent.acknowledged + this.#waiting.frames;
  }

  /** How many frames were not yet handed to this connection. */
  get ahead(): number {
    const { frames, missed } = this.#waiting;
    return this.#sent.numbered - this.#sent.handed + frames + (missed > 0 ? 1 : 0);
  }

  /** How many frames were ever added, except notices; continues from session to session. */
  get total(): number {
    return this.#total;
  }

  /** How many bytes are numbered and held, because not all of their chunk is acknowledged. */
  get inFlight(): number {
    return this.#sent.bytes;
  }

  /** At least so many bytes are numbered and not acknowledged. */
  get inFlightMin(): number {
    return this.#sent.bytesMin;
  }

  /** The number of the last frame that has one. */
  get numbered(): number {
    return this.#sent.numbered;
  }

  /** How many frames have no number yet, or were dropped since the latest notice. */
  get unnumbered(): number {
    return this.#waiting.frames + this.#waiting.missed;
  }

  /** The number of the last frame that is acknowledged. */
  get acknowledged(): number {
    return this.#sent.acknowledged;
  }

  /**
   * Returns a function: given how many frames the other side has taken, how many of the messages that
   * are here now it misses. It throws a `ProtocolError` if the other side cannot have taken so many.
   */
  missing(): (taken: number) => number {
    const { messages } = this.#waiting;
    const missing = this.#sent.missing();
    return (taken) => missing(taken) + messages;
  }

  /** Adds the PUBLISH that was composed and ends at `end`. */
  commit(end: number): void {
    const { composer } = this;
    end = composer.finish(end);
    const { bytes, start, isInPlace } = composer;
    composer.abandon();
    if (isInPlace) {
      this.#waiting.extend(end - start);
      this.#grew(end - start, 1);
    } else this.push(bytes.slice(start, end), 1); // Others may use that buffer again.
  }

  /**
   * Adds whole frames. Bytes that {@linkcode isKept} are not copied: they must stay as they are, while
   * it holds the lease if there is one, or else for ever.
   */
  push(bytes: Uint8Array, frames: number, lease?: Lease): void {
    if (bytes.length <= SLICE_BYTES_MIN) return this.#append(bytes, frames, false);
    if (isKept(bytes)) {
      this.#waiting.add(wholeChunk(bytes, frames, lease ?? this.#buffers.own(bytes)));
    } else {
      const copy = bytes.slice();
      this.#waiting.add(wholeChunk(copy, frames, this.#buffers.own(copy)));
    }
    this.#grew(bytes.length, frames);
  }

  /**
   * Adds a frame that is not a message.
   *
   * @param messages How many messages it stands for; if any, its bytes are kept.
   */
  notify(bytes: Uint8Array, messages = 0): void {
    if (messages === 0) return this.#append(bytes, 1, true);
    this.#waiting.add(wholeChunk(bytes, 1, this.#buffers.own(bytes), messages));
    this.#grew(bytes.length, 1);
  }

  #append(bytes: Uint8Array, frames: number, notices: boolean): void {
    // What is being composed stays where it is, after what this buffer holds.
    if (this.composer.isInPlace) this.#waiting.turn(bytes.length);
    this.#waiting.append(bytes, frames, notices);
    this.#grew(bytes.length, frames);
  }

  #grew(bytes: number, frames: number): void {
    this.#total += frames;
    this.#onBytes(bytes);
  }

  /** The next bytes for the connection; `undefined` if there are none, or the window is full. */
  next(): Uint8Array | undefined {
    const waiting = this.#waiting;
    const sent = this.#sent;
    const again = sent.again();
    if (again !== undefined) return again;
    const size = waiting.nextBytes;
    if (size === 0 || sent.bytes > 0 && sent.bytes + size > this.window) return undefined;
    if (waiting.missed === 0) return sent.add(waiting.shift()!);
    const gap = sent.add(waiting.shiftMissed());
    this.#onBytes(size); // Who hears of it may clear everything.
    return gap;
  }

  /**
   * Drops what the other side has acknowledged.
   *
   * @param count The number of the last frame that is acknowledged.
   * @returns Whether that is more than before.
   * @throws {ProtocolError} If it is less than before, or more than was sent.
   */
  acknowledge(count: number): boolean {
    const before = this.#sent.bytes;
    if (!this.#sent.acknowledge(count)) return false;
    this.#onBytes(this.#sent.bytes - before);
    if (this.heldBytes === 0) this.#waiting.refill();
    return true;
  }

  /** Drops what it keeps for speed: if it holds something, only the buffers that it keeps in reserve. */
  trim(): void {
    if (this.heldBytes === 0) this.#waiting.trim();
    else this.#buffers.dropSpares();
  }

  /**
   * Goes back to a frame, for a connection that replaces the one before.
   *
   * @param count The number of the last frame that the other side has.
   * @throws {ProtocolError} If there is no such number, or what follows it is gone.
   */
  rewind(count: number): void {
    this.#sent.rewind(count);
  }

  /**
   * Begins a new session: what is not acknowledged gets new numbers, from 1.
   *
   * @returns How many frames may have arrived in the session before.
   */
  restart(): number {
    const before = this.#sent.bytes;
    const again = this.#sent.restart();
    this.#onBytes(this.#sent.bytes - before);
    return again;
  }

  /**
   * Takes out the frames that do not fit, before any of a new session goes out.
   *
   * @param fits Called for each frame, in their order.
   * @returns How many were taken out.
   */
  sift(fits: Fits): number {
    const chunks = [...this.#sent.chunks(), ...this.#waiting.chunks()];
    const parts = chunks.flatMap((chunk) => [...fittingParts(chunk, fits)]);
    const [before, after] = [chunks, parts].map((all) =>
      all.reduce((n, { frames }) => n + frames, 0)
    );
    if (after === before) return 0;
    // The buffers are used again, so what stays is copied first.
    const kept = parts.map(({ buffer, start, end, frames }) => {
      return { bytes: buffer.slice(start, end), frames };
    });
    this.clear();
    for (const { bytes, frames } of kept) this.push(bytes, frames);
    return before! - after!;
  }

  /**
   * Drops the oldest frames that have no number yet, until `bytes` are free or no more are left. A notice
   * takes their place.
   *
   * @returns How many messages were dropped.
   */
  drop(bytes: number): number {
    const before = this.#waiting.bytes;
    const dropped = this.#waiting.drop(bytes);
    this.#onBytes(this.#waiting.bytes - before);
    return dropped;
  }

  /** Notes frames that were dropped before they came here. */
  miss(frames: number): void {
    this.#waiting.missed += frames;
  }

  /** Drops everything. */
  clear(): void {
    const before = this.heldBytes;
    this.#sent.clear();
    this.#waiting.clear();
    this.#onBytes(-before);
    this.#waiting.trim();
  }
}
