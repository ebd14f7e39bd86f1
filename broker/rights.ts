/**
 * What a key grants to whoever holds it.
 *
 * A grant is a topic: it grants that topic and all below it, and the root grants everything. That is
 * the whole rule; there are no patterns and no denials.
 *
 * ```
 *                                   granted: ["a"]      granted: ["a","b"], ["c"]
 *  publish to ["a","b"]             yes                 yes
 *  publish to the root: broadcast   no                  no
 *  subscribe to ["a","b","x"]       as it is            as it is
 *  subscribe to ["a"]               as it is            narrowed to ["a","b"]
 *  subscribe to the root            narrowed to ["a"]   narrowed to ["a","b"] and ["c"]
 *  subscribe to ["z"]               refused             refused
 * ```
 */
import type { Granted } from "../routing/router.ts";
import { type TopicNode, TopicTree } from "../routing/topic_tree.ts";
import {
  formatTopic,
  isBrokerPath,
  isLocalPath,
  type Topic,
  type TopicPath,
  topicPath,
} from "../topic.ts";
import type { BrokerKey } from "./keys.ts";

/** How many topics a key may grant to publish to, and how many to subscribe to. */
export const GRANTS_MAX = 4096;
const NOTHING: readonly TopicPath[] = Object.freeze([]);

/** Refuses a grant of what nobody can have. */
function checkGrant(field: string, path: TopicPath): void {
  const why = isLocalPath(path)
    ? "what ends with *local never leaves the process of its publisher"
    : field === "publish" && isBrokerPath(path)
    ? "only the broker publishes to *broker"
    : undefined;
  if (why === undefined) return;
  throw new TypeError(`${field} has ${formatTopic(path)}, which grants nothing: ${why}`);
}

/** Topics that are granted, each with all below it. */
class Grants {
  /** Those that no other one covers, the shortest first. */
  readonly topics: readonly TopicPath[];
  readonly #tree = new TopicTree<true>();
  /** By a node above some of them: these. */
  readonly #below = new Map<TopicNode<true>, readonly TopicPath[]>();

  constructor(field: string, topics: readonly Topic[]) {
    if (!Array.isArray(topics)) throw new TypeError(`${field} must be an array of topics`);
    if (topics.length > GRANTS_MAX) {
      throw new RangeError(
        `${field} has ${topics.length} topics; the limit is ${GRANTS_MAX}: grant a topic above them`,
      );
    }
    const paths = topics.map((topic) => topicPath(topic));
    for (const path of paths) checkGrant(field, path);
    // The shortest first: what is covered then grants nothing more.
    this.topics = paths.toSorted((a, b) => a.length - b.length).filter((path) => {
      if (this.covers(path)) return false;
      return this.#tree.at(path).value = true;
    });
  }

  /** Whether a topic is one of them, or below one. */
  covers(path: TopicPath): boolean {
    return this.#tree.covers(path);
  }

  /** Those below a topic; the same array for the same topic. */
  below(path: TopicPath): readonly TopicPath[] {
    const node = this.#tree.get(path);
    if (node === undefined) return NOTHING;
    let below = this.#below.get(node);
    if (below === undefined) this.#below.set(node, below = Object.freeze(this.#find(path)));
    return below;
  }

  /** Goes through all, which is much less than the nodes below a topic may be. */
  #find(path: TopicPath): TopicPath[] {
    // What the broker itself publishes is not for the catch-all.
    if (path.length === 0) return this.topics.filter((grant) => !isBrokerPath(grant));
    return this.topics.filter((grant) => isAtOrBelow(grant, path));
  }
}

/** Whether a topic is another one, or below it. */
function isAtOrBelow(path: TopicPath, top: TopicPath): boolean {
  return path.length >= top.length && top.every((element, depth) => element === path[depth]);
}

/** What the holders of a key may do. */
export class Rights {
  /** Whether they may hold their publishers back. */
  readonly wait: boolean;
  /** How many messages they may publish in a second. */
  readonly messagesPerSecond: number;
  /** How many of them may have a session. */
  readonly connections: number;
  readonly #publish: Grants;
  readonly #subscribe: Grants;

  /** Checks the fields of a key, and makes rights of them. */
  constructor(options: Omit<BrokerKey, "name" | "key">) {
    const { publish = [], subscribe = [], wait = false } = options;
    const { messagesPerSecond = Infinity, connections = Infinity } = options;
    this.#publish = new Grants("publish", publish);
    this.#subscribe = new Grants("subscribe", subscribe);
    if (typeof wait !== "boolean") throw new TypeError(`wait is ${wait}; it must be a boolean`);
    if (typeof messagesPerSecond !== "number" || !(messagesPerSecond > 0)) {
      throw new RangeError(
        `messagesPerSecond is ${messagesPerSecond}; it must be a positive number`,
      );
    }
    if (!(Number.isInteger(connections) || connections === Infinity) || connections < 1) {
      throw new RangeError(`connections is ${connections}; it must be a positive integer`);
    }
    this.wait = wait;
    this.messagesPerSecond = messagesPerSecond;
    this.connections = connections;
  }

  /** Whether these are the same, written in the same way. */
  equals(other: Rights): boolean {
    return this.#text() === other.#text();
  }

  #text(): string {
    const { wait, messagesPerSecond, connections } = this;
    const topics = [this.#publish.topics, this.#subscribe.topics];
    return JSON.stringify([...topics, wait, `${messagesPerSecond} ${connections}`]);
  }

  /** Whether they may publish to a topic. */
  mayPublish(path: TopicPath): boolean {
    return this.#publish.covers(path);
  }

  /** Whether they may get messages of a topic that they have subscribed to, or broadcasts. */
  mayGet(path: TopicPath): boolean {
    return path.length === 0 ? this.narrow(path)?.length !== 0 : this.#subscribe.covers(path);
  }

  /** What a subscriber to a topic gets of it. */
  narrow(path: TopicPath): Granted {
    return this.#subscribe.covers(path) ? undefined : this.#subscribe.below(path);
  }
}
