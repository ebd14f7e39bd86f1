/**
 * What a broker publishes about itself, below the topic `["*broker"]`, every second while somebody with
 * the right to it subscribes to that:
 *
 * ```
 * ["*broker", "stats"]    BrokerReport      what the broker has done, and holds
 * ["*broker", "clients"]  { clients: ClientStats[] }, the busiest first
 * ["*broker", "groups"]   { groups: GroupStats[], total }, those first that have most to do
 * ["*broker", "topics"]   { topics: TopicStats[], other, period }, the busiest first; `other` has the
 *                         messages and bytes of those that are not listed
 * ```
 *
 * If a message would be too large, the least busy entries are left out.
 */
import type { Background } from "../base/background.ts";
import { clock } from "../base/clock.ts";
import { every, later, type Timer } from "../base/timers.ts";
import { encodeMessage, Encoder } from "../codec/codec.ts";
import { encodeFrame, FrameType } from "../protocol/frame.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { type TopicPath, topicPath } from "../topic.ts";
import type { BrokerReport, ClientStats, GroupStats, TopicStats } from "./stats.ts";
import type { TopicCounts } from "./topic_counts.ts";

/** How often it is published. */
const PERIOD_MS = 1000;
/** How many clients, groups and topics are listed. */
const ENTRIES_MAX = 256;
/** How many clients, or groups, are asked in one step. */
const STEP_CLIENTS = 64;

const BROKER = topicPath(["*broker"]);
const STATS = topicPath(["*broker", "stats"]);
const CLIENTS = topicPath(["*broker", "clients"]);
const GROUPS = topicPath(["*broker", "groups"]);
const TOPICS = topicPath(["*broker", "topics"]);

/** What {@linkcode BrokerTopics} ask their broker. */
export interface BrokerTopicsSource {
  /** Where it is done in steps, because there may be many clients. */
  readonly background: Background;
  readonly topicCounts: TopicCounts;
  /** The most bytes of a message. */
  readonly messageBytes: number;
  /** Whether somebody subscribes to a topic, or to one below it. */
  isWanted(path: TopicPath): boolean;
  /** How many clients subscribe to a topic. */
  subscribers(path: TopicPath): number;
  stats(): BrokerReport;
  clients(): Iterable<ClientStats>;
  groups(): Iterable<GroupStats>;
  /** Passes a PUBLISH frame to those who subscribe to its topic. */
  publish(path: TopicPath, frame: Uint8Array): void;
}

/** Publishes what a broker counts, while somebody subscribes to that. */
export class BrokerTopics {
  readonly #source: BrokerTopicsSource;
  readonly #encoder = new Encoder();
  #timer: Timer | undefined;
  #since = 0;
  /** What each client had done at the last report. */
  #before = new Map<number, number>();
  readonly #report: () => void;

  /** Makes one that does nothing until {@linkcode BrokerTopics.watch}. */
  constructor(source: BrokerTopicsSource) {
    this.#source = source;
    this.#report = source.background.repeatedly(() => this.#publishAll());
  }

  /** Starts to publish, at once and then every second, if somebody wants it. */
  watch(): void {
    if (this.#timer !== undefined || !this.#source.isWanted(BROKER)) return;
    // In a turn of its own: whoever asks for it must first hear that the session is open.
    this.#timer = later(() => {
      this.#timer = every(() => this.#tick(), PERIOD_MS);
      this.#tick();
    }, 0);
  }

  /** Stops publishing. */
  end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#source.topicCounts.isWatched = false;
    this.#before.clear();
  }

  #tick(): void {
    if (this.#source.isWanted(BROKER)) this.#report();
    else this.end();
  }

  *#publishAll(): Generator<void, void, undefined> {
    const source = this.#source;
    if (source.subscribers(STATS) > 0) this.#publish(STATS, source.stats());
    yield;
    if (source.subscribers(CLIENTS) > 0) yield* this.#publishClients();
    if (source.subscribers(GROUPS) > 0) yield* this.#publishGroups();
    if (this.#timer === undefined) return; // It has ended meanwhile.
    const isWatched = source.subscribers(TOPICS) > 0;
    if (isWatched && !source.topicCounts.isWatched) this.#since = clock.now();
    source.topicCounts.isWatched = isWatched;
    if (isWatched) yield* this.#publishTopics();
  }

  *#publishClients(): Generator<void, void, undefined> {
    const done = new Map<number, number>();
    const clients: { readonly stats: ClientStats; readonly busy: number }[] = [];
    for (const stats of this.#source.clients()) {
      const { client, received, delivered, dropped } = stats;
      const sum = received + delivered + dropped;
      done.set(client, sum);
      clients.push({ stats, busy: sum - (this.#before.get(client) ?? 0) });
      if (clients.length % STEP_CLIENTS === 0) yield;
    }
    if (this.#timer === undefined) return;
    this.#before = done;
    clients.sort((a, b) => b.busy - a.busy || a.stats.client - b.stats.client);
    yield;
    const busiest = clients.slice(0, ENTRIES_MAX).map(({ stats }) => stats);
    this.#publishSome(CLIENTS, busiest, (some) => ({ clients: some, total: clients.length }));
  }

  *#publishGroups(): Generator<void, void, undefined> {
    const groups: GroupStats[] = [];
    for (const group of this.#source.groups()) {
      groups.push(group);
      if (groups.length % STEP_CLIENTS === 0) yield;
    }
    const busy = ({ waiting, unfinished }: GroupStats) => waiting + unfinished;
    groups.sort((a, b) => busy(b) - busy(a) || b.members - a.members);
    yield;
    this.#publishSome(GROUPS, groups, (some) => ({
      groups: some,
      total: groups.length,
    }));
  }

  *#publishTopics(): Generator<void, void, undefined> {
    const now = clock.now();
    const period = now - this.#since;
    this.#since = now;
    const { topics: passed, other } = this.#source.topicCounts.takeBusiest(ENTRIES_MAX);
    const topics: TopicStats[] = [];
    for (const { path, messages, bytes } of passed) {
      yield; // Many may subscribe to each.
      topics.push({ topic: path, messages, bytes, subscribers: this.#source.subscribers(path) });
    }
    this.#publishSome(TOPICS, topics, (some) => ({
      topics: some,
      other: topics.slice(some.length).reduce(sumOf, other),
      period,
    }));
  }

  /** Publishes as many of these as a message may hold. */
  #publishSome<E>(
    path: TopicPath,
    entries: readonly E[],
    message: (some: readonly E[]) => object,
  ): void {
    if (this.#timer === undefined) return; // It has ended meanwhile.
    let count = Math.min(entries.length, ENTRIES_MAX);
    while (!this.#publish(path, message(entries.slice(0, count))) && count > 0) count >>= 1;
  }

  /** Publishes a message, unless it is too large for that. */
  #publish(path: TopicPath, message: object): boolean {
    let payload: Uint8Array;
    try {
      payload = encodeMessage(message, this.#source.messageBytes, this.#encoder);
    } catch (error) { // It takes more bytes than a message may have.
      if (!(error instanceof RangeError)) throw error;
      return false;
    }
    this.#source.publish(path, encodeFrame(FrameType.PUBLISH, encodeTopic(path), payload));
    return true;
  }
}

function sumOf(
  sum: { readonly messages: number; readonly bytes: number },
  { messages, bytes }: TopicStats,
): { messages: number; bytes: number } {
  return { messages: sum.messages + messages, bytes: sum.bytes + bytes };
}
