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
 * `disconnected`, and client_session.ts the session, which is resumed or begins anew at the next
 * connection.
 *
 * Whatever is published while the state is not `disconnected` is delivered to the broker, or its owner
 * is told how many messages were not:
 *
 * - It waits in the session of its span, from the call of `connect()` on.
 * - While a span is closed, what is published waits in the next one, which goes ahead if `connect()` is
 *   called meanwhile.
 */
import { Ticker } from "../base/ticker.ts";
import { ConnectionLostError } from "../errors.ts";
import { type Endpoint, formatEndpoint } from "../io/address.ts";
import type { Connection } from "../io/connection.ts";
import { isHopeless } from "../io/dial_errors.ts";
import { FrameType, type Limits, Reason } from "../protocol/frame.ts";
import type { Opened } from "../protocol/frame_bodies.ts";
import { type Link, type LinkEnd, TICKS } from "../protocol/link.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import type { Dispatcher } from "../pubsub/dispatcher.ts";
import type { Member } from "../pubsub/group_members.ts";
import { formatTopic, type TopicPath, type TopicPattern } from "../topic.ts";
import type { BrokerFinder } from "./broker_finder.ts";
import { attempt } from "./connect_attempt.ts";
import { asError, ConnectSpan, DISCONNECTED } from "./connect_span.ts";
import { Deferred, type Outcome } from "./deferred.ts";
import { Incoming } from "./incoming.ts";
import { leaveAll, tellMember } from "./members.ts";
import {
  clientName,
  type NetPubSubOptions,
  type QueueOptions,
  queueOptions,
  type State,
} from "./options.ts";
import { Outgoing } from "./outgoing.ts";
import { Owner } from "./owner.ts";
import { PageLife } from "./page_life.ts";

const BACKOFF_MIN_MS = 50;
const BACKOFF_MAX_MS = 5000;

/** After a broker has said that it shuts down, so many attempts are made without backing off: for 8 s. */
const RESTART_ATTEMPTS = 200;

/** How `connect` waits. */
export interface ConnectWait {
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
  /** Whether to wait for a broker that is not there yet. */
  readonly wait?: boolean | undefined;
}

/** Keeps one object connected to its broker, from `connect()` to `disconnect()`. */
export class Client {
  readonly #dispatcher: Dispatcher;
  readonly #finder: BrokerFinder;
  readonly #owner: Owner;
  readonly #name: string;
  readonly #queueOptions: QueueOptions;
  readonly #incoming: Incoming;
  readonly #outgoing: Outgoing;
  readonly #page: PageLife;
  #span: ConnectSpan | undefined;
  /** Takes what is published while a span is closed; `connect()` goes on with it. */
  #next: ConnectSpan | undefined;
  #closed = new Deferred();
  #state: State = "disconnected";
  #stream: Connection | undefined;
  #keepsAlive = true;
  /** Whether it has warned of a connection without TLS. */
  #hasWarned = false;

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
    this.#owner = new Owner(dispatcher, options);
    this.#name = clientName(options, finder.outside);
    this.#queueOptions = queueOptions(options);
    this.#incoming = new Incoming(dispatcher, this.#owner);
    this.#outgoing = new Outgoing(this.#queueOptions.backlog);
    this.#page = new PageLife(finder.outside);
  }

  /** Whether it is connected, or about to be. */
  get state(): State {
    return this.#state;
  }

  /** Whether the broker decides which members of groups get what is published. */
  get isDecided(): boolean {
    return this.#span !== undefined;
  }

  /** Bytes published and not acknowledged. */
  get pending(): number {
    return (this.#next ?? this.#span)?.pending ?? 0;
  }

  /** Settles when this span ends, or else the next one; stays settled until another begins. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Whether it keeps the program running while it is not disconnected. */
  set keepsAlive(keeps: boolean) {
    this.#keepsAlive = keeps;
    if (this.#state === "connected") this.#stream!.keepsAlive = keeps;
  }

  /**
   * Publishes to the broker, if there is one now or later.
   *
   * @throws {TypeError} If a value cannot be sent.
   * @throws {RangeError} If the topic or the message is larger than the broker allows.
   * @throws {BacklogError} If too much is not acknowledged.
   */
  publish(path: TopicPath, message: object): void {
    const span = this.#span?.takes === false ? this.#follower() : this.#span;
    if (span === undefined) return;
    this.#outgoing.publish(path, message, span.remote, span.before?.pending ?? 0);
  }

  /** The span that takes what is published while the present one is closed. */
  #follower(): ConnectSpan {
    return this.#next ??= new ConnectSpan(this.#incoming, this.#span);
  }

  /**
   * Tells the broker that a topic is wanted, or no longer wanted.
   *
   * @throws {RangeError} If the broker does not allow this topic, or one topic more.
   */
  interest(path: TopicPattern, wanted: boolean): void {
    const remote = this.#span?.remote;
    if (remote === undefined) return;
    if (wanted) this.#checkSubscription(path, remote.limits);
    remote.interest(wanted ? FrameType.SUBSCRIBE : FrameType.UNSUBSCRIBE, encodeTopic(path));
  }

  #checkSubscription(path: TopicPattern, limits: Limits): void {
    this.#outgoing.topicBlock("subscribe", path, limits);
    const { interestCount, memberCount } = this.#dispatcher;
    if (interestCount + memberCount <= limits.subscriptions) return;
    throw new RangeError(
      `Cannot subscribe to ${formatTopic(path)}: the broker's limit is ${limits.subscriptions} ` +
        "topics and members of groups",
    );
  }

  /**
   * Tells the broker of a member of a group that has come, or has gone.
   *
   * @throws {RangeError} If the broker does not allow its topic, or one more.
   */
  member(member: Member, isThere: boolean): void {
    const span = this.#span;
    if (span === undefined || span.isEnding) return;
    if (isThere) this.#checkSubscription(member.group.path, span.remote.limits);
    tellMember(member, isThere, span.remote);
  }

  /** Takes what was held back. */
  resume(): void {
    this.#span?.remote.session.resume();
  }

  /** Connects; see `NetPubSub.connect`. Each call returns a promise of its own. */
  async connect({ signal, wait = false }: ConnectWait): Promise<void> {
    signal?.throwIfAborted();
    const before = this.#span;
    if (before !== undefined && !before.isEnding) {
      before.waits ||= wait;
      return await before.connected.wait(signal);
    }
    const span = this.#begin(before, wait);
    const giveUp = () => span.end({ error: signal?.reason });
    signal?.addEventListener("abort", giveUp);
    try {
      await span.connected.promise;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  #begin(before: ConnectSpan | undefined, wait: boolean): ConnectSpan {
    const span = this.#span = this.#next ?? new ConnectSpan(this.#incoming, before);
    this.#next = undefined;
    span.waits = wait;
    if (before !== undefined || this.#closed.settled) this.#closed = new Deferred();
    span.closed = this.#closed;
    this.#page.begin();
    this.#run(span);
    return span;
  }

  /** Lives through a span; never rejects. */
  async #run(span: ConnectSpan): Promise<void> {
    try {
      if (span.before !== undefined) await span.before.over.promise;
      span.before = undefined;
      span.signal.throwIfAborted();
      this.#setState("connecting");
      let link = await this.#connectFirst(span);
      for (;;) {
        const end = await link.finished;
        span.remote.detach();
        if (span.outcome !== undefined) break;
        link = await this.#reconnect(span, end);
      }
    } catch (error) { // The first attempt failed, the session is over, or somebody gave up.
      span.outcome ??= { error };
    }
    this.#finish(span, span.outcome);
  }

  #finish(span: ConnectSpan, outcome: Outcome): void {
    const error = span.finish(outcome);
    const isLast = this.#span === span;
    const unclaimed = isLast ? this.#next : undefined;
    if (isLast) {
      this.#span = this.#next = undefined;
      this.#page.end();
    }
    // Else connect(), or disconnect(), rejects with it.
    const isNews = span.remote.id !== undefined && span.leaving === undefined;
    this.#setState("disconnected", error, !isNews);
    this.#tellUndelivered(span);
    if (unclaimed === undefined) return;
    unclaimed.finish({ error: new ConnectionLostError(DISCONNECTED) });
    this.#tellUndelivered(unclaimed);
  }

  #tellUndelivered({ undelivered }: ConnectSpan): void {
    if (undelivered !== undefined) this.#dispatcher.report(undelivered, {});
  }

  /** Connects for the first time. */
  async #connectFirst(span: ConnectSpan): Promise<Link> {
    try {
      return await this.#attempt(span);
    } catch (error) {
      if (!span.waits || span.outcome !== undefined || isHopeless(error)) throw error;
      const reason = asError(error);
      this.#owner.state(this.#state, reason, false);
      return await this.#persist(span, reason);
    }
  }

  /** Connects again. */
  async #reconnect(span: ConnectSpan, end: LinkEnd): Promise<Link> {
    const reason = end.error ?? new ConnectionLostError("The broker ended the session");
    span.connected = new Deferred();
    this.#setState("reconnecting", reason);
    const isHasty = end.reason === Reason.SHUTDOWN && !this.#finder.isSpared;
    return await this.#persist(span, reason, isHasty ? RESTART_ATTEMPTS : 0);
  }

  /**
   * Tries until there is a connection.
   *
   * @param reason Why there is none.
   * @param atOnce How many attempts are made without backing off.
   */
  async #persist(span: ConnectSpan, reason: Error, atOnce = 0): Promise<Link> {
    for (let wait = BACKOFF_MIN_MS;;) {
      const ms = wait * (1 + Math.random()) / 2;
      if (await this.#page.pause(ms, span.signal, this.#keepsAlive)) wait = BACKOFF_MIN_MS;
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
        if (refusal.name !== reason.name) this.#owner.state(this.#state, refusal, false);
        reason = refusal;
      }
    }
  }

  async #attempt(span: ConnectSpan): Promise<Link> {
    return await this.#page.attempt(span.signal, (signal) => this.#attemptUntil(signal, span));
  }

  async #attemptUntil(signal: AbortSignal, span: ConnectSpan): Promise<Link> {
    signal.throwIfAborted();
    const target = await this.#finder.find({
      waits: span.waits || span.remote.id !== undefined,
      signal,
    });
    return await attempt(span, target, {
      signal,
      dial: this.#finder.outside.dial,
      name: this.#name,
      queueOptions: this.#queueOptions,
      interests: () => this.#dispatcher.interests(),
      members: () => span.isEnding ? [] : this.#dispatcher.members(),
      exposes: (endpoint) => this.#warnOnce(endpoint),
      dialled: (stream) => {
        this.#stream = stream; // It keeps the program running until the session is open.
      },
      opened: (link, brokerId, opened) => this.#opened(span, link, brokerId, opened),
    });
  }

  /** Tells that others can read and change messages on the way. */
  #warnOnce(endpoint: Endpoint): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    const shown = formatEndpoint(endpoint);
    this.#dispatcher.report(
      new Error(`Connecting to ${shown} without TLS: messages can be read and changed on the way`),
      {},
    );
  }

  #opened(span: ConnectSpan, link: Link, brokerId: string, opened: Opened): void {
    const { loss, misfits } = span.remote.open(link, brokerId, opened);
    const ticker = new Ticker(opened.heartbeat / TICKS, (passed) => link.tick(passed));
    span.remote.ticker = ticker;
    this.#page.connected(link);
    link.finished.then(() => ticker.end());
    span.connected.settle({});
    this.#stream!.keepsAlive = this.#keepsAlive;
    this.#setState("connected");
    if (loss !== undefined) this.#incoming.lose(loss);
    for (const misfit of misfits) this.#dispatcher.report(misfit, { topic: misfit.topic });
  }

  /** Disconnects; see `NetPubSub.disconnect`. Each call returns a promise of its own. */
  async disconnect(signal: AbortSignal | undefined): Promise<void> {
    const span = this.#span;
    if (span === undefined) return;
    if (!span.isEnding) leaveAll(this.#dispatcher, span.remote);
    await span.leave(signal);
  }

  /** Waits until the broker has everything; see `NetPubSub.flush`. */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const span = this.#next ?? this.#span;
    if (span !== undefined) return await span.remote.flush(signal);
    throw new ConnectionLostError("Cannot flush: the object is disconnected; connect it first");
  }

  #setState(state: State, reason?: Error, isTold = false): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#owner.state(state, reason, isTold);
  }
}
