/**
 * Connections: streams of bytes, which is all that the rest of the code sees of sockets.
 */
import type { TlsServerConn } from "./tls.ts";

export type Conn = Deno.TcpConn | Deno.UnixConn | Deno.TlsConn | TlsServerConn;

/** One connection: a stream of bytes; see `ByteStream` in `protocol/link.ts`. */
export class Connection {
  readonly #conn: Conn;
  #closed = false;

  /** Wraps a connection that was just made. */
  constructor(conn: Conn) {
    // Otherwise a small write may wait for the acknowledgement of the one before, 40 ms.
    if ("setNoDelay" in conn) conn.setNoDelay(true);
    this.#conn = conn;
  }

  /** The address of the other side; none where that is on this machine. */
  get remoteAddress(): string | undefined {
    const { remoteAddr } = this.#conn;
    return "hostname" in remoteAddr ? remoteAddr.hostname : undefined;
  }

  /** Reads into `into`; how many bytes, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null> {
    return this.#conn.read(into);
  }

  /** Writes some of `bytes`; how many. */
  write(bytes: Uint8Array): Promise<number> {
    return this.#conn.write(bytes);
  }

  /** Lets the program end although the connection is open, or not. */
  set keepsAlive(keeps: boolean) {
    if (keeps) this.#conn.ref();
    else this.#conn.unref();
  }

  /**
   * Begins TLS, on a connection over TCP; from then on only what is returned is used.
   *
   * @param hostname Whom the certificate has to name.
   * @param caCerts What vouches for it beside what the system trusts, in PEM.
   * @throws {Deno.errors.InvalidData} When it is not trusted.
   */
  async secured(
    hostname: string,
    caCerts: readonly string[],
    signal: AbortSignal,
  ): Promise<Connection> {
    this.#closed = true;
    return new Connection(await secure(this.#conn as Deno.TcpConn, hostname, signal, caCerts));
  }

  /** Ends the direction out. */
  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  /** Ends both directions; twice is once. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
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
  const secured = await Deno.startTls(conn, { hostname, caCerts: [...caCerts] });
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
