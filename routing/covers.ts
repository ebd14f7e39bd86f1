/**
 * The topics that somebody wants, and the fewest that cover them.
 *
 * ```
 *        ["a"]                 wanted: ["a","b"] twice, ["a","c"], ["a","c","d"]
 *       ╱     ╲                covers: ["a","b"], ["a","c"]
 * ["a","b"]  ["a","c"]
 *                │             If ["a"] is wanted, too, it is the only cover;
 *          ["a","c","d"]       when it is no longer wanted, both come back.
 * ```
 *
 * A cover is wanted itself, and no topic above it is. So each wanted topic has one cover, and whoever
 * subscribes to all covers gets each message at most once.
 */
import type { TopicPath } from "../topic.ts";
import { type TopicNode, TopicTree } from "./topic_tree.ts";

/** How the covers changed. */
export interface CoverChange {
  /** The paths that became covers, frozen. */
  readonly added: readonly TopicPath[];
  /** The paths that are no longer covers, frozen. */
  readonly removed: readonly TopicPath[];
}

/**
 * Keeps the covers of all wanted topics.
 *
 * - A change costs as much as the covers that it adds and removes, however many topics there are.
 */
export class Covers {
  /** How often each topic is wanted; these are paths, without `any`. */
  readonly #wants = new TopicTree<number>();
  #size = 0;

  /** How many covers there are. */
  get size(): number {
    return this.#size;
  }

  /**
   * Notes that a topic is wanted, perhaps once more.
   *
   * @returns How the covers changed, if they did.
   */
  add(path: TopicPath): CoverChange | undefined {
    const known = this.#wants.get(path);
    if (known?.value !== undefined) {
      known.value++;
      return undefined;
    }
    const isCovered = this.#wants.covers(path);
    const removed = known === undefined || isCovered ? [] : [...coversFrom(known)];
    const node = this.#wants.at(path);
    node.value = 1;
    if (isCovered) return undefined;
    this.#size += 1 - removed.length;
    return { added: [node.path as TopicPath], removed };
  }

  /**
   * Undoes one {@linkcode Covers.add} of a topic, if there was one.
   *
   * @returns How the covers changed, if they did.
   */
  remove(path: TopicPath): CoverChange | undefined {
    const node = this.#wants.get(path);
    if (node?.value === undefined || --node.value > 0) return undefined;
    node.value = undefined;
    const isCovered = this.#wants.covers(path);
    const added = isCovered ? [] : [...coversFrom(node)];
    this.#wants.prune(node);
    if (isCovered) return undefined;
    this.#size += added.length - 1;
    return { added, removed: [node.path as TopicPath] };
  }

  /** Whether a topic is wanted once, and others below it are, too: these come back when it is removed. */
  isAbove(path: TopicPath): boolean {
    const node = this.#wants.get(path);
    return node?.value === 1 && !node.isLeaf;
  }

  /** The covers, frozen, in no particular order; change nothing while you iterate. */
  paths(): Iterable<TopicPath> {
    return coversFrom(this.#wants.root);
  }

  /** Whether this path, or one above it, is wanted. */
  covers(path: TopicPath): boolean {
    return this.#wants.covers(path);
  }
}

/** The wanted paths from a node down that have no wanted path above them there. */
function* coversFrom(top: TopicNode<number>): Generator<TopicPath, void, undefined> {
  const ahead = [top];
  for (let node = ahead.pop(); node !== undefined; node = ahead.pop()) {
    if (node.value !== undefined) yield node.path as TopicPath;
    else for (const child of node.below()) ahead.push(child);
  }
}
