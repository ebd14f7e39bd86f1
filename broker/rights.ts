/**
 * What a key grants to whoever holds it.
 *
 * A grant is a topic: it grants that topic and all below it, and the root grants everything. That is
 * the whole rule; there are no denials. Whoever wants more gets what both have in common.
 *
 * ```
 *                                granted: ["a"]      ["a","b"], ["c"]          ["a",any,"x"]
 *  publish to ["a","b"]          yes                 yes                       no
 *  publish to ["a","b","x"]      yes                 yes                       yes
 *  publish to the root           no                  no                        no
 *  subscribe to ["a","b","x"]    as it is            as it is                  as it is
 *  subscribe to ["a"]            as it is            narrowed to ["a","b"]     to ["a",any,"x"]
 *  subscribe to ["a",any,"x"]    as it is            narrowed to ["a","b","x"] as it is
 *  subscribe to ["a","b"]        as it is            as it is                  to ["a","b","x"]
 *  subscribe to [any,"b"]        to ["a","b"]        to ["a","b"], ["c","b"]   to ["a","b","x"]
 *  subscribe to the root         to ["a"]            to ["a","b"] and ["c"]    to ["a",any,"x"]
 *  subscribe to ["z"]            refused             refused                   refused
 *  serve ["a","b"]               yes                 yes                       no
 *  serve ["a","b","x"]           yes                 yes                       yes
 *  serve ["a"]                   yes                 no                        no
 *  serve ["a",any,"x"]           yes                 no                        yes
 * ```
 *
 * To serve a topic takes the right to subscribe to all of it, too.
 *
 * A ticket grants what its key grants and it says itself, too.
 */
import type { Narrowing } from "../protocol/ticket.ts";
import type { Granted } from "../routing/router.ts";
import {
  formatTopic,
  isBrokerPath,
  isLocalPath,
  type Topic,
  type TopicPath,
  type TopicPattern,
  topicPattern,
} from "../topic.ts";
import { Grants, KeyGrants } from "./grants.ts";
import type { BrokerKey } from "./keys.ts";

/** How many topics a key may grant to publish to; as many to subscribe to, and to serve. */
export const GRANTS_MAX = 4096;

/** Refuses a grant of what nobody can have. */
function checkGrant(field: string, path: TopicPattern): void {
  const why = isLocalPath(path)
    ? "what ends with *local never leaves the process of its publisher"
    : field === "publish" && isBrokerPath(path)
    ? "only the broker publishes to *broker"
    : field === "serve" && isBrokerPath(path)
    ? "what the broker publishes itself goes to all who subscribe to it"
    : undefined;
  if (why === undefined) return;
  throw new TypeError(`${field} has ${formatTopic(path)}, which grants nothing: ${why}`);
}

/** What a key grants, checked. */
function keyGrants(field: string, topics: readonly Topic[]): Grants {
  if (!Array.isArray(topics)) throw new TypeError(`${field} must be an array of topics`);
  if (topics.length > GRANTS_MAX) {
    throw new RangeError(
      `${field} has ${topics.length} topics; the limit is ${GRANTS_MAX}: grant a topic above them`,
    );
  }
  const paths = topics.map((topic) => topicPattern(topic));
  for (const path of paths) checkGrant(field, path);
  return new KeyGrants(paths);
}

/** What rights are made of: the fields of a key, or what others have. */
type RightsOptions = Omit<BrokerKey, "name" | "key" | "publish" | "subscribe" | "serve"> & {
  readonly publish?: readonly Topic[] | Grants | undefined;
  readonly subscribe?: readonly Topic[] | Grants | undefined;
  readonly serve?: readonly Topic[] | Grants | undefined;
};

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
  readonly #serve: Grants;

  /** Checks the fields of a key, and makes rights of them. */
  constructor(options: RightsOptions) {
    const { publish = [], subscribe = [], serve = [], wait = false } = options;
    const { messagesPerSecond = Infinity, connections = Infinity } = options;
    this.#publish = publish instanceof Grants ? publish : keyGrants("publish", publish);
    this.#subscribe = subscribe instanceof Grants ? subscribe : keyGrants("subscribe", subscribe);
    this.#serve = serve instanceof Grants ? serve : keyGrants("serve", serve);
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

  /** These, as far as a ticket has them, too. */
  narrowedTo({ publish, subscribe, serve }: Narrowing): Rights {
    const { wait, messagesPerSecond, connections } = this;
    return new Rights({
      wait,
      messagesPerSecond,
      connections,
      publish: this.#publish.narrowedTo(publish),
      subscribe: this.#subscribe.narrowedTo(subscribe),
      serve: this.#serve.narrowedTo(serve),
    });
  }

  /** Whether these are the same, written in the same way. */
  equals(other: Rights): boolean {
    return this.#text() === other.#text();
  }

  #text(): string {
    const { wait, messagesPerSecond, connections } = this;
    const topics = [this.#publish.topics, this.#subscribe.topics, this.#serve.topics];
    return JSON.stringify([...topics, wait, `${messagesPerSecond} ${connections}`]);
  }

  /** Whether they may publish to a topic. */
  mayPublish(path: TopicPath): boolean {
    return this.#publish.covers(path);
  }

  /** Whether they may get messages of a topic that they have subscribed to, or broadcasts. */
  mayGet(path: TopicPath): boolean {
    return path.length === 0 ? this.narrow(path)?.isEmpty !== true : this.#subscribe.covers(path);
  }

  /** Whether they may be members of the groups of a topic. */
  mayServe(path: TopicPattern): boolean {
    return !isBrokerPath(path) && this.#serve.covers(path) && this.#subscribe.covers(path);
  }

  /** What a subscriber to a topic gets of it. */
  narrow(path: TopicPattern): Granted {
    return this.#subscribe.covers(path) ? undefined : this.#subscribe.shareOf(path);
  }
}
