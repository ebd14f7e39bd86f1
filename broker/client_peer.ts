/**
 * One client at the broker, for as long as its session lasts: what it wants, and the queue of what it
 * gets. Its {@linkcode Publisher} handles what it publishes.
 *
 * A full queue does what the client chose when it connected, as far as the broker allows that:
 *
 * - `"drop-oldest"`: the oldest messages are dropped, and a notice with their number takes their place.
 * - `"wait"`: those who feed it get no acknowledgements until half of the queue is empty, so that their
 *   windows close. A client that acknowledges nothing for its patience is cut off: its queue is dropped,
 *   and when it comes back it is told how many messages it missed.
 */
import type { Account } from "../base/account.ts";
import type { Background } from "../base/background.ts";
import type { Lease } from "../base/lease.ts";
import { ProtocolError } from "../errors.ts";
import {
  encodeFrame,
  type Frame,
  FrameError,
  FrameType,
  type Limits,
  Reason,
} from "../protocol/frame.ts";
import { encodeGap, encodeRefused, type Opening } from "../protocol/frame_bodies.ts";
import type { Link } from "../protocol/link.ts";
import { Session, type SessionHandler } from "../protocol/session.ts";
import { decodePattern, encodeTopic, topicEnd } from "../protocol/topic_block.ts";
import { runAt } from "../protocol/topic_run.ts";
import { Pace } from "../routing/pace.ts";
import type { Origin, Peer } from "../routing/peer.ts";
import type { Narrow } from "../routing/router.ts";
import { formatTopic, isBrokerPath, type TopicPattern } from "../topic.ts";
import type { Access } from "./access.ts";
import { Backpressure, type BackpressureQueue } from "./backpressure.ts";
import { ClientCounters, type Counters } from "./counters.ts";
import type { Groups } from "./groups.ts";
import type { Joining } from "./joining.ts";
import type { Key } from "./keys.ts";
import { Memberships } from "./memberships.ts";
import { MEMORY_FULL } from "./memory.ts";
import type { Rights } from "./rights.ts";
import { notGranted, Publisher, type PublisherContext } from "./publisher.ts";
import type { ClientStats } from "./stats.ts";

/** What a peer needs from its broker. */
export interface PeerContext extends PublisherContext {
  readonly limits: SubscriptionLimits & Limits & { readonly queueBytes: number };
  readonly counters: Counters;
  readonly groups: Groups;
  /** The longest patience that a client may have, in milliseconds; 0: none may wait. */
  readonly maxPatience: number;
  /** Where what takes long is done. */
  readonly background: Background;
  /** Where what is kept for it counts. */
  readonly account: Account;
  /** Called with each change of the bytes that a peer holds. */
  readonly onBytes: (change: number) => void;
  /** Called when a client has subscribed to what the broker itself publishes. */
  readonly onWatch: () => void;
}

/** How many times `queueBytes` may wait for a client that holds others back, for their many windows. */
const HARD_LIMIT = 2;
/** How many refusals of subscriptions may wait for a client, at least. */
const DENIALS_WAITING_MAX = 1024;

/** How many messages a client that was cut off has missed. */
interface Missed {
  /** Of those that waited for it then, given how many counted frames it had taken. */
  readonly before: (taken: number) => number;
  /** Of those that have come for it since. */
  since: number;
  /** Why it was cut off. */
  readonly why: string;
}

/** One client of a broker, from its first connection to the end of its session. */
export class ClientPeer implements Peer, SessionHandler, BackpressureQueue, Origin {
  /** Its secret id. */
  readonly id: Uint8Array;
  /** What it proved to have when it connected last. */
  #access: Access;
  readonly session: Session;
  /** Its number among the clients of its broker. */
  readonly number: number;
  /** What it called itself when it connected last; empty for nothing, and trusted for nothing. */
  name = "";
  /** The IP address from which it connected last. */
  address: string | undefined;
  readonly #context: PeerContext;
  readonly #counters: ClientCounters;
  readonly #backpressure: Backpressure;
  readonly #publisher: Publisher;
  /** The members of groups that it has; made for the first. */
  #members: Memberships | undefined;
  /** What it has missed; `undefined` until it is cut off. */
  #missed: Missed | undefined;
  /** Whether its session has been forgotten. */
  #isGone = false;
  /** The connection over which its members are told of, while the session is not open over it. */
  #opening: Link | undefined;
  /**
   * The rights that all its interests have. When it has others, they are applied in turns with
   * everything else, and until then each message is checked.
   */
  #applied: Rights;

  /** Makes a peer that has no connection yet. */
  constructor(id: Uint8Array, access: Access, number: number, context: PeerContext) {
    this.id = id;
    this.#access = access;
    context.account.add(access.bytes);
    this.number = number;
    this.#applied = access.rights;
    this.#context = context;
    this.#counters = new ClientCounters(context.counters);
    this.session = new Session(this, context.onBytes, { account: context.account });
    this.#backpressure = new Backpressure(this);
    this.#publisher = new Publisher({
      access,
      counters: this.#counters,
      peer: this,
      origin: this,
      onRefused: (frame) => this.#refused(frame),
    }, context);
  }

  /** What it proved to have when it connected last. */
  get access(): Access {
    return this.#access;
  }

  /** The key that it has, or of which it has a ticket. */
  get key(): Key {
    return this.#access.key;
  }

  /** What is published about it. */
  stats(): ClientStats {
    return {
      client: this.number,
      name: this.name,
      keyName: this.key.name,
      for: this.#access.for ?? null,
      address: this.address ?? null,
      connected: this.session.link !== undefined,
      subscriptions: this.#context.router.interestsOf(this) + (this.#members?.size ?? 0),
      ...this.#counters.snapshot(),
      queuedBytes: this.bytes,
      waiting: this.holdsBack,
    };
  }

  /** Bytes that are queued for it, or not acknowledged by it. */
  get bytes(): number {
    return this.session.outbox.heldBytes;
  }

  /**
   * How much memory is kept for it: its queue, its subscriptions, and what its connection has half read or
   * not written, unless that has ended.
   */
  get keptBytes(): number {
    const { keptBytes, link } = this.session;
    const linkBytes = link === undefined || link.ended ? 0 : link.keptBytes;
    return keptBytes + linkBytes + this.interestBytes + this.#access.bytes;
  }

  /** How much memory its subscriptions and members keep alive. */
  get interestBytes(): number {
    return this.#context.router.keptBytesOf(this) + (this.#members?.keptBytes ?? 0);
  }

  /** Whether it holds back those who feed it. */
  get holdsBack(): boolean {
    return this.#backpressure.isActive;
  }

  get holder(): { readonly owner: Key; readonly of: string } {
    return { owner: this.key, of: this.#access.holder };
  }

  withhold(messages: number, bytes: number): () => void {
    return this.session.withhold(messages, bytes);
  }

  tellLost(why: "full" | "abandoned", topic: Uint8Array, text: string): void {
    if (this.#isGone) return;
    const reason = why === "full" ? Reason.GROUP_FULL : Reason.ABANDONED;
    this.#refused(encodeFrame(FrameType.REFUSED, encodeRefused(reason, topic, text)));
  }

  get #memberships(): Memberships {
    const { groups, limits, router } = this.#context;
    return this.#members ??= new Memberships(groups, {
      origin: this,
      session: this.session,
      limits,
      mayJoin: (path) => this.#access.rights.mayServe(path),
      deny: (path) => this.deny(path),
      checkMembers: (count, bytes) =>
        checkSubscriptions(router.interestsOf(this) + count, router.bytesOf(this) + bytes, limits),
    });
  }

  /** What it may get now of a topic. */
  get #narrow(): Narrow {
    return (path) => this.#access.rights.narrow(path);
  }

  get #mayHoldBack(): boolean {
    return this.#backpressure.patience > 0;
  }

  /** Whether it was cut off; then it only counts what it misses. */
  get isCutOff(): boolean {
    return this.#missed !== undefined;
  }

  /** Why it was cut off, if it was. */
  get whyCutOff(): string | undefined {
    return this.#missed?.why;
  }

  /**
   * Takes what a client says when it opens a connection, but for its topics.
   *
   * @param access What it has proved to have, of the same holder as before.
   * @throws {ProtocolError} If it claims to have taken what was not sent.
   */
  open({ taken, calls, wait, patience }: Opening, access: Access): void {
    this.#context.account.add(access.bytes - this.#access.bytes);
    this.#access = this.#publisher.access = access;
    this.session.outbox.acknowledge(taken);
    this.session.outbox.rewind(taken);
    this.session.resumeCalls(calls);
    const mayWait = wait && access.rights.wait;
    this.#backpressure.patience = mayWait ? Math.min(patience, this.#context.maxPatience) : 0;
  }

  /**
   * Takes the topics that a client wants when it opens a connection, and its members of groups, and tells
   * over that to which of them it may not subscribe.
   *
   * @returns Does that, in steps.
   */
  *want(
    topics: readonly TopicPattern[],
    members: readonly Joining[],
    link: Link,
  ): Generator<void, void, undefined> {
    const told = new Set<TopicPattern>();
    const pace = new Pace();
    let rights: Rights;
    do {
      rights = this.#access.rights;
      const denied: TopicPattern[] = [];
      yield* this.#context.router.replace(this, topics, this.#narrow, (path) => denied.push(path));
      for (const path of denied) {
        if (told.has(path)) continue;
        told.add(path);
        this.deny(path, link);
        if (pace.isStep(path)) yield;
      }
    } while (rights !== this.#access.rights);
    this.#applied = rights;
    if (topics.some(isBrokerPath)) this.#context.onWatch();
    if (members.length === 0 && this.#members === undefined) return;
    this.#opening = link;
    yield* this.#memberships.replace(members);
  }

  /** Its session goes on over this connection. */
  attach(link: Link): void {
    this.#opening = undefined;
    this.session.attach(link);
    this.#members?.resume();
  }

  /** Its connection is over. */
  detach(): void {
    this.session.detach();
    this.#members?.pause();
  }

  /** Applies its rights, which have changed with those of its key. */
  narrow(): void {
    if (!this.key.rights.wait) this.#backpressure.patience = 0;
    this.#context.background.run(this.#applyRights());
  }

  *#applyRights(): Generator<void, void, undefined> {
    const { router } = this.#context;
    const { rights } = this.#access;
    if (this.#applied === rights) return; // Applied by one that was begun before.
    yield* router.narrow(this, this.#narrow, (path) => this.deny(path));
    if (this.#members !== undefined) yield* this.#members.narrow();
    if (this.#access.rights === rights) this.#applied = rights;
  }

  /** Tells its client that it may not subscribe to a topic; ends a link over which too much is not read. */
  deny(path: TopicPattern, link = this.#opening ?? this.session.link): void {
    const { counters, limits: { subscriptions } } = this.#context;
    counters.deniedSubscriptions++;
    if (link === undefined || link.ended) return;
    const waiting = Math.max(DENIALS_WAITING_MAX, subscriptions);
    if (link.waiting > waiting) {
      const text = `Cannot subscribe: ${waiting} answers wait to be read`;
      return link.fail(new FrameError(text, Reason.NOT_READING));
    }
    const text = `Cannot subscribe to ${formatTopic(path)}: ${notGranted(this.#access)}`;
    link.send(FrameType.DENIED, encodeRefused(Reason.FORBIDDEN, encodeTopic(path), text));
  }

  /** How many messages it missed, if it had taken so many counted frames when it was cut off. */
  missedSince(taken: number): number {
    return this.#missed === undefined ? 0 : this.#missed.since + this.#missed.before(taken);
  }

  take(frames: Uint8Array, messages: number, from: Origin, lease: Lease | undefined): void {
    if (this.#isGone) return;
    const isOver = this.#applied === this.#access.rights
      ? this.#queue(frames, messages, lease)
      : this.#queueGranted(frames, lease);
    if (!isOver || this.isCutOff) return;
    if (!this.holdsBack) this.#context.counters.waits++;
    this.#backpressure.holdBack(from, messages, frames.length);
  }

  /** Queues those messages that it may still get. */
  #queueGranted(frames: Uint8Array, lease: Lease | undefined): boolean {
    const { rights } = this.#access;
    const topicOf = this.#context.decodeTopic;
    let isOver = false;
    for (let at = 0; at < frames.length;) {
      const run = runAt(frames, at);
      if (rights.mayGet(topicOf(frames, run.topic, run.payload))) {
        isOver = this.#queue(frames.subarray(at, run.end), run.frames, lease) || isOver;
      }
      at = run.end;
    }
    return isOver;
  }

  /** Queues messages; returns whether it holds back where they come from. */
  #queue(frames: Uint8Array, messages: number, lease: Lease | undefined): boolean {
    const { outbox } = this.session;
    const { limits: { queueBytes } } = this.#context;
    this.#checkHardLimit(frames.length);
    if (this.#missed !== undefined) {
      this.#missed.since += messages;
      this.#counters.count("dropped", messages);
      return false;
    }
    const excess = outbox.heldBytes + frames.length - queueBytes;
    if (excess > 0 && !this.#mayHoldBack) {
      this.#drop(excess);
      if (outbox.heldBytes + frames.length > queueBytes) {
        // What is left has numbers and cannot be dropped; so the new ones are.
        outbox.miss(messages);
        this.#counters.count("dropped", messages);
        return false;
      }
    }
    outbox.push(frames, messages, lease);
    this.#counters.count("delivered", messages);
    this.session.pump();
    return this.holdsBack || excess > 0 && this.#mayHoldBack;
  }

  lose(messages: number): void {
    if (this.#isGone) return;
    if (this.#missed !== undefined) {
      this.#missed.since += messages;
      return;
    }
    const lost = encodeFrame(FrameType.LOST, encodeGap(messages));
    this.session.outbox.notify(lost, messages);
    this.session.pump();
  }

  /** Cuts off a client that holds others back if `bytes` more would be too much. */
  #checkHardLimit(bytes: number): void {
    const limit = HARD_LIMIT * this.#context.limits.queueBytes;
    if (!this.#mayHoldBack || this.bytes + bytes <= limit) return;
    this.cutOff(`more than ${limit} bytes wait for it`);
  }

  /** Drops the oldest messages that may be dropped, until so many bytes are free. */
  #drop(bytes: number): void {
    this.#counters.count("dropped", this.session.outbox.drop(bytes));
  }

  /** Drops what it keeps for speed, and frees so many bytes of its queue, which others need; all of it if it may not drop messages. */
  free(bytes: number): void {
    this.session.trim();
    if (this.#mayHoldBack) this.cutOff(MEMORY_FULL);
    else this.#drop(bytes);
  }

  room(): Promise<void> | undefined {
    return this.session.link && this.#backpressure.room();
  }

  acknowledged(): void {
    this.#backpressure.progress();
  }

  isHalfEmpty(): boolean {
    return this.bytes <= this.#context.limits.queueBytes / 2;
  }

  onImpatience(patience: number): void {
    this.cutOff(`nothing was acknowledged for ${patience} ms`);
  }

  /** Ends the session and drops what it holds, but goes on counting what it misses. */
  cutOff(why: string): void {
    if (this.isCutOff) return;
    const { outbox, link } = this.session;
    const before = outbox.missing();
    this.#missed = { before, since: 0, why };
    this.#context.counters.cutOff++;
    this.#counters.count("dropped", before(outbox.acknowledged));
    this.session.clear();
    this.#backpressure.release();
    link?.end(Reason.CUT_OFF, why);
    this.#endMembers();
  }

  #endMembers(): void {
    if (this.#members !== undefined) this.#context.background.run(this.#members.end());
  }

  /**
   * Ends it for good: it takes and holds nothing from now on, and is soon in no route any more.
   *
   * @returns Resolves when that is so.
   */
  remove(error?: Error): Promise<void> {
    if (!this.#isGone) this.#context.account.add(-this.#access.bytes);
    this.#isGone = true;
    const { router, background } = this.#context;
    const cleared = background.run(router.clear(this));
    this.#endMembers();
    this.session.end(error);
    this.#backpressure.end();
    return cleared;
  }

  frame(frame: Frame): void | Promise<void> {
    if (frame.type === FrameType.PUBLISH) return this.#publisher.publish(frame);
    // What was published before an interest changes still goes where interests led then.
    this.#publisher.passOn();
    const { buffer, type, body, end } = frame;
    if (isOfGroups(type)) return this.#memberships.frame(frame);
    if (type !== FrameType.SUBSCRIBE && type !== FrameType.UNSUBSCRIBE) {
      throw new ProtocolError(`Cannot take a frame of type ${type}: the session is open`);
    }
    if (topicEnd(buffer, body, end) !== end) {
      throw new ProtocolError("Cannot take a frame: bytes follow its topic");
    }
    const { router, limits } = this.#context;
    const path = decodePattern(buffer, body, end, limits);
    if (type === FrameType.SUBSCRIBE) return this.#subscribe(path);
    router.remove(this, path);
  }

  /** Subscribes at once, or when what that takes has been done in steps; until then nothing follows. */
  #subscribe(path: TopicPattern): void | Promise<void> {
    const { router, background } = this.#context;
    if (router.prepare(this.#narrow(path)) === undefined) return this.#add(path);
    return background.run(this.#addLater(path, this.session.link!));
  }

  *#addLater(path: TopicPattern, link: Link): Generator<void, void, undefined> {
    yield* this.#context.router.prepared(path, this.#narrow);
    // Otherwise the client has told anew what it wants, or is gone.
    if (this.session.link !== link || link.ended) return;
    try {
      this.#add(path);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      link.fail(error);
    }
  }

  #add(path: TopicPattern): void {
    const { router, limits, onWatch } = this.#context;
    const granted = this.#narrow(path);
    router.add(this, path, granted);
    const { size = 0, bytes = 0 } = this.#members ?? {};
    checkSubscriptions(router.interestsOf(this) + size, router.bytesOf(this) + bytes, limits);
    if (isBrokerPath(path)) onWatch();
    if (granted?.isEmpty) this.deny(path);
  }

  batch(): void {
    this.#publisher.passOn();
  }

  /** Tells its client of a message that was refused. */
  #refused(frame: Uint8Array): void {
    const { outbox } = this.session;
    this.#checkHardLimit(frame.length);
    if (this.isCutOff) return;
    const excess = outbox.heldBytes + frame.length - this.#context.limits.queueBytes;
    if (!this.#mayHoldBack) this.#drop(excess);
    outbox.notify(frame);
    this.session.pump();
  }
}

/** What one client may subscribe to. */
export interface SubscriptionLimits {
  readonly subscriptions: number;
  readonly subscriptionBytes: number;
}

/**
 * Refuses a client that subscribes to too many topics, or to such as take too much memory.
 *
 * @throws {FrameError} If it does.
 */
export function checkSubscriptions(
  count: number,
  bytes: number,
  { subscriptions, subscriptionBytes }: SubscriptionLimits,
): void {
  if (count <= subscriptions && bytes <= subscriptionBytes) return;
  const limit = count > subscriptions
    ? `${subscriptions} topics`
    : `${subscriptionBytes} bytes of memory for all topics`;
  throw new FrameError(`Cannot subscribe: the limit is ${limit}`, Reason.TOO_MANY_SUBSCRIPTIONS);
}

function isOfGroups(type: number): boolean {
  return type === FrameType.JOIN || type === FrameType.LEAVE || type === FrameType.FINISHED ||
    type === FrameType.RETURNED;
}
