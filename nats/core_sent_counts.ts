/**
 * How many messages were sent for each topic that other brokers want.
 *
 * - A message counts for its topic and for each topic above it that somebody wants.
 */
import { addCounts } from "../base/count.ts";
import type { UplinkBus } from "../broker/uplink.ts";
import { TopicTree } from "../routing/topic_tree.ts";
import type { TopicPath } from "../topic.ts";
import type { PacketRoute } from "./packet.ts";
import { elementBytes } from "./remote_memory.ts";
import { subjectOf } from "./subject.ts";
import { TopicBlockCache } from "./topic_block_cache.ts";

/** How many messages were sent for a topic that others want, and all below it. */
export interface SentCount {
  /** The topic; `null`: broadcasts. */
  readonly path: TopicPath | null;
  readonly depth: number;
  /** How many brokers want it. */
  holders: number;
  count: number;
}

/** Where the messages of a topic go, and where they count. */
export interface CountedRoute extends PacketRoute {
  readonly path: TopicPath;
  counts: readonly SentCount[];
  /** Which state of what others want these counts belong to. */
  state: number;
}

/** A count for each topic that others want. */
export class SentCounts {
  readonly #bus: UplinkBus;
  readonly #tree = new TopicTree<SentCount>();
  readonly #broadcasts: SentCount = { path: null, depth: 0, holders: 0, count: 0 };
  readonly #routes: TopicBlockCache<CountedRoute>;
  /** Changes whenever a topic is wanted that nobody wanted before, or is wanted no more. */
  #state = 0;
  /** What the topics take that are wanted, in bytes. */
  #bytes = 0;

  /** Begins with nothing wanted, on the bus whose subjects have this prefix. */
  constructor(bus: UplinkBus, prefix: string) {
    this.#bus = bus;
    this.#routes = new TopicBlockCache((path) => {
      const subject = subjectOf(prefix, path);
      return { path, subject, counts: this.#countsOf(path), state: this.#state };
    });
  }

  /** How many bytes the topics take that others want, however many want each. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Where the messages of the topic of a block go; `undefined` if nobody wants them. */
  routeOf(bytes: Uint8Array, start: number, end: number): CountedRoute | undefined {
    const route = this.#routes.get(bytes, start, end);
    this.#refresh(route);
    return route.counts.length > 0 ? route : undefined;
  }

  #refresh(route: CountedRoute): void {
    if (route.state === this.#state) return;
    route.counts = this.#countsOf(route.path);
    route.state = this.#state;
  }

  #countsOf(path: TopicPath): readonly SentCount[] {
    if (path.length === 0) return this.#broadcasts.holders > 0 ? [this.#broadcasts] : [];
    const counts: SentCount[] = [];
    const deepest = this.#tree.deepest(path);
    for (let node: typeof deepest | undefined = deepest; node !== undefined; node = node.parent) {
      if (node.value !== undefined) counts.push(node.value);
    }
    return counts;
  }

  /** Counts messages that leave or are dropped; they may have waited for a long time. */
  add(route: CountedRoute, messages: number): readonly SentCount[] {
    this.#refresh(route);
    for (const sent of route.counts) sent.count = addCounts(sent.count, messages);
    return route.counts;
  }

  /** One more broker wants a topic; `null`: broadcasts. */
  hold(path: TopicPath | null): SentCount {
    if (path !== null) this.#bytes += elementBytes(path, this.#tree.deepest(path).path.length);
    const node = path === null ? undefined : this.#tree.at(path);
    const known = node === undefined ? this.#broadcasts : node.value;
    if (known !== undefined) {
      if (known.holders++ === 0) this.#state++;
      return known;
    }
    const topic = node!.path as TopicPath;
    this.#state++;
    this.#bus.want(topic, true);
    return node!.value = { path: topic, depth: topic.length, holders: 1, count: 0 };
  }

  /** One broker less wants its topic. */
  release(sent: SentCount): void {
    const { path } = sent;
    if (--sent.holders > 0) return;
    this.#state++;
    if (path === null) return;
    const node = this.#tree.get(path)!;
    node.value = undefined;
    this.#tree.prune(node);
    this.#bytes -= elementBytes(path, this.#tree.deepest(path).path.length);
    this.#bus.want(path, false);
  }
}
