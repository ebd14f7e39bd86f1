/**
 * Those who want the same, and who can come and go at the same cost however many there are.
 *
 * ```
 *  Audience ◀── Place    those who want one topic, whole
 *           ◀── Scope    those who want one topic, of which they get the same share: other topics;
 *                        each of these topics' places knows the scope, not each of its members
 * ```
 */
import { isBrokerPath } from "../topic.ts";
import type { Share } from "./share.ts";
import type { TopicNode } from "./topic_tree.ts";

/** One peer in one {@linkcode Audience}. */
export class Member<P> {
  readonly peer: P;
  readonly audience: Audience<P>;
  /** Where it is among the members. */
  at: number;
  /** When all that its peer wants was replaced last, if that has named it: how often that was done. */
  round = 0;

  /** Use {@linkcode Audience.join}. */
  constructor(peer: P, audience: Audience<P>, at: number) {
    this.peer = peer;
    this.audience = audience;
    this.at = at;
  }
}

/** Peers that want the same, in no particular order. */
export class Audience<P> {
  /** Whether what they want is more than what the broker itself publishes: then they get broadcasts. */
  readonly isWide: boolean;
  readonly #members: Member<P>[] = [];
  /** When somebody came or went last, as the router counts changes. */
  changed = 0;

  /** Makes one without anybody. */
  constructor(isWide = true) {
    this.isWide = isWide;
  }

  /** How many there are. */
  get size(): number {
    return this.#members.length;
  }

  /** One more peer, which is not a member yet. */
  join(peer: P, now: number): Member<P> {
    const member = new Member(peer, this, this.#members.length);
    this.#members.push(member);
    this.changed = now;
    return member;
  }

  /** Removes a member; the last takes its place. */
  leave(member: Member<P>, now: number): void {
    const last = this.#members.pop()!;
    if (last !== member) this.#members[last.at = member.at] = last;
    this.changed = now;
  }

  /** Adds the peers to the end of a list. */
  addTo(list: P[]): void {
    for (const { peer } of this.#members) list.push(peer);
  }
}

/** Where messages lead, with the list of those who get them. */
export interface Listed<P> {
  /** Who gets them, each once. */
  peers: readonly P[] | undefined;
  /** The count of changes when that list was made, and when it was last seen to be right. */
  madeAt: number;
  checkedAt: number;
}

/** How many places have been made. */
let places = 0;

const NO_SCOPES: ReadonlySet<never> = new Set();

/** Those who want one topic. */
export class Place<P> extends Audience<P> implements Listed<P> {
  readonly node: TopicNode<Place<P>>;
  /** No other place has it. */
  readonly number = ++places;
  #scopes: Set<Scope<P>> | undefined = undefined;
  /** Those of topics that have no place below this one and meet no `any`. */
  peers: readonly P[] | undefined = undefined;
  madeAt = 0;
  checkedAt = 0;

  /** Makes one without anybody. */
  constructor(node: TopicNode<Place<P>>) {
    super(!isBrokerPath(node.path));
    this.node = node;
  }

  /** Those who want a topic above and get this one of it. */
  get scopes(): ReadonlySet<Scope<P>> {
    return this.#scopes ?? NO_SCOPES;
  }

  /** Makes this one of the places of a scope. */
  addScope(scope: Scope<P>): void {
    this.#scopes ??= new Set();
    this.#scopes.add(scope);
  }

  /** Undoes that. */
  removeScope(scope: Scope<P>): void {
    this.#scopes?.delete(scope);
    if (this.#scopes?.size === 0) this.#scopes = undefined;
  }

  /** Whether nothing leads here any more, not even a scope that is empty for now. */
  get isUnused(): boolean {
    return this.size === 0 && this.scopes.size === 0;
  }

  /** Whether somebody gets the topic. */
  get isWanted(): boolean {
    if (this.size > 0) return true;
    for (const { size } of this.scopes) if (size > 0) return true;
    return false;
  }

  /** Adds all who get the topic to the end of a list; some perhaps several times. */
  addAllTo(list: P[]): void {
    this.addTo(list);
    for (const scope of this.scopes) scope.addTo(list);
  }

  /** Whether somebody came or went, here or in a scope, after the router had counted so many changes. */
  hasChangedSince(count: number): boolean {
    if (this.changed > count) return true;
    if (this.#scopes === undefined) return false;
    for (const { changed } of this.#scopes) if (changed > count) return true;
    return false;
  }
}

/** Those who get the same share of a topic that they want. */
export class Scope<P> extends Audience<P> {
  /** What they get. */
  readonly share: Share;
  /** The places of these, as far as the scope is made. */
  readonly places: Place<P>[] = [];
  /** How many are making it. */
  makers = 0;

  /** Makes one without anybody, and without places. */
  constructor(share: Share) {
    super(!share.topics.every(isBrokerPath));
    this.share = share;
  }

  /** Whether it has all its places. */
  get isWhole(): boolean {
    return this.places.length === this.share.topics.length;
  }
}
