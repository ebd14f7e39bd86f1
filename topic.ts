/**
 * Topics: paths of strings, and the tree of what stands at them.
 *
 * ```
 *            root []          publish to ["a","b","x"]
 *           ╱        ╲          deepest() goes down as far as there are nodes: ["a","b"],
 *      ["a"]          ["z"]     then `parent` leads up past everyone who gets the message:
 *      ╱    ╲                   ["a","b"], ["a"], []
 * ["a","b"] ["a","c"]
 * ```
 *
 * A path is made in one place, {@linkcode topicPath}; whoever holds one need not check it again.
 */

/**
 * A topic as callers give it: a path of strings, a plain string for a path of one, or `null` for
 * the root.
 *
 * - A plain string is never split: `"a.b"` is `["a.b"]`.
 * - `[]` is the root, too.
 */
export type Topic = string | readonly string[] | null;

/** A topic as subscribers get it: a frozen array; the root is empty. */
export type TopicPath = readonly string[];

/** How many elements a topic may have. */
export const TOPIC_ELEMENTS_MAX = 16;

/** How many bytes of UTF-8 an element of a topic may have. */
export const ELEMENT_BYTES_MAX = 255;

const ROOT: TopicPath = Object.freeze([]);
/** The last element of a topic that never leaves the process. */
const LOCAL = "*local";
/** The first element of what the broker itself publishes. */
const BROKER = "*broker";
const UTF8_BYTES_PER_UNIT_MAX = 3;
const SHOWN_CHARS_MAX = 80;

/**
 * The frozen path of a topic, checked.
 *
 * - The root is always the same object.
 *
 * @param topic What a caller gave as a topic.
 * @returns A frozen copy of its own.
 * @throws {TypeError} If it is no topic, or an element is not a non-empty well-formed string.
 * @throws {RangeError} If it has too many elements, or too long a one.
 */
export function topicPath(topic: Topic): TopicPath {
  if (typeof topic === "string") {
    if (!isPlain(topic)) checkElement(topic, topic, 0);
    return Object.freeze([topic]);
  }
  if (topic === null) return ROOT;
  if (!Array.isArray(topic)) {
    throw new TypeError(
      `Cannot use ${show(topic)} as a topic: it must be a string, an array of strings or null`,
    );
  }
  const { length } = topic;
  if (length === 0) return ROOT;
  if (length > TOPIC_ELEMENTS_MAX) {
    throw new RangeError(
      `Cannot use ${show(topic)} as a topic: ` +
        `it has ${length} elements, the limit is ${TOPIC_ELEMENTS_MAX}`,
    );
  }
  const path: string[] = [];
  for (let index = 0; index < length; index++) {
    const element: unknown = topic[index];
    if (!isPlain(element)) checkElement(topic, element, index);
    path.push(element as string);
  }
  return Object.freeze(path);
}

/** A path as error messages show it: JSON on one line, without control characters. */
export function formatTopic(path: TopicPath): string {
  return printable(JSON.stringify(path));
}

/** A text on one line: what a terminal may obey, or that turns a line around, is escaped. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Whether messages for this path stay in the process: its last element is `"*local"`. */
export function isLocalPath(path: TopicPath): boolean {
  return path.length > 0 && path[path.length - 1] === LOCAL;
}

/** Whether this path is one of the broker's own: its first element is `"*broker"`. */
export function isBrokerPath(path: TopicPath): boolean {
  return path.length > 0 && path[0] === BROKER;
}

/**
 * What stands at one path of a {@linkcode TopicTree}.
 *
 * - A node that is taken out of the tree keeps its `parent`, so that whoever walks up goes on.
 */
export class TopicNode<V> {
  /** The path, frozen. */
  readonly path: TopicPath;
  /** The node of the path that is one element shorter; none for the root. */
  readonly parent: TopicNode<V> | undefined;
  /** The nodes of the paths that are one element longer, by that element; never empty. */
  children: Map<string, TopicNode<V>> | undefined = undefined;
  /**
   * The values, in the order in which they were added.
   *
   * - Adding appends to this array, removing replaces it. So whoever walks over the first
   *   `length` values that it saw misses none and sees none twice.
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
 * - Knows nothing of what the values are; the same value may stand at a path twice.
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

  /** Takes away the earliest equal value of a path; whether there was one. */
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

  /** The deepest node on the way to a path; all that match are on the way from it to the root. */
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

  /** Takes all values away, also from nodes that somebody holds. */
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

/** Takes out the nodes that lead to no value, from `node` up; whether there were any. */
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

/** Whether an element is valid at first sight; {@linkcode checkElement} looks again if not. */
function isPlain(element: unknown): boolean {
  return typeof element === "string" && element.length > 0 &&
    element.length * UTF8_BYTES_PER_UNIT_MAX <= ELEMENT_BYTES_MAX && element.isWellFormed();
}

function checkElement(topic: Topic, element: unknown, index: number): void {
  const problem = (text: string) =>
    `Cannot use ${show(topic)} as a topic: element ${index} ${text}`;
  if (typeof element !== "string") {
    throw new TypeError(problem(`is ${show(element)}, it must be a string`));
  }
  if (element === "") {
    throw new TypeError(problem("is empty, it must have a character; the root is null"));
  }
  if (element.length > ELEMENT_BYTES_MAX) {
    throw new RangeError(
      problem(`has ${element.length} characters, the limit is ${ELEMENT_BYTES_MAX} bytes of UTF-8`),
    );
  }
  if (!element.isWellFormed()) {
    throw new TypeError(problem("has a lone surrogate, it must be a well-formed string"));
  }
  const bytes = utf8Bytes(element);
  if (bytes > ELEMENT_BYTES_MAX) {
    throw new RangeError(problem(`is ${bytes} bytes of UTF-8, the limit is ${ELEMENT_BYTES_MAX}`));
  }
}

/** The length of a well-formed string in UTF-8. */
function utf8Bytes(text: string): number {
  let bytes = 0;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    const surrogate = unit >= 0xd800 && unit < 0xe000;
    bytes += unit < 0x80 ? 1 : unit < 0x800 || surrogate ? 2 : UTF8_BYTES_PER_UNIT_MAX;
  }
  return bytes;
}

/** A value that is no topic, for a message: short, and whatever it is. */
function show(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    // A bigint, a cycle, or a getter that throws: its kind says enough.
    text = `a value of type ${typeof value}`;
  }
  return printable(text.length <= SHOWN_CHARS_MAX ? text : `${text.slice(0, SHOWN_CHARS_MAX)}…`);
}
