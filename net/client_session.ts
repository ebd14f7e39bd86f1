/**
 * A client's session with its broker, over any number of connections. It begins before there is a
 * connection, so that what is published meanwhile waits in it.
 *
 * ```
 *  begin(link) ─▶ OPEN, with all interests ┄┄ what changes of them waits ┄┄▶ OPENED ─▶ open()
 *                                                                             │
 *      the same session: the broker says how much of it it has ◀──────────────┤
 *      a new one: what waits is checked against the broker's limits ◀─────────┘
 * ```
 */
import type { Ticker } from "../base/ticker.ts";
import { type ForbiddenError, type MessageError, ProtocolError } from "../errors.ts";
import { encodeFrame, type Frame, FrameType, type Limits } from "../protocol/frame.ts";
import { LIMITS_MAX, type Opened, Resumption } from "../protocol/frame_bodies.ts";
import { encodeRanges, type JobRange } from "../protocol/job_bodies.ts";
import type { HeldFrame } from "../protocol/inbox.ts";
import type { Link } from "../protocol/link.ts";
import { Session, type SessionHandler } from "../protocol/session.ts";
import type { FrameSource, Incoming, Loss } from "./incoming.ts";
import { Jobs, type JobTeller } from "./jobs.ts";
import { siftMessages } from "./misfits.ts";

/** What a new connection brings to light about the one before. */
export interface News {
  /** What may have been missed, or sent twice, because the session replaces another. */
  readonly loss: Loss | undefined;
  /** The messages that waited and are more than this broker allows; they are not sent. */
  readonly misfits: readonly MessageError[];
}

const NO_NEWS: News = { loss: undefined, misfits: [] };

/** Holds what a client knows of its session. */
export class ClientSession implements SessionHandler, FrameSource, JobTeller {
  readonly session: Session = new Session(this);
  /** What the broker allows; until it has said so, what any broker may allow. */
  limits: Limits = LIMITS_MAX;
  /** The session's secret id, once there is one. */
  id: Uint8Array | undefined;
  link: Link | undefined;
  /** What counts the time of its open connection. */
  ticker: Ticker | undefined;
  /** What the members here were given in it. */
  jobs: Jobs = new Jobs(this);
  /** Whether these have left it, for good. */
  isLeft = false;
  /** Whether the broker has acknowledged all since then. */
  #isFlushed = false;
  /** The first subscription that was refused since a call last rejected for one. */
  denied: ForbiddenError | undefined;
  /** The broker whose session it is. */
  #brokerId = "";
  /** What changed of the interests since OPEN was sent; `undefined` unless its answer is awaited. */
  #changes: [type: FrameType, topic: Uint8Array][] | undefined;
  readonly #incoming: Incoming;

  /** Makes one that has no connection yet. */
  constructor(incoming: Incoming) {
    this.#incoming = incoming;
  }

  get takes(): boolean {
    return this.link?.ended === false;
  }

  get full(): boolean {
    return this.#incoming.full;
  }

  frame(frame: Frame): void {
    checkSize(frame);
    if (frame.type === FrameType.DENIED) this.takeDenied(frame);
    else this.#incoming.take(frame, this);
  }

  /** Looks at the time: in a page that is hidden, no timer does. */
  batch(): void {
    if (this.link !== undefined) this.ticker?.look(this.link.readAt);
  }

  held(frame: HeldFrame): void {
    checkSize(frame);
    this.#incoming.takeHeld(frame, this);
  }

  /** The broker refused a subscription. */
  takeDenied({ buffer, body, end }: Frame): void {
    const error = this.#incoming.takeDenied(buffer.subarray(body, end), LIMITS_MAX);
    this.denied ??= error;
  }

  finished(ranges: readonly JobRange[]): void {
    this.#call(FrameType.FINISHED, ranges);
  }

  returned(ranges: readonly JobRange[]): void {
    this.#call(FrameType.RETURNED, ranges);
  }

  #call(type: FrameType, ranges: readonly JobRange[]): void {
    this.session.call(encodeFrame(type, encodeRanges(ranges)));
    this.session.pump();
  }

  /** Goes on over this connection; OPEN, with all interests, is sent next. */
  begin(link: Link): void {
    this.link = link;
    this.#changes = [];
  }

  /** Tells the broker that a topic is wanted, or no longer wanted; without a connection, OPEN will. */
  interest(type: FrameType, topic: Uint8Array): void {
    if (this.#changes === undefined) this.link?.send(type, topic);
    else this.#changes.push([type, topic]); // Until the broker has opened the session.
  }

  /**
   * Takes the broker's answer to OPEN: the session, the same or a new one, goes on over this connection.
   */
  open(link: Link, brokerId: string, opened: Opened): News {
    const isSameBroker = brokerId === this.#brokerId;
    const isResumed = opened.outcome === Resumption.RESUMED;
    const { session } = this;
    let news = NO_NEWS;
    if (isResumed) {
      session.outbox.rewind(opened.taken);
      session.resumeCalls(opened.calls);
    } else news = this.#renew(opened, isSameBroker);
    this.id = opened.session;
    this.#brokerId = brokerId;
    this.limits = opened.limits;
    session.window = opened.window;
    const changes = this.#changes ?? [];
    this.#changes = undefined;
    for (const [type, topic] of changes) link.send(type, topic);
    session.attach(link);
    return news;
  }

  /** Begins the session that the broker has opened instead of the one before, if there was one. */
  #renew({ outcome, missed, limits }: Opened, isSameBroker: boolean): News {
    const isFirst = this.id === undefined;
    this.#endJobs();
    const again = isFirst ? 0 : this.session.restart();
    const { misfits, resent } = siftMessages(this.session, this.limits, limits, again);
    if (isFirst) return { loss: undefined, misfits };
    const isCutOff = outcome === Resumption.CUT_OFF;
    const loss: Loss = {
      reason: isCutOff ? "cut off" : isSameBroker ? "expired" : "new broker",
      ...(isCutOff && missed !== undefined && { missed }),
      ...(resent > 0 && { resent }),
    };
    return { loss, misfits };
  }

  /** The broker gives what the members here have not finished to others; what they do goes on. */
  #endJobs(): void {
    this.jobs.close();
    this.jobs = new Jobs(this);
    this.#incoming.recallJobs();
  }

  /** The session is over; those who wait for it get the error. */
  end(error: Error): void {
    this.session.end(error);
    this.#endJobs();
  }

  /** The connection has ended; the session waits for another. */
  detach(): void {
    this.session.detach();
    this.dropLink();
  }

  /** Forgets a connection over which the session was not opened. */
  dropLink(): void {
    this.link = undefined;
    this.#changes = undefined;
  }

  /** Whether the broker has not acknowledged everything. */
  get isBehind(): boolean {
    return this.session.unacknowledged > 0;
  }

  /** Whether `disconnect()` has something to wait for. */
  get hasWork(): boolean {
    return this.jobs.open > 0 || this.isBehind || this.#mayGetJobs;
  }

  /** Whether jobs may be on their way to members that have left: they are to be given back. */
  get #mayGetJobs(): boolean {
    return this.isLeft && !this.#isFlushed && this.link?.ended === false && this.id !== undefined;
  }

  /** Waits until the members here have finished all that they had, and the broker has everything. */
  async rest(signal: AbortSignal): Promise<void> {
    // First what was published: it must not count as undelivered when a member takes too long.
    if (this.isBehind) await this.session.flush(signal);
    await this.jobs.idle(signal);
    await this.session.flush(signal);
    this.#isFlushed = true;
  }

  /** Waits until the broker has everything; see `NetPubSub.flush`. */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    this.jobs.tell();
    await this.session.flush(signal);
    const { denied } = this;
    if (denied === undefined) return;
    // All who wait now get it, and nobody later.
    Promise.resolve().then(() => {
      if (this.denied === denied) this.denied = undefined;
    });
    throw denied;
  }
}

function checkSize({ oversize }: { readonly oversize: number }): void {
  if (oversize > 0) throw new ProtocolError(`Cannot take a message of ${oversize} bytes`);
}
