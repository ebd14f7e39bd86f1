/**
 * Which peers want what: interests by topic, and the routes that follow from them.
 */
import { BytesCache } from "../base/bytes_cache.ts";
import { isBrokerPath, isLocalPath, type TopicPath } from "../topic.ts";
import type { Peer } from "./peer.ts";
import { type TopicNode, TopicTree } from "./topic_tree.ts";

/** What a {@linkcode Router} calls. */
export interface RouterOptions<P extends Peer> {
  /** Called when a peer gets a topic from now on, or no longer gets it. */
  onInterest?(peer: P, path: TopicPath, wants: boolean): void;
  /** Why nobody may publish to a topic, as the end of a sentence; `undefined` if all may. */
  forbidden?(path: TopicPath): string | undefined;
}

/** Who gets the messages of one topic; valid until an interest changes. */
export interface Route<P extends Peer> {
  /** The topic. */
  readonly path: TopicPath;
  /** Why nobody may publish to it, as the end of a sentence. */
  readonly forbidden: string | undefined;
  /** Who gets them, each once; topics with the same peers mostly have the same list. */
  readonly peers: readonly P[];
}

/** Decodes the topic block in `bytes` from `start` to before `end`. */
export type DecodeTopic = (bytes: Uint8Array, start: number, end: number) => TopicPath;

/** How many topics have a remembered route. */
const ROUTES_MAX = 32_768;
/** How many peers all remembered routes may have together. */
const ROUTE_PEERS_MAX = 2 ** 20;

/** Knows the interests of all peers, and who gets the messages of a topic. */
export class Router<P extends Peer> {
  readonly #options: RouterOptions<P>;
  readonly #tree = new TopicTree<P>();
  /** Each peer's interests: by what it asked for, as a text, what it gets of that. */
  readonly #interests = new Map<P, Map<string, readonly TopicPath[]>>();
  readonly #routes = new BytesCache<Route<P>>(ROUTES_MAX);
  /** Who gets messages whose deepest node is this one. */
  readonly #peersAt = new Map<TopicNode<P>, readonly P[]>();
  /** For each peer that gets some topics alone, the list of that one peer. */
  readonly #alone = new Map<P, readonly P[]>();
  /** The number of peers in all lists that were made since routes were last forgotten. */
  #routePeers = 0;

  /** Makes a router without peers. */
  constructor(options: RouterOptions<P> = {}) {
    this.#options = options;
  }

  /** How many topics a peer is interested in. */
  interestsOf(peer: P): number {
    return this.#interests.get(peer)?.size ?? 0;
  }

  /**
   * A peer wants a topic from now on; twice is once.
   *
   * @param granted What it gets of that: nothing, or only topics below it, if it may not get it all.
   */
  add(peer: P, path: TopicPath, granted: readonly TopicPath[] = [path]): void {
    let own = this.#interests.get(peer);
    if (own === undefined) this.#interests.set(peer, own = new Map());
    const text = JSON.stringify(path);
    if (own.has(text)) return;
    own.set(text, granted);
    for (const topic of granted) {
      this.#tree.add(topic, peer);
      this.#options.onInterest?.(peer, topic, true);
    }
    this.#forgetRoutes();
  }

  /** A peer no longer wants a topic; returns whether it did. */
  remove(peer: P, path: TopicPath): boolean {
    const own = this.#interests.get(peer);
    const text = JSON.stringify(path);
    const granted = own?.get(text);
    if (own === undefined || granted === undefined) return false;
    own.delete(text);
    if (own.size === 0) this.#interests.delete(peer);
    this.#withdraw(peer, granted);
    return true;
  }

  /** A peer wants these topics, and no others; `narrow` says what it gets of each. */
  replace(
    peer: P,
    paths: readonly TopicPath[],
    narrow?: (path: TopicPath) => readonly TopicPath[],
  ): void {
    const wanted = new Set(paths.map((path) => JSON.stringify(path)));
    for (const text of this.#interests.get(peer)?.keys() ?? []) {
      if (!wanted.has(text)) this.remove(peer, JSON.parse(text));
    }
    for (const path of paths) this.add(peer, path, narrow?.(path));
  }

  /**
   * Asks again what a peer gets of each topic that it wants.
   *
   * @returns The topics of which it no longer gets anything.
   */
  narrow(
    peer: P,
    narrow: (path: TopicPath) => readonly TopicPath[],
  ): readonly TopicPath[] {
    const lost: TopicPath[] = [];
    for (const [text, had] of [...this.#interests.get(peer) ?? []]) {
      const path: TopicPath = Object.freeze(JSON.parse(text));
      const granted = narrow(path);
      if (JSON.stringify(granted) === JSON.stringify(had)) continue;
      this.remove(peer, path);
      this.add(peer, path, granted);
      if (granted.length === 0) lost.push(path);
    }
    return lost;
  }

  /** Forgets a peer. */
  clear(peer: P): void {
    const own = this.#interests.get(peer);
    if (own === undefined) return;
    this.#interests.delete(peer);
    for (const granted of own.values()) this.#withdraw(peer, granted);
  }

  #withdraw(peer: P, granted: readonly TopicPath[]): void {
    for (const topic of granted) {
      this.#tree.remove(topic, peer);
      this.#options.onInterest?.(peer, topic, false);
    }
    this.#forgetRoutes();
  }

  /**
   * The route of the topic whose block is in `bytes` from `start` to before `end`; `decode` decodes a
   * block that was not seen lately.
   *
   * - The same object, as long as the same topic comes again and no interest changes.
   */
  route(bytes: Uint8Array, start: number, end: number, decode: DecodeTopic): Route<P> {
    let route = this.#routes.get(bytes, start, end);
    if (route === undefined) {
      const path = decode(bytes, start, end);
      const forbidden = isBrokerPath(path) || isLocalPath(path)
        ? "the topic is reserved"
        : this.#options.forbidden?.(path);
      const peers = this.peersOf(path);
      if (path.length === 0 || isBrokerPath(path)) this.#count(peers);
      route = { path, forbidden, peers };
      if (this.#routePeers > ROUTE_PEERS_MAX) this.#forgetRoutes();
      this.#routes.set(bytes, start, end, route);
    }
    return route;
  }

  #forgetRoutes(): void {
    this.#routes.clear();
    this.#peersAt.clear();
    this.#alone.clear();
    this.#routePeers = 0;
  }

  /** Whether somebody wants a topic, or one below it. */
  isWanted(path: TopicPath): boolean {
    return this.#tree.get(path) !== undefined;
  }

  /** Who gets the messages of a topic, each once. */
  peersOf(path: TopicPath): readonly P[] {
    if (path.length === 0) return [...this.#everybody()];
    const deepest = this.#tree.deepest(path);
    // What the broker itself publishes is not for the catch-all.
    if (isBrokerPath(path)) return [...peersUpFrom(deepest, this.#tree.root)];
    let peers = this.#peersAt.get(deepest);
    if (peers === undefined) {
      peers = this.#shared([...peersUpFrom(deepest)]);
      this.#peersAt.set(deepest, peers);
    }
    return peers;
  }

  /** Who wants a topic, one above it or one below it; each once. */
  peersAround(path: TopicPath): Set<P> {
    const peers = peersUpFrom(this.#tree.deepest(path));
    const node = this.#tree.get(path);
    if (node === undefined) return peers;
    const ahead = [node];
    for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
      for (const peer of next.values) peers.add(peer);
      ahead.push(...next.children?.values() ?? []);
    }
    return peers;
  }

  /** The same list for all topics that one peer gets alone, so that their messages make one run. */
  #shared(peers: readonly P[]): readonly P[] {
    const [first] = peers;
    if (first === undefined || peers.length > 1) return this.#count(peers);
    const known = this.#alone.get(first);
    if (known === undefined) this.#alone.set(first, peers);
    return known ?? peers;
  }

  #count(peers: readonly P[]): readonly P[] {
    this.#routePeers += peers.length;
    return peers;
  }

  /** Who gets a broadcast: all that want anything besides what the broker itself publishes. */
  #everybody(): Set<P> {
    const peers = new Set<P>();
    for (const [peer, interests] of this.#interests) {
      for (const granted of interests.values()) {
        if (!granted.some((path) => !isBrokerPath(path))) continue;
        peers.add(peer);
        break;
      }
    }
    return peers;
  }
}

/** The peers at a node and at those above it, up to before `end`; each once. */
function peersUpFrom<P>(node: TopicNode<P> | undefined, end?: TopicNode<P>): Set<P> {
  const peers = new Set<P>();
  for (; node !== undefined && node !== end; node = node.parent) {
    for (const peer of node.values) peers.add(peer);
  }
  return peers;
}
