/**
 * Connections: the streams of bytes that the rest of the code sees of sockets.
 */
import type { Account } from "../base/account.ts";
import type { Conn, Stream } from "./conn.ts";
import type { Farewell } from "./websocket_close.ts";

/** One connection: a stream of bytes; see `ByteStream` in `protocol/link.ts`. */
export class Connection {
  readonly #conn: Conn;
  /** What is read and written: the connection, or a WebSocket over it. */
  readonly #stream: Stream;
  #closed = false;

  /**
   * Wraps a connection that was just made.
   *
   * @param stream What is spoken over it, if that is not just its bytes.
   */
  constructor(conn: Conn, stream: Stream = conn) {
    // Otherwise a small write may wait 40 ms for the acknowledgement of the one before.
    conn.setNoDelay?.(true);
    this.#conn = conn;
    this.#stream = stream;
  }

  /** The IP address of the other side; `undefined` for a Unix socket. */
  get remoteAddress(): string | undefined {
    const { remoteAddr } = this.#conn;
    return (remoteAddr as { readonly hostname?: string } | undefined)?.hostname;
  }

  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null> {
    return this.#stream.read(into);
  }

  /** Writes some of `bytes`; returns how many. */
  write(bytes: Uint8Array): Promise<number> {
    return this.#stream.write(bytes);
  }

  /** Whether the open connection keeps the program running. */
  set keepsAlive(keeps: boolean) {
    if (keeps) this.#conn.ref();
    else this.#conn.unref();
  }

  /** Goes on over another one that is made of what this is over; from then on use only that. */
  async over(make: (conn: Conn) => Promise<Conn>): Promise<Connection> {
    this.#closed = true;
    return new Connection(await make(this.#conn));
  }

  /** The other side is authenticated: what it sends is bounded by the sessions alone, from the next read on. */
  trust(): void {
    this.#conn.trust?.();
  }

  /** Drops what it keeps for speed. */
  trim(): void {
    this.#stream.trim?.();
  }

  /** Counts what it keeps there, until it is closed. */
  count(account: Account): void {
    this.#stream.count?.(account);
  }

  /** Ends the direction out; a WebSocket says why. */
  closeWrite(why?: Farewell): Promise<void> {
    return this.#stream.closeWrite(why);
  }

  /** Ends both directions; twice is once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stream.uncount?.();
    this.#conn.close();
  }
}
