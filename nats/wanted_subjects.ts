/**
 * The topics that our clients want, as the fewest NATS subjects that cover them.
 *
 * - A topic that covers others stays for a while when it is wanted no more: who subscribes to it and
 *   unsubscribes over and over makes others leave and come back once, not each time.
 */
import { StringMap } from "../base/string_map.ts";
import { type CoverChange, Covers } from "../routing/covers.ts";
import type { TopicPath } from "../topic.ts";
import { patternOf, subjectOf, subjectProblem } from "./subject.ts";

/** The topics that our clients want. */
export class WantedSubjects {
  readonly #prefix: string;
  readonly #covers = new Covers();
  /** Topics that are wanted no more, and cover others, by their texts. */
  #staying = new StringMap<TopicPath>();

  /** Begins with nothing wanted, on the bus whose subjects have this prefix. */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** How many topics cover all that is wanted. */
  get size(): number {
    return this.#covers.size;
  }

  /**
   * Notes that a client wants a topic, or no longer wants it.
   *
   * @returns How the covers changed, if they did.
   */
  change(path: TopicPath, wants: boolean): CoverChange | undefined {
    // Nobody can publish to it.
    if (subjectProblem(this.#prefix, path) !== undefined) return undefined;
    if (wants) return this.#staying.delete(textOf(path)) ? undefined : this.#covers.add(path);
    if (!this.#covers.isAbove(path)) return this.#covers.remove(path);
    this.#staying.set(textOf(path), path);
  }

  /** Removes the topics that have stayed for a while; yields how the covers changed. */
  *settle(): Generator<CoverChange, void> {
    const staying = [...this.#staying.values()];
    this.#staying = new StringMap();
    for (const path of staying) {
      const change = this.#covers.remove(path);
      if (change !== undefined) yield change;
    }
  }

  /** Whether a client wants messages of a topic; any client that wants anything gets broadcasts. */
  has(path: TopicPath): boolean {
    return path.length === 0 ? this.size > 0 : this.#covers.covers(path);
  }

  /** The subject to subscribe to for a cover; `null`: for broadcasts. */
  subjectOf(cover: TopicPath | null): string {
    return cover === null ? subjectOf(this.#prefix, []) : patternOf(this.#prefix, cover);
  }

  /** The subjects of all that is wanted. */
  subjects(): readonly string[] {
    if (this.size === 0) return [];
    return [...this.#covers.paths(), null].map((cover) => this.subjectOf(cover));
  }
}

function textOf(path: TopicPath): string {
  return JSON.stringify(path);
}
