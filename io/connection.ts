/**
 * Connections: the streams of bytes that the rest of the code sees of sockets.
 */
import type { Account } from "../base/account.ts";
import { WEB_PORTS, type WebEndpoint } from "./address.ts";
import type { Conn, Stream } from "./conn.ts";
import { WebSocketStream } from "./websocket.ts";
import type { Farewell } from "./websocket_close.ts";
import { askForUpgrade } from "./websocket_upgrade.ts";

/** One connection: a stream of bytes; see `ByteStream` in `protocol/link.ts`. */
export class Connection {
  readonly #conn: Conn;
  /** What is read and written: the connection, or a WebSocket over it. */
  #stream: Stream;
  #closed = false;

  /** Wraps a connection that was just made. */
  constructor(conn: Conn) {
    // Otherwise a small write may wait 40 ms for the acknowledgement of the one before.
    conn.setNoDelay?.(true);
    this.#conn = conn;
    this.#stream = conn;
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

  /**
   * Asks for a WebSocket over this connection, as its client.
   *
   * @throws {ProtocolError} If the other side does not upgrade to one.
   */
  async upgrade({ transport, hostname, port, path }: WebEndpoint): Promise<void> {
    const name = hostname.includes(":") ? `[${hostname.replace(/%.*/, "")}]` : hostname;
    const isUsual = port === WEB_PORTS[transport];
    const carrier = this.#conn;
    const first = await askForUpgrade(carrier, isUsual ? name : `${name}:${port}`, path);
    this.#stream = new WebSocketStream(carrier, true, first);
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
