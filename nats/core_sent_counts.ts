/**
 * How many messages were sent for each topic that other brokers want.
 *
 * - A message counts for its topic and for all above it, as far as somebody wants them.
 */
import type { UplinkBus } from "../broker/uplink.ts";
import { TopicTree } from "../routing/topic_tree.ts";
import type { TopicPath } from "../topic.ts";
import type { PacketRoute } from "./packet.ts";
import { subjectOf } from "./subject.ts";
import { TopicBlockCache } from "./topic_block_cache.ts";

/** The messages that were sent for a topic that others want, and all below it. */
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
  /** The state of what others want that those are of. */
  state: number;
}

/** A count for each topic that others want; see the module. */
export class SentCounts {
  readonly #bus: UplinkBus;
  readonly #tree = new TopicTree<SentCount>();
  readonly #broadcasts: SentCount = { path: null, depth: 0, holders: 0, count: 0 };
  readonly #routes: TopicBlockCache<CountedRoute>;
  /** Changes with what others want. */
  #state = 0;

  /** Nobody wants anything of a bus whose subjects have this prefix. */
  constructor(bus: UplinkBus, prefix: string) {
    this.#bus = bus;
    this.#routes = new TopicBlockCache((path) => {
      const subject = subjectOf(prefix, path);
      return { path, subject, counts: this.#countsOf(path), state: this.#state };
    });
  }

  /** Where the messages of the topic of a block go; nowhere when nobody wants them. */
  routeOf(bytes: Uint8Array, start: number, end: number): CountedRoute | undefined {
    const route = this.#routes.get(bytes, start, end);
    return route.counts.length > 0 ? route : undefined;
  }

  #countsOf(path: TopicPath): readonly SentCount[] {
    if (path.length === 0) return this.#broadcasts.holders > 0 ? [this.#broadcasts] : [];
    const counts: SentCount[] = [];
    const deepest = this.#tree.deepest(path);
    for (let node: typeof deepest | undefined = deepest; node !== undefined; node = node.parent) {
      counts.push(...node.values);
    }
    return counts;
  }

  /** Counts messages that leave, or are dropped; they may have waited for long. */
  add(route: CountedRoute, messages: number): readonly SentCount[] {
    if (route.state !== this.#state) {
      route.counts = this.#countsOf(route.path);
      route.state = this.#state;
    }
    for (const sent of route.counts) sent.count += messages;
    return route.counts;
  }

  /** One more broker wants a topic; `null`: broadcasts. */
  hold(path: TopicPath | null): SentCount {
    const known = path === null ? this.#broadcasts : this.#tree.get(path)?.values[0];
    if (known !== undefined) {
      known.holders++;
      return known;
    }
    const topic = path!;
    const made = { path: topic, depth: topic.length, holders: 1, count: 0 };
    this.#tree.add(topic, made);
    this.#bus.want(topic, true);
    return made;
  }

  /** One broker less wants its topic. */
  release(sent: SentCount): void {
    const { path } = sent;
    if (--sent.holders > 0 || path === null) return;
    this.#tree.remove(path, sent);
    this.#bus.want(path, false);
  }

  /** What others want has changed: messages count elsewhere from now on. */
  changed(): void {
    this.#routes.clear();
    this.#state++;
  }
}
