/**
 * The buffers of a reader: how large they have to be, and those that were lent and may be free again.
 *
 * ```
 *                        ┌ unread ┐
 *  ┌─────────────────────┬────────┬──────────┐
 *  │ frames, maybe lent  │ begun  │   room   │  too little of it: what has begun goes to the start of
 *  └─────────────────────┴────────┴──────────┘  this buffer, or of another that is twice as large
 * ```
 *
 * - A buffer is left only when little room is left in it, and the next has room for at least as much
 *   as is moved there. So each byte is moved a few times at most, however many reads bring a frame.
 * - All of them count in an account: the one that is filled, those that are remembered, and those that
 *   others hold.
 * - What a header promises makes no buffer larger than twice what has arrived. It makes one smaller,
 *   so that a long frame fills it to the end; and it lets a buffer that is there stay as it is.
 */
import type { Account } from "../base/account.ts";
import { Lease } from "../base/lease.ts";

/** The smallest buffer. */
export const READ_BYTES_MIN = 512;
const READ_BYTES_MAX = 256 * 1024;
/** After so many reads in a row that fill little of it, or need little of it, a buffer gets smaller. */
const SMALL_READS_MAX = 32;
/** A larger buffer is let go of as soon as it is not needed. */
const KEPT_BYTES_MAX = 2 * 1024 * 1024;
/** How many buffers that are lent are remembered, and how many bytes these may be: two of 1 MiB and more. */
const LENT_MAX = 8;
const LENT_BYTES_MAX = 3 * 1024 * 1024;

/** What has begun to arrive. */
export interface Begun {
  /** How many bytes are there and not read yet. */
  readonly unread: number;
  /** How many bytes the frame that they begin will have, as its header says; 0 if it does not say. */
  readonly promised: number;
}

/** Decides how large the buffer of one reader is, and gives it another one. */
export class ReadBuffers {
  /** What a read should have room for. */
  #readBytes: number = READ_BYTES_MIN;
  /** How many reads in a row filled little of the buffer. */
  #smallReads = 0;
  /** How many reads in a row needed less than half of the buffer. */
  #spareReads = 0;
  /** How long a new buffer has to be for what has begun to arrive, and how long one may be. */
  #least = 0;
  #most = 0;
  #lent: Lease[] = [];
  #lentBytes = 0;
  /** Whether there are no buffers any more. */
  isClosed = false;
  readonly #account: Account;

  /** Makes one without buffers. */
  constructor(account: Account) {
    this.#account = account;
  }

  /** How many bytes are remembered that nobody holds. */
  get freeBytes(): number {
    let sum = 0;
    for (const { buffer, holders } of this.#lent) if (holders === 0) sum += buffer.length;
    return sum;
  }

  /** The first buffer. */
  first(): Uint8Array {
    return this.#made(READ_BYTES_MIN);
  }

  #made(length: number): Uint8Array {
    this.#account.add(length);
    return new Uint8Array(length);
  }

  /** A buffer was left that nobody holds. */
  drop({ length }: Uint8Array): void {
    this.#account.add(-length);
  }

  /** Works out how long a buffer should be; the present one has `length` bytes. */
  plan(length: number, { unread, promised }: Begun): void {
    const twice = promised > 0 ? Math.min(2 * unread, promised) : 2 * unread;
    const least = this.#least = Math.max(this.#readBytes, twice);
    const wanted = promised <= KEPT_BYTES_MAX ? Math.max(least, promised) : least;
    this.#spareReads = length > 2 * wanted ? this.#spareReads + 1 : 0;
    const isSpared = this.#spareReads < SMALL_READS_MAX;
    this.#most = isSpared ? Math.max(2 * wanted, KEPT_BYTES_MAX) : 2 * wanted;
  }

  /** Whether a buffer of this length can go on being used. */
  fits(length: number): boolean {
    return length >= this.#readBytes && length <= this.#most;
  }

  /** Whether there is so little room that what has begun is better moved to where there is more. */
  isCramped(room: number, { unread, promised }: Begun): boolean {
    return 2 * room < this.#readBytes && !(promised > this.#readBytes && promised - unread <= room);
  }

  /** Whether a buffer is too small for what has begun, wherever in it that stands. */
  isFull(room: number, { unread, promised }: Begun): boolean {
    return 4 * room < this.#readBytes && !(promised > 0 && promised - unread <= room);
  }

  /** Another buffer, as planned; of at least `length` bytes, if that fits the plan. */
  next(length = 0): Uint8Array {
    const least = length <= this.#most ? Math.max(length, this.#least) : this.#least;
    const lent = this.#lent;
    const free = lent.findLastIndex(({ buffer, isFree }) =>
      isFree && buffer.length >= least && buffer.length <= this.#most
    );
    if (free < 0) return this.#made(least);
    const { buffer } = lent.splice(free, 1)[0]!;
    this.#lentBytes -= buffer.length;
    return buffer;
  }

  /** A buffer that is lent from now on. */
  leased(buffer: Uint8Array): Lease {
    return new Lease(buffer, this.#account);
  }

  /** Remembers a buffer that is left to those who hold it. */
  lend(lease: Lease): void {
    const lent = this.#lent;
    this.#lentBytes += lease.buffer.length;
    lent.push(lease);
    while (lent.length > LENT_MAX || this.#lentBytes > LENT_BYTES_MAX) {
      const lease = lent.shift()!;
      this.#lentBytes -= lease.buffer.length;
      lease.disown();
    }
  }

  /** Notes that a read filled `count` bytes of the `room` that it had. */
  wrote(count: number, room: number): void {
    if (count === room) {
      this.#readBytes = Math.min(4 * this.#readBytes, READ_BYTES_MAX);
      this.#smallReads = 0;
    } else if (count >= this.#readBytes / 16) this.#smallReads = 0;
    else if (++this.#smallReads === SMALL_READS_MAX) this.#shrink();
  }

  #shrink(): void {
    this.#readBytes = READ_BYTES_MIN;
    this.#smallReads = 0;
    this.#spareReads = SMALL_READS_MAX;
  }

  /** Drops all that is remembered, for good. */
  close(): void {
    this.trim();
    this.isClosed = true;
  }

  /** Drops what is kept for speed; the next plan is for what is needed. */
  trim(): void {
    for (const lease of this.#lent) lease.disown();
    this.#lent = [];
    this.#lentBytes = 0;
    this.#shrink();
  }
}
