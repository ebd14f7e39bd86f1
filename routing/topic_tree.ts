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
import { StringMap } from "../base/string_map.ts";
import { ROOT, type TopicPath } from "../topic.ts";

/**
 * One path of a {@linkcode TopicTree}, and the value there.
 *
 * - A node that is removed from the tree keeps its `parent`, so that whoever walks up can go on.
 */
export class TopicNode<V> {
  /** The path, frozen. */
  readonly path: TopicPath;
  /** The node of the path that is one element shorter; `undefined` for the root. */
  readonly parent: TopicNode<V> | undefined;
  /** The nodes of the paths that are one element longer, by that element; never empty. */
  children: StringMap<TopicNode<V>> | undefined = undefined;
  /** What is at this path; whoever takes it away calls {@linkcode TopicTree.prune}. */
  value: V | undefined = undefined;
  /**
   * Changes when a node comes right below this one, and when this one leaves the tree: until then
   * {@linkcode TopicTree.deepest} is the same for the paths that led here.
   */
  shape = 0;
  /** When a value came to this path or left it last, as the owner of the tree counts changes. */
  changed = 0;

  /** Makes a node without a value; `path` must be frozen. */
  constructor(path: TopicPath, parent: TopicNode<V> | undefined) {
    this.path = path;
    this.parent = parent;
  }
}

/**
 * Values by path, at most one at each.
 *
 * - Every node but the root has a value, or leads to one that has.
 */
export class TopicTree<V> {
  /** The node of `[]`; it is always there. */
  readonly root: TopicNode<V> = new TopicNode<V>(ROOT, undefined);
  readonly #onNode: (element: string, isMade: boolean) => void;

  /** Makes one without values; calls `onNode` when a node below the root is made, and when it goes. */
  constructor(onNode: (element: string, isMade: boolean) => void = () => {}) {
    this.#onNode = onNode;
  }

  /** The node of exactly this path, which is made if it is not there; it must get a value. */
  at(path: TopicPath): TopicNode<V> {
    let node = this.root;
    for (let depth = 0; depth < path.length; depth++) {
      const element = path[depth]!;
      let child = node.children?.get(element);
      if (child === undefined) {
        child = new TopicNode(upTo(path, depth + 1), node);
        node.children ??= new StringMap();
        node.children.set(element, child);
        node.shape++;
        this.#onNode(element, true);
      }
      node = child;
    }
    return node;
  }

  /** The node of exactly this path, if it is there. */
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

  /** Whether a path, or one above it, has a value. */
  covers(path: TopicPath): boolean {
    let node: TopicNode<V> | undefined = this.root;
    for (let depth = 0; node !== undefined; depth++) {
      if (node.value !== undefined) return true;
      if (depth === path.length) return false;
      node = node.children?.get(path[depth]!);
    }
    return false;
  }

  /** Removes the nodes that lead to no value, from one that has none any more up. */
  prune(node: TopicNode<V>): void {
    for (let empty = node; empty.value === undefined && empty.children === undefined;) {
      const { parent, path } = empty;
      // The root stays; and a node that has left the tree already may have a successor there.
      if (parent === undefined || parent.children?.get(path.at(-1)!) !== empty) return;
      empty.shape++;
      parent.children.delete(path.at(-1)!);
      this.#onNode(path.at(-1)!, false);
      if (parent.children.size === 0) parent.children = undefined;
      empty = parent;
    }
  }

  /** The node of a path and all below it, each after its parent; some have no value of their own. */
  *nodes(path: TopicPath = ROOT): Generator<TopicNode<V>, void, undefined> {
    const top = this.get(path);
    const ahead = top === undefined ? [] : [top];
    for (let node = ahead.pop(); node !== undefined; node = ahead.pop()) {
      yield node;
      for (const child of node.children?.values() ?? []) ahead.push(child);
    }
  }

  /** Removes everything, also from nodes that somebody holds. */
  clear(): void {
    for (const node of this.nodes()) {
      node.value = undefined;
      node.shape++;
    }
    this.root.children = undefined;
  }
}

/** The frozen path of the first elements of a path. */
function upTo(path: TopicPath, length: number): TopicPath {
  return length === path.length && Object.isFrozen(path)
    ? path
    : Object.freeze(path.slice(0, length));
}
