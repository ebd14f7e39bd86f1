/**
 * A tree of values at topics.
 *
 * ```
 *            root []          publish to ["a","b","x"]
 *           ╱        ╲          deepest() goes down as far as there are nodes: ["a","b"],
 *      ["a"]          ["z"]     then `parent` leads up past everyone who gets the message:
 *      ╱    ╲                   ["a","b"], ["a"], []
 * ["a","b"] ["a","c"]
 * ```
 */
import { ROOT, type TopicPath } from "../topic.ts";

/**
 * The values at one path of a {@linkcode TopicTree}.
 *
 * - A node that is removed from the tree keeps its `parent`, so that whoever walks up can go on.
 */
export class TopicNode<V> {
  /** The path, frozen. */
  readonly path: TopicPath;
  /** The node of the path that is one element shorter; `undefined` for the root. */
  readonly parent: TopicNode<V> | undefined;
  /** The nodes of the paths that are one element longer, by that element; never empty. */
  children: Map<string, TopicNode<V>> | undefined = undefined;
  /**
   * The values, in the order in which they were added.
   *
   * - Adding appends to this array, removing replaces it. So whoever walks over the first `length`
   *   values that were there misses none, and sees none twice.
   */
  values: readonly V[] = [];

  /** Makes a node without values; `path` must be frozen. */
  constructor(path: TopicPath, parent: TopicNode<V> | undefined) {
    this.path = path;
    this.parent = parent;
  }
}

/**
 * Values by path.
 *
 * - Every node but the root has a value, or leads to one that has.
 * - Knows nothing about the values; the same value may be at a path twice.
 */
export class TopicTree<V> {
  /** The node of `[]`; it is always there. */
  readonly root: TopicNode<V> = new TopicNode<V>(ROOT, undefined);
  #size = 0;
  #version = 0;

  /** How many values there are. */
  get size(): number {
    return this.#size;
  }

  /** Changes when a node comes or goes: until then {@linkcode TopicTree.deepest} stays the same. */
  get version(): number {
    return this.#version;
  }

  /** Adds a value after those of the same path. */
  add(path: TopicPath, value: V): TopicNode<V> {
    let node = this.root;
    for (let depth = 0; depth < path.length; depth++) {
      const element = path[depth]!;
      let child = node.children?.get(element);
      if (child === undefined) {
        child = new TopicNode(upTo(path, depth + 1), node);
        node.children ??= new Map();
        node.children.set(element, child);
        this.#version++;
      }
      node = child;
    }
    (node.values as V[]).push(value);
    this.#size++;
    return node;
  }

  /** Removes the earliest equal value of a path; returns whether there was one. */
  remove(path: TopicPath, value: V): boolean {
    const node = this.get(path);
    const index = node === undefined ? -1 : node.values.indexOf(value);
    if (node === undefined || index < 0) return false;
    node.values = node.values.toSpliced(index, 1);
    this.#size--;
    if (prune(node)) this.#version++;
    return true;
  }

  /** The node of exactly this path. */
  get(path: TopicPath): TopicNode<V> | undefined {
    let node: TopicNode<V> | undefined = this.root;
    for (let depth = 0; depth < path.length && node !== undefined; depth++) {
      node = node.children?.get(path[depth]!);
    }
    return node;
  }

  /** The deepest node on the way to a path; all nodes that match are from there up to the root. */
  deepest(path: TopicPath): TopicNode<V> {
    let node = this.root;
    for (let depth = 0; depth < path.length; depth++) {
      const child = node.children?.get(path[depth]!);
      if (child === undefined) break;
      node = child;
    }
    return node;
  }

  /** All nodes, each after its parent; some have no values of their own. */
  *nodes(): Generator<TopicNode<V>, void, undefined> {
    const ahead: TopicNode<V>[] = [this.root];
    for (let node = ahead.pop(); node !== undefined; node = ahead.pop()) {
      yield node;
      for (const child of node.children?.values() ?? []) ahead.push(child);
    }
  }

  /** All values, those of a path in their order. */
  *values(): Generator<V, void, undefined> {
    for (const node of this.nodes()) yield* node.values;
  }

  /** Removes all values, also from nodes that somebody holds. */
  clear(): void {
    for (const node of this.nodes()) node.values = [];
    this.root.children = undefined;
    this.#size = 0;
    this.#version++;
  }
}

/** The frozen path of the first elements of a path. */
function upTo(path: TopicPath, length: number): TopicPath {
  return length === path.length && Object.isFrozen(path)
    ? path
    : Object.freeze(path.slice(0, length));
}

/** Removes the nodes that lead to no value, from `node` up; returns whether there were any. */
function prune<V>(node: TopicNode<V>): boolean {
  let empty = node;
  while (
    empty.parent !== undefined && empty.values.length === 0 && empty.children === undefined
  ) {
    const { parent } = empty;
    parent.children?.delete(empty.path[empty.path.length - 1]!);
    if (parent.children?.size === 0) parent.children = undefined;
    empty = parent;
  }
  return empty !== node;
}
