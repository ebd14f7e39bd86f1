/**
 * Brokers joined through a JetStream stream, which keeps what they send. Knows no connection.
 *
 * ```
 *  publishers ──▶ lane 1: 7 6 5 … ──▶ ┌────────┐
 *             ──▶ lane 2: 3 2 …   ──▶ │ stream │ ──▶ others, in its order
 *             ──▶   …                 └────────┘
 * ```
 *
 * The stream has one order, and everybody hears what it wants of it in that order. A publisher's
 * messages all go through one lane, which sends some packets before the first is confirmed. A cluster
 * that changes its leader may then lose one and take the next. So each packet names the topics of
 * those before it that were not confirmed; whoever hears it and wants one of them, which it has not
 * heard, waits for that.
 *
 * - A packet that was not confirmed is sent again with the same number. The stream drops it if it had
 *   it; so does whoever hears a number a second time.
 * - Too much that waits is dropped, the oldest first; a packet for its topic says so.
 */
import { BytesCache } from "../base/bytes_cache.ts";
import { Fifo } from "../base/fifo.ts";
import { ProtocolError } from "../errors.ts";
import { runAt } from "../protocol/run.ts";
import { decodeTopic, encodeTopic } from "../protocol/topic_block.ts";
import { Covers } from "../routing/covers.ts";
import type { TopicPath } from "../topic.ts";
import type { ExchangeContext } from "./exchange_context.ts";
import type { Exchange } from "./mode.ts";
import { Packer } from "./packer.ts";
import {
  droppedPacket,
  PacketFlag,
  type PacketHeader,
  sealPacket,
  TOPIC_LIMITS,
} from "./packet.ts";
import { Reassembly } from "./reassembly.ts";
import { pathOf, patternOf, subjectOf, subjectProblem } from "./subject.ts";

/** A connection to a stream, as far as it is needed here. */
export interface StreamWire {
  /**
   * Resolves when the stream has it; rejects with a `RefusedError` when it never will, or another when
   * that is not known. `id` stands for the same packet whenever it is sent.
   */
  publish(subject: string, bytes: Uint8Array, id: string): Promise<void>;
}

/** NATS will never take a packet. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
}

/** How many lanes there are: as many publishers do not wait for each other. */
const LANES = 64;
/** How many packets of a lane, and bytes, are under way at a time. */
const WINDOW_PACKETS = 16;
const WINDOW_BYTES = 1024 * 1024;
/** How many bytes of all lanes are, as a part of what may wait. */
const WINDOW_PART = 1 / 2;
/** How many bytes the topics of those have together, which all packets behind them name. */
const WINDOW_TOPIC_BYTES = 2048;
/** So often it is looked whether the broker is still there for whose packet others wait. */
const HOLD_MS = 10_000;
/** The first of a lane may wait for what was in the stream before it was read: not for long. */
const FIRST_HOLD_MS = 1000;
const ROUTES_MAX = 4096;
/** For how many topics it is told apart how many messages were dropped. */
const DROPPED_TOPICS_MAX = 1024;
/** So many brokers are remembered, the latest heard of. */
const REMOTES_MAX = 4096;
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 2000;

interface OutRoute {
  readonly subject: string;
  /** Its topic block. */
  readonly topic: Uint8Array;
}

/** A packet that the stream has not confirmed, or one behind such a packet. */
interface UnderWay {
  readonly route: OutRoute;
  readonly bytes: Uint8Array;
  readonly number: number;
  messages: number;
  readonly since: number;
  isConfirmed: boolean;
  retries: number;
}

interface Lane {
  readonly index: number;
  readonly packer: Packer<OutRoute>;
  /** The number of its latest packet. */
  number: number;
  readonly underWay: Fifo<UnderWay>;
  underWayBytes: number;
  /** By subject, how many messages were dropped since the latest packet. */
  readonly dropped: Map<OutRoute, number>;
}

/** A packet that came, and waits for one before it. */
interface Held {
  readonly subject: string;
  readonly header: PacketHeader;
  readonly body: Uint8Array;
}

/** What was heard of one lane of another broker. */
interface RemoteLane {
  readonly broker: string;
  /** The number of the latest packet that was taken. */
  heard: number;
  /** All up to this one are in the stream, before what is heard from now on. */
  confirmed: number;
  /** What was read first; those before it may have been there already. */
  base: number;
  /** Those before this one were not confirmed when it was sent: some may come late. */
  baseConfirmed: number;
  isFresh: boolean;
  /** Whether those before `base` are still waited for. */
  isSettling: boolean;
  readonly held: Map<number, Held>;
  timer: Disposable | undefined;
  readonly reassembly: Reassembly;
}

/** The exchange; see the module. */
export class JetStreamExchange implements Exchange {
  readonly #context: ExchangeContext;
  #wire: StreamWire | undefined;
  readonly #covers = new Covers();
  readonly #lanes: readonly Lane[];
  readonly #laneOf = new WeakMap<object, Lane>();
  #publishers = 0;
  /** Of all lanes. */
  #underWayBytes = 0;
  readonly #routes = new BytesCache<OutRoute>(ROUTES_MAX);
  readonly #broadcasts: OutRoute;
  readonly #remotes = new Map<string, Map<number, RemoteLane>>();
  #onEmpty: (() => void) | undefined;

  /** Makes one without a connection. */
  constructor(context: ExchangeContext) {
    this.#context = context;
    this.#broadcasts = { subject: subjectOf(context.prefix, []), topic: encodeTopic([]) };
    this.#lanes = Array.from({ length: LANES }, (_, index): Lane => ({
      index: index + 1,
      packer: new Packer(),
      number: 0,
      underWay: new Fifo(),
      underWayBytes: 0,
      dropped: new Map(),
    }));
  }

  /** The subjects of what our clients want. */
  wanted(): readonly string[] {
    const { prefix } = this.#context;
    if (this.#covers.size === 0) return [];
    const patterns = [...this.#covers.paths()].map((path) => patternOf(prefix, path));
    return [...patterns, this.#broadcasts.subject];
  }

  /** How many topics are subscribed to. */
  get subscriptions(): number {
    return this.#covers.size;
  }

  /** Notes that a client wants a topic, or wants it no more; whether that changes what is wanted. */
  wants(path: TopicPath, wants: boolean): boolean {
    if (subjectProblem(this.#context.prefix, path) !== undefined) return false; // None can be published.
    return (wants ? this.#covers.add(path) : this.#covers.remove(path)) !== undefined;
  }

  /** How many bytes wait, or are not confirmed. */
  get queuedBytes(): number {
    return this.#lanes.reduce((sum, { packer }) => sum + packer.bytes, this.#underWayBytes);
  }

  /** Since when the oldest of these has been waiting. */
  get waitingSince(): number | undefined {
    let first = Infinity;
    for (const { underWay, packer } of this.#lanes) {
      first = Math.min(first, underWay.at(0)?.since ?? packer.first?.since ?? Infinity);
    }
    return first === Infinity ? undefined : first;
  }

  /** Goes on over a connection. */
  connected(wire: StreamWire): void {
    this.#wire = wire;
    for (const lane of this.#lanes) {
      for (let i = 0; i < lane.underWay.length; i++) this.#send(lane, lane.underWay.at(i)!);
      this.#pump(lane);
    }
  }

  /** The connection is lost. */
  disconnected(): void {
    this.#wire = undefined;
  }

  /** Takes messages of our clients. */
  take(frames: Uint8Array, publisher: object): void {
    let lane = this.#laneOf.get(publisher);
    if (lane === undefined) {
      lane = this.#lanes[this.#publishers++ % LANES]!;
      this.#laneOf.set(publisher, lane);
    }
    for (let at = 0; at < frames.length;) {
      const { topic, payload, end, frames: messages } = runAt(frames, at);
      lane.packer.add(this.#route(frames, topic, payload), frames, at, end, messages);
      at = end;
    }
    this.#bound();
    this.#pump(lane);
  }

  #route(bytes: Uint8Array, start: number, end: number): OutRoute {
    let route = this.#routes.get(bytes, start, end);
    if (route === undefined) {
      const path = decodeTopic(bytes, start, end, TOPIC_LIMITS);
      route = { subject: subjectOf(this.#context.prefix, path), topic: bytes.slice(start, end) };
      this.#routes.set(bytes, start, end, route);
    }
    return route;
  }

  /** Drops the oldest messages of the longest lane when too many wait. */
  #bound(): void {
    const { queueBytes } = this.#context;
    while (this.queuedBytes > queueBytes) { // What is under way is less, so something waits.
      const lane = this.#lanes.reduce((a, b) => b.packer.bytes > a.packer.bytes ? b : a);
      for (const { route, messages } of lane.packer.drop()) {
        this.#noteDropped(lane, route, messages);
      }
    }
  }

  /** Remembers to tell others that messages were dropped. */
  #noteDropped({ dropped }: Lane, to: OutRoute, messages: number): void {
    const isKnown = dropped.has(to) || dropped.size < DROPPED_TOPICS_MAX;
    const route = isKnown ? to : this.#broadcasts;
    dropped.set(route, (dropped.get(route) ?? 0) + messages);
    this.#context.counts.dropped += messages;
  }

  #pump(lane: Lane): void {
    if (this.#wire === undefined) return;
    const { underWay } = lane;
    while (underWay.length < WINDOW_PACKETS && lane.underWayBytes < WINDOW_BYTES && !this.#isFull) {
      const before = Array.from({ length: underWay.length }, (_, i) => underWay.at(i)!.route.topic);
      if (before.reduce((sum, { length }) => sum + length, 0) > WINDOW_TOPIC_BYTES) break;
      const packet = this.#takeDropped(lane) ?? lane.packer.next(underWay.length === 0);
      if (packet === undefined) break;
      const { route, since, flags } = packet;
      const number = ++lane.number;
      const seal = { broker: this.#context.id, lane: lane.index, number, before };
      const bytes = sealPacket(packet, seal);
      const messages = flags & PacketFlag.DROPPED ? 0 : packet.messages;
      const sent = { route, bytes, number, messages, since, isConfirmed: false, retries: 0 };
      underWay.push(sent);
      lane.underWayBytes += bytes.length;
      this.#underWayBytes += bytes.length;
      this.#send(lane, sent);
    }
    if (this.#onEmpty !== undefined && this.queuedBytes === 0) this.#onEmpty();
  }

  /** Whether so much of all lanes is under way that none sends more. */
  get #isFull(): boolean {
    return this.#underWayBytes >= this.#context.queueBytes * WINDOW_PART;
  }

  #takeDropped({ dropped }: Lane) {
    for (const [route, messages] of dropped) {
      dropped.delete(route);
      if (messages > 0) return droppedPacket(route, messages);
    }
  }

  #send(lane: Lane, packet: UnderWay): void {
    if (packet.isConfirmed) return;
    const wire = this.#wire!;
    const { route: { subject }, bytes, number } = packet;
    wire.publish(subject, bytes, `${this.#context.id}.${lane.index}.${number}`).then(
      () => this.#confirmed(lane, packet),
      (error) => { // The stream did not confirm it: it gets it again, unless it is never to have it.
        if (error instanceof RefusedError) return this.#refused(lane, packet, error);
        const wait = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** packet.retries++);
        this.#context.later(() => {
          if (this.#wire === wire) this.#send(lane, packet);
        }, wait * (0.5 + Math.random() / 2));
      },
    );
  }

  /** NATS does not allow the topic: others are told, and the lane goes on. */
  #refused(lane: Lane, packet: UnderWay, { message }: RefusedError): void {
    if (packet.isConfirmed) return;
    this.#context.warn(message);
    this.#noteDropped(lane, this.#broadcasts, packet.messages);
    packet.messages = 0;
    this.#confirmed(lane, packet);
  }

  #confirmed(lane: Lane, packet: UnderWay): void {
    if (packet.isConfirmed) return; // An earlier attempt was confirmed, too.
    packet.isConfirmed = true;
    this.#context.counts.sent += packet.messages;
    const { underWay } = lane;
    const wasFull = this.#isFull;
    for (let first = underWay.at(0); first?.isConfirmed; first = underWay.at(0)) {
      underWay.shift();
      lane.underWayBytes -= first.bytes.length;
      this.#underWayBytes -= first.bytes.length;
      lane.packer.recycle(first.bytes);
    }
    if (!wasFull) this.#pump(lane);
    else for (const waiting of this.#lanes) this.#pump(waiting);
  }

  /** Resolves when nothing waits any more. */
  async drained(signal: AbortSignal): Promise<void> {
    if (this.queuedBytes === 0 || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
  }

  /** Takes a packet from the stream. */
  packet(subject: string, header: PacketHeader, body: Uint8Array): void {
    const { broker, lane: index, number, before } = header;
    if (broker === this.#context.id) return;
    if (index < 1 || index > LANES) {
      throw new ProtocolError("Cannot take a packet: its broker sends for no stream");
    }
    const lane = this.#remoteLane(broker, index);
    if (number <= lane.heard || lane.held.has(number)) return this.#late(lane, subject, header);
    const confirmed = number - before.length - 1;
    if (lane.isFresh) {
      lane.isFresh = false;
      lane.isSettling = true;
      lane.base = number;
      lane.baseConfirmed = confirmed;
    }
    lane.confirmed = Math.max(lane.confirmed, confirmed);
    lane.held.set(number, { subject, header, body });
    this.#release(lane);
  }

  /** What comes late may never have been heard: it was not waited for, since it was before the first. */
  #late({ base, baseConfirmed }: RemoteLane, subject: string, header: PacketHeader): void {
    const { number, messages } = header;
    if (number > baseConfirmed && number < base) this.#lose(subject, messages);
  }

  /** Takes what is held, in its order, as far as nothing is missing. */
  #release(lane: RemoteLane): void {
    const { held } = lane;
    while (held.size > 0) {
      const number = Math.min(...held.keys());
      const next = held.get(number)!;
      if (this.#isMissing(lane, next.header)) break;
      held.delete(number);
      lane.heard = number;
      if (number >= lane.base) lane.isSettling = false;
      this.#take(lane, next);
    }
    if (held.size > 0) {
      const ms = lane.isSettling ? FIRST_HOLD_MS : HOLD_MS;
      lane.timer ??= this.#context.later(() => this.#giveUp(lane), ms);
      return;
    }
    lane.timer?.[Symbol.dispose]();
    lane.timer = undefined;
  }

  /** Whether a packet that is wanted and comes before this one may still come. */
  #isMissing(lane: RemoteLane, { number, before }: PacketHeader): boolean {
    const known = Math.max(lane.heard, lane.confirmed, lane.isSettling ? 0 : lane.base - 1);
    for (let n = known + 1; n < number; n++) {
      const path = before[n - number + before.length];
      if (path !== undefined && this.#isWanted(path)) return true;
    }
    return false;
  }

  #isWanted(path: TopicPath): boolean {
    return path.length === 0 ? this.#covers.size > 0 : this.#covers.coverOf(path) !== undefined;
  }

  /** A packet that is missing was there before, or its broker is gone: goes on without it. */
  #giveUp(lane: RemoteLane): void {
    lane.timer = undefined;
    if (lane.isSettling) {
      lane.isSettling = false;
      return this.#release(lane);
    }
    if (this.#context.isHere(lane.broker)) return this.#release(lane); // It sends it again.
    lane.confirmed = Math.max(...lane.held.keys());
    this.#context.counts.gaps++;
    this.#context.bus.lost([], 0);
    this.#release(lane);
  }

  #take(lane: RemoteLane, { subject, header, body }: Held): void {
    const { counts } = this.#context;
    if (header.flags & PacketFlag.DROPPED) return this.#lose(subject, header.messages);
    const frames = lane.reassembly.take(header, body);
    if (frames === undefined) return;
    if (frames === "lost") return this.#lose(subject, 1);
    counts.received += header.messages;
    this.#context.deliver(frames);
  }

  #lose(subject: string, messages: number): void {
    const path = pathOf(this.#context.prefix, subject) ?? [];
    if (!this.#isWanted(path)) return;
    this.#context.counts.lost += messages;
    this.#context.bus.lost(path, messages);
  }

  #remoteLane(id: string, index: number): RemoteLane {
    const lanes = this.#remotes.get(id) ?? new Map<number, RemoteLane>();
    this.#remotes.delete(id);
    this.#remotes.set(id, lanes);
    if (this.#remotes.size > REMOTES_MAX) this.#remotes.delete(this.#remotes.keys().next().value!);
    let lane = lanes.get(index);
    if (lane === undefined) {
      const { messageBytes } = this.#context.bus;
      lane = {
        broker: id,
        heard: 0,
        confirmed: 0,
        base: 0,
        baseConfirmed: 0,
        isFresh: true,
        isSettling: false,
        held: new Map(),
        timer: undefined,
        reassembly: new Reassembly(messageBytes),
      };
      lanes.set(index, lane);
    }
    return lane;
  }

  /** What is read from now on was chosen anew: what was there before may not have been read. */
  chosenAnew(): void {
    for (const lanes of this.#remotes.values()) {
      for (const lane of lanes.values()) lane.isFresh = true;
    }
  }
}
