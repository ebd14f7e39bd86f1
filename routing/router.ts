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
import { BytesCache } from "../base/bytes_cache.ts";
import { isBrokerPath, isLocalPath, type TopicPath } from "../topic.ts";
import { Audience, type Member, Place, Scope } from "./audience.ts";
import type { Peer } from "./peer.ts";
import { PeerLists, peersUpFrom } from "./peer_lists.ts";
import { type TopicNode, TopicTree } from "./topic_tree.ts";

/** What a {@linkcode Router} calls. */
export interface RouterOptions<P extends Peer> {
  /**
   * Called when a topic is wanted once more, or once less; `peer` is `undefined` when it is for all
   * that share a {@linkcode Scope}.
   */
  onInterest?(peer: P | undefined, path: TopicPath, wants: boolean): void;
  /** Why nobody may publish to a topic, as the end of a sentence; `undefined` if all may. */
  forbidden?(path: TopicPath): string | undefined;
}

/**
 * What a peer gets of a topic that it wants. `undefined`: all of it; else topics below it, perhaps
 * none. Those who want the same topic and are given the same array share a {@linkcode Scope}.
 */
export type Granted = readonly TopicPath[] | undefined;

/** Where the messages of one topic go; {@linkcode Router.peers} says to whom. */
export interface Route<P extends Peer> {
  /** The topic. */
  readonly path: TopicPath;
  /** Why nobody may publish to it, as the end of a sentence. */
  readonly forbidden: string | undefined;
  /** The deepest node on the way to it, as long as that has this shape. */
  node: TopicNode<Place<P>>;
  shape: number;
  /** The nearest place from there up, found when there were so many changes. */
  place: Place<P> | undefined;
  checkedAt: number;
}

/** Decodes the topic block in `bytes` from `start` to before `end`. */
export type DecodeTopic = (bytes: Uint8Array, start: number, end: number) => TopicPath;

/** What one peer wants. */
interface Interests<P> {
  /** By topic, as a text: as what it gets that; `undefined` if it gets nothing of it. */
  readonly members: Map<string, Member<P> | undefined>;
  /** It alone, in a list. */
  readonly alone: readonly P[];
  /** How many of them are for more than what the broker itself publishes. */
  wide: number;
  /** As what it gets broadcasts, if there are any such. */
  broadcast: Member<P> | undefined;
}

/** How many topics have a remembered route. */
const ROUTES_MAX = 32_768;
/** After so many topics, a step of long work is done. */
const TOPICS_PER_STEP = 32;
const NOBODY: readonly never[] = [];

/** Knows the interests of all peers, and who gets the messages of a topic. */
export class Router<P extends Peer> {
  readonly #options: RouterOptions<P>;
  readonly #tree = new TopicTree<Place<P>>();
  readonly #interests = new Map<P, Interests<P>>();
  readonly #scopes = new Map<readonly TopicPath[], Scope<P>>();
  /** The scopes without members: since the latest sweep, and since the one before. */
  #idle = new Set<Scope<P>>();
  #longIdle = new Set<Scope<P>>();
  /** All that want anything besides what the broker itself publishes. */
  readonly #everybody = new Audience<P>();
  #broadcastTo: { readonly peers: readonly P[]; readonly madeAt: number } | undefined;
  readonly #routes = new BytesCache<Route<P>>(ROUTES_MAX);
  readonly #lists = new PeerLists<P>((peer) => this.#interests.get(peer)!.alone);
  /** How often interests have changed. */
  #changes = 1;

  /** Makes a router without peers. */
  constructor(options: RouterOptions<P> = {}) {
    this.#options = options;
  }

  /** How many topics a peer is interested in. */
  interestsOf(peer: P): number {
    return this.#interests.get(peer)?.members.size ?? 0;
  }

  /** A peer wants a topic from now on, and gets of it what is granted; twice is once. */
  add(peer: P, path: TopicPath, granted?: Granted): void {
    let own = this.#interests.get(peer);
    if (own === undefined) {
      own = { members: new Map(), alone: [peer], wide: 0, broadcast: undefined };
      this.#interests.set(peer, own);
    }
    const text = JSON.stringify(path);
    if (!own.members.has(text)) own.members.set(text, this.#join(peer, own, path, granted));
  }

  /** A peer no longer wants a topic; returns whether it did. */
  remove(peer: P, path: TopicPath): boolean {
    const own = this.#interests.get(peer);
    const text = JSON.stringify(path);
    if (own === undefined || !own.members.has(text)) return false;
    const member = own.members.get(text);
    own.members.delete(text);
    this.#leave(own, member);
    return true;
  }

  /** A peer wants these topics, and no others; `narrow` says what it gets of each. */
  replace(peer: P, paths: readonly TopicPath[], narrow?: (path: TopicPath) => Granted): void {
    const wanted = new Set(paths.map((path) => JSON.stringify(path)));
    for (const text of this.#interests.get(peer)?.members.keys() ?? []) {
      if (!wanted.has(text)) this.remove(peer, JSON.parse(text));
    }
    for (const path of paths) this.add(peer, path, narrow?.(path));
  }

  /**
   * Asks again what a peer gets of each topic that it wants.
   *
   * @returns The topics of which it no longer gets anything.
   */
  narrow(peer: P, narrow: (path: TopicPath) => Granted): readonly TopicPath[] {
    const lost: TopicPath[] = [];
    const own = this.#interests.get(peer);
    if (own === undefined) return lost;
    for (const [text, before] of own.members) {
      const path: TopicPath = Object.freeze(JSON.parse(text));
      const granted = narrow(path);
      // First in, then out: whoever follows what is wanted sees no gap.
      const after = isThat(before, granted) ? before : this.#join(peer, own, path, granted);
      if (after === before) continue;
      own.members.set(text, after);
      this.#leave(own, before);
      if (after === undefined) lost.push(path);
    }
    return lost;
  }

  /**
   * Forgets a peer.
   *
   * @returns Does the rest, in steps; until then the peer may still be in routes.
   */
  *clear(peer: P): Generator<void, void, undefined> {
    const own = this.#interests.get(peer);
    if (own === undefined) return;
    let count = 0;
    for (const [text, member] of own.members) {
      own.members.delete(text);
      this.#leave(own, member);
      if (++count % TOPICS_PER_STEP === 0) yield;
    }
    this.#interests.delete(peer);
  }

  #join(peer: P, own: Interests<P>, path: TopicPath, granted: Granted): Member<P> | undefined {
    if (granted?.length === 0) return undefined;
    const audience = granted === undefined ? this.#placeAt(path) : this.#scopeOf(granted);
    if (granted === undefined) this.#options.onInterest?.(peer, path, true);
    const now = ++this.#changes;
    if (audience.isWide && own.wide++ === 0) own.broadcast = this.#everybody.join(peer, now);
    return audience.join(peer, now);
  }

  #leave(own: Interests<P>, member: Member<P> | undefined): void {
    if (member === undefined) return;
    const { audience, peer } = member;
    const now = ++this.#changes;
    audience.leave(member, now);
    if (audience.isWide && --own.wide === 0) {
      this.#everybody.leave(own.broadcast!, now);
      own.broadcast = undefined;
    }
    if (audience instanceof Place) {
      this.#options.onInterest?.(peer, audience.node.path, false);
      this.#removeIfUnused(audience);
    } else if (audience instanceof Scope && audience.size === 0) this.#idle.add(audience);
  }

  #placeAt(path: TopicPath): Place<P> {
    const node = this.#tree.at(path);
    return node.value ??= new Place(node);
  }

  #removeIfUnused(place: Place<P>): void {
    const { node } = place;
    if (!place.isUnused || node.value !== place) return;
    node.value = undefined;
    node.changed = ++this.#changes;
    this.#lists.forget(place);
    this.#tree.prune(node);
  }

  #scopeOf(topics: readonly TopicPath[]): Scope<P> {
    const known = this.#scopes.get(topics);
    if (known !== undefined) {
      this.#idle.delete(known);
      this.#longIdle.delete(known);
      return known;
    }
    const scope = new Scope(topics, topics.map((path) => this.#placeAt(path)));
    this.#scopes.set(topics, scope);
    const now = ++this.#changes;
    for (const place of scope.places) {
      place.addScope(scope);
      place.node.changed = now;
      this.#options.onInterest?.(undefined, place.node.path, true);
    }
    return scope;
  }

  /**
   * Forgets the scopes that nobody has used since the call before: whoever leaves one often comes back.
   *
   * @returns Does that, in steps.
   */
  *sweep(): Generator<void, void, undefined> {
    const idle = this.#longIdle;
    this.#longIdle = this.#idle;
    this.#idle = new Set();
    for (const scope of idle) if (scope.size === 0) yield* this.#close(scope);
  }

  *#close(scope: Scope<P>): Generator<void, void, undefined> {
    // It may have been closed already, and another one may have taken its place.
    if (this.#scopes.get(scope.topics) !== scope) return;
    this.#scopes.delete(scope.topics);
    let count = 0;
    for (const place of scope.places) {
      place.removeScope(scope);
      // A list may be from when the scope had members: that they left is noted in the scope only.
      place.node.changed = ++this.#changes;
      this.#options.onInterest?.(undefined, place.node.path, false);
      this.#removeIfUnused(place);
      if (++count % TOPICS_PER_STEP === 0) yield;
    }
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
      const node = this.#tree.root;
      route = { path, forbidden, node, shape: -1, place: undefined, checkedAt: 0 };
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
    return route.place === undefined ? NOBODY : this.#lists.at(route.place, this.#changes);
  }

  #find(route: Route<P>): void {
    if (route.shape !== route.node.shape) {
      route.node = this.#tree.deepest(route.path);
      route.shape = route.node.shape;
    }
    route.place = nearestPlace(route.node);
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
    for (const { value } of this.#tree.nodes(path)) if (value?.isWanted) return true;
    return false;
  }

  /** Who gets the messages of a topic, each once. */
  peersOf(path: TopicPath): readonly P[] {
    if (path.length === 0) return this.#broadcastPeers();
    const deepest = this.#tree.deepest(path);
    // What the broker itself publishes is not for the catch-all.
    if (isBrokerPath(path)) return peersUpFrom(deepest, this.#tree.root);
    const place = nearestPlace(deepest);
    return place === undefined ? NOBODY : this.#lists.at(place, this.#changes);
  }

  /** Who wants a topic, one above it or one below it; each once. */
  peersAround(path: TopicPath): readonly P[] {
    if (path.length === 0) return this.#broadcastPeers();
    const peers: P[] = [...this.peersOf(path)];
    for (const { value } of this.#tree.nodes(path)) value?.addAllTo(peers);
    return [...new Set(peers)];
  }
}

/** Whether a peer that is this member gets exactly that of its topic. */
function isThat<P>(member: Member<P> | undefined, granted: Granted): boolean {
  const audience = member?.audience;
  if (granted === undefined) return audience instanceof Place;
  if (granted.length === 0) return audience === undefined;
  return audience instanceof Scope && audience.topics === granted;
}

/** The nearest place that is at a node or above it. */
function nearestPlace<P>(from: TopicNode<Place<P>>): Place<P> | undefined {
  for (let node: typeof from | undefined = from; node !== undefined; node = node.parent) {
    if (node.value !== undefined) return node.value;
  }
  return undefined;
}
