/**
 * Which peers want what: interests by topic, and the routes that follow from them.
 *
 * ```
 *  route ──▶ deepest node ──▶ nearest place ──▶ list of peers
 *                 │                 │                │
 *           found again when   found again      made again when somebody
 *           a node comes or    at each change   came to this place or left it,
 *           goes right there                    or one above it
 * ```
 *
 * So a change forgets nothing, and what leads past it is found right when the next message comes.
 */
import { Account } from "../base/account.ts";
import { BytesCache } from "../base/bytes_cache.ts";
import { isBrokerPath, isLocalPath, type TopicPath, type TopicPattern } from "../topic.ts";
import { Audience, type Member, Place, Scope } from "./audience.ts";
import { nodeBytes, PLACE_BYTES } from "./interest_bytes.ts";
import { Interests } from "./interests.ts";
import { Pace } from "./pace.ts";
import type { Peer } from "./peer.ts";
import { type Crossing, PeerLists } from "./peer_lists.ts";
import { Scopes } from "./scopes.ts";
import type { Share } from "./share.ts";
import { type TopicNode, TopicTree, Way } from "./topic_tree.ts";

/** What a {@linkcode Router} calls. */
export interface RouterOptions<P extends Peer> {
  /**
   * Called when a topic is wanted once more, or once less; `peer` is `undefined` when it is for all
   * that share a {@linkcode Scope}.
   */
  onInterest?(peer: P | undefined, path: TopicPattern, wants: boolean): void;
  /** Why nobody may publish to a topic, as the end of a sentence; `undefined` if all may. */
  forbidden?(path: TopicPath): string | undefined;
  /** Where what interests take of memory counts. */
  readonly account?: Account;
}

/**
 * What a peer gets of a topic that it wants; `undefined` for all of it. Those who want the same topic and
 * are given the same share are in one {@linkcode Scope}.
 */
export type Granted = Share | undefined;

/** Where the messages of one topic go; {@linkcode Router.peers} says to whom. */
export class Route<P extends Peer> extends Way<Place<P>> {
  /** Why nobody may publish to it, as the end of a sentence. */
  readonly forbidden: string | undefined;
  /** The nearest place on the way, or all if it crosses an `any`, found after so many changes. */
  end: Place<P> | Crossing<P> | undefined = undefined;
  checkedAt = 0;
  /** How many nodes had to be looked at since whoever passes messages on has last set it to 0. */
  crossed = 0;

  /** Use {@linkcode Router.route}. */
  constructor(path: TopicPath, tree: TopicTree<Place<P>>, forbidden?: string) {
    super(path, tree);
    this.forbidden = forbidden;
  }
}

/** Decodes the topic block in `bytes` from `start` to before `end`. */
export type DecodeTopic = (bytes: Uint8Array, start: number, end: number) => TopicPath;

/** Says what a peer gets of a topic that it wants. */
export type Narrow = (path: TopicPattern) => Granted;

/** How many topics have a remembered route. */
const ROUTES_MAX = 32_768;
const NOBODY: readonly never[] = [];

/** Knows the interests of all peers, and who gets the messages of a topic. */
export class Router<P extends Peer> {
  readonly #options: RouterOptions<P>;
  readonly #account: Account;
  readonly #tree = new TopicTree<Place<P>>((element, isMade) => {
    const bytes = nodeBytes(element);
    this.#account.add(isMade ? bytes : -bytes);
  });
  readonly #interests = new Map<P, Interests<P>>();
  readonly #scopes = new Scopes<P>({
    attach: (path, scope) => this.#attach(path, scope),
    detach: (place, scope) => this.#detach(place, scope),
  });
  /** Those who want something and get nothing of it, once for each. */
  readonly #denied = new Audience<P>(false);
  /** All that want anything besides what the broker itself publishes. */
  readonly #everybody = new Audience<P>();
  #broadcastTo: { readonly peers: readonly P[]; readonly madeAt: number } | undefined;
  readonly #routes = new BytesCache<Route<P>>(ROUTES_MAX);
  readonly #lists = new PeerLists<P>(
    (peer) => this.#interests.get(peer)!.alone,
    () => this.#changes++,
  );
  /** How often interests have changed, or all that was found from them has to be found again. */
  #changes = 1;

  /** Makes a router without peers. */
  constructor(options: RouterOptions<P> = {}) {
    this.#options = options;
    this.#account = options.account ?? new Account();
  }

  /** How much memory the interests of a peer would take if nobody else wanted any of it. */
  bytesOf(peer: P): number {
    return this.#interests.get(peer)?.bytes ?? 0;
  }

  /** How much memory they keep alive; of what others want, too, only a share. */
  keptBytesOf(peer: P): number {
    return this.#interests.get(peer)?.keptBytes ?? 0;
  }

  /** How many topics a peer is interested in. */
  interestsOf(peer: P): number {
    return this.#interests.get(peer)?.size ?? 0;
  }

  /**
   * A peer wants a topic from now on, and gets of it what is granted; twice is once.
   *
   * - In one step, which is short if {@linkcode Router.prepare} has nothing to do.
   */
  add(peer: P, path: TopicPattern, granted?: Granted): void {
    this.#set(peer, this.#interestsFor(peer), path, granted);
  }

  /** What has to be done, in steps, so that somebody can get what is granted; often nothing. */
  prepare(granted: Granted): Generator<void, unknown, undefined> | undefined {
    if (granted === undefined || granted.isEmpty) return undefined;
    return this.#scopes.get(granted) === undefined ? this.#scopes.make(granted) : undefined;
  }

  /**
   * Prepares what a peer gets of a topic.
   *
   * @returns Does that, in steps; returns what is granted then.
   */
  *prepared(path: TopicPattern, narrow: Narrow): Generator<void, Granted, undefined> {
    for (;;) {
      const granted = narrow(path);
      const steps = this.prepare(granted);
      if (steps === undefined) return granted;
      yield* steps; // Something else may be granted meanwhile.
    }
  }

  /** A peer no longer wants a topic; returns whether it did. */
  remove(peer: P, path: TopicPattern): boolean {
    const own = this.#interests.get(peer);
    const member = own && this.#memberOf(own, path);
    if (member === undefined) return false;
    this.#drop(own!, path, member);
    return true;
  }

  /**
   * A peer wants these topics, and no others.
   *
   * - Those come first, then the others go: what it wants before and after it never misses.
   * - Whoever begins again for the same peer must not go on with what was begun before.
   *
   * @param narrow Says what it gets of each.
   * @param denied Called with each topic of which it gets nothing.
   * @returns Does that, in steps.
   */
  *replace(
    peer: P,
    paths: readonly TopicPattern[],
    narrow: Narrow = () => undefined,
    denied: (path: TopicPattern) => void = () => {},
  ): Generator<void, void, undefined> {
    const own = this.#interestsFor(peer);
    const round = ++own.round;
    const pace = new Pace();
    for (const path of paths) {
      const granted = yield* this.prepared(path, narrow);
      if (own.isGone) return;
      const member = this.#set(peer, own, path, granted);
      if (granted?.isEmpty && member.round < round) denied(path);
      member.round = round;
      if (pace.isStep(path)) yield;
    }
    for (const [path, member] of own.entries()) {
      if (member.round === round || this.#memberOf(own, path) !== member) continue;
      this.#drop(own, path, member);
      if (pace.isStep(path)) yield;
    }
  }

  /**
   * Asks again what a peer gets of each topic that it wants.
   *
   * @param lost Called with each topic of which it no longer gets anything.
   * @returns Does that, in steps; what is granted may change meanwhile, and is asked for in each.
   */
  *narrow(
    peer: P,
    narrow: Narrow,
    lost: (path: TopicPattern) => void,
  ): Generator<void, void, undefined> {
    const own = this.#interests.get(peer);
    if (own === undefined) return;
    const pace = new Pace();
    for (const [path, before] of own.entries()) {
      const granted = yield* this.prepared(path, narrow);
      if (own.isGone) return;
      if (this.#memberOf(own, path) !== before) continue; // It came or went meanwhile.
      const after = this.#set(peer, own, path, granted);
      if (after !== before && granted?.isEmpty) lost(path);
      if (pace.isStep(path)) yield;
    }
  }

  /**
   * Forgets a peer.
   *
   * @returns Does the rest, in steps; until then the peer may still be in routes.
   */
  *clear(peer: P): Generator<void, void, undefined> {
    const own = this.#interests.get(peer);
    if (own === undefined) return;
    own.isGone = true;
    const pace = new Pace();
    for (const [path, member] of own.entries()) {
      this.#drop(own, path, member);
      if (pace.isStep(path)) yield;
    }
    this.#interests.delete(peer);
  }

  #interestsFor(peer: P): Interests<P> {
    let own = this.#interests.get(peer);
    if (own === undefined) this.#interests.set(peer, own = new Interests(peer, this.#account));
    return own;
  }

  #memberOf(own: Interests<P>, path: TopicPattern): Member<P> | undefined {
    return own.get(path, this.#tree.get(path)?.value);
  }

  /** Lets a peer get what is granted of a topic; returns as what. */
  #set(peer: P, own: Interests<P>, path: TopicPattern, granted: Granted): Member<P> {
    const before = this.#memberOf(own, path);
    if (before !== undefined && this.#isThat(before, granted)) return before;
    // First in, then out: whoever follows what is wanted sees no gap.
    const after = this.#join(peer, own, path, granted);
    if (before !== undefined) {
      after.round = before.round;
      this.#drop(own, path, before);
    }
    own.set(path, after);
    return after;
  }

  #join(peer: P, own: Interests<P>, path: TopicPattern, granted: Granted): Member<P> {
    if (granted?.isEmpty) return this.#denied.join(peer, this.#changes);
    const audience = granted === undefined ? this.#placeAt(path) : this.#scopeOf(granted);
    if (granted === undefined) this.#options.onInterest?.(peer, path, true);
    const now = ++this.#changes;
    if (audience.isWide && own.wide++ === 0) own.broadcast = this.#everybody.join(peer, now);
    return audience.join(peer, now);
  }

  #drop(own: Interests<P>, path: TopicPattern, member: Member<P>): void {
    own.delete(path, member);
    const { audience, peer } = member;
    if (audience === this.#denied) return audience.leave(member, this.#changes);
    const now = ++this.#changes;
    audience.leave(member, now);
    if (audience.isWide && --own.wide === 0) {
      this.#everybody.leave(own.broadcast!, now);
      own.broadcast = undefined;
    }
    if (audience instanceof Place) {
      this.#options.onInterest?.(peer, audience.node.path, false);
      this.#removeIfUnused(audience);
    } else if (audience instanceof Scope) this.#scopes.left(audience);
  }

  /** Whether a member gets exactly that of its topic. */
  #isThat({ audience }: Member<P>, granted: Granted): boolean {
    if (granted === undefined) return audience instanceof Place;
    if (granted.isEmpty) return audience === this.#denied;
    return audience instanceof Scope && audience.share === granted;
  }

  #placeAt(path: TopicPattern): Place<P> {
    const node = this.#tree.at(path);
    if (node.value === undefined) {
      node.value = new Place(node);
      this.#account.add(PLACE_BYTES);
    }
    return node.value;
  }

  #removeIfUnused(place: Place<P>): void {
    const { node } = place;
    if (!place.isUnused || node.value !== place) return;
    node.value = undefined;
    this.#account.add(-PLACE_BYTES);
    node.changed = ++this.#changes;
    this.#lists.forget(place);
    this.#tree.prune(node);
  }

  #scopeOf(share: Share): Scope<P> {
    const steps = this.#scopes.make(share);
    let step = steps.next();
    while (!step.done) step = steps.next();
    this.#scopes.joins(step.value);
    return step.value;
  }

  #attach(path: TopicPattern, scope: Scope<P>): Place<P> {
    const place = this.#placeAt(path);
    place.addScope(scope);
    // Nobody is in the scope yet: so no list changes, but the place may be the nearest now.
    this.#changes++;
    this.#options.onInterest?.(undefined, place.node.path, true);
    return place;
  }

  #detach(place: Place<P>, scope: Scope<P>): void {
    place.removeScope(scope);
    // A list may be from when the scope had members: that they left is noted in the scope only.
    place.node.changed = ++this.#changes;
    this.#options.onInterest?.(undefined, place.node.path, false);
    this.#removeIfUnused(place);
  }

  /**
   * Forgets what is kept for those who often come back: topics of which somebody got some, and that
   * nobody has used since the call before.
   *
   * @returns Does that, in steps.
   */
  sweep(): Generator<void, void, undefined> {
    return this.#scopes.sweep();
  }

  /**
   * The route of the topic whose block is in `bytes` from `start` to before `end`; `decode` decodes a
   * block that was not seen lately.
   */
  route(bytes: Uint8Array, start: number, end: number, decode: DecodeTopic): Route<P> {
    let route = this.#routes.get(bytes, start, end);
    if (route === undefined) {
      const path = decode(bytes, start, end);
      const forbidden = isBrokerPath(path) || isLocalPath(path)
        ? "the topic is reserved"
        : this.#options.forbidden?.(path);
      route = new Route(path, this.#tree, forbidden);
      this.#routes.set(bytes, start, end, route);
    }
    return route;
  }

  /**
   * Who gets the messages of a route now, each once.
   *
   * - The same array as before if nothing has changed; mostly the same for topics with the same peers.
   */
  peers(route: Route<P>): readonly P[] {
    if (route.path.length === 0) return this.#broadcastPeers();
    if (route.checkedAt !== this.#changes) this.#find(route);
    return route.end === undefined ? NOBODY : this.#lists.at(route.end, this.#changes);
  }

  #find(route: Route<P>): void {
    this.#tree.follow(route);
    if (route.crossing === undefined) route.end = nearestPlace(route.node);
    else {
      route.end = this.#lists.crossing(route.crossing, route.end);
      route.crossed += route.crossing.length;
    }
    route.checkedAt = this.#changes;
  }

  #broadcastPeers(): readonly P[] {
    const { changed } = this.#everybody;
    if (this.#broadcastTo?.madeAt !== changed) {
      const peers: P[] = [];
      this.#everybody.addTo(peers);
      this.#broadcastTo = { peers, madeAt: changed };
    }
    return this.#broadcastTo.peers;
  }

  /** Whether somebody wants a topic, or one below it. */
  isWanted(path: TopicPath): boolean {
    for (const { value } of this.#tree.nodesAt(path)) if (value?.isWanted) return true;
    return false;
  }

  /** Who gets the messages of a topic, each once. */
  peersOf(path: TopicPath): readonly P[] {
    return this.peers(new Route(path, this.#tree));
  }

  /** Who wants a topic, one above it or one below it; each once. */
  peersAround(path: TopicPath): readonly P[] {
    if (path.length === 0) return this.#broadcastPeers();
    const peers: P[] = [...this.peersOf(path)];
    for (const { value } of this.#tree.nodesAt(path)) value?.addAllTo(peers);
    return [...new Set(peers)];
  }
}

/** The nearest place that is at a node or above it. */
function nearestPlace<P>(from: TopicNode<Place<P>>): Place<P> | undefined {
  for (let node: typeof from | undefined = from; node !== undefined; node = node.parent) {
    if (node.value !== undefined) return node.value;
  }
  return undefined;
}
