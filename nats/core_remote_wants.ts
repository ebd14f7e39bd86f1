/**
 * What one other broker wants from this one, and which of our counts it knows. core_exchange.ts knows
 * which brokers there are.
 */
import { ProtocolError } from "../errors.ts";
import { type TopicPath, topicPath } from "../topic.ts";
import type { ControlMessage, NumberedCount } from "./control_message.ts";
import type { SentCount, SentCounts } from "./core_sent_counts.ts";

/** How many topics a broker may want. */
const WANTS_MAX = 2 ** 17;
/** The content of so many answers is remembered. */
const ANSWERS_MAX = 16;

/** Something that another broker wants. */
interface Want {
  readonly sent: SentCount;
  /** The count that it is known to have; -1: none. */
  told: number;
}

/** A change of what a broker wants, as far as it has arrived. */
interface Loading {
  readonly version: number;
  readonly add: Map<number, TopicPath | null>;
  remove: number[];
  /** Which part is next. */
  part: number;
}

/** What one other broker wants. */
export class RemoteWants {
  readonly #counts: SentCounts;
  /** By the numbers that it has given them. */
  readonly #wants = new Map<number, Want>();
  /** Those of which it may not have a count yet. */
  readonly #fresh = new Map<number, Want>();
  #version = 0;
  /** What has arrived so far of a change in several messages. */
  #loading: Loading | undefined;
  #since: number;
  /** How many answers it was sent, and what the latest ones said. */
  #answers = 0;
  readonly #told = new Map<number, readonly NumberedCount[]>();

  /** Begins with nothing wanted; `since` differs for each beginning. */
  constructor(counts: SentCounts, since: number) {
    this.#counts = counts;
    this.#since = since;
  }

  /** How many topics it wants. */
  get size(): number {
    return this.#wants.size;
  }

  /** Which version of its wants this is; 0: nothing is known. */
  get version(): number {
    return this.#version;
  }

  /** Sent with our counts; another number when they have begun anew. */
  get since(): number {
    return this.#since;
  }

  /**
   * Takes a change, or a part of it.
   *
   * @returns Whether that was the last part.
   * @throws {ProtocolError} If it wants too many topics.
   */
  take({ version, base, add, remove, part, more }: ControlMessage & { type: "wants" }): boolean {
    if (part === 0) this.#loading = { version, part, add: new Map(), remove: [] };
    const loading = this.#loading;
    const isNext = loading?.version === version && loading.part === part;
    if (!isNext) return false; // One was lost; it comes again.
    loading.part++;
    for (const [id, path] of add) loading.add.set(id, path && topicPath(path));
    loading.remove.push(...remove);
    const size = loading.add.size + (base === null ? 0 : this.#wants.size);
    if (Math.max(size, loading.remove.length) > WANTS_MAX) {
      this.#loading = undefined;
      throw new ProtocolError(`Cannot take what a broker wants: more than ${WANTS_MAX} topics`);
    }
    if (more) return false;
    this.#loading = undefined;
    if (base === null) loading.remove = this.#allBut(loading.add);
    if (base === null || base === this.#version) {
      this.#change(loading.add, loading.remove);
      this.#version = version;
    }
    return true;
  }

  /** The numbers of all that it wants, except those that mean the same topic there. */
  #allBut(kept: ReadonlyMap<number, TopicPath | null>): number[] {
    return [...this.#wants].flatMap(([id, { sent: { path } }]) =>
      JSON.stringify(kept.get(id)) === JSON.stringify(path) ? [] : [id]
    );
  }

  #change(add: ReadonlyMap<number, TopicPath | null>, remove: Iterable<number>): void {
    for (const id of remove) {
      const want = this.#wants.get(id);
      if (want !== undefined) this.#counts.release(want.sent);
      this.#wants.delete(id);
      this.#fresh.delete(id);
    }
    for (const [id, path] of add) {
      if (this.#wants.has(id)) continue;
      const want = { sent: this.#counts.hold(path), told: -1 };
      this.#wants.set(id, want);
      this.#fresh.set(id, want);
    }
    this.#counts.changed();
  }

  /** Forgets what it wants; if it comes back, it begins anew. */
  clear(since: number): void {
    this.#change(new Map(), [...this.#wants.keys()]);
    this.#version = 0;
    this.#since = since;
  }

  /** The next answer to it: the counts that it may not know; without `isFull`, only of what is fresh. */
  nextAnswer(isFull: boolean): { answer: number; counts: readonly NumberedCount[] } {
    const counts: NumberedCount[] = [];
    for (const [id, { sent: { count }, told }] of isFull ? this.#wants : this.#fresh) {
      if (count !== told) counts.push([id, count]);
    }
    const answer = ++this.#answers;
    this.#told.set(answer, counts);
    this.#told.delete(answer - ANSWERS_MAX);
    return { answer, counts };
  }

  /** It has this answer; 0: it has none, and has forgotten everything. */
  commit(answer: number): void {
    for (const [id, count] of this.#told.get(answer) ?? []) {
      const want = this.#wants.get(id);
      if (want !== undefined) want.told = count;
      this.#fresh.delete(id);
    }
    if (answer > 0) return;
    for (const [id, want] of this.#wants) {
      want.told = -1;
      this.#fresh.set(id, want);
    }
  }
}
