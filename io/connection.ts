/**
 * Connections: the streams of bytes that the rest of the code sees of sockets.
 */
import type { Account } from "../base/account.ts";
import { WEB_PORTS, type WebEndpoint } from "./address.ts";
import type { SocketObject } from "./socket_object.ts";
import type { TlsServerConn } from "./tls.ts";
import type { WebConn } from "./web_conn.ts";
import { type Farewell, WebSocketStream } from "./websocket.ts";
import { askForUpgrade } from "./websocket_upgrade.ts";

export type Conn =
  | Deno.TcpConn
  | Deno.UnixConn
  | Deno.TlsConn
  | TlsServerConn
  | WebConn
  | SocketObject;

/** One connection: a stream of bytes; see `ByteStream` in `protocol/link.ts`. */
export class Connection {
  readonly #conn: Conn;
  /** What is read and written: the connection, or a WebSocket over it. */
  #stream: Pick<Conn, "read" | "write"> & {
    closeWrite(why?: Farewell): Promise<void>;
    trim?(): void;
    count?(account: Account): void;
    uncount?(): void;
  };
  #closed = false;

  /** Wraps a connection that was just made. */
  constructor(conn: Conn) {
    // Otherwise a small write may wait 40 ms for the acknowledgement of the one before.
    if ("setNoDelay" in conn) conn.setNoDelay(true);
    this.#conn = conn;
    this.#stream = conn;
  }

  /** The IP address of the other side; `undefined` for a Unix socket. */
  get remoteAddress(): string | undefined {
    const { remoteAddr } = this.#conn;
    return remoteAddr && "hostname" in remoteAddr ? remoteAddr.hostname : undefined;
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

  /**
   * Begins TLS, on a connection over TCP; from then on use only what is returned.
   *
   * @param hostname The name that the certificate must have.
   * @param caCerts Certificates to trust besides those that the system trusts, in PEM.
   * @throws {Deno.errors.InvalidData} If the certificate is not trusted.
   */
  async secured(
    hostname: string,
    caCerts: readonly string[],
    signal: AbortSignal,
  ): Promise<Connection> {
    this.#closed = true;
    return new Connection(await secure(this.#conn as Deno.TcpConn, hostname, signal, caCerts));
  }

  /**
   * Asks for a WebSocket over this connection, as its client.
   *
   * @throws {ProtocolError} If the other side does not upgrade to one.
   */
  async upgrade({ transport, hostname, port, path }: WebEndpoint): Promise<void> {
    const name = hostname.includes(":") ? `[${hostname.replace(/%.*/, "")}]` : hostname;
    const isUsual = port === WEB_PORTS[transport];
    const carrier = this.#conn as Deno.TcpConn | Deno.TlsConn;
    const first = await askForUpgrade(carrier, isUsual ? name : `${name}:${port}`, path);
    this.#stream = new WebSocketStream(carrier, true, first);
  }

  /** The other side is authenticated: what it sends is bounded by the sessions alone, from the next read on. */
  trust(): void {
    if ("trust" in this.#conn) this.#conn.trust();
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

export async function secure(
  conn: Deno.TcpConn,
  hostname: string,
  signal: AbortSignal,
  caCerts: readonly string[],
): Promise<Deno.TlsConn> {
  conn.setNoDelay(true);
  const secured = await startTls(conn, hostname, caCerts);
  const close = () => secured.close();
  signal.addEventListener("abort", close);
  try {
    await secured.handshake();
    return secured;
  } catch (error) {
    if (!signal.aborted) secured.close();
    throw error;
  } finally {
    signal.removeEventListener("abort", close);
  }
}

async function startTls(
  conn: Deno.TcpConn,
  hostname: string,
  caCerts: readonly string[],
): Promise<Deno.TlsConn> {
  try {
    return await Deno.startTls(conn, { hostname, caCerts: [...caCerts] });
  } catch (error) { // One of the certificates cannot be read, or the name is not one for TLS.
    closeIfOpen(conn);
    const what = error instanceof Error ? error.message : error;
    throw new TypeError(
      `Cannot begin TLS with ${JSON.stringify(hostname)}: the name or a certificate to trust ` +
        `cannot be used (${what})`,
      { cause: error },
    );
  }
}

function closeIfOpen(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch (error) { // It became part of TLS before that failed.
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
