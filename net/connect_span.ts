/**
 * What lasts from `connect()` to `disconnected`: the session, which is resumed at the next connection or
 * begins anew, and whatever else belongs to it.
 */
import { later } from "../base/timers.ts";
import { ConnectionLostError, type ForbiddenError, ProtocolError } from "../errors.ts";
import { type Frame, FrameType, type Limits, Reason } from "../protocol/frame.ts";
import { type Opened, Resumption } from "../protocol/frame_bodies.ts";
import type { HeldFrame } from "../protocol/inbox.ts";
import type { Link } from "../protocol/link.ts";
import { Session, type SessionHandler } from "../protocol/session.ts";
import { Deferred, type Outcome } from "./deferred.ts";
import type { FrameSource, Incoming, Loss } from "./incoming.ts";

/** How long `disconnect` waits for acknowledgements. */
const DISCONNECT_MS = 10_000;
/** Why the wait for acknowledgements ends, unless a signal aborts it. */
const TOO_LATE = new ConnectionLostError(
  `The broker did not acknowledge everything within ${DISCONNECT_MS} ms`,
);

/** The reason for those whose wait ended because the object was disconnected. */
export const DISCONNECTED = "The object was disconnected";

/** The limits until a broker has sent its own. */
export const NO_LIMITS: Limits = {
  messageBytes: Infinity,
  topicElements: Infinity,
  elementBytes: Infinity,
  subscriptions: Infinity,
};

/** Holds what lasts from `connect()` to `disconnected`. */
export class ConnectSpan implements SessionHandler, FrameSource {
  readonly session: Session = new Session(this);
  /** What the broker allows. */
  limits = NO_LIMITS;
  /** Settles with the first attempt; a new one takes its place after each lost connection. */
  connected = new Deferred();
  /** Settles when nothing of the span is left. */
  readonly over = new Deferred();
  /** Set when it is to end. */
  outcome: Outcome | undefined;
  /** Set while `disconnect()` is under way. */
  leaving: Promise<void> | undefined;
  /** The session's secret id, once there is one. */
  id: Uint8Array | undefined;
  link: Link | undefined;
  /** The first subscription that was refused since a call last rejected for one. */
  denied: ForbiddenError | undefined;
  /** The broker whose session it is. */
  #brokerId = "";
  /** Ends the wait for acknowledgements. */
  readonly #hurry = new AbortController();
  readonly #abort = new AbortController();
  readonly #incoming: Incoming;

  /** Makes one that is not connected yet. */
  constructor(incoming: Incoming) {
    this.#incoming = incoming;
  }

  /** Aborts when the span is to end at once. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whether what is published goes to a broker, now or later. */
  get publishes(): boolean {
    return this.id !== undefined && this.outcome === undefined;
  }

  get takes(): boolean {
    return this.link?.ended === false;
  }

  get full(): boolean {
    return this.#incoming.full;
  }

  frame(frame: Frame): void {
    checkSize(frame);
    if (frame.type === FrameType.DENIED) this.takeDenied(frame, this.limits);
    else this.#incoming.take(frame, this);
  }

  held(frame: HeldFrame): void {
    checkSize(frame);
    this.#incoming.takeHeld(frame, this);
  }

  /** The broker refused a subscription. */
  takeDenied({ buffer, body, end }: Frame, limits: Limits): void {
    const error = this.#incoming.takeDenied(buffer.subarray(body, end), limits);
    this.denied ??= error;
  }

  /**
   * Takes the broker's answer to OPEN: the session, the same or a new one, goes on over this connection.
   *
   * @returns What may have been missed or sent twice, if the session replaces another.
   */
  open(link: Link, brokerId: string, opened: Opened): Loss | undefined {
    const { session } = this;
    const isResumed = opened.outcome === Resumption.RESUMED;
    const isAnother = this.id !== undefined && !isResumed;
    const resent = isAnother ? session.restart() : 0;
    if (isResumed) session.outbox.rewind(opened.taken);
    const isSameBroker = brokerId === this.#brokerId;
    this.id = opened.session;
    this.#brokerId = brokerId;
    this.limits = opened.limits;
    session.outbox.window = opened.window;
    session.attach(link);
    if (!isAnother) return undefined;
    const isCutOff = opened.outcome === Resumption.CUT_OFF;
    return {
      reason: isCutOff ? "cut off" : isSameBroker ? "expired" : "new broker",
      ...(isCutOff && opened.missed !== undefined && { missed: opened.missed }),
      ...(resent > 0 && { resent }),
    };
  }

  /** Waits until the broker has everything; see `NetPubSub.flush`. */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    await this.session.flush(signal);
    const { denied } = this;
    if (denied === undefined) return;
    // All who wait now get it, and nobody later.
    queueMicrotask(() => {
      if (this.denied === denied) this.denied = undefined;
    });
    throw denied;
  }

  /** Ends once everything is acknowledged; see `NetPubSub.disconnect`. */
  leave(signal: AbortSignal | undefined): Promise<void> {
    const leaving = this.leaving ??= this.#leave();
    if (signal === undefined) return leaving;
    const hurry = () => this.#hurry.abort(signal.reason);
    if (signal.aborted) hurry();
    signal.addEventListener("abort", hurry);
    return leaving.finally(() => signal.removeEventListener("abort", hurry));
  }

  async #leave(): Promise<void> {
    if (this.id === undefined) {
      this.end({}, new ConnectionLostError("Cannot connect: disconnect() was called meanwhile"));
      return await this.over.promise;
    }
    const { session, session: { outbox } } = this;
    const hurry = this.#hurry;
    const tooLate = later(() => hurry.abort(TOO_LATE), DISCONNECT_MS, true);
    try {
      while (outbox.unacknowledged > 0) await session.flush(hurry.signal);
      this.outcome ??= {};
    } catch (cause) { // The session is over, or there was no time left.
      const { aborted, reason } = hurry.signal;
      const isAborted = aborted && reason !== TOO_LATE;
      this.outcome ??= { error: isAborted ? reason : undelivered(outbox.unacknowledged, cause) };
    }
    tooLate[Symbol.dispose]();
    if ("error" in this.outcome) this.end(this.outcome);
    else if (this.link?.ended === false) {
      const { link } = this;
      link.end(Reason.DONE, "");
      hurry.signal.addEventListener("abort", () => link.close());
    } else this.end({}, new ConnectionLostError(DISCONNECTED));
    await this.over.promise;
    if ("error" in this.outcome) throw this.outcome.error;
  }

  /** Ends whatever is under way; `reason` is what those who wait for it get. */
  end(outcome: Outcome, reason: unknown = outcome.error): void {
    this.outcome ??= outcome;
    this.#abort.abort(reason);
    this.link?.close();
  }
}

function checkSize({ oversize }: { readonly oversize: number }): void {
  if (oversize > 0) throw new ProtocolError(`Cannot take a message of ${oversize} bytes`);
}

function undelivered(count: number, cause: unknown): ConnectionLostError {
  return new ConnectionLostError(
    `Disconnected too early: ${count} messages were not delivered to the broker`,
    { cause, undelivered: count },
  );
}
