/**
 * Dial and listen. A stream of bytes is all that the rest of the code sees of TCP and Unix sockets.
 */
import { type Address, type Endpoint, formatEndpoint, parseAddress, takeLock } from "./address.ts";
import { AuthError, ConnectionLostError } from "../errors.ts";
import { type Certificate, checkCertificate, TlsServerConn } from "./tls.ts";

export type { Certificate };

/** How long a listener waits after it could not accept, so that a lack of descriptors can pass. */
const ACCEPT_RETRY_MS = 100;
/**
 * How many connections the system holds until they are accepted; one more is not answered, and its
 * client tries again a second later. Systems have bounds of their own, 4096 on Linux.
 */
const TCP_BACKLOG = 4096;
/**
 * After how many connections everybody else has a turn: while some wait to be accepted, Deno hardly
 * looks at the others.
 */
const ACCEPTS_PER_TURN = 32;
/** The path of a socket for which {@linkcode listen} made a folder, and that folder. */
const MADE_PATH = /^(.*\/mpubsub-[^/]*)\/bus\.sock$/;

type Conn = Deno.TcpConn | Deno.UnixConn | Deno.TlsConn | TlsServerConn;

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

/**
 * Connects to an address.
 *
 * @param caCerts What vouches for the other side's certificate beside what the system trusts, in PEM.
 * @throws {ConnectionLostError} When nobody answers there.
 * @throws {AuthError} When the other side's certificate is not trusted.
 * @throws The signal's reason, when it aborts before.
 */
export async function dial(
  address: Address,
  signal: AbortSignal,
  caCerts: readonly string[] = [],
): Promise<Connection> {
  const endpoint = parseAddress(address);
  signal.throwIfAborted();
  try {
    const conn = await connect(endpoint, signal, caCerts);
    const connection = new Connection(conn);
    if (signal.aborted) connection.close();
    signal.throwIfAborted();
    return connection;
  } catch (error) { // Refused, not found, unreachable, aborted; a lack of permission is the caller's.
    signal.throwIfAborted();
    if (error instanceof Deno.errors.NotCapable) throw error;
    const what = error instanceof Error ? error.message : error;
    if (error instanceof Deno.errors.InvalidData) throw notTrusted(endpoint, error);
    throw new ConnectionLostError(
      `Cannot connect to ${formatEndpoint(endpoint)}: no broker answers (${what})`,
      { cause: error },
    );
  }
}

async function connect(
  endpoint: Endpoint,
  signal: AbortSignal,
  caCerts: readonly string[],
): Promise<Conn> {
  if (endpoint.transport === "unix") {
    return await Deno.connect({ transport: "unix", path: endpoint.path });
  }
  const { transport, hostname, port } = endpoint;
  const conn = await Deno.connect({ hostname, port, signal });
  return transport === "tcp" ? conn : await secure(conn, hostname, signal, caCerts);
}

async function secure(
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

function notTrusted(endpoint: Endpoint, cause: Error): AuthError {
  return new AuthError(
    `Cannot connect to ${formatEndpoint(endpoint)}: its certificate is not trusted ` +
      `(${cause.message}), give what vouches for it as tls: { caCerts }`,
    { cause },
  );
}

/** A socket that takes connections. */
export class Listener {
  /** Where it listens, with the port or path that it got. */
  readonly endpoint: Endpoint;
  readonly #listener: Deno.TcpListener | Deno.UnixListener;
  readonly #certificate: Certificate | undefined;
  /** Connections that go on after they were closed, until all has left. */
  readonly #secured = new Set<TlsServerConn>();
  readonly #socket: SocketFile | undefined;
  readonly #retry = new AbortController();
  #accepting: Promise<Deno.TcpConn | Deno.UnixConn> | undefined;

  /** Use {@linkcode listen}. */
  constructor(
    listener: Deno.TcpListener | Deno.UnixListener,
    endpoint: Endpoint,
    { socket, certificate }: { socket?: SocketFile; certificate?: Certificate } = {},
  ) {
    this.#listener = listener;
    this.endpoint = endpoint;
    this.#socket = socket;
    this.#certificate = certificate;
  }

  #secure(conn: Deno.TcpConn | Deno.UnixConn): Conn {
    if (this.#certificate === undefined) return conn;
    const secured = new TlsServerConn(conn as Deno.TcpConn, this.#certificate);
    this.#secured.add(secured);
    secured.closed.then(() => this.#secured.delete(secured));
    return secured;
  }

  /**
   * The connections, as they come, until {@linkcode Listener.close}. That none can be accepted ends
   * nothing; it is told once, until one is accepted again.
   */
  async *connections(onError: (error: Error) => void): AsyncGenerator<Connection> {
    let isTold = false;
    let accepted = 0;
    while (!this.#retry.signal.aborted) {
      let connection: Connection;
      try {
        connection = new Connection(
          this.#secure(await (this.#accepting = this.#listener.accept())),
        );
      } catch (error) { // Closed; or EMFILE, a reset, whatever accept has.
        if (this.#retry.signal.aborted) return;
        if (!isTold) onError(cannotAccept(error));
        isTold = true;
        await pause(ACCEPT_RETRY_MS, this.#retry.signal);
        continue;
      }
      isTold = false;
      yield connection;
      if (++accepted % ACCEPTS_PER_TURN === 0) await pause(0, this.#retry.signal);
    }
  }

  /** Lets the program end although this listens, or not. */
  set keepsAlive(keeps: boolean) {
    if (keeps) this.#listener.ref();
    else this.#listener.unref();
  }

  /**
   * Stops listening and removes the socket's file, if it is still this one's.
   *
   * @returns Resolves when nothing is left; connections with TLS that are closed later are waited for.
   */
  async close(): Promise<void> {
    if (this.#retry.signal.aborted) return;
    this.#retry.abort();
    // Where there can be no lock, in a folder that is gone or a file system that is full, nobody else
    // can listen either.
    using _lock = await this.#socket?.lock().catch(() => undefined);
    using _restored = this.#socket?.release();
    this.#listener.close();
    // The socket is closed, and its path unlinked, when the last accept has ended.
    await this.#accepting?.catch(() => {});
    await Promise.all([...this.#secured].map(({ closed }) => closed));
  }
}

function cannotAccept(error: unknown): Error {
  const what = error instanceof Error ? error.message : error;
  return new Error(`Cannot accept a connection: ${what}`, { cause: error });
}

/**
 * Calls `callback` after `ms`, unless that is disposed before.
 *
 * @param keepsAlive Whether the program may not end meanwhile.
 */
export function later(callback: () => void, ms: number, keepsAlive = false): Disposable {
  const timer = setTimeout(callback, ms);
  if (!keepsAlive) Deno.unrefTimer(timer);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** Calls `callback` every `ms`, until that is disposed; lets the program end meanwhile. */
export function every(callback: () => void, ms: number): Disposable {
  const timer = setInterval(callback, ms);
  Deno.unrefTimer(timer);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Waits for `ms`, or until `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = () => resolve();
  const timer = setTimeout(wake, ms);
  signal.addEventListener("abort", wake);
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", wake);
}

/**
 * Listens at an address; without one at a Unix socket in a new folder that only this user can enter,
 * or on loopback TCP where there are no Unix sockets.
 *
 * @param certificate What a `tls://` address needs.
 * @throws {Deno.errors.AddrInUse} When somebody listens there.
 */
export async function listen(
  address: Address | undefined,
  certificate?: Certificate,
): Promise<Listener> {
  if (address !== undefined) return await listenAt(parseAddress(address), certificate);
  if (Deno.build.os === "windows") return await listenAt(parseAddress("tcp://127.0.0.1:0"));
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-" });
  try {
    return listenUnix(`${folder}/bus.sock`, folder);
  } catch (error) { // Its path is too long, for one.
    await Deno.remove(folder, { recursive: true });
    throw error;
  }
}

async function listenAt(endpoint: Endpoint, certificate?: Certificate): Promise<Listener> {
  if (endpoint.transport === "unix") {
    const path = endpoint.path.startsWith("/") ? endpoint.path : `${Deno.cwd()}/${endpoint.path}`;
    using _lock = await takeLock(lockOf(path));
    await makeRoom(path);
    return listenUnix(path);
  }
  const { hostname, port } = endpoint;
  if (certificate !== undefined) checkCertificate(certificate);
  const listener = Deno.listen({ hostname, port, tcpBacklog: TCP_BACKLOG });
  const listening = { ...endpoint, port: listener.addr.port };
  return new Listener(listener, listening, certificate && { certificate });
}

function listenUnix(path: string, folder?: string): Listener {
  const listener = Deno.listen({ transport: "unix", path });
  try {
    const socket = new SocketFile(path, folder);
    return new Listener(listener, { transport: "unix", path }, { socket });
  } catch (error) { // A lack of permission, most likely.
    listener.close();
    throw error;
  }
}

/**
 * Removes the socket of a dead broker, with the folder that {@linkcode listen} made for it; leaves a
 * socket where somebody answers, and other files.
 */
export async function removeDeadSocket(path: string): Promise<void> {
  try {
    {
      using _lock = await takeLock(lockOf(path));
      if (await lookAt(path) !== "dead") return;
      await Deno.remove(path);
    }
    const folder = MADE_PATH.exec(path)?.[1];
    // Another's folder may have such a name, but is not empty.
    if (folder && [...Deno.readDirSync(folder)].length === 0) await Deno.remove(folder);
  } catch (error) { // The folder is gone.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** The lock of a socket; not named as that of a connection file, whose holder may take it as well. */
function lockOf(path: string): string {
  return `${path}.socket-lock`;
}

/** Makes room for a socket where a broker died. */
async function makeRoom(path: string): Promise<void> {
  const found = await lookAt(path);
  if (found === "dead") await Deno.remove(path);
  if (found === "file") {
    throw new Deno.errors.AlreadyExists(
      `Cannot listen at unix://${path}: a file that is not a socket is there`,
    );
  }
  if (found === "alive") {
    throw new Deno.errors.AddrInUse(`Cannot listen at unix://${path}: a live broker listens there`);
  }
}

/** What is at the path of a socket; only true while its lock is held. */
async function lookAt(path: string): Promise<"nothing" | "file" | "dead" | "alive"> {
  try {
    if (!(await Deno.lstat(path)).isSocket) return "file";
    (await Deno.connect({ transport: "unix", path })).close();
    return "alive";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "nothing";
    if (error instanceof Deno.errors.ConnectionRefused) return "dead";
    throw error;
  }
}

/**
 * The file of a listening Unix socket. Closing the listener unlinks its path, even when another has
 * bound it since; the other's is moved aside for that moment.
 */
class SocketFile {
  readonly #path: string;
  readonly #folder: string | undefined;
  readonly #identity: string;

  constructor(path: string, folder: string | undefined) {
    this.#path = path;
    this.#folder = folder;
    Deno.chmodSync(path, 0o600);
    this.#identity = identify(path);
  }

  /** Holds off those who look at what is at the path. */
  lock(): Promise<Disposable> {
    return takeLock(lockOf(this.#path));
  }

  /** Call before the listener is closed; dispose of what it returns afterwards. */
  release(): Disposable {
    if (!this.#isForeign()) {
      return {
        [Symbol.dispose]: () => {
          if (this.#folder !== undefined) Deno.removeSync(this.#folder, { recursive: true });
        },
      };
    }
    const aside = `${this.#path}.${crypto.randomUUID().slice(0, 8)}`;
    Deno.renameSync(this.#path, aside);
    return { [Symbol.dispose]: () => Deno.renameSync(aside, this.#path) };
  }

  #isForeign(): boolean {
    try {
      return identify(this.#path) !== this.#identity;
    } catch (error) { // It is gone: there is nothing to save.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return false;
    }
  }
}

/** What tells a file from another that took its path; a number of an inode alone is used again. */
function identify(path: string): string {
  const { dev, ino, mtime } = Deno.lstatSync(path);
  return `${dev} ${ino} ${mtime?.getTime()}`;
}
