/**
 * Topics that are granted, each with all below it: by a key, or by a ticket of one.
 *
 * ```
 *  KeyGrants ◀── TicketGrants      what both grant
 *  a tree        a list
 * ```
 *
 * There are few keys with perhaps many topics, and perhaps many tickets with few: so those of a ticket
 * are the list that it has anyway, and take next to no memory besides.
 */
import { interestBytes } from "../routing/interest_bytes.ts";
import { NOTHING, Share } from "../routing/share.ts";
import { isAny, type TopicNode, TopicTree } from "../routing/topic_tree.ts";
import { any, isBrokerPath, isPath, type TopicPattern } from "../topic.ts";

/** What a topic of a share takes that is one of the grants: a place in the lists. */
const LISTED_BYTES = 64;
/** How many bytes the lists of all shares that are kept may take: of those without `any` all. */
const KEPT_BYTES_MAX = 2 ** 20;
/** What a topic of a list takes there; and one that was made for it. */
const KEPT_TOPIC_BYTES = 8;
const MADE_TOPIC_BYTES = 128;
/** So many topics of a share are compared with each other. */
const COMPARED_MAX = 64;

/** Topics that are granted, each with all below it. */
export abstract class Grants {
  /** These topics. */
  abstract readonly topics: readonly TopicPattern[];
  /** By the text of the topic; made with the first, because most have none. */
  #shares: Map<string, Share> | undefined;
  #olderShares: Map<string, Share> | undefined;
  #kept = 0;

  /** Whether a topic is one of them, or below one, whatever stands where it has `any`. */
  abstract covers(path: TopicPattern): boolean;

  /** Whether a topic is exactly one that is granted. */
  abstract has(topic: TopicPattern): boolean;

  /** Where these and a topic that is not covered meet; if that has `any`, perhaps some twice. */
  protected abstract meet(path: TopicPattern): readonly TopicPattern[];

  /** What is granted of a topic that is not covered; mostly the same for the same topic. */
  shareOf(path: TopicPattern): Share {
    const text = JSON.stringify(path);
    let share = this.#shares?.get(text);
    if (share !== undefined) return share;
    share = this.#olderShares?.get(text) ?? this.#makeShare(path);
    if (share.isEmpty) return share;
    const bytes = share.topics.length * (share.bytes > 0 ? MADE_TOPIC_BYTES : KEPT_TOPIC_BYTES);
    this.#kept += bytes;
    if (this.#kept > KEPT_BYTES_MAX / 2) {
      this.#olderShares = this.#shares;
      this.#shares = undefined;
      this.#kept = bytes;
    }
    this.#shares = (this.#shares ?? new Map()).set(text, share);
    return share;
  }

  #makeShare(path: TopicPattern): Share {
    const met = this.meet(path);
    if (met.length === 0) return NOTHING;
    // Those below one of few topics: there cannot be many such shares.
    if (isPath(path) && met.every((topic) => this.has(topic))) {
      return new Share(Object.freeze(met));
    }
    const topics = withoutCovered(met);
    let bytes = 0;
    for (const topic of topics) bytes += this.has(topic) ? LISTED_BYTES : interestBytes(topic);
    return new Share(Object.freeze(topics), bytes);
  }

  /** These, as far as a ticket has them, too. */
  narrowedTo(topics: readonly TopicPattern[] | undefined): Grants {
    return topics === undefined ? this : new TicketGrants(topics, this);
  }
}

/** What a key grants. */
export class KeyGrants extends Grants {
  /** Those that no other one covers, the shortest first. */
  readonly topics: readonly TopicPattern[];
  readonly #tree = new TopicTree<true>();

  /** Makes those of a key. */
  constructor(topics: readonly TopicPattern[]) {
    super();
    // What covers others comes first: the shortest, and those with `any`.
    this.topics = topics.toSorted((a, b) => a.length - b.length || anysOf(b) - anysOf(a))
      .filter((path) => !this.covers(path) && (this.#tree.at(path).value = true));
  }

  override covers(path: TopicPattern): boolean {
    return this.#tree.covers(path);
  }

  override has(topic: TopicPattern): boolean {
    return this.#tree.get(topic)?.value === true;
  }

  protected override meet(path: TopicPattern): readonly TopicPattern[] {
    const met: TopicPattern[] = [];
    let level = [this.#tree.root];
    for (let depth = 0; depth < path.length && level.length > 0; depth++) {
      const next: TopicNode<true>[] = [];
      for (const node of level) {
        if (node.value !== undefined) met.push(lower(path, node.path));
        else next.push(...meeting(node, path[depth]!, depth));
      }
      level = next;
    }
    if (level.length === 0) return met;
    // The tree has many more nodes than topics.
    for (const topic of this.topics) {
      if (topic.length >= path.length && meets(path, topic)) met.push(lower(path, topic));
    }
    return met;
  }
}

/** What a ticket grants: what its key does, and it says itself. */
class TicketGrants extends Grants {
  readonly topics: readonly TopicPattern[];
  readonly #ofKey: Grants;

  constructor(topics: readonly TopicPattern[], ofKey: Grants) {
    super();
    this.topics = topics;
    this.#ofKey = ofKey;
  }

  override covers(path: TopicPattern): boolean {
    return this.topics.some((topic) => isAtOrBelow(path, topic)) && this.#ofKey.covers(path);
  }

  override has(topic: TopicPattern): boolean {
    return this.topics.includes(topic) || this.#ofKey.has(topic);
  }

  protected override meet(path: TopicPattern): readonly TopicPattern[] {
    const said = this.topics.filter((topic) => meets(path, topic)).map((one) => lower(path, one));
    const ofKey = this.#ofKey;
    const topics = withoutCovered(said);
    const met = topics.flatMap((topic) =>
      ofKey.covers(topic) ? [topic] : ofKey.shareOf(topic).topics
    );
    return topics.length < 2 ? met : withoutCovered(met); // Several may lead to the same.
  }
}

/** The nodes right below one where an element leads, or `any` that it stands for. */
function* meeting<V>(
  node: TopicNode<V>,
  element: TopicPattern[number],
  depth: number,
): Generator<TopicNode<V>, void, undefined> {
  if (node.any !== undefined && isAny(depth, element)) yield node.any;
  if (element !== any) {
    const child = node.child(element);
    if (child !== undefined) yield child;
    return;
  }
  for (const child of node.children?.values() ?? []) {
    if (isAny(depth, child.path[depth]!)) yield child;
  }
}

/**
 * Those of some topics that no other one of them covers; none twice. Of many all: to find these would
 * take long, and who gets a topic twice gets it once.
 */
function withoutCovered(topics: readonly TopicPattern[]): readonly TopicPattern[] {
  const isSimple = topics.length < 2 || topics.length > COMPARED_MAX;
  return isSimple ? topics : new KeyGrants(topics).topics;
}

/** The topic for what two topics that meet have in common: mostly one of them. */
function lower(one: TopicPattern, other: TopicPattern): TopicPattern {
  const [shorter, longer] = one.length < other.length ? [one, other] : [other, one];
  const isWhole = shorter.every((element, depth) => element === any || element === longer[depth]);
  if (isWhole) return longer;
  return Object.freeze(
    longer.map((element, depth) => element === any ? shorter[depth] ?? any : element),
  );
}

/** Whether a topic that is wanted and one that is granted have something in common. */
function meets(wanted: TopicPattern, granted: TopicPattern): boolean {
  // What the broker itself publishes is not for the catch-all.
  if (wanted.length === 0) return !isBrokerPath(granted);
  const length = Math.min(wanted.length, granted.length);
  for (let depth = 0; depth < length; depth++) {
    const a = wanted[depth]!;
    const b = granted[depth]!;
    const isMet = a === b || a === any && isAny(depth, b) || b === any && isAny(depth, a);
    if (!isMet) return false;
  }
  return true;
}

/** Whether a topic is another one, or below it. */
function isAtOrBelow(path: TopicPattern, top: TopicPattern): boolean {
  if (path.length < top.length) return false;
  for (let depth = 0; depth < top.length; depth++) {
    const element = top[depth]!;
    if (element !== path[depth] && !(element === any && isAny(depth, path[depth]!))) return false;
  }
  return true;
}

function anysOf(path: TopicPattern): number {
  let count = 0;
  for (const element of path) if (element === any) count++;
  return count;
}
