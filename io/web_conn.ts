/**
 * The broker's end of a connection over which HTTP is spoken, in the form of a `Deno.Conn`: once it is
 * upgraded, a stream of bytes like any other.
 *
 * ```
 *  first byte   m ──────────▶ a client of ours without WebSockets; refused where the address is for these
 *               otherwise ──▶ head ── upgrade ──▶ WebSocketStream
 *                                  └─ anything else: answered in words, and closed
 * ```
 *
 * Whoever reads waits for that; so the time that the connection has to authenticate bounds it, too.
 */
import type { Account } from "../base/account.ts";
import { NO_BYTES, writeAll } from "../base/bytes.ts";
import { later } from "../base/timers.ts";
import { ProtocolError } from "../errors.ts";
import type { Stream } from "./conn.ts";
import { HeadError, readHead } from "./http_head.ts";
import type { TlsServerConn } from "./tls.ts";
import { WebSocketStream } from "./websocket.ts";
import type { Farewell } from "./websocket_close.ts";
import {
  checkUpgrade,
  type IsAllowed,
  NO_BUS,
  type Refusal,
  refusing,
  switching,
} from "./websocket_upgrade.ts";

/** The first byte that a client of ours sends. */
const OWN = 0x6d;
const FIRST_BYTES = 1024;
/** As much of what a client goes on sending is read after it was refused, so that it reads why. */
const DRAINED_BYTES_MAX = 64 * 1024;
/** How long it may take to do so. */
const LINGER_MS = 1000;
/** As much comes of frames from a client that is not authenticated; a handshake has 139 bytes at most. */
const CARRIED_BYTES_MAX = 4096;

/** What is served at a port. */
export interface WebOptions {
  /** The paths of the bus. */
  readonly paths: readonly string[];
  /** Whether clients may speak without HTTP as well. */
  readonly takesFrames: boolean;
  readonly isAllowed: IsAllowed;
}

/** The broker's end of a connection that begins with HTTP, or may. */
export class WebConn {
  readonly #carrier: Deno.TcpConn | TlsServerConn;
  /** Resolves when it is known what is spoken; let go of then. */
  #opening: Promise<Stream> | undefined;
  #stream: Stream | undefined;
  /** The same if it is a WebSocket of a client that is not authenticated: what comes in vain is bounded. */
  #untrusted: WebSocketStream | undefined;

  /** Takes over a connection that was just accepted. */
  constructor(carrier: Deno.TcpConn | TlsServerConn, options: WebOptions) {
    this.#carrier = carrier;
    this.#opening = this.#begin(options);
    this.#opening.then((stream) => {
      this.#stream = stream;
      this.#opening = undefined;
    }, () => {}); // Reads and writes reject with it.
  }

  /** The other side. */
  get remoteAddr(): Deno.NetAddr {
    return this.#carrier.remoteAddr;
  }

  async #begin(options: WebOptions): Promise<Stream> {
    const carrier = this.#carrier;
    const first = new Uint8Array(FIRST_BYTES);
    const count = await carrier.read(first);
    if (count === null) throw new Deno.errors.UnexpectedEof("the other side closed");
    const came = first.subarray(0, count);
    if (came[0] !== OWN) return await this.#upgrade(came, options);
    if (options.takesFrames) return new Behind(carrier, came);
    // No method of HTTP begins with it.
    return await this.#refuse({ status: 400, text: NO_BUS }, false);
  }

  async #upgrade(came: Uint8Array, { paths, isAllowed }: WebOptions): Promise<Stream> {
    const carrier = this.#carrier;
    let isBare = false;
    try {
      const head = await readHead(carrier, came);
      isBare = head.start.startsWith("HEAD ");
      const accept = await checkUpgrade(head, paths, isAllowed);
      if (typeof accept !== "string") return await this.#refuse(accept, isBare);
      await writeAll(carrier, switching(accept));
      // Browsers say where a page is from; nobody else does.
      const isToPage = head.fields.has("origin");
      return this.#untrusted = new WebSocketStream(carrier, false, head.rest, isToPage);
    } catch (error) {
      if (!(error instanceof HeadError)) throw error;
      return await this.#refuse({ status: error.status, text: error.message }, isBare);
    }
  }

  /** Answers in words, and waits until the other side has read that, or goes on for long. */
  async #refuse(refusal: Refusal, isBare: boolean): Promise<never> {
    const carrier = this.#carrier;
    await writeAll(carrier, refusing(refusal, new Date(), isBare));
    await carrier.closeWrite();
    const ended = Promise.withResolvers<void>();
    const linger = later(ended.resolve, LINGER_MS, true);
    await Promise.race([ended.promise, drain(carrier).catch(() => {})]); // It may be gone.
    linger.cancel();
    throw new ProtocolError(`Cannot open a WebSocket: ${refusal.status}, ${refusal.text}`);
  }

  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null> {
    if (this.#untrusted !== undefined) return this.#readUntrusted(this.#untrusted, into);
    return this.#stream?.read(into) ?? this.#opening!.then(() => this.read(into));
  }

  async #readUntrusted(socket: WebSocketStream, into: Uint8Array): Promise<number | null> {
    const count = await socket.read(into);
    if (socket.carriedBytes <= CARRIED_BYTES_MAX) return count;
    throw new ProtocolError(
      `Cannot read a WebSocket: ${socket.carriedBytes} bytes brought no handshake`,
    );
  }

  /** The client is authenticated: no more is bounded here, as of the next read. */
  trust(): void {
    this.#untrusted = undefined;
  }

  /** Writes some of `bytes`; returns how many. */
  write(bytes: Uint8Array): Promise<number> {
    return this.#stream?.write(bytes) ?? this.#opening!.then((stream) => stream.write(bytes));
  }

  /** Ends the direction out. */
  closeWrite(why?: Farewell): Promise<void> {
    return this.#stream?.closeWrite(why) ?? this.#opening!.then((stream) => stream.closeWrite(why));
  }

  /** Drops what it keeps for speed. */
  trim(): void {
    this.#stream?.trim?.();
  }

  /** Counts what it keeps there, until it is closed. */
  count(account: Account): void {
    this.#stream?.count?.(account);
  }

  /** Ends both directions at once. */
  close(): void {
    this.#stream?.uncount?.();
    this.#carrier.close();
  }

  /** Sends what is written at once. */
  setNoDelay(): void {
    if ("setNoDelay" in this.#carrier) this.#carrier.setNoDelay(true);
  }

  /** Keeps the program running. */
  ref(): void {
    this.#carrier.ref();
  }

  /** Lets the program end. */
  unref(): void {
    this.#carrier.unref();
  }
}

/** Reads what a client goes on sending, until it ends, or that is much. */
async function drain(carrier: Stream): Promise<void> {
  const rest = new Uint8Array(FIRST_BYTES);
  for (let drained = 0; drained < DRAINED_BYTES_MAX;) {
    const count = await carrier.read(rest);
    if (count === null) return;
    drained += count;
  }
}

/** A connection of which some was read already. */
class Behind implements Stream {
  readonly #carrier: Stream;
  #first: Uint8Array;

  constructor(carrier: Stream, first: Uint8Array) {
    this.#carrier = carrier;
    this.#first = first;
  }

  read(into: Uint8Array): Promise<number | null> {
    const first = this.#first;
    if (first.length === 0) return this.#carrier.read(into);
    const count = Math.min(first.length, into.length);
    into.set(first.subarray(0, count));
    this.#first = count < first.length ? first.subarray(count) : NO_BYTES;
    return Promise.resolve(count);
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#carrier.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#carrier.closeWrite();
  }
}
