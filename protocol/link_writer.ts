/**
 * What goes out over one connection: counted frames, as their owner hands them over, and others.
 *
 * ```
 *  send(), acknowledge() ──▶ control, ACK ┐
 *                                         ├──▶ one write in flight ──▶ stream
 *               next(): counted frames ──▶┘
 * ```
 *
 * - What gathers during a write goes out in the next: so a busy connection writes large pieces, an idle
 *   one writes at once, and there is no timer.
 * - Of several ACKs that wait only the last is sent, behind all that was sent before it.
 * - A write that the system takes at once resolves without a turn of the event loop. So after some MiB
 *   everything else has its turn.
 */
import type { Account } from "../base/account.ts";
import { NO_BYTES } from "../base/bytes.ts";
import { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import type { ByteStream } from "./link.ts";

/** Up to this size, counted frames and others go out in one write. */
const JOIN_BYTES_MAX = 64 * 1024;
/** Smaller pieces go out in no time. */
const LARGE_BYTES = 64 * 1024;
/** The most bytes of one write. */
const WRITE_BYTES_MAX = 1024 * 1024;
/** What counts as a millisecond of writing. */
const BYTES_PER_MS = 4 * 1024 * 1024;
/** What a frame that waits takes besides its bytes: the objects, and their place in a list. */
const FRAME_BYTES = 256;
const NO_PARTS: readonly Uint8Array[] = [];

/** What a {@linkcode LinkWriter} needs from its link. */
export interface WriterOwner {
  /** Hands over the next counted frames to write, if any. */
  readonly handler: { next(): Uint8Array | undefined };
  /** The stream has thrown this. */
  lose(error: unknown): void;
}

/** Writes to one stream. */
export class LinkWriter {
  /** How many ticks nothing was written; its owner counts them. */
  quietTicks = 0;
  readonly #stream: ByteStream;
  readonly #owner: WriterOwner;
  readonly #account: Account;
  #control: Uint8Array[] = [];
  /** How many bytes of memory the frames take that wait, and the buffer in which they are joined. */
  #keptBytes = 0;
  /** The ACK that waits, if there is one. */
  #ack: Uint8Array | undefined;
  /** The next counted frames, if they are too large to go out with frames that are not counted. */
  #counted: Uint8Array | undefined;
  /** What is sent when there is nothing else. */
  #last: Uint8Array | undefined;
  /** A buffer in which frames are put side by side. */
  #joint = NO_BYTES;
  #writing: Promise<void> | undefined;
  #isEnded = false;
  /** Counts bytes in place of time. */
  #written = 0;
  #slice: TimeSlice | undefined;

  /** Makes one that writes nothing yet. */
  constructor(stream: ByteStream, owner: WriterOwner, account: Account) {
    this.#stream = stream;
    this.#account = account;
    this.#owner = owner;
  }

  /** How many frames that are not counted wait to be written. */
  get waiting(): number {
    return this.#control.length + (this.#ack === undefined ? 0 : 1);
  }

  /** How many bytes it keeps in memory. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  #keep(change: number): void {
    this.#keptBytes += change;
    this.#account.add(change);
  }

  /** Sends a frame that is not counted. */
  send(frame: Uint8Array): void {
    this.#keep(FRAME_BYTES + frame.length);
    this.#control.push(frame);
    this.pump();
  }

  /** Sends an ACK after all that waits; it replaces one that still waits. */
  acknowledge(ack: Uint8Array): void {
    this.#ack = ack;
    this.pump();
  }

  /**
   * Sends the last frame, behind all others that are not counted.
   *
   * @param isLast Whether it also goes behind all counted ones that the owner hands over.
   */
  end(frame: Uint8Array, isLast = false): void {
    if (isLast) this.#last = frame;
    else {
      this.#control = [...this.#drain(), frame];
      this.#isEnded = true;
    }
    this.pump();
  }

  /** Writes what there is to write. */
  pump(): void {
    this.#writing ??= this.#write();
  }

  /** Resolves when all that there is to write is written, or the stream is lost. */
  async written(): Promise<void> {
    await this.#writing;
  }

  /** Writes nothing more. */
  close(): void {
    this.#keep(-this.#keptBytes);
    this.#joint = NO_BYTES;
    this.#isEnded = true;
    this.#control = [];
    this.#ack = this.#last = undefined;
    this.#slice?.end();
  }

  /** Drops what it keeps for speed. */
  trim(): void {
    if (this.#writing !== undefined) return;
    this.#keep(-this.#joint.length);
    this.#joint = NO_BYTES;
  }

  async #write(): Promise<void> {
    await undefined; // Whatever is sent in the same turn gathers for the first write.
    try {
      for (let bytes = this.#next(); bytes !== undefined; bytes = this.#next()) {
        this.quietTicks = 0;
        const isLarge = bytes.length > LARGE_BYTES;
        const isWhole = bytes.length <= WRITE_BYTES_MAX;
        const count = await this.#stream.write(
          isWhole ? bytes : bytes.subarray(0, WRITE_BYTES_MAX),
        );
        if (isLarge && this.#isTurnOver(count)) await this.#slice!.next();
        if (count < bytes.length) await this.#writeRest(bytes, count);
      }
    } catch (error) { // Whatever the stream throws: the connection is gone.
      this.#owner.lose(error);
    } finally {
      this.#writing = undefined;
    }
  }

  /** Writes what is from `at` on in parts, between which others have their turn. */
  async #writeRest(bytes: Uint8Array, at: number): Promise<void> {
    while (at < bytes.length) {
      const count = await this.#stream.write(bytes.subarray(at, at + WRITE_BYTES_MAX));
      at += count;
      this.quietTicks = 0;
      if (this.#isTurnOver(count)) await this.#slice!.next();
    }
  }

  /** Notes what was written; returns whether others should have their turn. */
  #isTurnOver(count: number): boolean {
    this.#written += count / BYTES_PER_MS;
    if (this.#written < 1) return false;
    this.#slice ??= new TimeSlice(new Rounds(() => this.#written));
    return this.#slice.isOver();
  }

  #next(): Uint8Array | undefined {
    if (this.#counted !== undefined) {
      const large = this.#counted;
      this.#counted = undefined;
      if (!this.#isEnded) return large;
    }
    const before = this.#drain();
    const counted = this.#isEnded ? undefined : this.#owner.handler.next();
    if (counted !== undefined && counted.length > JOIN_BYTES_MAX) {
      if (before.length === 0) return counted;
      this.#counted = counted;
      return this.#join(before);
    }
    // What the owner has just sent goes after what it hands over.
    const behind = this.#drain();
    if (before.length + behind.length === 0) return counted ?? this.#lastOf();
    const parts = counted === undefined ? [...before, ...behind] : [...before, counted, ...behind];
    return this.#join(parts);
  }

  /** The last frame, if it is its turn: nothing follows it. */
  #lastOf(): Uint8Array | undefined {
    const last = this.#last;
    if (last === undefined) return undefined;
    this.#last = undefined;
    this.#isEnded = true;
    return last;
  }

  #drain(): readonly Uint8Array[] {
    const control = this.#control;
    if (control.length === 0 && this.#ack === undefined) return NO_PARTS;
    if (control.length > 0) this.#keep(this.#joint.length - this.#keptBytes);
    if (this.#ack !== undefined) control.push(this.#ack);
    this.#control = [];
    this.#ack = undefined;
    return control;
  }

  /** All parts in one piece; valid until the next call, so until it is written. */
  #join(parts: readonly Uint8Array[]): Uint8Array {
    let length = 0;
    for (const part of parts) length += part.length;
    if (this.#joint.length < length) {
      const longer = Math.max(length, Math.min(2 * length, JOIN_BYTES_MAX));
      this.#keep(longer - this.#joint.length);
      this.#joint = new Uint8Array(longer);
    }
    let at = 0;
    for (const part of parts) {
      this.#joint.set(part, at);
      at += part.length;
    }
    return this.#joint.subarray(0, length);
  }
}
