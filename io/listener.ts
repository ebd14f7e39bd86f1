/**
 * Listens: accepts connections over TCP, TLS, WebSockets or a Unix socket.
 */
import { pause } from "../base/timers.ts";
import {
  absolute,
  type Address,
  type Addresses,
  type Endpoint,
  formatEndpoint,
  isLoopback,
  isSecured,
  isWeb,
  parseAddress,
  parseAddresses,
} from "./address.ts";
import type { Certificate } from "./certificate.ts";
import type { Conn } from "./conn.ts";
import { Connection } from "./connection.ts";
import { type OnWait, takeLock } from "./lock_file.ts";
import { needDeno } from "./runtime.ts";
import { bindSocket, lockOf, makeRoom, type SocketFile } from "./socket_file.ts";
import { checkCertificate, TlsServerConn } from "./tls.ts";
import { WebConn, type WebOptions } from "./web_conn.ts";
import { isAllowed } from "./websocket_upgrade.ts";

/** How long a listener waits after it could not accept, so that a lack of descriptors can pass. */
const ACCEPT_RETRY_MS = 100;
/**
 * How many connections the system holds until they are accepted. Any more are not answered, and their
 * clients try again a second later. Systems have bounds of their own: 4096 on Linux.
 */
const TCP_BACKLOG = 4096;
/**
 * After how many accepted connections the others get a turn: while some wait to be accepted, Deno
 * hardly serves those that are open.
 */
const ACCEPTS_PER_TURN = 32;
/** The same where the head of a request has to be read for each. */
const WEB_ACCEPTS_PER_TURN = 8;
/** From which port on every user may listen; root may change it. */
const UNPRIVILEGED_PORT = 1024;

/** A socket that takes connections. */
export class Listener {
  /** Where it listens, with the port or path that it got; several where one port serves them all. */
  readonly endpoints: readonly Endpoint[];
  /** The IP address that its host name stands for; `undefined` for a Unix socket. */
  readonly ip: string | undefined;
  readonly #listener: Deno.TcpListener | Deno.UnixListener;
  readonly #certificate: Certificate | undefined;
  /** What is served over HTTP. */
  readonly #web: WebOptions | undefined;
  /** Connections with TLS, which stay open after `close()` until everything is sent. */
  readonly #secured = new Set<TlsServerConn>();
  readonly #socket: SocketFile | undefined;
  readonly #onWait: OnWait | undefined;
  readonly #retry = new AbortController();
  #accepting: Promise<Deno.TcpConn | Deno.UnixConn> | undefined;

  /** Use {@linkcode listen}. */
  constructor(
    listener: Deno.TcpListener | Deno.UnixListener,
    endpoints: readonly Endpoint[],
    { ip, socket, certificate, web, onWait }: {
      ip?: string;
      socket?: SocketFile;
      certificate?: Certificate;
      web?: WebOptions;
      onWait?: OnWait;
    } = {},
  ) {
    this.#listener = listener;
    this.endpoints = endpoints;
    this.ip = ip;
    this.#socket = socket;
    this.#onWait = onWait;
    this.#certificate = certificate;
    this.#web = web;
  }

  /** The only one of its endpoints, or the first. */
  get endpoint(): Endpoint {
    return this.endpoints[0]!;
  }

  #wrap(conn: Deno.TcpConn | Deno.UnixConn): Conn {
    const secured = this.#certificate === undefined ? conn : this.#secure(conn as Deno.TcpConn);
    const web = this.#web;
    return web === undefined ? secured : new WebConn(secured as Deno.TcpConn | TlsServerConn, web);
  }

  #secure(conn: Deno.TcpConn): TlsServerConn {
    const secured = new TlsServerConn(conn, this.#certificate!);
    this.#secured.add(secured);
    secured.closed.then(() => this.#secured.delete(secured));
    return secured;
  }

  /**
   * Yields connections as they come, until {@linkcode Listener.close}. When none can be accepted, it
   * calls `onError` once, and goes on trying.
   */
  async *connections(onError: (error: Error) => void): AsyncGenerator<Connection> {
    let isTold = false;
    const perTurn = this.#web === undefined ? ACCEPTS_PER_TURN : WEB_ACCEPTS_PER_TURN;
    let accepted = 0;
    while (!this.#retry.signal.aborted) {
      let connection: Connection;
      try {
        connection = new Connection(
          this.#wrap(await (this.#accepting = this.#listener.accept())),
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
      if (++accepted % perTurn === 0) await pause(0, this.#retry.signal);
    }
  }

  /** Whether listening keeps the program running. */
  set keepsAlive(keeps: boolean) {
    if (keeps) this.#listener.ref();
    else this.#listener.unref();
  }

  /**
   * Stops listening, and removes the socket's file if it is still this one's.
   *
   * @returns Resolves when nothing is left, after the last connection with TLS is closed.
   */
  async close(): Promise<void> {
    if (this.#retry.signal.aborted) return;
    this.#retry.abort();
    // If no lock can be taken (the folder is gone, the file system is full), nobody else can listen
    // there either.
    const lock = await this.#socket?.lock({ onWait: this.#onWait }).catch(() => undefined);
    try {
      const released = this.#socket?.release();
      try {
        this.#listener.close();
        // The socket is closed, and its path unlinked, when the last accept has ended.
        await this.#accepting?.catch(() => {});
        await Promise.all([...this.#secured].map(({ closed }) => closed));
      } finally {
        released?.[Symbol.dispose]();
      }
    } finally {
      lock?.[Symbol.dispose]();
    }
  }
}

function cannotAccept(error: unknown): Error {
  const what = error instanceof Error ? error.message : error;
  return new Error(`Cannot accept a connection: ${what}`, { cause: error });
}

/** How to listen. */
export interface ListenOptions {
  /** For `tls://` and `wss://` addresses. */
  readonly certificate?: Certificate | undefined;
  /** Whose pages may connect over WebSockets, besides those of the same host. */
  readonly origins?: readonly string[];
  /** Called when another process holds the lock of a socket for long, now or at the end. */
  readonly onWait?: OnWait;
}

/**
 * Listens at all these addresses, or at none; without any given, at a Unix socket in a new folder that
 * only this user can enter, or on loopback TCP if there are no Unix sockets.
 *
 * @returns The listeners; addresses with the same host and port share one. And where they listen, in the
 * order of the addresses.
 * @throws {TypeError} If two that share one are with TLS and without.
 * @throws {Deno.errors.AddrInUse} If something else listens there.
 * @throws {Deno.errors.AddrNotAvailable} If this machine does not have an address.
 * @throws {Deno.errors.Busy} If another process holds the lock of a socket for too long.
 * @throws {DOMException} If there is no Deno; see {@linkcode needDeno}.
 */
export async function listenAll(
  addresses: Addresses | undefined,
  options: ListenOptions = {},
): Promise<Listening> {
  const endpoints = addresses === undefined ? undefined : different(parseAddresses(addresses));
  const shown = endpoints?.map(formatEndpoint).join(", ");
  needDeno(shown === undefined ? "listen" : `listen at ${shown}`);
  if (endpoints === undefined) {
    const listener = await listenAnywhere();
    return { listeners: [listener], endpoints: listener.endpoints };
  }
  const listeners: Listener[] = [];
  const actual = new Map<Endpoint, Endpoint>();
  try {
    for (const group of groupsOf(endpoints)) {
      const listener = await listenAt(group, options);
      listeners.push(listener);
      group.forEach((endpoint, i) => actual.set(endpoint, listener.endpoints[i]!));
    }
    return { listeners, endpoints: endpoints.map((endpoint) => actual.get(endpoint)!) };
  } catch (error) {
    await Promise.all(listeners.map((listener) => listener.close()));
    throw error;
  }
}

/** Listens at one address, or anywhere, as {@linkcode listenAll} does. */
export async function listen(address: Address | undefined): Promise<Listener> {
  const { listeners: [listener] } = await listenAll(address);
  return listener!;
}

/** What listens, and where. */
export interface Listening {
  readonly listeners: readonly Listener[];
  readonly endpoints: readonly Endpoint[];
}

function different(endpoints: readonly Endpoint[]): Endpoint[] {
  return [...new Map(endpoints.map((endpoint) => [formatEndpoint(endpoint), endpoint])).values()];
}

async function listenAnywhere(): Promise<Listener> {
  if (Deno.build.os === "windows") return await listenAt([parseAddress("tcp://127.0.0.1:0")]);
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-" });
  try {
    return listenUnix(`${folder}/bus.sock`, folder);
  } catch (error) { // The path is too long, say.
    await Deno.remove(folder, { recursive: true });
    throw error;
  }
}

/**
 * Endpoints by their host and port.
 *
 * @throws {TypeError} If some of a group are with TLS, and some without.
 */
export function groupsOf(endpoints: readonly Endpoint[]): Endpoint[][] {
  const groups = Map.groupBy(
    endpoints,
    (endpoint) => {
      if (endpoint.transport === "unix") return endpoint.path;
      const { hostname, port } = endpoint;
      // Of free ports there are enough.
      return port === 0 && isSecured(endpoint) ? `${hostname}:free` : `${hostname}:${port}`;
    },
  );
  for (const group of groups.values()) {
    if (new Set(group.map(isSecured)).size < 2) continue;
    throw new TypeError(
      `Cannot listen at ${
        group.map(formatEndpoint).join(" and ")
      }: one port serves all with TLS, ` +
        "or all without; take two ports",
    );
  }
  return [...groups.values()];
}

async function listenAt(
  group: readonly Endpoint[],
  { certificate, origins = [], onWait }: ListenOptions = {},
): Promise<Listener> {
  const [endpoint] = group;
  if (endpoint!.transport === "unix") {
    const path = absolute(endpoint!.path) as string;
    const lock = await takeLock(lockOf(path), { onWait });
    try {
      await makeRoom(path);
      return listenUnix(path, undefined, onWait);
    } finally {
      lock[Symbol.dispose]();
    }
  }
  const needsCertificate = certificate !== undefined && isSecured(endpoint!);
  if (needsCertificate) checkCertificate(certificate);
  const listener = bindTcp(endpoint!);
  const { hostname: ip, port } = listener.addr;
  return new Listener(listener, group.map((one) => ({ ...one, port })), {
    ip,
    ...(needsCertificate && { certificate }),
    ...(group.some(isWeb) && { web: webOptions(group, origins) }),
  });
}

/** Whom a browser may bring: pages of the same host, and local files where only this machine can connect. */
function webOptions(group: readonly Endpoint[], origins: readonly string[]): WebOptions {
  return {
    paths: group.filter(isWeb).map(({ path }) => path),
    takesFrames: !group.every(isWeb),
    isAllowed: (origin, host) => isAllowed(origin, host, origins, isLoopback(group[0]!)),
  };
}

/** Why nobody can listen at an address, and what to do; nothing if the error itself says it. */
function whyNot(error: unknown, port: number): string | undefined {
  if (error instanceof Deno.errors.AddrInUse) {
    return "another program listens there; end it, or take another port";
  }
  if (error instanceof Deno.errors.AddrNotAvailable) {
    return "this machine has no such address; " +
      "listen at one that it has, at 127.0.0.1 for this machine alone, or at 0.0.0.0 for all";
  }
  if (error instanceof Deno.errors.PermissionDenied && port > 0 && port < UNPRIVILEGED_PORT) {
    return `this user may not listen at a port below ${UNPRIVILEGED_PORT}; take a higher one`;
  }
  return undefined;
}

function bindTcp(endpoint: Exclude<Endpoint, { transport: "unix" }>): Deno.TcpListener {
  const { hostname, port } = endpoint;
  try {
    return Deno.listen({ hostname, port, tcpBacklog: TCP_BACKLOG });
  } catch (error) {
    const why = whyNot(error, port);
    if (why === undefined) throw error;
    const Kind = (error as Error).constructor as ErrorConstructor;
    throw new Kind(`Cannot listen at ${formatEndpoint(endpoint)}: ${why}`, { cause: error });
  }
}

function listenUnix(path: string, folder?: string, onWait?: OnWait): Listener {
  const { listener, file } = bindSocket(path, folder);
  return new Listener(listener, [{ transport: "unix", path }], {
    socket: file,
    ...(onWait && { onWait }),
  });
}
