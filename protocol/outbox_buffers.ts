/**
 * The buffers of an outbox: the one that is being filled, and spares in which nothing is held any more.
 * They count in an account, each once and whole, as long as anything is held in it.
 */
import type { Account } from "../base/account.ts";
import { NO_BYTES } from "../base/bytes.ts";
import { Lease, lent } from "../base/lease.ts";
import type { Chunk } from "./outbox_chunk.ts";

/** The smallest buffer; while the outbox is busy, each is twice as large as the one before. */
const BUFFER_BYTES_MIN = 1024;
/** The largest buffer, unless a single frame needs a larger one. */
export const BUFFER_BYTES_MAX = 256 * 1024;
/** How many spare buffers are kept. */
const SPARES_MAX = 4;

/** Hands out buffers to one outbox, and uses them again. */
export class Buffers {
  /**
   * The buffer that is filled, with a holder for each chunk in it that is closed, and one for what a
   * connection may still write of it.
   */
  current: Lease<Uint8Array<ArrayBuffer>>;
  /** Where all that the outbox keeps is counted. */
  readonly account: Account;
  readonly #spares: Uint8Array<ArrayBuffer>[] = [];
  #nextBytes = BUFFER_BYTES_MIN;

  /** Makes one without buffers. */
  constructor(account: Account) {
    this.account = account;
    this.current = new Lease(NO_BYTES, account);
  }

  /** Continues in another buffer, of at least `length` bytes. */
  next(length: number): void {
    const { account } = this;
    this.current.disown();
    const spare = length > BUFFER_BYTES_MAX ? undefined : this.#spares.pop();
    const buffer = spare ?? new Uint8Array(Math.max(this.#nextBytes, length));
    if (spare === undefined) account.add(buffer.length);
    this.current = new Lease(buffer, account);
    this.#nextBytes = Math.min(2 * this.#nextBytes, BUFFER_BYTES_MAX);
  }

  /** A buffer for one chunk. */
  own(buffer: Uint8Array): Lease {
    return lent(buffer, this.account);
  }

  /** A chunk is gone, or written: its buffer is kept for what comes next, if nothing holds it now. */
  release({ buffer, lease }: Chunk): void {
    lease.release();
    if (lease.isOwned || !lease.isFree || lease.buffer !== buffer) return;
    if (buffer.length === BUFFER_BYTES_MAX && this.#spares.length < SPARES_MAX) {
      this.#spares.push(buffer as Uint8Array<ArrayBuffer>);
      this.account.add(buffer.length);
    }
  }

  /** How many bytes it keeps besides what chunks are held in. */
  get spareBytes(): number {
    const { buffer, holders } = this.current;
    return (holders === 0 ? buffer.length : 0) + this.#spares.length * BUFFER_BYTES_MAX;
  }

  /** Drops the buffers that are kept in reserve. */
  dropSpares(): void {
    this.account.add(-this.#spares.length * BUFFER_BYTES_MAX);
    this.#spares.length = 0;
  }

  /** Drops all buffers, and begins with a small one again. */
  trim(): void {
    this.dropSpares();
    this.current.disown();
    this.current = new Lease(NO_BYTES, this.account);
    this.#nextBytes = BUFFER_BYTES_MIN;
  }
}
