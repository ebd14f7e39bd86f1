/**
 * A client's side of a session: dials, authenticates, opens or resumes the session, and does so again
 * whenever the connection is lost, until its owner disconnects.
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
 * connect_attempt.ts makes one attempt. connect_span.ts has what lasts from `connect()` to
 * `disconnected`: the session, and what becomes of it at the next connection.
 */
import { every, later } from "../base/timers.ts";
import { ConnectionLostError } from "../errors.ts";
import type { Connection } from "../io/connection.ts";
import { FrameType, Reason } from "../protocol/frame.ts";
import type { Opened } from "../protocol/frame_bodies.ts";
import { type Link, type LinkEnd, TICKS } from "../protocol/link.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import type { Dispatcher } from "../pubsub/dispatcher.ts";
import { formatTopic, type TopicPath } from "../topic.ts";
import type { BrokerFinder } from "./broker_finder.ts";
import { attempt } from "./connect_attempt.ts";
import { ConnectSpan, NO_LIMITS } from "./connect_span.ts";
import { abortable, Deferred, type Outcome } from "./deferred.ts";
import { Incoming } from "./incoming.ts";
import { type NetPubSubOptions, type QueueOptions, queueOptions, type State } from "./options.ts";
import { Outgoing } from "./outgoing.ts";

const BACKOFF_MIN_MS = 50;
const BACKOFF_MAX_MS = 5000;

/** After a broker has said that it shuts down, so many attempts are made without backing off: for 8 s. */
const RESTART_ATTEMPTS = 200;

/** Keeps one object connected to its broker, from `connect()` to `disconnect()`. */
export class Client {
  readonly #dispatcher: Dispatcher;
  readonly #finder: BrokerFinder;
  readonly #options: NetPubSubOptions;
  readonly #queueOptions: QueueOptions;
  readonly #incoming: Incoming;
  readonly #outgoing: Outgoing;
  #span: ConnectSpan | undefined;
  #closed = new Deferred();
  #state: State = "disconnected";
  #stream: Connection | undefined;
  #keepsAlive = true;

  /**
   * Makes one that is not connected.
   *
   * @param dispatcher The subscribers here; they get what comes in.
   * @param options The callbacks of its owner, and the bounds of its queues.
   * @throws {TypeError} If an option is of the wrong kind.
   * @throws {RangeError} If an option is out of range.
   */
  constructor(dispatcher: Dispatcher, finder: BrokerFinder, options: NetPubSubOptions) {
    this.#dispatcher = dispatcher;
    this.#finder = finder;
    this.#options = options;
    this.#queueOptions = queueOptions(options);
    this.#incoming = new Incoming(dispatcher, options);
    this.#outgoing = new Outgoing(this.#queueOptions.backlog);
  }

  /** Whether it is connected, or about to be. */
  get state(): State {
    return this.#state;
  }

  /** Bytes published and not acknowledged. */
  get pending(): number {
    return this.#span?.session.outbox.heldBytes ?? 0;
  }

  /** Settles when this span ends, or else the next one; stays settled until another begins. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Whether it keeps the program running while it is not disconnected. */
  set keepsAlive(keeps: boolean) {
    this.#keepsAlive = keeps;
    if (this.#stream !== undefined) this.#stream.keepsAlive = keeps;
  }

  /**
   * Publishes to the broker, if there is one now or later.
   *
   * @throws {TypeError} If a value cannot be sent.
   * @throws {RangeError} If the topic or the message is larger than the broker allows.
   * @throws {BacklogError} If too much is not acknowledged.
   */
  publish(path: TopicPath, message: object): void {
    const span = this.#span;
    if (span === undefined || !span.publishes) return;
    this.#outgoing.publish(path, message, span);
  }

  /**
   * Tells the broker that a topic is wanted, or no longer wanted.
   *
   * @throws {RangeError} If the broker does not allow this topic, or one topic more.
   */
  interest(path: TopicPath, wanted: boolean): void {
    const type = wanted ? FrameType.SUBSCRIBE : FrameType.UNSUBSCRIBE;
    if (wanted) this.#checkInterest(path);
    this.#span?.link?.send(type, encodeTopic(path));
  }

  #checkInterest(path: TopicPath): void {
    const { limits } = this.#span ?? { limits: NO_LIMITS };
    this.#outgoing.topicBlock("subscribe", path, limits);
    const { subscriptions } = limits;
    if (this.#dispatcher.interestCount <= subscriptions) return;
    throw new RangeError(
      `Cannot subscribe to ${formatTopic(path)}: the broker's limit is ${subscriptions} topics`,
    );
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
    const span = this.#span = new ConnectSpan(this.#incoming);
    const { promise } = span.connected;
    const giveUp = () => span.end({ error: signal?.reason });
    signal?.addEventListener("abort", giveUp);
    const settled = () => signal?.removeEventListener("abort", giveUp);
    promise.then(settled, settled);
    this.#run(span, before);
    return promise;
  }

  /** Lives through a span; never rejects. */
  async #run(span: ConnectSpan, before: ConnectSpan | undefined): Promise<void> {
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

  #finish(span: ConnectSpan, outcome: Outcome): void {
    const { session, connected, over, signal } = span;
    const error = asError(outcome.error ?? signal.reason);
    session.end(error);
    connected.settle({ error });
    if (this.#span === span) this.#span = undefined;
    over.settle({});
    this.#closed.settle(outcome);
    this.#setState("disconnected", "error" in outcome ? error : undefined);
  }

  /** Tries until there is a connection again. */
  async #reconnect(span: ConnectSpan, end: LinkEnd): Promise<Link> {
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
        // A refused key, or something else that hardly passes by itself; but it may.
        wait = BACKOFF_MAX_MS;
        const refusal = asError(error);
        if (refusal.name !== reason.name) this.#tellState(refusal);
        reason = refusal;
      }
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = later(resolve, ms, this.#keepsAlive);
    try {
      await abortable(promise, signal);
    } finally {
      timer[Symbol.dispose]();
    }
  }

  async #attempt(span: ConnectSpan): Promise<Link> {
    span.signal.throwIfAborted();
    const target = await this.#finder.find((warning) => this.#dispatcher.report(warning, {}));
    return await attempt(span, target, {
      queueOptions: this.#queueOptions,
      interests: () => this.#dispatcher.interests(),
      dialled: (stream) => {
        stream.keepsAlive = this.#keepsAlive;
        this.#stream = stream;
      },
      opened: (link, brokerId, opened) => this.#opened(span, link, brokerId, opened),
    });
  }

  #opened(span: ConnectSpan, link: Link, brokerId: string, opened: Opened): void {
    const loss = span.open(link, brokerId, opened);
    const ticker = every(() => link.tick(), opened.heartbeat / TICKS);
    link.finished.then(() => ticker[Symbol.dispose]());
    span.connected.settle({});
    this.#setState("connected");
    if (loss !== undefined) this.#incoming.lose(loss);
  }

  /** Disconnects; see `NetPubSub.disconnect`. */
  disconnect(signal: AbortSignal | undefined): Promise<void> {
    return this.#span?.leave(signal) ?? Promise.resolve();
  }

  /** Waits until the broker has everything; see `NetPubSub.flush`. */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#span !== undefined) return await this.#span.flush(signal);
    throw new ConnectionLostError("Cannot flush: the object is disconnected; connect it first");
  }

  #setState(state: State, reason?: Error): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#tellState(reason);
  }

  #tellState(reason: Error | undefined): void {
    const { onState } = this.#options;
    const state = this.#state;
    this.#dispatcher.call(() => reason === undefined ? onState?.(state) : onState?.(state, reason));
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}
