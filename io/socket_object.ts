/**
 * A platform's `WebSocket` as a stream of bytes: where the framing is not ours to do.
 *
 * It has no backpressure in either direction. In the one, the window of a session bounds what the other
 * side may send; who sends more is closed. In the other, a write waits while much is buffered. Nothing
 * tells when less is, so it looks now and then, and whenever something comes. In a page that nobody sees,
 * a timer may take a minute: there nothing waits, and what is buffered is bounded by the window alone.
 */
import type { Account } from "../base/account.ts";
import { Fifo } from "../base/fifo.ts";
import { later } from "../base/timers.ts";
import { ProtocolError } from "../errors.ts";
import { isHidden } from "./page.ts";

/** How it is closed: section 7.4 of RFC 6455; a page may give none of the reserved codes but the first. */
const CLOSED = 1000;
const TEXT_CAME = 3000;
const TOO_MUCH_CAME = 3001;
/** The most that may wait to be read of whom is not authenticated yet: more than a handshake has. */
const UNTRUSTED_BYTES_MAX = 64 * 1024;
/** The most that may wait to be read besides one message: a window, and what is held beside it. */
const WAITING_BYTES_MAX = 4 * 1024 * 1024;
/** A write waits while more is buffered. */
const BUFFERED_BYTES_MAX = 256 * 1024;
const LOOK_MS = 10;
/** How long after an error a close may come. */
const CLOSE_MS = 100;
/** As much goes out in one message, as to a page in `websocket.ts`, and for the same reason. */
const MESSAGE_BYTES_MAX = 16 * 1024;

/** A stream of bytes over a `WebSocket` that is open, or about to be. */
export class SocketObject {
  /** The other side is not known here. */
  readonly remoteAddr = undefined;
  readonly #socket: WebSocket;
  readonly #messages = new Fifo<Uint8Array>();
  #waitingBytesMax = UNTRUSTED_BYTES_MAX;
  readonly #trustedBytesMax: number;
  /** How much of the first message was read. */
  #read = 0;
  #waitingBytes = 0;
  /** Where these count. */
  #account: Account | undefined;
  #reader: PromiseWithResolvers<void> | undefined;
  /** Has a write look again. */
  #look: (() => void) | undefined;
  readonly #opened = Promise.withResolvers<void>();
  #isClosed = false;
  /** What the runtime says of why it closes. */
  #problem: string | undefined;
  #error: Error | undefined;

  /**
   * Takes over a socket whose messages nobody has read.
   *
   * @param messageBytes The largest message of ours that may come over it.
   */
  constructor(socket: WebSocket, messageBytes: number) {
    this.#socket = socket;
    this.#trustedBytesMax = WAITING_BYTES_MAX + messageBytes;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened.resolve();
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = ({ code }) => this.#close(code);
    socket.onerror = (event) => this.#fail((event as ErrorEvent).message);
    if (socket.readyState === WebSocket.OPEN) this.#opened.resolve();
    this.#opened.promise.catch(() => {}); // Whoever writes hears of it.
  }

  /**
   * Something is wrong. Mostly a close follows, which has a code. None does in Node 22, which says here
   * what it is; nor in Chromium, where a Content-Security-Policy forbids to connect.
   */
  #fail(problem: string | undefined): void {
    this.#problem ??= problem || undefined;
    if (this.#problem !== undefined) return this.#close();
    const late = later(() => this.#close(), CLOSE_MS, true);
    this.#opened.promise.catch(() => late.cancel());
  }

  #take(data: unknown): void {
    this.#look?.(); // What was sent may have arrived.
    if (typeof data === "string") return this.#refuse(TEXT_CAME, "a text came");
    // Where a test environment plays a browser, it is one of another realm: no instance of ours.
    const bytes = new Uint8Array(data as ArrayBuffer);
    if (bytes.length === 0 || this.#isClosed) return;
    this.#messages.push(bytes);
    this.#hold(bytes.length);
    if (this.#waitingBytes > this.#waitingBytesMax) {
      this.#refuse(TOO_MUCH_CAME, `more than ${this.#waitingBytesMax} bytes came at once`);
    }
    this.#wake();
  }

  #hold(bytes: number): void {
    this.#waitingBytes += bytes;
    this.#account?.add(bytes);
  }

  /** Counts what waits to be read, until {@linkcode SocketObject.uncount}. */
  count(account: Account): void {
    this.#account = account;
    account.add(this.#waitingBytes);
  }

  /** Counts it no longer: the connection is closed. */
  uncount(): void {
    this.#account?.add(-this.#waitingBytes);
    this.#account = undefined;
  }

  #refuse(code: number, what: string): void {
    this.#error ??= new ProtocolError(`Cannot read a WebSocket: ${what}`);
    this.#socket.close(code, what);
    this.#close();
  }

  #close(code?: number): void {
    this.#isClosed = true;
    const why = this.#problem ?? (code ? `close code ${code}` : "");
    this.#opened.reject(new Error(`the WebSocket is closed${why && `: ${why}`}`));
    this.#look?.();
    this.#wake();
  }

  /** The other side is authenticated: it may send what its session allows. */
  trust(): void {
    this.#waitingBytesMax = this.#trustedBytesMax;
  }

  #wake(): void {
    this.#reader?.resolve();
    this.#reader = undefined;
  }

  /** Settles when it is open; rejects when it closes before. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  async read(into: Uint8Array): Promise<number | null> {
    while (this.#messages.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#isClosed) return null;
      this.#reader = Promise.withResolvers();
      await this.#reader.promise;
    }
    let filled = 0;
    while (filled < into.length && this.#messages.length > 0) {
      const first = this.#messages.at(0)!;
      const part = first.subarray(this.#read, this.#read + into.length - filled);
      into.set(part, filled);
      filled += part.length;
      this.#read += part.length;
      if (this.#read < first.length) break;
      this.#messages.shift();
      this.#read = 0;
    }
    this.#hold(-filled);
    return filled;
  }

  /** Writes some of `bytes` as one message; returns how many. */
  async write(bytes: Uint8Array): Promise<number> {
    await this.#opened.promise;
    while (this.#isFull) await this.#pause();
    if (this.#isClosed) throw new Error("the WebSocket is closed");
    const part = bytes.slice(0, MESSAGE_BYTES_MAX);
    this.#socket.send(part);
    return part.length;
  }

  get #isFull(): boolean {
    return this.#socket.bufferedAmount > BUFFERED_BYTES_MAX && !this.#isClosed && !isHidden();
  }

  /** Waits until it may be less. */
  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#look = resolve;
    const timer = later(resolve, LOOK_MS, true);
    await promise;
    timer.cancel();
    this.#look = undefined;
  }

  /** Ends the direction out: closes, which is all that there is. */
  closeWrite(): Promise<void> {
    this.#socket.close(CLOSED);
    return Promise.resolve();
  }

  /** Keeps the program running, as it does anyway. */
  ref(): void {}

  /** Cannot let the program end. */
  unref(): void {}

  /** Ends both directions. */
  close(): void {
    if (this.#socket.readyState <= WebSocket.OPEN) this.#socket.close(CLOSED);
    this.#close();
  }
}
