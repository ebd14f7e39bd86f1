/**
 * The session with one authenticated peer, over any number of connections: what the peer sends is
 * counted and acknowledged, and what is sent to it is kept until it is acknowledged.
 *
 * ```
 *           ┌ Session ───────────────────────────────────┐
 *  owner ──▶│ Outbox ──── numbered, kept ───────▶ │      │
 *           │                                     │ Link │ ⇄ the other side's session
 *  owner ◀──│ Inbox ◀──── counted, acknowledged ─ │      │
 *           └────────────────────────────────────────────┘
 * ```
 *
 * Both sides run the same code. Counted frames are messages and, from a broker, notices of losses and
 * refusals; their number is their place in their direction of the session, from 1. A side
 * acknowledges after {@linkcode ACK_BYTES}, when asked, and when it has sent nothing for a heartbeat. An
 * ACK also says how many requests have arrived; so the answer to a request covers all that was sent
 * before it. A request is also how a side asks for a sign of life: whoever reads it answers, without a
 * timer.
 *
 * - What cannot be taken now is held, and what must not be acknowledged yet is withheld; either way
 *   the other side's window closes, while this side keeps reading.
 */
import { Account } from "../base/account.ts";
import { countFrom } from "../base/count.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { type Frame, FrameType, isCounted } from "./frame.ts";
import { decodeAck, encodeAck } from "./frame_bodies.ts";
import { Flushes } from "./flushes.ts";
import type { FrameReader } from "./frame_reader.ts";
import { Inbox, type InboxHandler } from "./inbox.ts";
import type { Link, LinkHandler } from "./link.ts";
import { Outbox } from "./outbox.ts";
import type { Fits } from "./outbox_sift.ts";
import { messageWork } from "./work.ts";

/** A side acknowledges when this many bytes of counted frames can be acknowledged. */
const ACK_BYTES = 64 * 1024;
/** How many bytes of counted frames may be sent and not acknowledged. */
export const WINDOW_BYTES = 1024 * 1024;

/** What the owner of a session does with what arrives. */
export interface SessionHandler extends InboxHandler {
  /**
   * Takes a frame that is counted, or that is not the session's own. A `ProtocolError` ends the link.
   *
   * @returns After one that is not counted, the next is taken only when this has resolved, if it is a
   * promise.
   */
  frame(frame: Frame): void | Promise<void>;
  /** All frames of one read were given to `frame`. */
  batch?(): void;
  /** The other side has acknowledged more than before. */
  acknowledged?(): void;
}

/** What a session begins with. */
export interface SessionOptions {
  /** Where what it keeps in memory counts. */
  readonly account?: Account;
  /** The number of the last counted frame, in both directions; other than 0 where a test is about its end. */
  readonly frames?: number;
  /** How many requests for an acknowledgement there were before each connection. */
  readonly asks?: number;
}

/** Requests for an acknowledgement over one connection. */
class Asks {
  /** How many of the other side's have arrived. */
  arrived: number;
  /** How many of those were answered. */
  answered: number;
  /** How many of this side's were sent. */
  sent: number;
  /** How many of those the other side has answered. */
  settled: number;
  /** Which of this side's requests is meant to open the window. */
  unblocking = 0;
  /** How much was acknowledged when it was sent. */
  unblockingAt = -1;

  constructor(first: number) {
    this.arrived =
      this.answered =
      this.sent =
      this.settled =
        first;
  }
}

/** Sends to one peer and takes what it sends, across connections. */
export class Session implements LinkHandler {
  /** What is on its way to the other side. */
  readonly outbox: Outbox;
  readonly #handler: SessionHandler;
  #link: Link | undefined;
  /** What comes from the other side. */
  readonly #inbox: Inbox;
  readonly #firstAsk: number;
  #asks: Asks;
  readonly #flushes = new Flushes();
  /** The turns in which it takes what was held; made when something was. */
  #slice: TimeSlice | undefined;
  /** Whether it waits for its next turn. */
  #isPaused = false;

  /** Makes a session without a connection; calls `onBytes` with each change of what it holds. */
  constructor(
    handler: SessionHandler,
    onBytes?: (change: number) => void,
    { account = new Account(), frames = 0, asks = 0 }: SessionOptions = {},
  ) {
    this.#handler = handler;
    this.outbox = new Outbox(WINDOW_BYTES, onBytes, { first: frames, account });
    this.#inbox = new Inbox(WINDOW_BYTES, handler, frames);
    this.#firstAsk = asks;
    this.#asks = new Asks(asks);
  }

  /** The connection, if there is one. */
  get link(): Link | undefined {
    return this.#link;
  }

  /** How many counted frames were taken from the other side. */
  get taken(): number {
    return this.#inbox.taken.count;
  }

  /** Continues over this connection. */
  attach(link: Link): void {
    this.#link = link;
    this.#inbox.rewind();
    this.#asks = new Asks(this.#firstAsk);
    this.#flushes.reconnect();
    link.handler = this;
    // An acknowledgement may have been lost with the connection before.
    if (this.taken > 0) this.idle();
    this.#askForFlushes();
    link.pump();
  }

  /** Ignores whatever the connection still yields, and drops what was not taken. */
  detach(): void {
    if (this.#link?.ended === false) this.#link.close(); // One that said GOODBYE lingers.
    this.#link = undefined;
    this.#inbox.rewind();
    this.outbox.trim();
  }

  /** Begins a new session, in which nothing was taken or acknowledged. */
  restart(): number {
    this.#inbox.restart();
    return this.outbox.restart();
  }

  /**
   * Takes out the frames that do not fit, before any is sent in a new session; see `Outbox.sift`. Those
   * who wait for an acknowledgement wait for all that is left.
   */
  sift(fits: Fits): void {
    if (this.outbox.sift(fits) > 0) this.#flushes.postpone(this.outbox.total);
  }

  /** Drops what it keeps for speed. */
  trim(): void {
    this.outbox.trim();
    this.#link?.trim();
  }

  /** Sends what the outbox has, as far as there is a connection and the window allows. */
  pump(): void {
    this.#link?.pump();
  }

  next(): Uint8Array | undefined {
    const { outbox } = this;
    const bytes = outbox.next();
    if (bytes === undefined) this.#unblock();
    else if (!this.#flushes.isEmpty) this.#askForFlushes();
    return bytes;
  }

  /** Requests an acknowledgement, if the window is closed and none would come unasked. */
  #unblock(): void {
    const { outbox } = this;
    if (outbox.ahead === 0) return; // So it is after nearly every write.
    const { inFlightMin, acknowledged } = outbox;
    const { unblocking, settled, unblockingAt } = this.#asks;
    if (unblocking > settled || inFlightMin >= ACK_BYTES) return;
    // The answer acknowledged nothing: the other side withholds that, and tells when it no longer does.
    if (unblockingAt === acknowledged) return;
    this.#asks.unblockingAt = acknowledged;
    this.#asks.unblocking = this.#ask();
  }

  /** Requests an acknowledgement; returns the number of the request. */
  #ask(): number {
    this.#link?.send(FrameType.ASK);
    return ++this.#asks.sent;
  }

  /**
   * Waits until all that was added so far is acknowledged, and all frames that were sent so far without
   * being counted have arrived.
   *
   * @returns Rejects when the session ends before, or `signal` aborts.
   */
  flush(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const flushed = this.#flushes.add(this.outbox.total, signal);
    this.#askForFlushes();
    return flushed;
  }

  /** Requests an acknowledgement for those who wait, once what they wait for is on its way. */
  #askForFlushes(): void {
    if (this.#link === undefined) return;
    this.#flushes.askFor(this.outbox.total - this.outbox.ahead, () => this.#ask());
  }

  /** The session is over: rejects for all who wait, and drops everything. */
  end(error?: Error): void {
    this.detach();
    const reason = error ?? new ConnectionLostError("The session has ended");
    this.#flushes.end(reason);
    this.outbox.clear();
    this.#inbox.close();
    this.#slice?.end();
  }

  frame(reader: FrameReader): void | Promise<void> {
    const { type } = reader;
    if (isCounted(type)) this.#inbox.arrived(reader);
    else if (type === FrameType.ASK) this.#takeAsk();
    else if (type === FrameType.ACK) {
      this.#takeAck(reader.buffer.subarray(reader.body, reader.end));
    } else return this.#handler.frame(reader);
  }

  #takeAsk(): void {
    this.#asks.arrived++;
    this.#inbox.want();
  }

  /** Takes what was held, until its owner is full again, in turns with everything else. */
  resume(): void {
    if (this.#isPaused) return; // It goes on by itself.
    const slice = this.#slice ??= new TimeSlice();
    slice.begin();
    try {
      this.#inbox.resume(({ bytes }) => this.#isPaused = slice.did(messageWork(1, bytes.length)));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#inbox.rewind();
      this.#link?.fail(error);
    }
    this.batch();
    if (this.#isPaused) slice.next().then(() => this.#goOn());
  }

  #goOn(): void {
    this.#isPaused = false;
    if (this.#inbox.holds) this.resume();
  }

  batch(): void {
    this.#handler.batch?.();
    const { arrived, answered } = this.#asks;
    const { acknowledgeable, acknowledged, isWanted } = this.#inbox;
    const isDue = acknowledgeable.bytes - acknowledged.bytes >= ACK_BYTES;
    if (isDue || isWanted || arrived > answered) this.#acknowledge();
  }

  idle(): void {
    this.outbox.trim();
    this.#acknowledge();
  }

  ask(): void {
    this.#ask();
  }

  #acknowledge(): void {
    if (this.#link === undefined) return;
    const { arrived } = this.#asks;
    this.#asks.answered = arrived;
    this.#link.acknowledge(encodeAck(this.#inbox.acknowledge(), arrived));
  }

  /**
   * Acknowledges nothing from the latest `frames` on.
   *
   * @returns Acknowledges them, unless others withhold them, too.
   */
  withhold(frames: number, bytes: number): () => void {
    const place = this.#inbox.withhold(frames, bytes);
    return () => {
      if (this.#inbox.release(place)) this.#acknowledge();
    };
  }

  /** Takes no more counted frames, and acknowledges all that were taken. */
  close(): void {
    this.#inbox.close();
    this.#acknowledge();
  }

  #takeAck(body: Uint8Array): void {
    const { count, asks } = decodeAck(body);
    const { sent, settled } = this.#asks;
    const answered = countFrom(settled, asks);
    if (answered > sent) {
      throw new ProtocolError(`Cannot take ACK: it answers ${asks} requests of ${sent}`);
    }
    this.#asks.settled = answered;
    const isProgress = this.outbox.acknowledge(count);
    this.#flushes.settle(answered, this.outbox.total - this.outbox.unacknowledged);
    this.#link?.pump();
    if (isProgress) this.#handler.acknowledged?.();
  }
}
