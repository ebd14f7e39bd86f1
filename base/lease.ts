/**
 * A buffer that is lent: kept by its owner, and by all who hold something in it. However many they are, it
 * counts once, and until the last of them lets go of it.
 *
 * ```
 *  owner: counted ──▶ Lease ──▶ holders++ … release() ──▶ disown() … release(): no longer counted
 * ```
 */
import type { Account } from "./account.ts";

/** A buffer that is lent; its owner uses it again when nobody holds it. */
export class Lease<B extends Uint8Array = Uint8Array> {
  /** Where the bytes are. */
  readonly buffer: B;
  /** How many hold it. */
  holders = 0;
  /** Whether its owner keeps it, too. */
  isOwned = true;
  /** Whether somebody may still read it without holding it: then it is never used again. */
  isSpoilt = false;
  readonly #account: Account;
  /** How many bytes the whole buffer has, of which this may be a part. */
  readonly #bytes: number;

  /** Lends a buffer that counts in this account already. */
  constructor(buffer: B, account: Account) {
    this.buffer = buffer;
    this.#account = account;
    this.#bytes = buffer.buffer.byteLength;
  }

  /** Whether its owner may use it again. */
  get isFree(): boolean {
    return this.holders === 0 && !this.isSpoilt;
  }

  /** How many bytes of it each that holds it is said to keep. */
  get share(): number {
    return this.holders > 1 ? this.#bytes / this.holders : this.#bytes;
  }

  /** One holds it no longer. */
  release(): void {
    if (--this.holders === 0 && !this.isOwned) this.#gone();
  }

  /** Its owner no longer keeps it. */
  disown(): void {
    this.isOwned = false;
    if (this.holders === 0) this.#gone();
  }

  #gone(): void {
    this.#account.add(-this.#bytes);
  }
}

/** A buffer that nobody uses again: it is kept only by those who hold it. */
export function lent(buffer: Uint8Array, account: Account): Lease {
  account.add(buffer.buffer.byteLength);
  const lease = new Lease(buffer, account);
  lease.isOwned = false;
  return lease;
}
