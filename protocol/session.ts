/**
 * One authenticated peer, over any number of connections: what it sends is counted and acknowledged,
 * what is sent to it is kept until it is acknowledged.
 *
 * ```
 *           ┌ Session ───────────────────────────────────┐
 *  owner ──▶│ outbox ──── numbered, kept ─────▶ │      │
 *           │                                     │ Link │ ⇄ the other side's session
 *  owner ◀──│ taken, acknowledged ◀── counted ─── │      │
 *           └────────────────────────────────────────────┘
 * ```
 *
 * Both sides run the same code. Counted frames are messages, and from a broker gap notices and
 * refusals; their number is their place in their direction of the session, from 1. A side
 * acknowledges after {@linkcode ACK_BYTES}, when asked, and when there is nothing else to send for a
 * heartbeat. An ACK tells how many requests have arrived, too; so the answer to a request covers all
 * that was sent before it.
 *
 * - What cannot be taken now is held, and what must not be acknowledged yet is withheld; either way
 *   the other side's window closes, while this side goes on reading.
 */
import { Fifo } from "../base/fifo.ts";
import { ConnectionLostError, ProtocolError } from "../errors.ts";
import { decodeAck, encodeAck } from "./bodies.ts";
import { Outbox } from "./outbox.ts";
import { type Frame, FrameType, isCounted } from "./frame.ts";
import type { FrameReader } from "./frame_reader.ts";
import type { Link, LinkHandler } from "./link.ts";

/** A side acknowledges when this many bytes of counted frames can be acknowledged. */
export const ACK_BYTES = 64 * 1024;
/** How many bytes of counted frames may be sent and not acknowledged. */
export const WINDOW_BYTES = 1024 * 1024;

/** What the owner of a session does with what arrives. */
export interface SessionHandler {
  /** Whether no counted frame can be taken now; then call {@linkcode Session.resume} later. */
  readonly full?: boolean;
  /** Takes a frame that is counted, or that is not the session's own. A `ProtocolError` ends the link. */
  frame(frame: Frame): void;
  /** All frames of one read were given to `frame`. */
  batch?(): void;
  /** The other side has acknowledged more than before. */
  acknowledged?(): void;
}

/** The frames up to a number, and how many bytes they are. */
interface Position {
  readonly count: number;
  readonly bytes: number;
}

interface Flush {
  /** What has to be acknowledged, as a total of the outbox. */
  readonly until: number;
  /** The request on this link whose answer is waited for. */
  ask: number | undefined;
  settle(error?: unknown): void;
}

/** What is kept of one peer; see the module. */
export class Session implements LinkHandler {
  /** What is on its way to the other side. */
  readonly outbox: Outbox;
  readonly #handler: SessionHandler;
  #link: Link | undefined;

  #taken = 0;
  #takenBytes = 0;
  #acknowledged = 0;
  #acknowledgedBytes = 0;
  #arrivedBytes = 0;
  readonly #held = new Fifo<Frame>();
  /** What is not acknowledged yet although it was taken: all after these. */
  #holds: Position[] = [];
  #closing = false;

  /** Requests on this link: that came, that were answered; that were sent, that were answered. */
  #asked = 0;
  #asksAnswered = 0;
  /** The number of the last frame whose acknowledgement was asked for. */
  #wanted = 0;
  #asks = 0;
  #answered = 0;
  /** The request that is to open the window. */
  #blocked = 0;
  #flushes: Flush[] = [];

  /** Makes a session without a connection; `onBytes` is told each change of what it holds. */
  constructor(handler: SessionHandler, onBytes?: (change: number) => void) {
    this.#handler = handler;
    this.outbox = new Outbox(WINDOW_BYTES, onBytes);
  }

  /** The connection, if there is one. */
  get link(): Link | undefined {
    return this.#link;
  }

  /** How many counted frames were taken from the other side. */
  get taken(): number {
    return this.#taken;
  }

  /** Goes on over this connection. */
  attach(link: Link): void {
    this.#link = link;
    this.#arrivedBytes = this.#takenBytes;
    this.#asked = this.#asksAnswered = this.#wanted = 0;
    this.#asks = this.#answered = this.#blocked = 0;
    for (const flush of this.#flushes) flush.ask = undefined;
    link.handler = this;
    // An acknowledgement may have been lost with the connection before.
    if (this.#taken > 0) this.idle();
    this.#ask();
    link.pump();
  }

  /** Ignores whatever the connection still yields, and lets go of what was not taken. */
  detach(): void {
    if (this.#link?.ended === false) this.#link.close(); // One that said GOODBYE lingers.
    this.#link = undefined;
    this.#held.clear();
    this.outbox.trim();
  }

  /** Begins a new session with another peer, which has none of what was taken or acknowledged. */
  restart(): number {
    this.#taken = this.#takenBytes = 0;
    this.#acknowledged = this.#acknowledgedBytes = 0;
    return this.outbox.restart();
  }

  /** Sends what the outbox has, as far as there is a connection and the window allows. */
  pump(): void {
    this.#link?.pump();
  }

  next(): Uint8Array | undefined {
    const { outbox } = this;
    const bytes = outbox.next();
    if (bytes === undefined) this.#unblock();
    else if (this.#flushes.length > 0) this.#ask();
    return bytes;
  }

  /** Asks for an acknowledgement when the window is closed and none would come unasked. */
  #unblock(): void {
    const { ahead, inFlight } = this.outbox;
    if (this.#blocked > this.#answered || ahead === 0 || inFlight >= ACK_BYTES) return;
    this.#blocked = this.#sendAsk();
  }

  #sendAsk(): number {
    this.#link?.send(FrameType.ASK);
    return ++this.#asks;
  }

  /**
   * Waits until all that was added so far is acknowledged, and all that was sent so far without
   * being counted has arrived.
   *
   * @returns Rejects when the session ends before, or `signal` aborts.
   */
  flush(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const flush: Flush = {
      until: this.outbox.total,
      ask: undefined,
      settle: (error) => {
        signal?.removeEventListener("abort", onAbort);
        if (error === undefined) resolve();
        else reject(error);
      },
    };
    const onAbort = () => {
      this.#flushes = this.#flushes.filter((other) => other !== flush);
      flush.settle(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort);
    this.#flushes.push(flush);
    this.#ask();
    return promise;
  }

  /** Asks for those who wait, once what they wait for is on its way. */
  #ask(): void {
    if (this.#link === undefined) return;
    const handed = this.outbox.total - this.outbox.ahead;
    const due = this.#flushes.filter(({ ask, until }) => ask === undefined && until <= handed);
    if (due.length === 0) return;
    const ask = this.#sendAsk();
    for (const flush of due) flush.ask = ask;
  }

  #settleFlushes(): void {
    const settled = this.outbox.total - this.outbox.unacknowledged;
    this.#flushes = this.#flushes.filter(({ ask, until, settle }) => {
      const isDone = ask !== undefined && ask <= this.#answered && until <= settled;
      if (isDone) settle();
      return !isDone;
    });
  }

  /** The session is over: rejects whoever waits, and lets go of everything. */
  end(error?: Error): void {
    this.detach();
    const reason = error ?? new ConnectionLostError("The session has ended");
    for (const { settle } of this.#flushes.splice(0)) settle(reason);
    this.outbox.clear();
    this.#held.clear();
    this.#holds = [];
  }

  frame(reader: FrameReader): void {
    const { type } = reader;
    if (isCounted(type)) return this.#arrived(reader);
    if (type === FrameType.ASK) this.#takeAsk();
    else if (type === FrameType.ACK) {
      this.#takeAck(reader.buffer.subarray(reader.body, reader.end));
    } else this.#handler.frame(reader);
  }

  #arrived(reader: FrameReader): void {
    if (this.#closing) return;
    // A run of frames is looked at as one, and may end beyond the window; the next is refused then.
    if (this.#arrivedBytes - this.#acknowledgedBytes > WINDOW_BYTES) {
      throw new ProtocolError(
        `Cannot take a frame: more than the window of ${WINDOW_BYTES} bytes is not acknowledged`,
      );
    }
    if (this.#held.length > 0 || this.#handler.full) this.#held.push(copyOf(reader));
    else this.#take(reader);
    this.#arrivedBytes += sizeOf(reader);
  }

  /** Takes a frame; it counts once that is done, so that what came before can be withheld meanwhile. */
  #take(frame: Frame): void {
    this.#handler.frame(frame);
    this.#taken += frame.frames;
    this.#takenBytes += sizeOf(frame);
  }

  #takeAsk(): void {
    this.#asked++;
    this.#wanted = this.#taken + this.#held.length;
  }

  /** Takes what was held, until there is no room again. */
  resume(): void {
    try {
      while (this.#held.length > 0 && !this.#handler.full) this.#take(this.#held.shift()!);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#held.clear();
      this.#link?.fail(error);
    }
    this.batch();
  }

  batch(): void {
    this.#handler.batch?.();
    const { count, bytes } = this.#acknowledgeable();
    const isDue = bytes - this.#acknowledgedBytes >= ACK_BYTES;
    const isWanted = this.#acknowledged < this.#wanted && this.#wanted <= count;
    if (isDue || isWanted || this.#asked > this.#asksAnswered) this.#acknowledge(count, bytes);
  }

  idle(): void {
    this.outbox.trim();
    const { count, bytes } = this.#acknowledgeable();
    this.#acknowledge(count, bytes);
  }

  #acknowledge(count: number, bytes: number): void {
    if (this.#link === undefined) return;
    this.#acknowledged = count;
    this.#acknowledgedBytes = bytes;
    this.#asksAnswered = this.#asked;
    this.#link.acknowledge(encodeAck(count, this.#asked));
  }

  #acknowledgeable(): Position {
    let least: Position = { count: this.#taken, bytes: this.#takenBytes };
    for (const hold of this.#holds) if (hold.count < least.count) least = hold;
    return least;
  }

  /**
   * Acknowledges nothing from the latest `frames` on.
   *
   * @returns Acknowledges them, unless others withhold them, too.
   */
  withhold(frames: number, bytes: number): () => void {
    const hold = {
      count: Math.max(this.#acknowledged, this.#taken - frames),
      bytes: Math.max(this.#acknowledgedBytes, this.#takenBytes - bytes),
    };
    this.#holds.push(hold);
    return () => {
      const place = this.#holds.indexOf(hold);
      if (place < 0) return;
      this.#holds.splice(place, 1);
      const { count, bytes } = this.#acknowledgeable();
      if (count > this.#acknowledged) this.#acknowledge(count, bytes);
    };
  }

  /** Takes no more counted frames, and acknowledges all that were taken. */
  close(): void {
    this.#closing = true;
    this.#holds = [];
    this.#acknowledge(this.#taken, this.#takenBytes);
  }

  #takeAck(body: Uint8Array): void {
    const { count, asks } = decodeAck(body);
    if (asks < this.#answered || asks > this.#asks) {
      throw new ProtocolError(`Cannot take ACK: it answers ${asks} requests of ${this.#asks}`);
    }
    this.#answered = asks;
    const isProgress = this.outbox.acknowledge(count);
    if (this.#flushes.length > 0) this.#settleFlushes();
    this.#link?.pump();
    if (isProgress) this.#handler.acknowledged?.();
  }
}

/** What a frame takes of the window. */
function sizeOf({ start, end, oversize }: Frame): number {
  return end - start + oversize;
}

function copyOf({ buffer, type, start, body, end, oversize }: Frame): Frame {
  const bytes = buffer.slice(start, end);
  return {
    buffer: bytes,
    type,
    start: 0,
    body: body - start,
    end: end - start,
    oversize,
    filled: end - start,
    frames: 1,
    extend: () => 0,
    keep: () => ({ buffer: bytes, holders: 0 }),
  };
}
