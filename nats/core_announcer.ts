/**
 * Tells other brokers what our clients want: all of it, or what has changed.
 *
 * - Each change has a version. Changes of one turn are told together.
 * - What others make this one tell is bounded: when too many ask for everything, it is told to all at
 *   once, with the next beat. Long tellings are done in pieces, in the order of their versions.
 */
import type { TopicPath } from "../topic.ts";
import { inParts, type NumberedTopic } from "./control_message.ts";
import type { ExchangeContext } from "./exchange_context.ts";
import type { Turns, Work } from "./turns.ts";

/** How many topics are told to single brokers between two beats, besides all topics once. */
const TOLD_MAX = 8192;
/** What telling somebody costs besides, in topics. */
const TELLING_COST = 64;

/** What an {@linkcode Announcer} tells of. */
export interface Announced {
  /** How many topics are wanted. */
  readonly size: number;
  /** All that is wanted. */
  all(): Iterable<NumberedTopic>;
  /** A change was told. */
  announced(): void;
}

/** Tells other brokers what is wanted here. */
export class Announcer {
  readonly #context: ExchangeContext;
  readonly #turns: Turns;
  readonly #wants: Announced;
  #version = 1;
  #added = new Map<number, TopicPath | null>();
  #removed: number[] = [];
  #isAnnouncing = false;
  /** How much was told to single brokers since the latest beat, and whether all are to be told. */
  #told = 0;
  #owesAll = false;
  /** Whether there is a connection. */
  isConnected = false;

  /** Makes one that has told nothing. */
  constructor(context: ExchangeContext, turns: Turns, wants: Announced) {
    this.#context = context;
    this.#turns = turns;
    this.#wants = wants;
  }

  /** How often what is wanted changed. */
  get version(): number {
    return this.#version;
  }

  /** Whether this version is what is wanted now. */
  isLatest(version: number): boolean {
    return version >= this.#version && !this.#isAnnouncing;
  }

  /** A topic is wanted from now on. */
  add(id: number, path: TopicPath | null): void {
    this.#added.set(id, path);
    this.announce();
  }

  /** A topic is no longer wanted. */
  remove(id: number): void {
    if (!this.#added.delete(id)) this.#removed.push(id); // Otherwise nobody was told of it.
    this.announce();
  }

  /** Tells all others what has changed, if only the version, with whatever else changes in this turn. */
  announce(): void {
    if (this.#isAnnouncing) return;
    this.#isAnnouncing = true;
    Promise.resolve().then(() => {
      this.#isAnnouncing = false;
      const changes = [...this.#added, ...this.#removed];
      this.#added.clear();
      this.#removed = [];
      const base = this.#version++;
      if (this.isConnected) this.#turns.add(this, this.#say(base, this.#version, changes));
      this.#wants.announced();
    });
  }

  /** A beat has passed. */
  tick(): void {
    this.#told = 0;
    if (this.#owesAll) this.sayAll();
  }

  /**
   * Tells one broker, or all, everything that is wanted. If much was told to single ones since the
   * latest beat, all are told with the next.
   */
  sayAll(to?: string): void {
    if (to === undefined) this.#owesAll = false;
    else if (this.#told > TOLD_MAX) {
      this.#owesAll = true;
      return;
    }
    this.#told += this.#wants.size + TELLING_COST;
    this.#turns.add(this, this.#tellAll(to));
  }

  *#tellAll(to?: string): Work {
    yield* this.#say(null, this.#version, [...this.#wants.all()], to);
  }

  #say(
    base: number | null,
    version: number,
    changes: readonly (NumberedTopic | number)[],
    to?: string,
  ): Work {
    const { id: from, say } = this.#context;
    return inParts(changes, (entries, part, more) => {
      const add = entries.filter((entry) => typeof entry !== "number");
      const remove = entries.filter((entry) => typeof entry === "number");
      say({ type: "wants", from, version, base, add, remove, part, more }, to);
    });
  }
}
