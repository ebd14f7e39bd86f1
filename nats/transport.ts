/**
 * The connections of NATS's client, over those of this project: NATS's own for Node loses its handler
 * of errors at times, so that a server that closes a connection can end the program.
 */
import type { ConnectionOptions, NatsConnection, Server, ServerInfo } from "@nats-io/nats-core";
import {
  checkOptions,
  extractProtocolMessage,
  NatsConnectionImpl,
  setTransportFactory,
  type Transport,
} from "@nats-io/nats-core/internal";
import { concat, writeAll } from "../base/bytes.ts";
import { later } from "../base/timers.ts";
import type { Connection } from "../io/connection.ts";
import { dial } from "../io/dial.ts";

const READ_BYTES_MIN = 4 * 1024;
const READ_BYTES_MAX = 512 * 1024;
/** What is longer is written by itself, and not copied behind others before. */
const GATHER_BYTES_MAX = 16 * 1024;
/** For so long it is waited until a server takes what was sent before the end. */
const CLOSE_MS = 2000;
/** A server introduces itself in less. */
const INFO_BYTES_MAX = 64 * 1024;
const INFO = /^INFO\s+([^\r\n]+)\r\n/i;
const LF = 10;
const NO_NATS = "it is no NATS server";

/** Options of {@linkcode connect}. */
export interface TransportOptions extends ConnectionOptions {
  /** Ends the attempt when it aborts, and the connection. */
  signal?: AbortSignal;
}

/**
 * Connects to the first server that takes us, over our own transport, which the client is told for
 * the whole process.
 *
 * Each server has a client of its own: without `reconnect`, one whose connection is lost before it is
 * ready gives up, and takes its attempt at the next server with it.
 *
 * @throws {Error} What the last server failed with.
 */
export async function connect(
  { servers = [], ...options }: TransportOptions,
): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new NatsTransport() });
  let failure: unknown = new TypeError("Cannot connect to NATS: there is no server");
  for (const server of typeof servers === "string" ? [servers] : servers) {
    options.signal?.throwIfAborted();
    try {
      return await NatsConnectionImpl.connect({
        ...options,
        servers: [server],
        ignoreClusterUpdates: true,
      });
    } catch (error) { // Nobody there, no NATS, a wrong password: another may be better.
      failure = error;
    }
  }
  throw failure;
}

/** One connection; NATS's client makes one for each attempt. */
class NatsTransport implements Transport {
  readonly lang = "mpubsub";
  readonly version = "1";
  closeError?: Error;
  readonly #closing = new AbortController();
  readonly #closed = Promise.withResolvers<void | Error>();
  #connection: Connection | undefined;
  #isEncrypted = false;
  #isOpen = false;
  /** What came before the client reads. */
  #first: Uint8Array = new Uint8Array(0);
  #waiting: Uint8Array[] = [];
  #buffer: Uint8Array = new Uint8Array(0);
  #used = 0;
  #readBytes = READ_BYTES_MIN;
  #writing: Promise<void> | undefined;

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  isEncrypted(): boolean {
    return this.#isEncrypted;
  }

  async connect({ hostname, port, tlsName }: Server, options: TransportOptions): Promise<void> {
    const { signal } = this.#closing;
    options.signal?.addEventListener("abort", () => this.#end(), { signal });
    try {
      const connection = this.#connection = await dial([hostname, port], signal);
      const info = await this.#readInfo(connection);
      checkOptions(info, options);
      if (options.tls || info.tls_required) {
        // What comes before TLS may be of anybody.
        const isAll = this.#first.indexOf(LF) === this.#first.length - 1;
        if (!isAll) throw new Error("the server goes on before TLS has begun");
        const { ca } = options.tls || {};
        const caCerts = ca === undefined ? [] : [ca];
        this.#connection = await connection.secured(tlsName || hostname, caCerts, signal);
        this.#isEncrypted = true;
      }
      this.#isOpen = true;
    } catch (error) {
      this.#connection?.close();
      throw error instanceof Error && error.cause instanceof Error ? error.cause : error;
    }
  }

  /** What the server says first; it waits with everything else until it is answered. */
  async #readInfo(connection: Connection): Promise<ServerInfo> {
    let text = "";
    while (text === "") {
      if (this.#first.length > INFO_BYTES_MAX) throw new Error(NO_NATS);
      const bytes = await this.#read(connection);
      if (bytes === undefined) throw new Error("the server closed the connection");
      this.#first = concat(this.#first, bytes);
      text = extractProtocolMessage(this.#first);
    }
    const info = parseInfo(INFO.exec(text)?.[1]);
    if (info === undefined) throw new Error(NO_NATS);
    return info;
  }

  /** The next bytes, which nobody else writes to; the buffer is large while much comes. */
  async #read(connection: Connection): Promise<Uint8Array | undefined> {
    const room = this.#buffer.length - this.#used;
    if (room < this.#readBytes / 4) {
      this.#buffer = new Uint8Array(this.#readBytes);
      this.#used = 0;
    }
    const into = this.#buffer.subarray(this.#used);
    const count = await connection.read(into);
    if (count === null) return undefined;
    if (count === into.length) this.#readBytes = Math.min(4 * this.#readBytes, READ_BYTES_MAX);
    else if (count < this.#readBytes / 64) {
      this.#readBytes = Math.max(this.#readBytes / 2, READ_BYTES_MIN);
    }
    this.#used += count;
    return into.subarray(0, count);
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    const connection = this.#connection!;
    try {
      yield this.#first;
      while (!this.isClosed) {
        const bytes = await this.#read(connection);
        if (bytes === undefined) break;
        yield bytes;
      }
      this.#end();
    } catch (error) { // The connection is lost, or was closed here.
      this.#end(this.isClosed ? undefined : error as Error);
    } finally { // The client could not read it, and reads no more.
      this.#end(new Error("what the server sent could not be read"));
    }
  }

  send(frame: Uint8Array): void {
    if (this.isClosed) return;
    this.#waiting.push(frame);
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    try {
      while (this.#waiting.length > 0 && !this.isClosed) {
        await writeAll(this.#connection!, this.#takeWaiting());
      }
    } catch (error) { // The connection is lost, or was closed here.
      this.#end(this.isClosed ? undefined : error as Error);
    }
    this.#writing = undefined;
  }

  /** The first of what waits, with what is short and stands behind it. */
  #takeWaiting(): Uint8Array {
    const isShort = ({ length }: Uint8Array) => length < GATHER_BYTES_MAX;
    const long = this.#waiting.findIndex((frame) => !isShort(frame));
    const count = long < 0 ? this.#waiting.length : Math.max(1, long);
    const frames = this.#waiting.splice(0, count);
    return frames.length === 1 ? frames[0]! : concat(...frames);
  }

  async close(error?: Error): Promise<void> {
    if (error === undefined) {
      using _timer = later(() => this.#end(), CLOSE_MS);
      await Promise.resolve(); // By then the client has sent what it was told to just before.
      // Deno before 2.9 does not end a write when its connection is closed.
      await Promise.race([this.#writing, this.#closed.promise]);
    }
    this.#end(error);
  }

  disconnect(): void {
    this.#end();
  }

  discard(): void {
    this.#end();
  }

  closed(): Promise<void | Error> {
    return this.#closed.promise;
  }

  #end(error?: Error): void {
    if (this.isClosed) return;
    if (error !== undefined) this.closeError = error;
    this.#closing.abort();
    this.#connection?.close();
    // One that was never open is told by `connect`; else the client tries no other server.
    if (this.#isOpen) this.#closed.resolve(error);
  }
}

/** What a server tells of itself; `undefined` when that is none. */
function parseInfo(text = ""): ServerInfo | undefined {
  try {
    const info = JSON.parse(text);
    return typeof info === "object" && info !== null ? info : undefined;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
}
