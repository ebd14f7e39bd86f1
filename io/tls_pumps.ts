/**
 * Passes bytes between a client and the connection within this process at which Deno does TLS.
 *
 * Deno offers no `setNoDelay` for its end of that connection. So the system keeps a small write of it
 * until the one before is acknowledged, and that takes 40 ms where this end has nothing to send that
 * would carry the acknowledgement. But something can be sent at any time: how the next record of the
 * client begins is known. So when bytes have come, a byte of that goes ahead of the client.
 *
 * ```
 *  client ⇄ outer ── bytes, but those that went ahead ──▶ inner ⇄ Deno's TLS
 *                ◀── bytes; then one byte goes ahead ────
 * ```
 */
import { writeAll } from "../base/bytes.ts";
import { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import type { Conn } from "./conn.ts";
import { ClientRecords } from "./tls_records.ts";

const BYTES_MIN = 1024;
const BYTES_MAX = 128 * 1024;
/** What counts as a millisecond of passing bytes on. */
const BYTES_PER_MS = 2 * 1024 * 1024;

/** A connection, or what is like one. */
export type End = Pick<Conn, "read" | "write" | "closeWrite">;

/** Passes bytes in both directions. */
export class TlsPumps {
  /** Whether the handshake is complete, so that bytes can go ahead of the client. */
  isSecure = false;
  readonly #outer: End;
  readonly #inner: End;
  readonly #records = new ClientRecords();
  /** What is being written to the inner connection. */
  #writing: Promise<void> | undefined;

  /** Makes one that passes nothing yet. */
  constructor(outer: End, inner: End) {
    this.#outer = outer;
    this.#inner = inner;
  }

  /**
   * Passes on what the client sends, first what was read already, until it ends.
   *
   * @throws What a connection throws that is gone.
   */
  async incoming(first: Uint8Array): Promise<void> {
    const records = this.#records;
    await this.#write(records.pass(first)!);
    await pump(this.#outer, async (bytes) => {
      const rest = records.pass(bytes);
      if (rest === undefined) return false;
      await this.#write(rest);
      return true;
    });
    await this.#inner.closeWrite();
  }

  /**
   * Passes on what the client is to get, until that ends.
   *
   * @throws What a connection throws that is gone.
   */
  async outgoing(): Promise<void> {
    await pump(this.#inner, async (bytes) => {
      this.#goAhead();
      await writeAll(this.#outer, bytes);
      return true;
    });
    await this.#outer.closeWrite();
  }

  /** Sends a byte ahead, unless something is being sent anyway. */
  #goAhead(): void {
    if (!this.isSecure || this.#writing !== undefined) return;
    const ahead = this.#records.ahead();
    if (ahead !== undefined) this.#write(ahead).catch(() => {}); // Whoever reads there hears of it.
  }

  /** Writes to the inner connection, behind what is being written there. */
  async #write(bytes: Uint8Array): Promise<void> {
    const write = () => writeAll(this.#inner, bytes);
    const writing = this.#writing = this.#writing?.then(write) ?? write();
    try {
      await writing;
    } finally {
      if (this.#writing === writing) this.#writing = undefined;
    }
  }
}

/** Reads until the end, or until `take` says no, in turns with everything else. */
async function pump(
  from: End,
  take: (bytes: Uint8Array) => Promise<boolean>,
): Promise<void> {
  let passed = 0;
  const slice = new TimeSlice(new Rounds(() => passed / BYTES_PER_MS));
  let buffer = new Uint8Array(BYTES_MIN);
  try {
    for (;;) {
      const count = await from.read(buffer);
      if (count === null) return;
      if (!await take(buffer.subarray(0, count))) return;
      passed += count;
      if (slice.isOver()) await slice.next();
      const { length } = buffer;
      if (count === length && length < BYTES_MAX) buffer = new Uint8Array(4 * length);
      else if (count < length / 16) buffer = new Uint8Array(BYTES_MIN);
    }
  } finally {
    slice.end();
  }
}
