/**
 * What lasts from `connect()` to `disconnected`: who waits for its connection and for its end, and how
 * it is ended. Its session lasts as long.
 *
 * ```
 *  connect() ─────▶ disconnect() ─────▶ all is acknowledged, or it has failed ─────▶ over
 *  └─────── this span takes what is published ───────┘└── the next one takes it ──┘
 * ```
 *
 * The next span begins when this one is over, if `connect()` is called meanwhile; from that call on it
 * takes what is published.
 */
import { later } from "../base/timers.ts";
import { AuthError, ConnectionLostError, ForbiddenError, ProtocolError } from "../errors.ts";
import { Reason } from "../protocol/frame.ts";
import { ClientSession } from "./client_session.ts";
import { Deferred, type Outcome } from "./deferred.ts";
import type { Incoming } from "./incoming.ts";

/** How long `disconnect` waits for acknowledgements, and for what members of groups have begun. */
const DISCONNECT_MS = 10_000;
/** Why that wait ends, unless a signal aborts it. */
const TOO_LATE = new ConnectionLostError(
  `Not everything was finished and acknowledged within ${DISCONNECT_MS} ms`,
);

/** The reason for those who wait for a connection that `disconnect()` ends. */
const NOT_CONNECTED = "Cannot connect: disconnect() was called meanwhile";
/** The reason for those whose wait ended because the object was disconnected. */
export const DISCONNECTED = "The object was disconnected";

/** Holds what lasts from `connect()` to `disconnected`. */
export class ConnectSpan {
  /** Its session, which may be another one after a lost connection. */
  readonly remote: ClientSession;
  /** Settles with the first connection; a new one takes its place after each lost connection. */
  connected = new Deferred();
  /** Settles when nothing of the span is left. */
  readonly over = new Deferred();
  /** Settles with it, for the program: rejects if it ended otherwise than its owner wanted. */
  closed = new Deferred();
  /** The span before it, until that is over. */
  before: ConnectSpan | undefined;
  /** Whether its first connection is tried for until it is there. */
  waits = false;
  /** Set when it is to end. */
  outcome: Outcome | undefined;
  /** Set while `disconnect()` is under way. */
  leaving: Promise<void> | undefined;
  /** What it did not deliver, once it is over; `undefined` if there was nothing. */
  undelivered: ConnectionLostError | undefined;
  /** Ends the wait of `disconnect`. */
  readonly #hurry = new AbortController();
  readonly #abort = new AbortController();

  /** Makes one that is not connected yet, and follows another. */
  constructor(incoming: Incoming, before: ConnectSpan | undefined) {
    this.remote = new ClientSession(incoming);
    this.before = before;
  }

  /** Aborts when the span is to end at once. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whether it takes what is published: until it is closed. */
  get takes(): boolean {
    return this.outcome === undefined;
  }

  /** Whether it is to end, and `connect()` begins another. */
  get isEnding(): boolean {
    return this.leaving !== undefined || !this.takes;
  }

  /** Bytes that are published and not acknowledged, in it and in those before it. */
  get pending(): number {
    return this.remote.session.outbox.heldBytes + (this.before?.pending ?? 0);
  }

  /** Ends once everything is acknowledged; see `NetPubSub.disconnect`. */
  async leave(signal: AbortSignal | undefined): Promise<void> {
    const hurry = () => this.#hurry.abort(signal?.reason);
    if (signal?.aborted) hurry();
    signal?.addEventListener("abort", hurry);
    try {
      await (this.leaving ??= this.#leave());
    } finally {
      signal?.removeEventListener("abort", hurry);
    }
  }

  async #leave(): Promise<void> {
    const { remote } = this;
    const { signal } = this.#hurry;
    const tooLate = later(() => this.#hurry.abort(TOO_LATE), DISCONNECT_MS, true);
    try {
      while (remote.hasWork) await remote.rest(signal);
      this.outcome ??= {};
    } catch (error) { // The session is over, or there was no time left.
      this.outcome ??= { error };
    }
    tooLate.cancel();
    const { id, link } = remote;
    const isGood = !("error" in this.outcome);
    // What members here have not finished, others get once the broker knows that the session is over.
    if (id !== undefined && link?.ended === false && (isGood || !remote.isBehind)) {
      link.end(Reason.DONE, "");
      if (isGood) signal.addEventListener("abort", () => link.close());
    } else if (!isGood) this.end(this.outcome);
    else this.end({}, new ConnectionLostError(id === undefined ? NOT_CONNECTED : DISCONNECTED));
    await this.over.promise;
    if (this.undelivered === undefined) return;
    throw signal.aborted && signal.reason !== TOO_LATE ? signal.reason : this.undelivered;
  }

  /** Ends whatever is under way; `reason` is what those who wait for it get. */
  end(outcome: Outcome, reason: unknown = outcome.error): void {
    this.outcome ??= outcome;
    // Until the span before it is over, there is nothing under way that would reject.
    if (this.before !== undefined) this.connected.settle({ error: reason });
    this.#abort.abort(reason);
    this.remote.link?.close();
  }

  /**
   * Nothing is under way any more: settles for all who wait.
   *
   * @returns The error with which it ended; `undefined` if it ended as its owner wanted.
   */
  finish(outcome: Outcome): Error | undefined {
    const { session, jobs } = this.remote;
    const isGood = !("error" in outcome);
    const reason = asError(
      outcome.error ?? this.signal.reason ?? new ConnectionLostError(DISCONNECTED),
    );
    const count = session.outbox.unacknowledged;
    if (count > 0) this.undelivered = undelivered(count, reason);
    else if (this.leaving !== undefined && jobs.open > 0) {
      this.undelivered = unfinished(jobs.open, reason);
    } else if (this.leaving !== undefined && session.unacknowledged > 0) {
      this.undelivered = untold(reason);
    }
    const error = reason === TOO_LATE ? this.undelivered ?? reason : reason;
    this.remote.end(asOurs(error));
    this.connected.settle({ error });
    this.over.settle({});
    this.closed.settle(isGood ? {} : { error });
    return isGood ? undefined : error;
  }
}

function undelivered(count: number, cause: Error): ConnectionLostError {
  const which = count === 1 ? "1 message was" : `${count} messages were`;
  return new ConnectionLostError(`${which} not delivered to the broker (${cause.message})`, {
    cause,
    undelivered: count,
  });
}

function unfinished(count: number, cause: Error): ConnectionLostError {
  const which = count === 1 ? "1 message of a group was" : `${count} messages of groups were`;
  const said = `${which} not finished here, and other members get what is left`;
  return new ConnectionLostError(`${said} (${cause.message})`, { cause });
}

function untold(cause: Error): ConnectionLostError {
  const said = "The broker may not know what members here have finished: others may do it again";
  return new ConnectionLostError(`${said} (${cause.message})`, { cause });
}

/** The reason for those who wait for the session; that of somebody's signal is not for them. */
function asOurs(error: Error): Error {
  const kinds = [ConnectionLostError, ProtocolError, AuthError, ForbiddenError];
  return kinds.some((kind) => error instanceof kind)
    ? error
    : new ConnectionLostError(DISCONNECTED, { cause: error });
}

/** Whatever was thrown, as an error. */
export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}
