/**
 * What our clients want from other brokers: a subscription for each cover, of which all others are told.
 *
 * - A cover that is replaced by others leaves only when all brokers know those: until then messages come
 *   twice, with the same number. After a minute it leaves all the same: a broker that does not answer
 *   must not make others pile up.
 */
import type { CoverChange } from "../routing/covers.ts";
import { TopicTree } from "../routing/topic_tree.ts";
import type { TopicPath } from "../topic.ts";
import { Announcer } from "./core_announcer.ts";
import type { KnownVersions } from "./core_known_versions.ts";
import type { Wire } from "./core_wire.ts";
import type { ExchangeContext } from "./exchange_context.ts";
import { TopicBlockCache } from "./topic_block_cache.ts";
import type { Turns, Work } from "./turns.ts";
import { WantedSubjects } from "./wanted_subjects.ts";

/** A topic that our clients want, and no topic above it; `null`: broadcasts. */
export interface Interest {
  readonly id: number;
  readonly path: TopicPath | null;
  subscription: { unsubscribe(): void } | undefined;
  /** If it is leaving: it is removed when all know the interests of this version. */
  goesAfter: number;
  /** And since which beat. */
  leftAt: number;
}

/** What was worked out for a topic when interests had changed so often. */
interface Covered {
  readonly path: TopicPath;
  /** Our interests that cover it, the widest first. */
  by: readonly Interest[];
  changes: number;
}

/** For how many beats a cover waits until all know those that replace it. */
const LEAVE_BEATS = 30;

/** Subscribes to what our clients want, and tells other brokers. */
export class Interests {
  readonly #known: KnownVersions;
  readonly #turns: Turns;
  readonly #announcer: Announcer;
  #wire: Wire | undefined;
  readonly #wanted: WantedSubjects;
  readonly #tree = new TopicTree<Interest>();
  #broadcasts: Interest | undefined;
  readonly #byId = new Map<number, Interest>();
  /** Those that are removed once their successors are known everywhere, in that order. */
  readonly #leaving = new Set<Interest>();
  #nextId = 0;
  /** How many beats there were. */
  #beats = 0;
  /** How often an interest came or went. */
  #changes = 0;
  readonly #byTopic = new TopicBlockCache<Covered>((path) => ({ path, by: [], changes: -1 }));

  /** Makes one that wants nothing; `known` is what other brokers are known to know. */
  constructor(context: ExchangeContext, known: KnownVersions, turns: Turns) {
    const byId = this.#byId;
    this.#known = known;
    this.#turns = turns;
    this.#wanted = new WantedSubjects(context.prefix);
    this.#announcer = new Announcer(context, turns, {
      get size() {
        return byId.size;
      },
      all: () => byId.values().map(({ id, path }) => [id, path]),
      announced: () => this.retire(),
    });
  }

  /** How many there are. */
  get size(): number {
    return this.#byId.size;
  }

  /** How often they changed. */
  get version(): number {
    return this.#announcer.version;
  }

  /** Whether some are removed once their successors are known everywhere. */
  get areSomeLeaving(): boolean {
    return this.#leaving.size > 0;
  }

  /** Whether this version is what is wanted now. */
  isLatest(version: number): boolean {
    return this.#announcer.isLatest(version);
  }

  /** The interest with this number. */
  get(id: number): Interest | undefined {
    return this.#byId.get(id);
  }

  /** The interests that cover the topic of a block, the widest first. */
  covering(bytes: Uint8Array, start: number, end: number): readonly Interest[] {
    const covered = this.#byTopic.get(bytes, start, end);
    if (covered.changes !== this.#changes) {
      covered.by = this.#covering(covered.path);
      covered.changes = this.#changes;
    }
    return covered.by;
  }

  #covering(path: TopicPath): readonly Interest[] {
    if (path.length === 0) return this.#broadcasts === undefined ? [] : [this.#broadcasts];
    const covering: Interest[] = [];
    const deepest = this.#tree.deepest(path);
    for (let node: typeof deepest | undefined = deepest; node !== undefined; node = node.parent) {
      if (node.value !== undefined) covering.push(node.value);
    }
    return covering.reverse();
  }

  /** Subscribes over a connection. */
  connected(wire: Wire): void {
    this.#wire = wire;
    this.#announcer.isConnected = true;
    for (const interest of this.#byId.values()) this.#subscribe(interest);
  }

  /** The connection is lost, and all subscriptions with it. */
  disconnected(): void {
    this.#wire = undefined;
    this.#announcer.isConnected = false;
    for (const interest of this.#byId.values()) interest.subscription = undefined;
  }

  #subscribe(interest: Interest): void {
    interest.subscription = this.#wire?.subscribe(this.#wanted.subjectOf(interest.path));
  }

  /** Notes that a client wants a topic, or no longer wants it. */
  wants(path: TopicPath, wants: boolean): void {
    const change = this.#wanted.change(path, wants);
    if (change !== undefined) this.#turns.add(this, this.#change(change));
  }

  /** One topic may cover any number of others; so a change of covers is done in pieces. */
  *#change({ added, removed }: CoverChange): Work {
    for (const path of added) {
      this.#add(path);
      yield;
    }
    for (const path of removed) {
      this.#leave(path, added.length > 0);
      yield;
    }
    if (this.#wanted.size > 0) this.#add(null);
    else this.#leave(null, false);
  }

  #add(path: TopicPath | null): void {
    const known = this.#of(path);
    if (known !== undefined) {
      this.#leaving.delete(known);
      return;
    }
    const id = this.#nextId++;
    const interest = { id, path, subscription: undefined, goesAfter: 0, leftAt: 0 };
    if (path === null) this.#broadcasts = interest;
    else this.#tree.at(path).value = interest;
    this.#byId.set(id, interest);
    this.#subscribe(interest);
    this.#announcer.add(id, path);
    this.#changes++;
  }

  #of(path: TopicPath | null): Interest | undefined {
    return path === null ? this.#broadcasts : this.#tree.get(path)?.value;
  }

  /** Removes a cover; if others replace it, only when they are known everywhere. */
  #leave(path: TopicPath | null, isReplaced: boolean): void {
    const interest = this.#of(path);
    if (interest === undefined) return;
    if (!isReplaced) return this.#remove(interest);
    interest.goesAfter = this.version + 1;
    interest.leftAt = this.#beats;
    this.#leaving.delete(interest); // It goes behind those that left before.
    this.#leaving.add(interest);
    this.#announcer.announce(); // Who answers that knows those that replace it.
  }

  #remove(interest: Interest): void {
    const { id, path, subscription } = interest;
    this.#leaving.delete(interest);
    if (path === null) this.#broadcasts = undefined;
    else {
      const node = this.#tree.get(path)!;
      node.value = undefined;
      this.#tree.prune(node);
    }
    this.#byId.delete(id);
    subscription?.unsubscribe();
    this.#announcer.remove(id);
    this.#changes++;
  }

  /** Removes the covers whose successors are known everywhere. */
  retire(): void {
    this.#removeWhile(({ goesAfter }) => goesAfter <= this.version && this.#known.reach(goesAfter));
  }

  /** Removes the first of those that are leaving, as far as they may go. */
  #removeWhile(mayGo: (interest: Interest) => boolean): void {
    if (this.#leaving.size > 0) this.#turns.add(this, this.#removing(mayGo));
  }

  *#removing(mayGo: (interest: Interest) => boolean): Work {
    for (const interest of this.#leaving) {
      if (!mayGo(interest)) break;
      this.#remove(interest);
      yield;
    }
  }

  /** Tells one broker, or all, everything that is wanted. */
  sayAll(to?: string): void {
    this.#announcer.sayAll(to);
  }

  /** A beat has passed. */
  tick(): void {
    this.#beats++;
    for (const change of this.#wanted.settle()) this.#turns.add(this, this.#change(change));
    this.#removeWhile(({ leftAt }) => this.#beats - leftAt > LEAVE_BEATS);
    this.#announcer.tick();
  }
}
