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

/** How often a topic is wanted; at most one of these is at a path. */
interface Want {
  count: number;
}

/**
 * Keeps the covers of all wanted topics.
 *
 * - A change costs as much as the covers that it adds and removes, however many topics there are.
 */
export class Covers {
  readonly #wants = new TopicTree<Want>();
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
    const want = known?.values[0];
    if (want !== undefined) {
      want.count++;
      return undefined;
    }
    const isCovered = this.coverOf(path) !== undefined;
    const removed = known === undefined || isCovered ? [] : [...coversFrom(known)];
    const node = this.#wants.add(path, { count: 1 });
    if (isCovered) return undefined;
    this.#size += 1 - removed.length;
    return { added: [node.path], removed };
  }

  /**
   * Undoes one {@linkcode Covers.add} of a topic, if there was one.
   *
   * @returns How the covers changed, if they did.
   */
  remove(path: TopicPath): CoverChange | undefined {
    const node = this.#wants.get(path);
    const want = node?.values[0];
    if (node === undefined || want === undefined || --want.count > 0) return undefined;
    this.#wants.remove(path, want);
    if (this.coverOf(path) !== undefined) return undefined;
    const added = [...coversFrom(node)];
    this.#size += added.length - 1;
    return { added, removed: [node.path] };
  }

  /** Whether a topic is wanted once, and others below it are, too: these come back when it is removed. */
  isAbove(path: TopicPath): boolean {
    const node = this.#wants.get(path);
    return node?.values[0]?.count === 1 && node.children !== undefined;
  }

  /** The covers, frozen, in no particular order; change nothing while you iterate. */
  paths(): Iterable<TopicPath> {
    return coversFrom(this.#wants.root);
  }

  /** The cover that is this path or above it. */
  coverOf(path: TopicPath): TopicPath | undefined {
    let cover: TopicPath | undefined;
    for (
      let node: TopicNode<Want> | undefined = this.#wants.deepest(path);
      node !== undefined;
      node = node.parent
    ) {
      if (node.values.length > 0) cover = node.path;
    }
    return cover;
  }
}

/** The wanted paths from a node down that have no wanted path above them there. */
function* coversFrom(top: TopicNode<Want>): Generator<TopicPath, void, undefined> {
  const ahead = [top];
  for (let node = ahead.pop(); node !== undefined; node = ahead.pop()) {
    if (node.values.length > 0) yield node.path;
    else for (const child of node.children?.values() ?? []) ahead.push(child);
  }
}
