/**
 * A bounded cache from topics to what was worked out from them: most messages go to a topic that was
 * published a moment ago, and finding it is cheaper than checking, copying and freezing its elements.
 *
 * It is a tree by elements; the latest topic is kept apart. When it is full, everything is forgotten;
 * what is still in use comes back with its next message. If by then most lookups found nothing, topics
 * hardly ever come again, and for a while only the latest is remembered: looking up a string that V8 has
 * not seen costs more than checking a topic.
 *
 * Elements may have been chosen so that V8 has them all in one place of a table. Then a lookup compares
 * up to as many as are remembered, 1,024, some microseconds; a hash of our own would cost each message.
 */
import type { Topic, TopicPath } from "../topic.ts";

/** How many topics are remembered. */
const PATHS_MAX = 1024;

/** For how many unknown topics nothing is remembered, if topics hardly ever come again. */
const PAUSE = 256 * PATHS_MAX;

interface Entry<V> {
  readonly path: TopicPath;
  /** A copy, because V8 reads the elements of a frozen array several times slower. */
  readonly elements: readonly string[];
  readonly value: V;
}

/** One element of the topics that were published lately. */
class Node<V> {
  entry: Entry<V> | undefined = undefined;
  children: Map<unknown, Node<V>> | undefined = undefined;
}

/** A bounded map whose keys are topics. */
export class TopicCache<V> {
  #latest: Entry<V>;
  #root = new Node<V>();
  #size = 0;
  #found = 0;
  #pause = 0;

  /** Makes a cache that holds one value. */
  constructor(path: TopicPath, value: V) {
    this.#latest = { path, elements: [...path], value };
  }

  /** The value of a topic, given in any form; the latest is always there. */
  get(topic: Topic): V | undefined {
    const { path, elements, value } = this.#latest;
    if (topic === path || isSame(topic, elements)) return value;
    return this.#pause > 0 ? undefined : this.#find(topic);
  }

  #find(topic: Topic): V | undefined {
    let node: Node<V> | undefined = this.#root;
    if (typeof topic === "string") node = node.children?.get(topic);
    else if (Array.isArray(topic)) {
      for (let index = 0; index < topic.length && node !== undefined; index++) {
        node = node.children?.get(topic[index]);
      }
    } else if (topic !== null) return undefined;
    if (node?.entry === undefined) return undefined;
    this.#found++;
    this.#latest = node.entry;
    return node.entry.value;
  }

  /** Remembers the value of a path that is not in it. */
  set(path: TopicPath, value: V): void {
    this.#latest = { path, elements: [...path], value };
    if (this.#pause > 0) {
      this.#pause--;
      return;
    }
    let node = this.#root;
    for (const element of path) {
      node.children ??= new Map();
      let child = node.children.get(element);
      if (child === undefined) node.children.set(element, child = new Node());
      node = child;
    }
    node.entry = this.#latest;
    if (++this.#size < PATHS_MAX) return;
    this.#pause = this.#found < this.#size ? PAUSE : 0;
    this.#root = new Node();
    this.#size = this.#found = 0;
  }
}

/** Whether a topic has these elements. */
function isSame(topic: Topic, elements: readonly string[]): boolean {
  if (typeof topic === "string") return elements.length === 1 && elements[0] === topic;
  if (!Array.isArray(topic)) return topic === null && elements.length === 0;
  if (topic.length !== elements.length) return false;
  for (let index = 0; index < elements.length; index++) {
    if (topic[index] !== elements[index]) return false;
  }
  return true;
}
