/**
 * The session with one authenticated peer, over any number of connections: what the peer sends is
 * counted and acknowledged, and what is sent to it is kept until it is acknowledged.
 *
 * ```
 *           ┌ Session ────────────────────────────────────────────────┐
 *  owner ──▶│ Lane │ Outbox ──── numbered, kept ───────▶ │     │      │
 *           │      │                                     │ … 2 │ Link │ ⇄ the other side's session
 *  owner ◀──│      │ Inbox ◀──── counted, acknowledged ─ │     │      │
 *           └─────────────────────────────────────────────────────────┘
 * ```
 *
 * Both sides run the same code. In the lane of messages are these and, from a broker, notices of losses
 * and refusals; in the lane of calls is all that groups need. The number of a frame is its place in its
 * lane and its direction of the session, from 1. A side acknowledges after {@linkcode ACK_BYTES}, when
 * asked, and when it has sent nothing for a heartbeat. An ACK also says how many requests have arrived;
 * so the answer to a request covers all that was sent before it. A request is also how a side asks for a
 * sign of life: whoever reads it answers, without a timer.
 *
 * - What cannot be taken now is held, and what must not be acknowledged yet is withheld; either way
 *   the other side's window closes, while this side keeps reading. Neither is done to calls: so they pass
 *   whatever becomes of messages.
 */
import { Account } from "../base/account.ts";
import { countFrom } from "../base/count.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { type Frame, FrameType, isCall, isMessage } from "./frame.ts";
import { decodeAck, encodeAck } from "./frame_bodies.ts";
import { Flushes } from "./flushes.ts";
import type { FrameReader } from "./frame_reader.ts";
import type { Inbox, InboxHandler } from "./inbox.ts";
import { Lane } from "./lane.ts";
import type { Link, LinkHandler } from "./link.ts";
import type { Outbox } from "./outbox.ts";
import type { Fits } from "./outbox_sift.ts";
import { messageWork } from "./work.ts";

/** A side acknowledges when this many bytes of counted frames can be acknowledged. */
const ACK_BYTES = 64 * 1024;
/** How many bytes of frames may be sent and not acknowledged, in each lane. */
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
  /** The messages that are on their way to the other side. */
  readonly outbox: Outbox;
  readonly #handler: SessionHandler;
  readonly #onBytes: ((change: number) => void) | undefined;
  readonly #options: SessionOptions;
  #link: Link | undefined;
  readonly #messages: Lane;
  /** How many bytes of each lane may be sent and not acknowledged. */
  #window = WINDOW_BYTES;
  /** Made for the first call of either side. */
  #calls: Lane | undefined;
  /** The number of the last frame before the first, in each lane. */
  get #first(): number {
    return this.#options.frames ?? 0;
  }

  /** Whether calls go first the next time. */
  #isCallsTurn = false;
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
    options: SessionOptions = {},
  ) {
    this.#handler = handler;
    this.#onBytes = onBytes;
    this.#options = options;
    const { asks = 0 } = options;
    this.#messages = this.#lane(handler);
    this.outbox = this.#messages.outbox;
    this.#firstAsk = asks;
    this.#asks = new Asks(asks);
  }

  #lane(handler: InboxHandler): Lane {
    const { account = new Account(), frames = 0 } = this.#options;
    const lane = new Lane(WINDOW_BYTES, handler, this.#onBytes, { first: frames, account });
    lane.outbox.window = this.#window;
    return lane;
  }

  #callsLane(): Lane {
    return this.#calls ??= this.#lane({ frame: (frame) => this.#handler.frame(frame) });
  }

  /** The connection, if there is one. */
  get link(): Link | undefined {
    return this.#link;
  }

  /** How many bytes of each lane the other side takes without having acknowledged them. */
  set window(bytes: number) {
    this.#window = bytes;
    for (const { outbox } of this.#lanes) outbox.window = bytes;
  }

  /** How many messages were taken from the other side, as frames are counted. */
  get taken(): number {
    return this.#messages.inbox.taken.count;
  }

  /** How many calls. */
  get takenCalls(): number {
    return this.#calls?.inbox.taken.count ?? this.#first;
  }

  /** How many bytes of memory its outboxes keep. */
  get keptBytes(): number {
    return this.outbox.keptBytes + (this.#calls?.outbox.keptBytes ?? 0);
  }

  /** How many frames wait or are not acknowledged. */
  get unacknowledged(): number {
    return this.outbox.unacknowledged + (this.#calls?.outbox.unacknowledged ?? 0);
  }

  /** Adds frames of the lane of calls; they go out with the next {@linkcode Session.pump}. */
  call(frames: Uint8Array, count = 1): void {
    this.#callsLane().outbox.push(frames, count);
  }

  /**
   * Goes on with the calls of this session over another connection.
   *
   * @param taken How many of them the other side has taken, as frames are counted.
   * @throws {ProtocolError} If it cannot have taken so many.
   */
  resumeCalls(taken: number): void {
    if (taken === (this.#first) && this.#calls === undefined) return;
    const { outbox } = this.#callsLane();
    outbox.acknowledge(taken);
    outbox.rewind(taken);
  }

  /** Continues over this connection. */
  attach(link: Link): void {
    this.#link = link;
    for (const lane of this.#lanes) lane.reconnect();
    this.#asks = new Asks(this.#firstAsk);
    this.#flushes.reconnect();
    link.handler = this;
    // An acknowledgement may have been lost with the connection before.
    if (this.taken + this.takenCalls > 0) this.idle();
    this.#askForFlushes();
    link.pump();
  }

  /** Ignores whatever the connection still yields, and drops what was not taken. */
  detach(): void {
    if (this.#link?.ended === false) this.#link.close(); // One that said GOODBYE lingers.
    this.#link = undefined;
    for (const { inbox, outbox } of this.#lanes) {
      inbox.rewind();
      outbox.trim();
    }
  }

  get #lanes(): readonly Lane[] {
    return this.#calls === undefined ? [this.#messages] : [this.#messages, this.#calls];
  }

  /**
   * Begins a new session, in which nothing was taken or acknowledged. Calls that were for the one before
   * are dropped.
   */
  restart(): number {
    this.#calls?.outbox.clear();
    for (const { inbox } of this.#lanes) inbox.restart();
    return this.outbox.restart();
  }

  /**
   * Takes out the frames that do not fit, before any is sent in a new session; see `Outbox.sift`. Those
   * who wait for an acknowledgement wait for all that is left.
   */
  sift(fits: Fits): void {
    if (this.outbox.sift(fits) > 0) this.#flushes.postpone(this.outbox.total);
  }

  /** Drops all that is on its way to the other side. */
  clear(): void {
    for (const { outbox } of this.#lanes) outbox.clear();
  }

  /** Drops what it keeps for speed. */
  trim(): void {
    for (const { outbox } of this.#lanes) outbox.trim();
    this.#link?.trim();
  }

  /** Sends what the outbox has, as far as there is a connection and the window allows. */
  pump(): void {
    this.#link?.pump();
  }

  next(): Uint8Array | undefined {
    const calls = this.#calls;
    const bytes = calls === undefined ? this.outbox.next() : this.#nextOf(calls);
    if (bytes === undefined) {
      this.#unblock(this.#messages);
      if (calls !== undefined) this.#unblock(calls);
    } else if (!this.#flushes.isEmpty) this.#askForFlushes();
    return bytes;
  }

  /** The lanes take turns. */
  #nextOf({ outbox: calls }: Lane): Uint8Array | undefined {
    const { outbox: messages } = this;
    const isCallsTurn = this.#isCallsTurn = !this.#isCallsTurn;
    return isCallsTurn ? calls.next() ?? messages.next() : messages.next() ?? calls.next();
  }

  /** Requests an acknowledgement, if the window is closed and none would come unasked. */
  #unblock(lane: Lane): void {
    const { outbox } = lane;
    if (outbox.ahead === 0) return; // So it is after nearly every write.
    const { inFlightMin, acknowledged } = outbox;
    if (lane.unblocking > this.#asks.settled || inFlightMin >= ACK_BYTES) return;
    // The answer acknowledged nothing: the other side withholds that, and tells when it no longer does.
    if (lane.unblockingAt === acknowledged) return;
    lane.unblockingAt = acknowledged;
    lane.unblocking = this.#ask();
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
    const calls = this.#calls?.outbox.total ?? 0;
    const flushed = this.#flushes.add(this.outbox.total, signal, calls);
    this.#askForFlushes();
    return flushed;
  }

  /** Requests an acknowledgement for those who wait, once what they wait for is on its way. */
  #askForFlushes(): void {
    if (this.#link === undefined) return;
    const calls = this.#calls?.outbox;
    const handedCalls = calls === undefined ? 0 : calls.total - calls.ahead;
    this.#flushes.askFor(this.outbox.total - this.outbox.ahead, () => this.#ask(), handedCalls);
  }

  /** The session is over: rejects for all who wait, and drops everything. */
  end(error?: Error): void {
    this.detach();
    const reason = error ?? new ConnectionLostError("The session has ended");
    this.#flushes.end(reason);
    for (const { inbox, outbox } of this.#lanes) {
      outbox.clear();
      inbox.close();
    }
    this.#slice?.end();
  }

  frame(reader: FrameReader): void | Promise<void> {
    const { type } = reader;
    if (isMessage(type)) this.#messages.inbox.arrived(reader);
    else if (isCall(type)) this.#callsLane().inbox.arrived(reader);
    else if (type === FrameType.ASK) this.#takeAsk();
    else if (type === FrameType.ACK) {
      this.#takeAck(reader.buffer.subarray(reader.body, reader.end));
    } else return this.#handler.frame(reader);
  }

  #takeAsk(): void {
    this.#asks.arrived++;
    this.#messages.inbox.want();
  }

  /** Takes what was held, until its owner is full again, in turns with everything else. */
  resume(): void {
    if (this.#isPaused) return; // It goes on by itself.
    const slice = this.#slice ??= new TimeSlice();
    slice.begin();
    try {
      this.#messages.inbox.resume(({ bytes }) =>
        this.#isPaused = slice.did(messageWork(1, bytes.length))
      );
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#messages.inbox.rewind();
      this.#link?.fail(error);
    }
    this.batch();
    if (this.#isPaused) slice.next().then(() => this.#goOn());
  }

  #goOn(): void {
    this.#isPaused = false;
    if (this.#messages.inbox.holds) this.resume();
  }

  batch(): void {
    this.#handler.batch?.();
    const { arrived, answered } = this.#asks;
    const { inbox } = this.#messages;
    const isDue = isAckDue(inbox) || this.#calls !== undefined && isAckDue(this.#calls.inbox);
    if (isDue || inbox.isWanted || arrived > answered) this.#acknowledge();
  }

  idle(): void {
    for (const { outbox } of this.#lanes) outbox.trim();
    this.#acknowledge();
  }

  ask(): void {
    this.#ask();
  }

  #acknowledge(): void {
    if (this.#link === undefined) return;
    const { arrived } = this.#asks;
    this.#asks.answered = arrived;
    const calls = this.#calls?.inbox.acknowledge() ?? this.#first;
    this.#link.acknowledge(encodeAck(this.#messages.inbox.acknowledge(), arrived, calls));
  }

  /**
   * Acknowledges no message from the latest `frames` on.
   *
   * @returns Acknowledges them, unless others withhold them, too.
   */
  withhold(frames: number, bytes: number): () => void {
    const { inbox } = this.#messages;
    const place = inbox.withhold(frames, bytes);
    return () => {
      if (inbox.release(place)) this.#acknowledge();
    };
  }

  /** Takes no more counted frames, and acknowledges all that were taken. */
  close(): void {
    for (const { inbox } of this.#lanes) inbox.close();
    this.#acknowledge();
  }

  #takeAck(body: Uint8Array): void {
    const { messages, calls, asks } = decodeAck(body);
    const { sent, settled } = this.#asks;
    const answered = countFrom(settled, asks);
    if (answered > sent) {
      throw new ProtocolError(`Cannot take ACK: it answers ${asks} requests of ${sent}`);
    }
    this.#asks.settled = answered;
    const isProgress = this.outbox.acknowledge(messages);
    if (this.#calls !== undefined || calls !== (this.#first)) {
      this.#callsLane().outbox.acknowledge(calls);
    }
    const { outbox } = this.#calls ?? {};
    this.#flushes.settle(
      answered,
      this.outbox.total - this.outbox.unacknowledged,
      outbox === undefined ? 0 : outbox.total - outbox.unacknowledged,
    );
    this.#link?.pump();
    if (isProgress) this.#handler.acknowledged?.();
  }
}

function isAckDue({ acknowledgeable, acknowledged }: Inbox): boolean {
  return acknowledgeable.bytes - acknowledged.bytes >= ACK_BYTES;
}
