/**
 * A tree of values at topics, some of which have elements of any name.
 *
 * ```
 *            root []             publish to ["a","b","x"]: most messages meet no `any`, and go
 *           ╱        ╲           down as far as there are nodes: ["a","b"]; then `parent` leads
 *      ["a"]          ["z"]      up past everyone who gets them: ["a","b"], ["a"], []
 *      ╱    ╲           │
 * ["a","b"] ["a","c"]  any       publish to ["z","y"]: it crosses an `any`, so all nodes are
 *                                noted that it leads to: ["z",any], ["z"], []
 * ```
 */
import { StringMap } from "../base/string_map.ts";
import {
  any,
  BROKER,
  isBrokerPath,
  type PatternElement,
  ROOT,
  type TopicPath,
  type TopicPattern,
} from "../topic.ts";

/**
 * One topic of a {@linkcode TopicTree}, and the value there.
 *
 * - A node that is removed from the tree keeps its `parent`, so that whoever walks up can go on.
 */
export class TopicNode<V> {
  /** The topic, frozen. */
  readonly path: TopicPattern;
  /** The node of the topic that is one element shorter; `undefined` for the root. */
  readonly parent: TopicNode<V> | undefined;
  /** The nodes of the topics that are one element longer, by that element; never empty. */
  children: StringMap<TopicNode<V>> | undefined = undefined;
  /** The node of the topic that is `any` longer. */
  any: TopicNode<V> | undefined = undefined;
  /** What is at this topic; whoever takes it away calls {@linkcode TopicTree.prune}. */
  value: V | undefined = undefined;
  /** Changes when a node comes right below this one, and when this one leaves the tree. */
  shape = 0;
  /** When a value came to this topic or left it last, as the owner of the tree counts changes. */
  changed = 0;

  /** Makes a node without a value; `path` must be frozen. */
  constructor(path: TopicPattern, parent: TopicNode<V> | undefined) {
    this.path = path;
    this.parent = parent;
  }

  /** The node that is one element longer. */
  child(element: PatternElement): TopicNode<V> | undefined {
    return element === any ? this.any : this.children?.get(element as string);
  }

  /** Whether no node is right below. */
  get isLeaf(): boolean {
    return this.children === undefined && this.any === undefined;
  }

  /** Whether several nodes are right below. */
  get isFork(): boolean {
    return (this.children?.size ?? 0) + (this.any === undefined ? 0 : 1) > 1;
  }

  /** The nodes right below. */
  *below(): Generator<TopicNode<V>, void, undefined> {
    if (this.children !== undefined) yield* this.children.values();
    if (this.any !== undefined) yield this.any;
  }
}

/**
 * The way that the messages of one path take through a tree; {@linkcode TopicTree.follow} finds it, and
 * finds it again after changes.
 */
export class Way<V> {
  /** The path. */
  readonly path: TopicPath;
  /** If no `any` is on the way: the deepest node on it. Those who get the messages are from there up. */
  node: TopicNode<V>;
  /** Otherwise, and if the path is the broker's: all nodes on the way, in the order of delivery. */
  crossing: readonly TopicNode<V>[] | undefined = undefined;
  /** The shape of the node, or of the whole tree if there is a crossing, when the way was found. */
  shape = -1;
  /** How often an `any` had come then: a way that met none may meet it. */
  forks = 0;
  /** If there is a crossing: the sum of the shapes on it when it was found. */
  shapes = 0;

  /** The way of a path, not found yet. */
  constructor(path: TopicPath, tree: TopicTree<V>) {
    this.path = path;
    this.node = tree.root;
  }
}

/**
 * Values by topic, at most one at each.
 *
 * - Every node but the root has a value, or leads to one that has.
 */
export class TopicTree<V> {
  /** The node of `[]`; it is always there. */
  readonly root: TopicNode<V> = new TopicNode<V>(ROOT, undefined);
  readonly #onNode: (element: PatternElement, isMade: boolean) => void;
  /** How often an `any` has come. */
  forks = 0;
  /** Its shape changes with each node that comes or goes anywhere. */
  readonly #whole = new TopicNode<V>(ROOT, undefined);

  /** Makes one without values; calls `onNode` when a node below the root is made, and when it goes. */
  constructor(onNode: (element: PatternElement, isMade: boolean) => void = () => {}) {
    this.#onNode = onNode;
  }

  /** The node of exactly this topic, which is made if it is not there; it must get a value. */
  at(path: TopicPattern): TopicNode<V> {
    let node = this.root;
    for (let depth = 0; depth < path.length; depth++) {
      node = node.child(path[depth]!) ?? this.#grow(node, upTo(path, depth + 1));
    }
    return node;
  }

  #grow(parent: TopicNode<V>, path: TopicPattern): TopicNode<V> {
    const element = path.at(-1)!;
    const node = new TopicNode(path, parent);
    if (element === any) {
      parent.any = node;
      // Ways that end here are found again anyway.
      if (parent.children !== undefined) this.forks++;
    } else (parent.children ??= new StringMap()).set(element as string, node);
    parent.shape++;
    this.#whole.shape++;
    this.#onNode(element, true);
    return node;
  }

  /** The node of exactly this topic, if it is there. */
  get(path: TopicPattern): TopicNode<V> | undefined {
    let node: TopicNode<V> | undefined = this.root;
    for (let depth = 0; depth < path.length && node !== undefined; depth++) {
      node = node.child(path[depth]!);
    }
    return node;
  }

  /** Finds a way, unless nothing has changed that it depends on. */
  follow(way: Way<V>): void {
    if (way.shape === way.node.shape && way.forks === this.forks) return;
    way.forks = this.forks;
    if (way.crossing !== undefined && way.shapes === this.#shapesOn(way.crossing)) {
      way.shape = way.node.shape;
      return;
    }
    way.crossing = isBrokerPath(way.path) ? this.crossing(way.path) : undefined;
    way.node = way.crossing === undefined ? this.#deepest(way) : this.#whole;
    way.shape = way.node.shape;
    if (way.crossing !== undefined) way.shapes = this.#shapesOn(way.crossing);
  }

  /** Another number after any change by which the way that crosses these nodes leads elsewhere. */
  #shapesOn(crossing: readonly TopicNode<V>[]): number {
    let sum = this.root.shape; // What the broker publishes does not lead there.
    for (let i = 0; i < crossing.length; i++) sum += crossing[i]!.shape;
    return sum;
  }

  /** The deepest node on a way without `any`; if there is one, notes the crossing. */
  #deepest(way: Way<V>): TopicNode<V> {
    const { path } = way;
    const deepest = this.deepest(path);
    const isWhole = deepest.path.length === path.length;
    for (let node = isWhole ? deepest.parent : deepest; node !== undefined; node = node.parent) {
      if (node.any === undefined) continue;
      way.crossing = this.crossing(path);
      return this.#whole;
    }
    return deepest;
  }

  /** The deepest node on the way to a path that meets no `any`; all who want it are from there up. */
  deepest(path: TopicPath): TopicNode<V> {
    let node = this.root;
    for (let depth = 0; depth < path.length; depth++) {
      const child = node.children?.get(path[depth]!);
      if (child === undefined) break;
      node = child;
    }
    return node;
  }

  /**
   * All nodes that a path leads to: the longest topics first; of those of the same length, where they
   * first differ, the one that is not `any`. What the broker publishes does not lead to the root.
   */
  crossing(path: TopicPath): TopicNode<V>[] {
    const levels = this.#levels(path);
    const nodes: TopicNode<V>[] = [];
    for (let depth = levels.length - 1; depth >= (isBrokerPath(path) ? 1 : 0); depth--) {
      for (const node of levels[depth]!) nodes.push(node);
    }
    return nodes;
  }

  /** The nodes that a path leads to, by their depth; at least the root. */
  #levels(path: TopicPath): TopicNode<V>[][] {
    let level = [this.root];
    const levels = [level];
    for (let depth = 0; depth < path.length; depth++) {
      const next: TopicNode<V>[] = [];
      for (const node of level) {
        const child = node.children?.get(path[depth]!);
        if (child !== undefined) next.push(child);
        if (node.any !== undefined && isAny(depth, path[depth]!)) next.push(node.any);
      }
      if (next.length === 0) break;
      levels.push(level = next);
    }
    return levels;
  }

  /** Whether a topic is covered: it, or one of those above it, has a value there or where `any` is. */
  covers(path: TopicPattern): boolean {
    return covers(this.root, path, 0);
  }

  /** Removes the nodes that lead to no value, from one that has none any more up. */
  prune(node: TopicNode<V>): void {
    for (let empty = node; empty.value === undefined && empty.isLeaf;) {
      const { parent, path } = empty;
      const element = path.at(-1)!;
      // The root stays; and a node that has left the tree already may have a successor there.
      if (parent === undefined || parent.child(element) !== empty) return;
      empty.shape++;
      this.#whole.shape++;
      if (element === any) parent.any = undefined;
      else {
        parent.children!.delete(element as string);
        if (parent.children!.size === 0) parent.children = undefined;
      }
      this.#onNode(element, false);
      empty = parent;
    }
  }

  /** The node of a topic and all below it, each after its parent; some have no value of their own. */
  nodes(path: TopicPattern = ROOT): Generator<TopicNode<V>, void, undefined> {
    const top = this.get(path);
    return nodesFrom(top === undefined ? [] : [top]);
  }

  /** The nodes that the path leads to at its full length, and all below them. */
  nodesAt(path: TopicPath): Generator<TopicNode<V>, void, undefined> {
    return nodesFrom(this.#levels(path)[path.length] ?? []);
  }

  /** Removes everything, also from nodes that somebody holds. */
  clear(): void {
    for (const node of this.nodes()) {
      node.value = undefined;
      node.shape++;
    }
    this.#whole.shape++;
    this.root.children = this.root.any = undefined;
  }
}

/** Whether `any` at this place of a topic stands for this element, too. */
export function isAny(depth: number, element: PatternElement): boolean {
  return depth > 0 || element !== BROKER;
}

function covers<V>(node: TopicNode<V>, path: TopicPattern, depth: number): boolean {
  if (node.value !== undefined) return true;
  if (depth === path.length) return false;
  const element = path[depth]!;
  if (node.any !== undefined && isAny(depth, element) && covers(node.any, path, depth + 1)) {
    return true;
  }
  const child = element === any ? undefined : node.children?.get(element as string);
  return child !== undefined && covers(child, path, depth + 1);
}

function* nodesFrom<V>(ahead: TopicNode<V>[]): Generator<TopicNode<V>, void, undefined> {
  for (let node = ahead.pop(); node !== undefined; node = ahead.pop()) {
    yield node;
    for (const child of node.below()) ahead.push(child);
  }
}

/** The frozen topic of the first elements of a topic. */
function upTo(path: TopicPattern, length: number): TopicPattern {
  return length === path.length && Object.isFrozen(path)
    ? path
    : Object.freeze(path.slice(0, length));
}
