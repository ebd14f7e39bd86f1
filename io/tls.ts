/**
 * TLS at the broker, over connections that can be closed at any time.
 *
 * In Deno, a TLS connection whose handshake is not complete stays open after `close()`, until the other
 * side ends it (seen on 2.9.6 and 2.6.8); so whoever connects and sends nothing could hold a descriptor
 * for as long as it likes. Therefore the listener accepts plain TCP, and passes the bytes of each
 * connection to another one within this process, at which Deno does TLS:
 *
 * ```
 *  client ⇄ outer, TCP ⇄ pumps ⇄ inner, TCP on loopback ⇄ Deno's TLS ⇄ whoever reads and writes
 * ```
 *
 * - The inner connection is made when the client has begun TLS. Its listener accepts that one
 *   connection, turns away others, and is closed.
 * - `tls_pumps.ts` has the pumps, and why they send something ahead of the client.
 */
import { writeAll } from "../base/bytes.ts";
import { later, type Timer } from "../base/timers.ts";
import { ProtocolError } from "../errors.ts";
import type { Certificate } from "./certificate.ts";
import { TlsPumps } from "./tls_pumps.ts";

const INNER = { hostname: "127.0.0.1", port: 0 };
/** The first byte that a client sends if it speaks TLS. */
const HANDSHAKE_RECORD = 0x16;
/** The TLS alert "unexpected message", for clients that do not. */
const ALERT = Uint8Array.of(0x15, 3, 3, 0, 2, 2, 10);
/** As much of what a client sends first is read before TLS begins. */
const FIRST_BYTES = 1024;
/** How long sending what was written may take after `close()`. */
const LINGER_MS = 1000;

/**
 * Checks that a certificate can be used.
 *
 * @throws {Deno.errors.InvalidData} If it is not valid, or its key is not, or is another's.
 */
export function checkCertificate(certificate: Certificate): void {
  try {
    listenWithin(certificate).close();
  } catch (error) { // InvalidData, or an Error for two that do not belong together.
    const { message } = error as Error;
    throw new Deno.errors.InvalidData(`Cannot use tls: ${whyUnusable(message)}`, { cause: error });
  }
}

function whyUnusable(message: string): string {
  if (/KeyMismatch/.test(message)) return "the key is that of another certificate";
  if (!/UnsupportedCertVersion/.test(message)) return message;
  return "the certificate is of version 1, which has no extensions; " +
    "make it with an extension subjectAltName";
}

/** The broker's end of a TLS connection, in the form of a `Deno.Conn`. */
export class TlsServerConn {
  readonly remoteAddr: Deno.NetAddr;
  readonly #outer: Deno.TcpConn;
  readonly #open: Promise<Deno.TlsConn>;
  #inner: readonly Deno.Conn[] = [];
  #secured: Deno.TlsConn | undefined;
  /** Ends when all that was written has left. */
  #outgoing: Promise<void> | undefined;
  readonly #closed = Promise.withResolvers<void>();
  #isOpen = true;
  #keepsAlive = true;
  #linger: Timer | undefined;

  /** Takes over a connection that was just accepted. */
  constructor(outer: Deno.TcpConn, certificate: Certificate) {
    outer.setNoDelay(true);
    this.#outer = outer;
    this.remoteAddr = outer.remoteAddr;
    this.#open = this.#secure(certificate);
    this.#open.catch(() => this.#abort()); // Reads and writes reject with it.
  }

  async #secure(certificate: Certificate): Promise<Deno.TlsConn> {
    const first = new Uint8Array(FIRST_BYTES);
    const count = await this.#outer.read(first);
    if (count === null) throw new Deno.errors.UnexpectedEof("the other side closed");
    if (first[0] !== HANDSHAKE_RECORD) {
      await writeAll(this.#outer, ALERT);
      throw new ProtocolError("Cannot authenticate a client: it does not speak TLS");
    }
    const { client, server } = await connectWithin(certificate);
    this.#inner = [client, server];
    this.#applyKeepsAlive();
    const gone = () => this.#abort(); // One of the ends is.
    const pumps = new TlsPumps(this.#outer, client);
    pumps.incoming(first.subarray(0, count)).catch(gone);
    this.#outgoing = pumps.outgoing().catch(gone);
    await server.handshake();
    pumps.isSecure = true;
    return this.#secured = server;
  }

  /** Resolves when nothing of it is open. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null> {
    return this.#secured?.read(into) ?? this.#open.then((secured) => secured.read(into));
  }

  /** Writes some of `bytes`; returns how many. */
  write(bytes: Uint8Array): Promise<number> {
    return this.#secured?.write(bytes) ?? this.#open.then((secured) => secured.write(bytes));
  }

  /** Ends the direction out. */
  closeWrite(): Promise<void> {
    return this.#secured?.closeWrite() ?? this.#open.then((secured) => secured.closeWrite());
  }

  /** Ends both directions, at once if the handshake is not complete; twice is once. */
  close(): void {
    if (!this.#isOpen) return;
    if (this.#secured === undefined) return this.#abort();
    this.#isOpen = false;
    this.#linger = later(() => this.#abort(), LINGER_MS, true);
    this.#outgoing?.then(() => this.#abort());
    this.#secured.close();
  }

  #abort(): void {
    this.#isOpen = false;
    this.#linger?.cancel();
    for (const conn of [this.#outer, ...this.#inner]) {
      try {
        conn.close();
      } catch (error) { // It is closed.
        if (!(error instanceof Deno.errors.BadResource)) throw error;
      }
    }
    this.#closed.resolve();
  }

  /** Keeps the program running. */
  ref(): void {
    this.#keepsAlive = true;
    this.#applyKeepsAlive();
  }

  /** Lets the program end. */
  unref(): void {
    this.#keepsAlive = false;
    this.#applyKeepsAlive();
  }

  #applyKeepsAlive(): void {
    for (const conn of [this.#outer, ...this.#inner]) {
      if (this.#keepsAlive) conn.ref();
      else conn.unref();
    }
  }
}

function listenWithin({ cert, key }: Certificate): Deno.TlsListener {
  return Deno.listenTls({ ...INNER, cert, key });
}

/** Both ends of a connection within this process; TLS is done at one of them. */
async function connectWithin(
  certificate: Certificate,
): Promise<{ client: Deno.TcpConn; server: Deno.TlsConn }> {
  const listener = listenWithin(certificate);
  let client: Deno.TcpConn | undefined;
  try {
    const { hostname, port } = listener.addr;
    client = await Deno.connect({ hostname, port });
    client.setNoDelay(true);
    for (;;) {
      const server = await listener.accept();
      if (isOtherEnd(server, client)) return { client, server };
      server.close();
    }
  } catch (error) { // There are no descriptors left, say.
    client?.close();
    throw error;
  } finally {
    listener.close();
  }
}

function isOtherEnd(server: Deno.TlsConn, client: Deno.TcpConn): boolean {
  const { hostname, port } = client.localAddr;
  return server.remoteAddr.hostname === hostname && server.remoteAddr.port === port;
}
