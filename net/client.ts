/**
 * A client's side of a session: dials, authenticates, opens or resumes, and does so again whenever the
 * connection is lost, until its owner disconnects.
 *
 * ```
 *                 ┌──────────── lost: the session stays, what is published waits ─────────┐
 *                 ▼                                                                       │
 *  connect() ─▶ attempt ─▶ dial ─▶ handshake ─▶ OPEN … OPENED ─▶ connected ───────────────┤
 *                 │                                                 │                     │
 *                 ▼ first one failed                                ▼                     ▼
 *            disconnected ◀───────── disconnect(), a protocol error, replaced ──── reconnecting
 * ```
 *
 * A span is the time from `connect()` to `disconnected`; everything that belongs to it goes with it.
 */
import { printable } from "../base/printable.ts";
import { every, later } from "../base/timers.ts";
import {
  AuthError,
  BacklogError,
  ConnectionLostError,
  ForbiddenError,
  ProtocolError,
} from "../errors.ts";
import { type Address, formatEndpoint, parseAddress } from "../io/address.ts";
import { encodeMessage, Encoder } from "../codec/codec.ts";
import type { Connection } from "../io/connection.ts";
import { dial } from "../io/dial.ts";
import {
  brokerFrameLimits,
  decodeOpened,
  decodeRefused,
  encodeOpening,
  type Opened,
  Resumption,
} from "../protocol/bodies.ts";
import { encodeFrame, type Frame, FrameType, type Limits, Reason } from "../protocol/frame.ts";
import { authenticateToBroker } from "../protocol/authenticate.ts";
import type { HeldFrame } from "../protocol/inbox.ts";
import { Link, type LinkEnd, TICKS } from "../protocol/link.ts";
import { Session, type SessionHandler } from "../protocol/session.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { formatTopic, type TopicPath } from "../topic.ts";

/**
 * What a client is doing about its connection.
 *
 * - `"disconnected"`: nothing; it was never connected, or is no more, and what it publishes stays here.
 * - `"connecting"`: `connect()` is under way for the first time.
 * - `"connected"`: what it publishes goes to the broker at once.
 * - `"reconnecting"`: the connection is lost, and is being made again; what it publishes waits.
 */
export type State = "disconnected" | "connecting" | "connected" | "reconnecting";

/** What was, or may have been, missed or repeated. */
export interface Gap {
  /**
   * Where: `"in"` on the way to this object, `"out"` on the way from it. After a new session, `"in"`
   * unless this object has no subscriptions.
   */
  readonly direction: "in" | "out";
  /**
   * Why.
   *
   * - `"overflow"`: messages came faster than they were taken here, and the broker dropped the oldest.
   * - `"expired"`: the connection was away for longer than the broker keeps a session.
   * - `"new broker"`: the broker was started again, or another one has its place.
   * - `"cut off"`: this object held back those who publish to it for longer than the broker allows, or
   *   the broker's memory was full; or messages were lost between brokers that are joined.
   */
  readonly reason: "overflow" | "expired" | "new broker" | "cut off";
  /** How many messages did not come; not there where that is not known. */
  readonly missed?: number;
  /**
   * How many messages of this object were sent a second time, since it is not known whether they had
   * arrived; not there where there were none.
   */
  readonly resent?: number;
}

/** Where a broker is, and its key. */
export interface Target {
  readonly address: Address;
  readonly key: Uint8Array<ArrayBuffer>;
  /** The name of the key. */
  readonly keyName: string;
  /** What vouches for the broker's certificate, in PEM. */
  readonly caCerts: readonly string[];
}

/** What a {@linkcode Client} is told once. */
export interface ClientOptions {
  /** Whether the broker is to hold publishers back rather than drop messages. */
  readonly wait: boolean;
  /** For how long without progress, in milliseconds. */
  readonly patience: number;
  /** How many bytes may be published and not acknowledged. */
  readonly backlog: number;
}

/** What a {@linkcode Client} asks of its owner, and tells it. */
export interface ClientHandler {
  /** Whether no message can be taken now; then call {@linkcode Client.resume} later. */
  readonly full: boolean;
  /** Where the broker is; asked before each attempt. */
  target(): Promise<Target>;
  /** The topics that are wanted. */
  interests(): Iterable<TopicPath>;
  /** Takes a PUBLISH, with what extends it, a GAP, a LOST or a REFUSED. */
  frame(frame: Frame, limits: Limits): void;
  /** Takes one of these that was held while it was full. */
  held(frame: HeldFrame, limits: Limits): void;
  /** The broker refused a subscription. */
  denied(error: ForbiddenError): void;
  /** The state has changed. */
  state(state: State, reason?: Error): void;
  /** A new session has begun in the place of another. */
  gap(reason: Gap["reason"], missed: number | undefined, resent: number): void;
}

/** How long a broker may take to answer an attempt to connect. */
const CONNECT_MS = 10_000;
/** How long `disconnect` waits for acknowledgements. */
const DISCONNECT_MS = 10_000;
const BACKOFF_MIN_MS = 50;
const BACKOFF_MAX_MS = 5000;

/** So many attempts come as close together as the first after a broker said that it goes: 8 s or so. */
const RESTART_ATTEMPTS = 200;
/** Why the wait for acknowledgements ends when nobody's signal aborts it. */
const TOO_LATE = new ConnectionLostError(`Nothing was acknowledged for ${DISCONNECT_MS} ms`);

const DISCONNECTED = "The object was disconnected";

const NO_LIMITS: Limits = {
  messageBytes: Infinity,
  topicElements: Infinity,
  elementBytes: Infinity,
  subscriptions: Infinity,
};

/** A promise that is settled from outside; nobody need handle its rejection. */
class Deferred {
  readonly promise: Promise<void>;
  readonly #resolve: () => void;
  readonly #reject: (reason: unknown) => void;
  settled = false;

  constructor() {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    promise.catch(() => {}); // It is told through onState, too.
  }

  /** With an error in it, rejects with that. */
  settle(outcome: Outcome): void {
    this.settled = true;
    if ("error" in outcome) this.#reject(outcome.error);
    else this.#resolve();
  }
}

/** How something ended; without an error its owner wanted it to. */
type Outcome = { readonly error?: unknown };

/** The time from `connect()` to `disconnected`. */
class Span {
  readonly session: Session;
  /** Settles with the first attempt, and anew after each lost connection. */
  connected = new Deferred();
  /** Settles when nothing of the span is left. */
  readonly over = new Deferred();
  /** Set when it is to end. */
  outcome: Outcome | undefined;
  /** Set while `disconnect()` is under way. */
  leaving: Promise<void> | undefined;
  /** Ends the wait for acknowledgements. */
  readonly hurry = new AbortController();
  /** The session's secret id, once there is one, and the broker whose it is. */
  id: Uint8Array | undefined;
  brokerId = "";
  link: Link | undefined;
  /** The first subscription that was refused since it was last told by a rejection. */
  denied: ForbiddenError | undefined;
  readonly #abort = new AbortController();

  constructor(session: Session) {
    this.session = session;
  }

  /** Aborts when the span is to end at once. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Ends whatever is under way; `reason` is what those who wait for it get. */
  end(outcome: Outcome, reason: unknown = outcome.error): void {
    this.outcome ??= outcome;
    this.#abort.abort(reason);
    this.link?.close();
  }
}

/** A client's side of a session; see the module. */
export class Client {
  readonly #options: ClientOptions;
  readonly #handler: ClientHandler;
  readonly #encoder = new Encoder();
  #span: Span | undefined;
  #closed = new Deferred();
  #state: State = "disconnected";
  #limits = NO_LIMITS;
  #stream: Connection | undefined;
  #keepsAlive = true;
  #asking = false;

  /** Makes a client that is not connected. */
  constructor(options: ClientOptions, handler: ClientHandler) {
    this.#options = options;
    this.#handler = handler;
  }

  /** What it is doing about its connection. */
  get state(): State {
    return this.#state;
  }

  /** The broker's limits; none while there is no broker. */
  get limits(): Limits {
    return this.#limits;
  }

  /** Whether what is published goes to a broker, now or later. */
  get publishes(): boolean {
    return this.#span?.id !== undefined && this.#span.outcome === undefined;
  }

  /** Whether what arrives is still to be taken. */
  get takes(): boolean {
    return this.#span?.link?.ended === false;
  }

  /** Bytes published and not acknowledged. */
  get pending(): number {
    return this.#span?.session.outbox.heldBytes ?? 0;
  }

  /** Settles when this span ends, or the next if there was none; settled until the next begins. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Whether it keeps the program running while it is not disconnected. */
  set keepsAlive(keeps: boolean) {
    this.#keepsAlive = keeps;
    if (this.#stream !== undefined) this.#stream.keepsAlive = keeps;
  }

  #checkBacklog(bytes: number, path: TopicPath): void {
    const { pending } = this;
    const { backlog } = this.#options;
    if (pending === 0 || pending + bytes <= backlog) return;
    throw new BacklogError(
      `Cannot publish to ${formatTopic(path)}: ${pending} bytes are not acknowledged, ` +
        `limit is ${backlog}; await flush() now and then`,
      { limit: backlog },
    );
  }

  /** Asks for an acknowledgement, for a backlog that is smaller than what is acknowledged unasked. */
  #askOnce(): void {
    if (this.#asking || this.#span === undefined) return;
    this.#asking = true;
    const done = () => this.#asking = false;
    // Rejects when the span ends: whoever waits for that is told elsewhere.
    this.#span.session.flush().then(done, done);
  }

  /**
   * Publishes; `topic` is the block of `path`.
   *
   * @throws {BacklogError} When too much is not acknowledged.
   * @throws {TypeError} When a value cannot be sent.
   * @throws {RangeError} When the message is larger than the broker allows.
   */
  publish(path: TopicPath, topic: Uint8Array, message: object): void {
    const { session } = this.#span!;
    const { outbox } = session;
    const { composer } = outbox;
    if (composer.isBusy) return this.#publishMeanwhile(path, topic, message);
    try {
      const at = composer.begin(topic);
      const end = this.#encoder.encode(message, this.#limits.messageBytes, composer, at);
      this.#checkBacklog(composer.lengthTo(end), path);
      outbox.commit(end);
    } catch (error) {
      composer.abandon();
      throw error;
    }
    session.pump();
    if (2 * outbox.heldBytes > this.#options.backlog) this.#askOnce();
  }

  /** Publishes what a getter of the message that is being composed publishes. */
  #publishMeanwhile(path: TopicPath, topic: Uint8Array, message: object): void {
    const payload = encodeMessage(message, this.#limits.messageBytes, this.#encoder);
    const frame = encodeFrame(FrameType.PUBLISH, topic, payload);
    this.#checkBacklog(frame.length, path);
    this.#span?.session.outbox.push(frame, 1);
    this.#span?.session.pump();
  }

  /** Tells the broker that a topic is wanted, or no more. */
  interest(path: TopicPath, wanted: boolean): void {
    const type = wanted ? FrameType.SUBSCRIBE : FrameType.UNSUBSCRIBE;
    this.#span?.link?.send(type, encodeTopic(path));
  }

  /** Takes what was held back. */
  resume(): void {
    this.#span?.session.resume();
  }

  /** Connects; see `NetPubSub.connect`. */
  connect(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const before = this.#span;
    if (before !== undefined && before.leaving === undefined) {
      const { promise } = before.connected;
      return signal === undefined ? promise : abortable(promise, signal);
    }
    const span = this.#span = new Span(new Session(this.#sessionHandler()));
    const { promise } = span.connected;
    const giveUp = () => span.end({ error: signal?.reason });
    signal?.addEventListener("abort", giveUp);
    const settled = () => signal?.removeEventListener("abort", giveUp);
    promise.then(settled, settled);
    this.#run(span, before);
    return promise;
  }

  #sessionHandler(): SessionHandler {
    const handler = this.#handler;
    return {
      get full() {
        return handler.full;
      },
      frame: (frame) => {
        checkSize(frame);
        if (frame.type === FrameType.DENIED) this.#takeDenied(this.#span, frame, this.#limits);
        else handler.frame(frame, this.#limits);
      },
      held: (frame) => {
        checkSize(frame);
        handler.held(frame, this.#limits);
      },
    };
  }

  #takeDenied(span: Span | undefined, { buffer, body, end }: Frame, limits: Limits): void {
    const { topic, text } = decodeRefused(buffer.subarray(body, end), limits);
    const error = new ForbiddenError(`The broker refused a subscription: ${printable(text)}`, {
      topic,
    });
    if (span !== undefined) span.denied ??= error;
    this.#handler.denied(error);
  }

  /** Lives through a span; never rejects. */
  async #run(span: Span, before: Span | undefined): Promise<void> {
    try {
      if (before !== undefined) await before.over.promise;
      span.signal.throwIfAborted();
      if (this.#closed.settled) this.#closed = new Deferred();
      this.#setState("connecting");
      let link = await this.#attempt(span);
      for (;;) {
        const end = await link.finished;
        span.session.detach();
        span.link = undefined;
        if (span.outcome !== undefined) break;
        link = await this.#reconnect(span, end);
      }
    } catch (error) { // The first attempt failed, the session is over, or somebody gave up.
      span.outcome ??= { error };
    }
    this.#finish(span, span.outcome);
  }

  #finish(span: Span, outcome: Outcome): void {
    const { session, connected, over, signal } = span;
    const error = asError(outcome.error ?? signal.reason);
    session.end(error);
    connected.settle({ error });
    if (this.#span === span) this.#span = undefined;
    this.#limits = NO_LIMITS;
    over.settle({});
    this.#closed.settle(outcome);
    this.#setState("disconnected", "error" in outcome ? error : undefined);
  }

  /** Tries until there is a connection again. */
  async #reconnect(span: Span, end: LinkEnd): Promise<Link> {
    let reason = end.error ?? new ConnectionLostError("The broker ended the session");
    let atOnce = end.reason === Reason.SHUTDOWN ? RESTART_ATTEMPTS : 0;
    span.connected = new Deferred();
    this.#setState("reconnecting", reason);
    for (let wait = BACKOFF_MIN_MS;;) {
      await this.#pause(wait * (1 + Math.random()) / 2, span.signal);
      try {
        return await this.#attempt(span);
      } catch (error) {
        if (span.outcome !== undefined) throw error;
        if (error instanceof ConnectionLostError) {
          wait = atOnce-- > 0 ? BACKOFF_MIN_MS : Math.min(2 * wait, BACKOFF_MAX_MS);
          continue;
        }
        // A refused key, or something that will hardly pass by itself; but it may.
        wait = BACKOFF_MAX_MS;
        const refusal = asError(error);
        if (refusal.name !== reason.name) this.#handler.state(this.#state, refusal);
        reason = refusal;
      }
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = later(resolve, ms, this.#keepsAlive);
    await abortable(promise, signal);
  }

  /** One attempt to connect, to authenticate, and to open or resume the session. */
  async #attempt(span: Span): Promise<Link> {
    span.signal.throwIfAborted();
    const { address, key, keyName, caCerts } = await this.#handler.target();
    const shown = formatEndpoint(parseAddress(address));
    const tooLate = new AbortController();
    using _timer = later(() => {
      const text = `Cannot connect to ${shown}: no answer within ${CONNECT_MS} ms`;
      tooLate.abort(new ConnectionLostError(text));
    }, CONNECT_MS);
    const signal = AbortSignal.any([span.signal, tooLate.signal]);
    const stream = await dial(address, signal, caCerts);
    stream.keepsAlive = this.#keepsAlive;
    this.#stream = stream;
    const close = () => stream.close();
    signal.addEventListener("abort", close);
    try {
      const brokerId = await authenticateToBroker(stream, key, keyName);
      return await this.#openSession(span, stream, brokerId.toString());
    } catch (error) { // Whatever the stream throws, when it was not us who closed it.
      stream.close();
      span.link = undefined;
      signal.throwIfAborted();
      throw asConnectionError(error);
    } finally {
      signal.removeEventListener("abort", close);
    }
  }

  async #openSession(span: Span, stream: Connection, brokerId: string): Promise<Link> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const link = span.link = new Link(stream, brokerFrameLimits());
    link.expect({
      [FrameType.DENIED]: (frame) => this.#takeDenied(span, frame, NO_LIMITS),
      [FrameType.OPENED]: ({ buffer, body, end }) => {
        const opened = decodeOpened(buffer.subarray(body, end));
        if (span.denied === undefined || span.id !== undefined) {
          link.limits = brokerFrameLimits(opened.limits);
          this.#opened(span, link, brokerId, opened);
          resolve();
        } else link.end(Reason.DONE, ""); // connect() rejects, and leaves nothing behind.
      },
    });
    const { wait, patience } = this.#options;
    const head = { session: span.id, taken: span.session.taken, wait, patience };
    const topics = [...this.#handler.interests()].map(encodeTopic);
    link.send(FrameType.OPEN, encodeOpening(head), ...topics);
    const lost = link.finished.then((end) => {
      const text = span.leaving === undefined ? "The broker ended the session" : DISCONNECTED;
      const refused = span.id === undefined ? span.denied : undefined;
      const error = end.error ?? refused ?? new ConnectionLostError(text);
      if (isFinal(end)) span.end({ error });
      throw error;
    });
    await Promise.race([promise, lost]);
    return link;
  }

  /** Takes the broker's word on the session; frames that follow it are the session's. */
  #opened(span: Span, link: Link, brokerId: string, opened: Opened): void {
    const { session } = span;
    const isResumed = opened.outcome === Resumption.RESUMED;
    const isAnother = span.id !== undefined && !isResumed;
    const resent = isAnother ? session.restart() : 0;
    if (isResumed) session.outbox.rewind(opened.taken);
    const isSameBroker = brokerId === span.brokerId;
    span.id = opened.session;
    span.brokerId = brokerId;
    this.#limits = opened.limits;
    session.outbox.window = opened.window;
    session.attach(link);
    const ticker = every(() => link.tick(), opened.heartbeat / TICKS);
    link.finished.then(() => ticker[Symbol.dispose]());
    span.connected.settle({});
    this.#setState("connected");
    if (!isAnother) return;
    const isCutOff = opened.outcome === Resumption.CUT_OFF;
    const reason = isCutOff ? "cut off" : isSameBroker ? "expired" : "new broker";
    this.#handler.gap(reason, isCutOff ? opened.missed : undefined, resent);
  }

  /** Disconnects; see `NetPubSub.disconnect`. */
  disconnect(signal: AbortSignal | undefined): Promise<void> {
    const span = this.#span;
    if (span === undefined) return Promise.resolve();
    const leaving = span.leaving ??= this.#leave(span);
    if (signal === undefined) return leaving;
    const hurry = () => span.hurry.abort(signal.reason);
    if (signal.aborted) hurry();
    signal.addEventListener("abort", hurry);
    return leaving.finally(() => signal.removeEventListener("abort", hurry));
  }

  async #leave(span: Span): Promise<void> {
    const { session, hurry, over } = span;
    const { outbox } = session;
    if (span.id === undefined) {
      span.end({}, new ConnectionLostError("Cannot connect: disconnect() was called meanwhile"));
      return await over.promise;
    }
    const timer = setTimeout(() => hurry.abort(TOO_LATE), DISCONNECT_MS);
    try {
      while (outbox.unacknowledged > 0) await session.flush(hurry.signal);
      span.outcome ??= {};
    } catch (cause) { // The session is over, or there was no time left.
      const { aborted, reason } = hurry.signal;
      const isAborted = aborted && reason !== TOO_LATE;
      span.outcome ??= { error: isAborted ? reason : undelivered(outbox.unacknowledged, cause) };
    }
    clearTimeout(timer);
    if ("error" in span.outcome) span.end(span.outcome);
    else if (span.link?.ended === false) {
      const { link } = span;
      link.end(Reason.DONE, "");
      hurry.signal.addEventListener("abort", () => link.close());
    } else span.end({}, new ConnectionLostError(DISCONNECTED));
    await over.promise;
    if ("error" in span.outcome) throw span.outcome.error;
  }

  /** Waits until the broker has everything; see `NetPubSub.flush`. */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const span = this.#span;
    if (span === undefined) {
      throw new ConnectionLostError("Cannot flush: the object is disconnected, connect it first");
    }
    await span.session.flush(signal);
    const { denied } = span;
    if (denied === undefined) return;
    // So that all who wait now get it, and nobody later.
    queueMicrotask(() => {
      if (span.denied === denied) span.denied = undefined;
    });
    throw denied;
  }

  #setState(state: State, reason?: Error): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#handler.state(state, reason);
  }
}

function checkSize({ oversize }: { readonly oversize: number }): void {
  if (oversize > 0) throw new ProtocolError(`Cannot take a message of ${oversize} bytes`);
}

/** Whether the session is over, and must not be tried again. */
function isFinal({ reason, error }: LinkEnd): boolean {
  return error instanceof ProtocolError || reason === Reason.DONE || reason === Reason.REPLACED;
}

function undelivered(count: number, cause: unknown): ConnectionLostError {
  return new ConnectionLostError(
    `Disconnected, ${count} messages were not delivered to the broker`,
    { cause, undelivered: count },
  );
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}

/** What a caller of connect() tells apart; everything else that a socket throws is a lost one. */
function asConnectionError(error: unknown): unknown {
  const known = [AuthError, ProtocolError, ForbiddenError, ConnectionLostError];
  if (known.some((kind) => error instanceof kind)) return error;
  const what = error instanceof Error ? error.message : error;
  return new ConnectionLostError(`Cannot connect: the connection was lost (${what})`, {
    cause: error,
  });
}

/** Waits for `promise`, but not after `signal` aborts. */
async function abortable(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
