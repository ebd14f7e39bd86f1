/**
 * The topics that somebody wants, and the fewest that cover them.
 *
 * ```
 *        ["a"]                 wanted: ["a","b"] twice, ["a","c"], ["a","c","d"]
 *       ╱     ╲                covers: ["a","b"], ["a","c"]
 * ["a","b"]  ["a","c"]
 *                │             Wanting ["a"], too, makes that the one cover;
 *          ["a","c","d"]       wanting it no more brings both back.
 * ```
 *
 * A cover is wanted itself, and no topic above it is. So each wanted topic has one cover, and what
 * is published reaches whoever subscribes to all covers at most once.
 */
import type { TopicPath } from "../topic.ts";
import { type TopicNode, TopicTree } from "./topic_tree.ts";

/** How the covers changed. */
export interface CoverChange {
  /** The paths that became covers, frozen. */
  readonly added: readonly TopicPath[];
  /** The paths that are covers no more, frozen. */
  readonly removed: readonly TopicPath[];
}

/** That a topic is wanted, and how often; it stands at most once at a path. */
interface Want {
  count: number;
}

/**
 * Wanted topics, and their covers; see the module.
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
   * Notes that a topic is wanted, once more if it was.
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
   * Takes back one {@linkcode Covers.add} of a topic; nothing if there was none.
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

  /** The covers, frozen, in no order; not to be changed meanwhile. */
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

/** The wanted paths from a node down that have none above them there. */
function* coversFrom(top: TopicNode<Want>): Generator<TopicPath, void, undefined> {
  const ahead = [top];
  for (let node = ahead.pop(); node !== undefined; node = ahead.pop()) {
    if (node.values.length > 0) yield node.path;
    else for (const child of node.children?.values() ?? []) ahead.push(child);
  }
}
