/**
 * What our clients want from other brokers: a subscription for each cover, of which all others are told.
 *
 * - Each change has a version. Changes of one turn are told together.
 * - A cover that is replaced by others leaves only when all brokers know those: until then messages come
 *   twice, with the same number.
 */
import type { CoverChange } from "../routing/covers.ts";
import type { TopicPath } from "../topic.ts";
import { type NumberedTopic, partsOf } from "./control_message.ts";
import type { Wire } from "./core_wire.ts";
import type { ExchangeContext } from "./exchange_context.ts";
import { TopicBlockCache } from "./topic_block_cache.ts";
import { WantedSubjects } from "./wanted_subjects.ts";

/** A topic that our clients want, and no topic above it; `null`: broadcasts. */
export interface Interest {
  readonly id: number;
  readonly path: TopicPath | null;
  subscription: { unsubscribe(): void } | undefined;
  /** If it is leaving: it is removed when all know the interests of this version. */
  goesAfter: number;
}

/** What {@linkcode Interests} asks, and says, about other brokers. */
export interface InterestsObserver {
  /** The version that all others are known to know; `Infinity` when there are none. */
  knownByAll(): number;
  /** The interest with this number was removed. */
  removed(id: number): void;
}

/** Subscribes to what our clients want, and tells other brokers. */
export class Interests {
  readonly #context: ExchangeContext;
  readonly #observer: InterestsObserver;
  #wire: Wire | undefined;
  readonly #wanted: WantedSubjects;
  readonly #byKey = new Map<string, Interest>();
  readonly #byId = new Map<number, Interest>();
  /** Those that are removed once their successors are known everywhere. */
  readonly #leaving = new Set<Interest>();
  #nextId = 0;
  #version = 1;
  #added: NumberedTopic[] = [];
  #removed: number[] = [];
  #isAnnouncing = false;
  /** By topic: our interests that cover it, the widest first. */
  readonly #byTopic = new TopicBlockCache((path) => this.#covering(path));

  /** Makes one that wants nothing. */
  constructor(context: ExchangeContext, observer: InterestsObserver) {
    this.#context = context;
    this.#observer = observer;
    this.#wanted = new WantedSubjects(context.prefix);
  }

  /** How many there are. */
  get size(): number {
    return this.#byKey.size;
  }

  /** How often they changed. */
  get version(): number {
    return this.#version;
  }

  /** Whether some are removed once their successors are known everywhere. */
  get areSomeLeaving(): boolean {
    return this.#leaving.size > 0;
  }

  /** Whether this version is what is wanted now. */
  isLatest(version: number): boolean {
    return version >= this.#version && !this.#isAnnouncing;
  }

  /** The interest with this number. */
  get(id: number): Interest | undefined {
    return this.#byId.get(id);
  }

  /** The interests that cover the topic of a block, the widest first. */
  covering(bytes: Uint8Array, start: number, end: number): readonly Interest[] {
    return this.#byTopic.get(bytes, start, end);
  }

  #covering(path: TopicPath): readonly Interest[] {
    const keys = path.length === 0
      ? ["null"]
      : Array.from({ length: path.length + 1 }, (_, n) => JSON.stringify(path.slice(0, n)));
    return keys.map((key) => this.#byKey.get(key)).filter((one) => one !== undefined);
  }

  /** Subscribes over a connection. */
  connected(wire: Wire): void {
    this.#wire = wire;
    for (const interest of this.#byKey.values()) this.#subscribe(interest);
  }

  /** The connection is lost, and all subscriptions with it. */
  disconnected(): void {
    this.#wire = undefined;
    for (const interest of this.#byKey.values()) interest.subscription = undefined;
  }

  #subscribe(interest: Interest): void {
    interest.subscription = this.#wire?.subscribe(this.#wanted.subjectOf(interest.path));
  }

  /** Notes that a client wants a topic, or no longer wants it. */
  wants(path: TopicPath, wants: boolean): void {
    const change = this.#wanted.change(path, wants);
    if (change !== undefined) this.#change(change);
  }

  #change({ added, removed }: CoverChange): void {
    for (const path of added) this.#add(path);
    for (const path of removed) this.#leave(path, added.length > 0);
    if (this.#wanted.size > 0) this.#add(null);
    else this.#leave(null, false);
    this.#announce();
  }

  #add(path: TopicPath | null): void {
    const key = JSON.stringify(path);
    const known = this.#byKey.get(key);
    if (known !== undefined) {
      this.#leaving.delete(known);
      return;
    }
    const id = this.#nextId++;
    const interest: Interest = { id, path, subscription: undefined, goesAfter: 0 };
    this.#byKey.set(key, interest);
    this.#byId.set(id, interest);
    this.#subscribe(interest);
    this.#added.push([id, path]);
    this.#byTopic.clear();
  }

  /** Removes a cover; if others replace it, only when they are known everywhere. */
  #leave(path: TopicPath | null, isReplaced: boolean): void {
    const interest = this.#byKey.get(JSON.stringify(path));
    if (interest === undefined) return;
    if (isReplaced) {
      interest.goesAfter = this.#version + 1;
      this.#leaving.add(interest);
    } else this.#remove(interest);
  }

  #remove(interest: Interest): void {
    const { id, path, subscription } = interest;
    this.#leaving.delete(interest);
    this.#byKey.delete(JSON.stringify(path));
    this.#byId.delete(id);
    subscription?.unsubscribe();
    this.#observer.removed(id);
    const isUnknown = this.#added.some(([added]) => added === id);
    if (isUnknown) this.#added = this.#added.filter(([added]) => added !== id);
    else this.#removed.push(id);
    this.#byTopic.clear();
  }

  /** Removes the covers whose successors are known everywhere. */
  retire(): void {
    const known = Math.min(this.#version, this.#observer.knownByAll());
    let isChanged = false;
    for (const interest of [...this.#leaving]) {
      if (interest.goesAfter > known) continue;
      this.#remove(interest);
      isChanged = true;
    }
    if (isChanged) this.#announce();
  }

  /** Tells all others what has changed, together with whatever else changes in this turn. */
  #announce(): void {
    if (this.#isAnnouncing) return;
    this.#isAnnouncing = true;
    queueMicrotask(() => {
      this.#isAnnouncing = false;
      const [add, remove] = [this.#added, this.#removed];
      [this.#added, this.#removed] = [[], []];
      const base = this.#version++;
      if (this.#wire !== undefined) this.#say(base, add, remove);
      this.retire();
    });
  }

  /** Tells one broker, or all, everything that is wanted. */
  sayAll(to?: string): void {
    const all = this.#byId.values().map(({ id, path }): NumberedTopic => [id, path]);
    this.#say(null, [...all], [], to);
  }

  #say(
    base: number | null,
    add: readonly NumberedTopic[],
    remove: readonly number[],
    to?: string,
  ): void {
    const { id: from, say } = this.#context;
    const parts = partsOf([...add, ...remove]);
    for (const [part, entries] of parts.entries()) {
      const more = part < parts.length - 1;
      const changes = {
        add: entries.filter((entry) => typeof entry !== "number"),
        remove: entries.filter((entry) => typeof entry === "number"),
      };
      say({ type: "wants", from, version: this.#version, base, ...changes, part, more }, to);
    }
  }
}
