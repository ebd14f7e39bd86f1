/**
 * The buffers of an outbox: the one that is being filled, and spares in which nothing is held any more.
 */
import { type Lease, NO_BYTES } from "../base/bytes.ts";
import type { Chunk } from "./outbox_chunk.ts";

/** The smallest buffer; while the outbox is busy, each is twice as large as the one before. */
const BUFFER_BYTES_MIN = 1024;
/** The largest buffer, unless a single frame needs a larger one. */
export const BUFFER_BYTES_MAX = 256 * 1024;
/** How many spare buffers are kept. */
const SPARES_MAX = 4;

/** A buffer of our own that is lent. */
interface OwnLease extends Lease {
  readonly buffer: Uint8Array<ArrayBuffer>;
}

/** Hands out buffers to one outbox, and uses them again. */
export class Buffers {
  /**
   * The buffer that is filled, with a holder for each chunk in it that is closed, and one for what a
   * connection may still write of it.
   */
  current: OwnLease = noLease();
  readonly #spares: Uint8Array<ArrayBuffer>[] = [];
  #nextBytes = BUFFER_BYTES_MIN;

  /** Continues in another buffer, of at least `length` bytes. */
  next(length: number): void {
    const spare = length > BUFFER_BYTES_MAX ? undefined : this.#spares.pop();
    const buffer = spare ?? new Uint8Array(Math.max(this.#nextBytes, length));
    this.current = { buffer, holders: 0 };
    this.#nextBytes = Math.min(2 * this.#nextBytes, BUFFER_BYTES_MAX);
  }

  /** A chunk is gone, or written: its buffer is kept for what comes next, if nothing holds it now. */
  release({ buffer, lease }: Chunk): void {
    if (lease === undefined) return;
    lease.holders--;
    if (lease.holders > 0 || lease.buffer !== buffer || lease === this.current) return;
    if (buffer.length === BUFFER_BYTES_MAX && this.#spares.length < SPARES_MAX) {
      this.#spares.push(buffer as Uint8Array<ArrayBuffer>);
    }
  }

  /** Drops all buffers, and begins with a small one again. */
  trim(): void {
    this.current = noLease();
    this.#spares.length = 0;
    this.#nextBytes = BUFFER_BYTES_MIN;
  }
}

/** Where nothing is lent yet. */
function noLease(): OwnLease {
  return { buffer: NO_BYTES, holders: 0 };
}
