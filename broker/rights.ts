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
import { isBrokerPath, type Topic, type TopicPath, topicPath } from "../topic.ts";
import type { BrokerKey } from "./keys.ts";

/** What the holders of a key may do. */
export class Rights {
  /** Whether they may hold their publishers back. */
  readonly wait: boolean;
  /** How many messages they may publish in a second. */
  readonly messagesPerSecond: number;
  readonly #publish: readonly TopicPath[];
  readonly #subscribe: readonly TopicPath[];

  /** Checks the fields of a key, and makes rights of them. */
  constructor(options: Omit<BrokerKey, "name" | "key">) {
    const { publish = [], subscribe = [], wait = false, messagesPerSecond = Infinity } = options;
    this.#publish = grantsOf("publish", publish);
    this.#subscribe = grantsOf("subscribe", subscribe);
    if (typeof wait !== "boolean") throw new TypeError(`wait is ${wait}; it must be a boolean`);
    if (typeof messagesPerSecond !== "number" || !(messagesPerSecond > 0)) {
      throw new RangeError(
        `messagesPerSecond is ${messagesPerSecond}; it must be a positive number`,
      );
    }
    this.wait = wait;
    this.messagesPerSecond = messagesPerSecond;
  }

  /** Whether these are the same, written in the same way. */
  equals(other: Rights): boolean {
    return this.#text() === other.#text();
  }

  #text(): string {
    const { wait, messagesPerSecond } = this;
    return JSON.stringify([this.#publish, this.#subscribe, wait, String(messagesPerSecond)]);
  }

  /** Whether they may publish to a topic. */
  mayPublish(path: TopicPath): boolean {
    return isGranted(path, this.#publish);
  }

  /** What a subscriber to a topic gets: the topic itself, what is granted below it, or nothing. */
  narrow(path: TopicPath): readonly TopicPath[] {
    if (isGranted(path, this.#subscribe)) return [path];
    // What the broker itself publishes is not for the catch-all.
    const isCatchAll = path.length === 0;
    return this.#subscribe.filter((grant) =>
      isWithin(grant, path) && !(isCatchAll && isBrokerPath(grant))
    );
  }
}

function grantsOf(field: string, topics: readonly Topic[]): readonly TopicPath[] {
  if (!Array.isArray(topics)) throw new TypeError(`${field} must be an array of topics`);
  const paths = topics.map((topic) => topicPath(topic));
  // A topic that another one covers grants nothing more.
  return paths.filter((path, at) =>
    !paths.some((other, place) =>
      at !== place && isWithin(path, other) && (other.length < path.length || place < at)
    )
  );
}

function isGranted(path: TopicPath, grants: readonly TopicPath[]): boolean {
  for (let i = 0; i < grants.length; i++) if (isWithin(path, grants[i]!)) return true;
  return false;
}

/** Whether a topic is another, or below it. */
function isWithin(path: TopicPath, above: TopicPath): boolean {
  if (above.length > path.length) return false;
  for (let i = 0; i < above.length; i++) if (above[i] !== path[i]) return false;
  return true;
}
