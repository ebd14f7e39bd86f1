/**
 * Sends our clients' messages to a stream in lanes, and keeps packets until the stream has confirmed
 * them.
 *
 * ```
 *  publishers ──▶ lane 1: waiting ──▶ 7 6 5 under way ──▶ ┌────────┐
 *             ──▶ lane 2: waiting ──▶ 3 2 under way   ──▶ │ stream │
 *             ──▶   …                                     └────────┘
 * ```
 *
 * All messages of a publisher go through one lane, which sends some packets before the first is
 * confirmed. A packet names the topics of those before it that were not confirmed when it was sent.
 *
 * - An unconfirmed packet is sent again with the same number. The stream drops it if it has it already;
 *   so does whoever hears a number twice.
 * - If too much waits, the oldest messages are dropped; a packet for their topic says so.
 * - A packet that is refused for good gives its number to one that says so: readers wait for no other.
 *   If that one is refused, too, others are told later.
 */
import { COUNT_MAX } from "../base/count.ts";
import { Fifo } from "../base/fifo.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { DroppedCounts } from "./dropped_counts.ts";
import { type ExchangeContext, warnOfEnd } from "./exchange_context.ts";
import { Packer } from "./packer.ts";
import {
  BEFORE_BYTES_MAX,
  droppedPacket,
  LANES,
  type Packet,
  PacketFlag,
  sealPacket,
  UNDER_WAY_MAX,
} from "./packet.ts";
import { PacketBuffers } from "./packet_buffers.ts";
import { SendQueue } from "./send_queue.ts";
import { subjectOf } from "./subject.ts";
import { TopicBlockCache } from "./topic_block_cache.ts";

/** What is needed here of a connection to a stream. */
export interface StreamWire {
  /**
   * Resolves when the stream has the packet; rejects with a `RefusedError` when it never will, or with
   * another error when that is not known. `id` is the same whenever the packet is sent.
   */
  publish(subject: string, bytes: Uint8Array, id: string): Promise<void>;
}

/** NATS will never take a packet, whatever it takes of others. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";
  /** Whether it takes nothing at all for this subject; otherwise a shorter packet may pass. */
  readonly isSubject: boolean;

  /** Makes one; `message` is for whoever runs the broker. */
  constructor(message: string, { isSubject }: { isSubject: boolean }) {
    super(message);
    this.isSubject = isSubject;
  }
}

/** How many bytes of a lane are under way at a time. */
const WINDOW_BYTES = 1024 * 1024;
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 2000;

interface OutRoute {
  readonly subject: string;
  /** Its topic block. */
  readonly topic: Uint8Array;
}

/** A packet that the stream has not confirmed, or that follows such a packet. */
interface UnderWay {
  route: OutRoute;
  bytes: Uint8Array;
  readonly number: number;
  /** The topics of those before it that it names. */
  readonly before: readonly Uint8Array[];
  readonly messages: number;
  /** Whether it only says that its messages were dropped. */
  isNotice: boolean;
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
  /** What was dropped since the latest packet. */
  readonly dropped: DroppedCounts<OutRoute>;
  /** Of what was dropped, that of which NATS took no packet that tells of it. */
  readonly untold: DroppedCounts<OutRoute>;
  /** Whether this will be tried again. */
  isToTell: boolean;
}

/** Sends our clients' messages to the stream. */
export class JetStreamSender {
  readonly #context: ExchangeContext;
  #wire: StreamWire | undefined;
  readonly #lanes: readonly Lane[];
  readonly #buffers = new PacketBuffers();
  readonly #laneOf = new WeakMap<object, Lane>();
  #publishers = 0;
  readonly #queue: SendQueue<OutRoute>;
  readonly #routes: TopicBlockCache<OutRoute>;
  readonly #broadcasts: OutRoute;

  /** Makes one without a connection; the numbers of its packets go on from `first`. */
  constructor(context: ExchangeContext, first = 0) {
    const { prefix } = context;
    this.#context = context;
    this.#routes = new TopicBlockCache((path, block) => (
      { subject: subjectOf(prefix, path), topic: block.slice() }
    ));
    this.#broadcasts = { subject: subjectOf(prefix, []), topic: encodeTopic([]) };
    this.#lanes = Array.from({ length: LANES }, (_, index): Lane => ({
      index: index + 1,
      packer: new Packer(this.#buffers),
      number: first,
      underWay: new Fifo(),
      underWayBytes: 0,
      dropped: new DroppedCounts(this.#broadcasts),
      untold: new DroppedCounts(this.#broadcasts),
      isToTell: false,
    }));
    this.#queue = new SendQueue({
      packers: this.#lanes.map(({ packer }) => packer),
      buffers: this.#buffers,
      onBytes: context.onBytes,
      bytesMax: context.queueBytes,
      dropped: ({ route, messages }, lane) => {
        this.#noteDropped(this.#lanes[lane]!, route, messages);
      },
    });
  }

  /** How many bytes wait, or are not confirmed. */
  get queuedBytes(): number {
    return this.#queue.bytes;
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
      this.#sendMore(lane);
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
    lane.packer.addAll(frames, (bytes, start, end) => this.#routes.get(bytes, start, end));
    this.#queue.bound();
    this.#sendMore(lane);
    this.#queue.tell();
  }

  /** Drops what waits longest, until it takes so many bytes less. */
  free(bytes: number): void {
    this.#queue.free(bytes);
  }

  /** Remembers to tell others that messages were dropped. */
  #noteDropped({ dropped }: Lane, route: OutRoute, messages: number): void {
    dropped.add(route, messages);
    this.#context.counts.dropped += messages;
  }

  #sendMore(lane: Lane): void {
    if (this.#wire === undefined) return;
    const { underWay } = lane;
    while (
      underWay.length < UNDER_WAY_MAX && lane.underWayBytes < WINDOW_BYTES && !this.#queue.isFull
    ) {
      if (lane.number === COUNT_MAX) {
        warnOfEnd(this.#context);
        break;
      }
      const before = Array.from({ length: underWay.length }, (_, i) => underWay.at(i)!.route.topic);
      if (before.reduce((sum, { length }) => sum + length, 0) > BEFORE_BYTES_MAX) break;
      const packet = lane.dropped.take() ?? lane.packer.next(underWay.length === 0);
      if (packet === undefined) break;
      const { route, since, flags, messages } = packet;
      const number = ++lane.number;
      const bytes = this.#seal(lane, packet, number, before);
      const isNotice = (flags & PacketFlag.DROPPED) > 0;
      const made = { route, bytes, number, before, messages, isNotice, since };
      const sent: UnderWay = { ...made, isConfirmed: false, retries: 0 };
      underWay.push(sent);
      lane.underWayBytes += bytes.length;
      this.#queue.sent(bytes);
      this.#send(lane, sent);
    }
    this.#queue.settle();
  }

  #seal(
    { index: lane }: Lane,
    packet: Packet<OutRoute>,
    number: number,
    before: readonly Uint8Array[],
  ): Uint8Array {
    return sealPacket(packet, { broker: this.#context.id, lane, number, before });
  }

  #send(lane: Lane, packet: UnderWay): void {
    if (packet.isConfirmed) return;
    const wire = this.#wire!;
    const { route: { subject }, bytes, number } = packet;
    wire.publish(subject, bytes, `${this.#context.id}.${lane.index}.${number}`).then(
      () => this.#confirmed(lane, packet),
      (error) => { // The stream did not confirm it: it is sent again, unless NATS refuses it for good.
        if (error instanceof RefusedError) return this.#refused(lane, packet, bytes, error);
        const wait = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** packet.retries++);
        this.#context.later(() => {
          if (this.#wire === wire) this.#send(lane, packet);
        }, wait * (0.5 + Math.random() / 2));
      },
    );
  }

  /**
   * NATS does not take these bytes for a packet: another one in its place says how many messages that
   * were, to those who want the topic, or to all if it is the topic that NATS does not take.
   */
  #refused(
    lane: Lane,
    packet: UnderWay,
    bytes: Uint8Array,
    { message, isSubject }: RefusedError,
  ): void {
    if (packet.isConfirmed || packet.bytes !== bytes) return; // Another answer came before.
    this.#context.warn(message);
    if (!packet.isNotice) this.#context.counts.dropped += packet.messages;
    const route = isSubject ? this.#broadcasts : packet.route;
    const isFurther = !packet.isNotice || route !== packet.route;
    if (!isFurther) { // Not even that can be told now.
      this.#tellLater(lane, packet);
      return this.#confirmed(lane, packet);
    }
    const notice = droppedPacket(route, packet.messages);
    packet.route = route;
    packet.isNotice = true;
    packet.bytes = this.#seal(lane, notice, packet.number, packet.before);
    lane.underWayBytes += packet.bytes.length - bytes.length;
    this.#queue.sent(packet.bytes);
    this.#queue.confirmed(bytes);
    if (this.#wire !== undefined) this.#send(lane, packet);
  }

  /** Tries again to tell of what was dropped: NATS may be set up otherwise by then. */
  #tellLater(lane: Lane, { route, messages }: UnderWay): void {
    lane.untold.add(route, messages);
    if (lane.isToTell) return;
    lane.isToTell = true;
    this.#context.later(() => {
      lane.isToTell = false;
      lane.untold.moveTo(lane.dropped);
      this.#sendMore(lane);
    }, RETRY_MAX_MS);
  }

  #confirmed(lane: Lane, packet: UnderWay): void {
    if (packet.isConfirmed) return; // An earlier attempt was confirmed, too.
    packet.isConfirmed = true;
    if (!packet.isNotice) this.#context.counts.sent += packet.messages;
    const { underWay } = lane;
    const wasFull = this.#queue.isFull;
    for (let first = underWay.at(0); first?.isConfirmed; first = underWay.at(0)) {
      underWay.shift();
      lane.underWayBytes -= first.bytes.length;
      this.#queue.confirmed(first.bytes);
      this.#buffers.recycle(first.bytes);
    }
    if (!wasFull) this.#sendMore(lane);
    else for (const waiting of this.#lanes) this.#sendMore(waiting);
    this.#queue.tell();
  }

  /** Resolves when nothing waits any more, or `signal` aborts. */
  drained(signal: AbortSignal): Promise<void> {
    return this.#queue.drained(signal);
  }
}
