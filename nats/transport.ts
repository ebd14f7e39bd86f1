/**
 * The transport of NATS's client, over the connections of this project. NATS's own transport for Node
 * sometimes loses its error handler, so that a server that closes a connection can end the program.
 */
import type { ConnectionOptions, NatsConnection, Server, ServerInfo } from "@nats-io/nats-core";
import {
  checkOptions,
  extractProtocolMessage,
  NatsConnectionImpl,
  setTransportFactory,
  type Transport,
} from "@nats-io/nats-core/internal";
import { concat } from "../base/bytes.ts";
import { Fifo } from "../base/fifo.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { every } from "../base/timers.ts";
import type { Connection } from "../io/connection.ts";
import { beginTls } from "../io/deno.ts";
import { dial } from "../io/dial.ts";

const READ_BYTES_MIN = 4 * 1024;
const READ_BYTES_MAX = 512 * 1024;
/** How much of what was read the client gets at a time. */
const PIECE_BYTES_MAX = 64 * 1024;
/** Longer pieces are written by themselves, and not gathered with others. */
const GATHER_BYTES_MAX = 16 * 1024;
/** How much is gathered. */
const GATHERED_BYTES_MAX = 256 * 1024;
/** For how long a server may take nothing of what was sent before the end. */
const CLOSE_MS = 2000;
/** The longest introduction of a server. */
const INFO_BYTES_MAX = 64 * 1024;
const INFO = /^INFO\s+([^\r\n]+)\r\n/i;
const LF = 10;
const NO_NATS = "it is not a NATS server";

/** Options of {@linkcode connect}. */
export interface TransportOptions extends ConnectionOptions {
  /** When it aborts, the attempt and the connection end. */
  signal?: AbortSignal;
}

/**
 * Connects to the first server that accepts us, over our own transport, which is set for the whole
 * process.
 *
 * Each server is tried with a client of its own: without `reconnect`, a client whose connection is lost
 * before it is ready gives up, without trying the next server.
 *
 * @throws {Error} The failure of the last server.
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
    } catch (error) { // Nobody answers, not NATS, a wrong password: the next server may be better.
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
  /** What arrived before the client reads. */
  #first: Uint8Array = new Uint8Array(0);
  readonly #waiting = new Fifo<Uint8Array>();
  #buffer: Uint8Array = new Uint8Array(0);
  #used = 0;
  #readBytes = READ_BYTES_MIN;
  #writing: Promise<void> | undefined;
  /** How many bytes the server has taken. */
  #taken = 0;

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
        // Anybody could have sent what comes before TLS.
        const isAll = this.#first.indexOf(LF) === this.#first.length - 1;
        if (!isAll) throw new Error("the server goes on before TLS has begun");
        const { ca } = options.tls || {};
        const caCerts = ca === undefined ? [] : [ca];
        this.#connection = await beginTls(connection, tlsName || hostname, caCerts, signal);
        this.#isEncrypted = true;
      }
      this.#isOpen = true;
    } catch (error) {
      this.#connection?.close();
      throw error instanceof Error && error.cause instanceof Error ? error.cause : error;
    }
  }

  /** What the server says first; it sends nothing more until it is answered. */
  async #readInfo(connection: Connection): Promise<ServerInfo> {
    const line = new Uint8Array(INFO_BYTES_MAX);
    let filled = 0;
    for (let end = -1; end < 0;) {
      const bytes = await this.#read(connection);
      if (bytes === undefined) throw new Error("the server closed the connection");
      if (filled + bytes.length > INFO_BYTES_MAX) throw new Error(NO_NATS);
      line.set(bytes, filled);
      end = line.indexOf(LF, filled);
      filled += bytes.length;
    }
    this.#first = line.slice(0, filled);
    const info = parseInfo(INFO.exec(extractProtocolMessage(this.#first))?.[1]);
    if (info === undefined) throw new Error(NO_NATS);
    return info;
  }

  /** The next bytes, in a buffer of their own; it is large while much arrives. */
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
    const slice = new TimeSlice();
    try {
      yield this.#first;
      while (!this.isClosed) {
        const bytes = await this.#read(connection);
        if (bytes === undefined) break;
        // The client reads a piece before it asks for the next; others have their turn in between.
        for (let at = 0; at < bytes.length; at += PIECE_BYTES_MAX) {
          slice.begin();
          yield bytes.subarray(at, at + PIECE_BYTES_MAX);
          if (slice.isOver()) await slice.next();
        }
      }
      this.#end();
    } catch (error) { // The connection is lost, or was closed here.
      this.#end(this.isClosed ? undefined : error as Error);
    } finally { // The client could not read what came, and stops reading.
      slice.end();
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
        const bytes = this.#takeWaiting();
        for (let at = 0; at < bytes.length;) {
          const count = await this.#connection!.write(bytes.subarray(at));
          at += count;
          this.#taken += count;
        }
      }
    } catch (error) { // The connection is lost, or was closed here.
      this.#end(this.isClosed ? undefined : error as Error);
    }
    this.#writing = undefined;
  }

  /** The first piece that waits; if it is short, with the short ones after it. */
  #takeWaiting(): Uint8Array {
    const waiting = this.#waiting;
    const pieces = [waiting.shift()!];
    for (let bytes = pieces[0]!.length, next = waiting.at(0); next !== undefined;) {
      bytes += next.length;
      const isLong = Math.max(pieces[0]!.length, next.length) >= GATHER_BYTES_MAX;
      if (isLong || bytes > GATHERED_BYTES_MAX) break;
      pieces.push(waiting.shift()!);
      next = waiting.at(0);
    }
    return pieces.length === 1 ? pieces[0]! : concat(...pieces);
  }

  async close(error?: Error): Promise<void> {
    if (error === undefined) {
      let taken = -1;
      const timer = every(() => {
        if (this.#taken === taken) this.#end();
        taken = this.#taken;
      }, CLOSE_MS);
      await Promise.resolve(); // The client sends in this turn what it was asked to send just before.
      // Deno before 2.9 does not end a write when its connection is closed.
      await Promise.race([this.#writing, this.#closed.promise]);
      timer.cancel();
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
    // If it was never open, `connect` reports that; otherwise the client would try no other server.
    if (this.#isOpen) this.#closed.resolve(error);
  }
}

/** What a server says about itself; `undefined` if it is not that. */
function parseInfo(text = ""): ServerInfo | undefined {
  try {
    const info = JSON.parse(text);
    return typeof info === "object" && info !== null ? info : undefined;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
}
