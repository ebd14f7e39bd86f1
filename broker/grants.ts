/**
 * Topics that are granted, each with all below it: by a key, or by a ticket of one.
 *
 * ```
 *  KeyGrants ◀── TicketGrants      of both topics the lower one
 *  a tree        a list
 * ```
 *
 * There are few keys with perhaps many topics, and perhaps many tickets with few: so those of a ticket
 * are the list that it has anyway, and take next to no memory besides.
 */
import { type TopicNode, TopicTree } from "../routing/topic_tree.ts";
import { isBrokerPath, type TopicPath } from "../topic.ts";

const NOTHING: readonly TopicPath[] = Object.freeze([]);

/** Topics that are granted, each with all below it. */
export abstract class Grants {
  /** These topics. */
  abstract readonly topics: readonly TopicPath[];

  /** Whether a topic is one of them, or below one. */
  abstract covers(path: TopicPath): boolean;

  /** Those below a topic that is not covered; the same array for the same topic. */
  abstract below(path: TopicPath): readonly TopicPath[];

  /** These, as far as a ticket has them, too. */
  narrowedTo(topics: readonly TopicPath[] | undefined): Grants {
    return topics === undefined ? this : new TicketGrants(topics, this);
  }
}

/** What a key grants. */
export class KeyGrants extends Grants {
  /** Those that no other one covers, the shortest first. */
  readonly topics: readonly TopicPath[];
  readonly #tree = new TopicTree<true>();
  /** By a node above some of them: these. */
  readonly #below = new Map<TopicNode<true>, readonly TopicPath[]>();

  /** Makes those of a key. */
  constructor(topics: readonly TopicPath[]) {
    super();
    // The shortest first: what is covered then grants nothing more.
    this.topics = topics.toSorted((a, b) => a.length - b.length).filter((path) => {
      if (this.covers(path)) return false;
      return this.#tree.at(path).value = true;
    });
  }

  override covers(path: TopicPath): boolean {
    return this.#tree.covers(path);
  }

  override below(path: TopicPath): readonly TopicPath[] {
    const node = this.#tree.get(path);
    if (node === undefined) return NOTHING;
    let below = this.#below.get(node);
    if (below === undefined) {
      this.#below.set(node, below = Object.freeze(topicsBelow(this.topics, path)));
    }
    return below;
  }
}

/** What a ticket grants: what its key does, and it says itself. */
class TicketGrants extends Grants {
  readonly topics: readonly TopicPath[];
  readonly #ofKey: Grants;
  /** What is below those topics below which there is something, by their text. */
  #below: Map<string, readonly TopicPath[]> | undefined;

  constructor(topics: readonly TopicPath[], ofKey: Grants) {
    super();
    this.topics = topics;
    this.#ofKey = ofKey;
  }

  override covers(path: TopicPath): boolean {
    return this.#says(path) && this.#ofKey.covers(path);
  }

  /** Whether the ticket says it, whatever its key does. */
  #says(path: TopicPath): boolean {
    for (const topic of this.topics) if (isAtOrBelow(path, topic)) return true;
    return false;
  }

  override below(path: TopicPath): readonly TopicPath[] {
    if (this.#says(path)) return this.#ofKey.below(path);
    const said = topicsBelow(this.topics, path);
    if (said.length === 0) return NOTHING;
    const text = JSON.stringify(path);
    let below = this.#below?.get(text);
    if (below === undefined) {
      this.#below ??= new Map();
      this.#below.set(text, below = Object.freeze(this.#common(path, said)));
    }
    return below;
  }

  /** What is granted of what the ticket says below a topic. */
  #common(path: TopicPath, said: readonly TopicPath[]): readonly TopicPath[] {
    const { topics } = new KeyGrants(said); // Without those that others cover.
    const ofKey = this.#ofKey;
    if (ofKey.covers(path)) return topics;
    return topics.flatMap((topic) => ofKey.covers(topic) ? [topic] : ofKey.below(topic));
  }
}

/** Those of some topics that are another one or below it. Goes through all, which are not so many. */
function topicsBelow(topics: readonly TopicPath[], path: TopicPath): TopicPath[] {
  // What the broker itself publishes is not for the catch-all.
  if (path.length === 0) return topics.filter((topic) => !isBrokerPath(topic));
  return topics.filter((topic) => isAtOrBelow(topic, path));
}

/** Whether a topic is another one, or below it. */
function isAtOrBelow(path: TopicPath, top: TopicPath): boolean {
  if (path.length < top.length) return false;
  for (let depth = 0; depth < top.length; depth++) if (path[depth] !== top[depth]) return false;
  return true;
}
