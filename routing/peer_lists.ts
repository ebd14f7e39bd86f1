/**
 * Who gets the messages that lead to a place: its own audience, its scopes', and those of the places
 * above it; or, where messages cross an `any`, of all places that they lead to. The lists are kept until
 * one of these changes.
 */
import type { Audience, Listed, Place } from "./audience.ts";
import { interestBytes } from "./interest_bytes.ts";
import type { TopicNode } from "./topic_tree.ts";

/** How many peers all kept lists may have together. */
const LISTED_PEERS_MAX = 2 ** 20;
/** How many bytes all kept crossings may take, if each is the last to hold its places. */
const CROSSINGS_BYTES_MAX = 2 ** 24;
/** What a crossing takes besides its places: the object, its key, and the table in which it stands. */
const CROSSING_BYTES = 300;

/** Places that the messages of some topics lead to, in no relation to each other. */
export class Crossing<P> implements Listed<P> {
  /** The places; none when it is forgotten, though whoever has it may keep it. */
  places: readonly Place<P>[];
  /** Whether another one has to be asked for. */
  isForgotten = false;
  peers: readonly P[] | undefined = undefined;
  madeAt = 0;
  checkedAt = 0;

  /** Use {@linkcode PeerLists.crossing}. */
  constructor(places: readonly Place<P>[]) {
    this.places = places;
  }
}

/** Keeps a list of peers for each place and each crossing that messages lead to. */
export class PeerLists<P> {
  /** The list of one peer alone, which all share that lead to it only. */
  readonly #aloneOf: (peer: P) => readonly P[];
  readonly #onForget: () => void;
  /** What has a list; of the crossings, only some that are kept. */
  readonly #listed = new Set<Listed<P>>();
  #size = 0;
  /** By the numbers of their places. */
  readonly #crossings = new Map<string, Crossing<P>>();
  /** How many bytes these may take. */
  #crossingsBytes = 0;

  /**
   * Makes one without lists.
   *
   * @param aloneOf Gives the same list for the same peer.
   * @param onForget Called when all crossings are forgotten: they must be asked for again.
   */
  constructor(aloneOf: (peer: P) => readonly P[], onForget: () => void) {
    this.#aloneOf = aloneOf;
    this.#onForget = onForget;
  }

  /**
   * Where messages lead that cross these nodes: the same for the same places. If no `any` is at one of
   * them, that is the first of them.
   *
   * @param before Where they led before, if that is known.
   */
  crossing(
    nodes: readonly TopicNode<Place<P>>[],
    before: Listed<P> | undefined,
  ): Place<P> | Crossing<P> | undefined {
    if (before instanceof Crossing && !before.isForgotten && areAt(nodes, before.places)) {
      return before;
    }
    const places: Place<P>[] = [];
    for (const { value } of nodes) if (value !== undefined) places.push(value);
    if (areUpFrom(places[0], places)) return places[0];
    const key = places.map(({ number }) => number).join();
    let crossing = this.#crossings.get(key);
    if (crossing === undefined) {
      if (this.#crossingsBytes > CROSSINGS_BYTES_MAX) this.#forgetCrossings();
      this.#crossingsBytes += CROSSING_BYTES;
      for (const { node } of places) this.#crossingsBytes += interestBytes(node.path);
      this.#crossings.set(key, crossing = new Crossing(places));
    }
    return crossing;
  }

  /** Who gets what leads there, each once; `now` is the count of changes. */
  at(end: Place<P> | Crossing<P>, now: number): readonly P[] {
    if (end.checkedAt === now && end.peers !== undefined) return end.peers;
    if (end.peers === undefined || hasChanged(end, end.madeAt)) {
      this.forget(end);
      const peers = peersOf(end instanceof Crossing ? end.places : upFrom(end));
      this.#keep(end, peers.length === 1 ? this.#aloneOf(peers[0]!) : peers);
      end.madeAt = now;
    }
    end.checkedAt = now;
    return end.peers!;
  }

  #keep(end: Listed<P>, peers: readonly P[]): void {
    if (this.#size + peers.length > LISTED_PEERS_MAX) this.#forgetAll();
    end.peers = peers;
    this.#size += peers.length;
    this.#listed.add(end);
  }

  /** Forgets a list. */
  forget(end: Listed<P>): void {
    if (!this.#listed.delete(end)) return;
    this.#size -= end.peers!.length;
    end.peers = undefined;
  }

  #forgetCrossings(): void {
    for (const crossing of this.#crossings.values()) {
      this.forget(crossing);
      crossing.isForgotten = true;
      crossing.places = [];
    }
    this.#crossings.clear();
    this.#crossingsBytes = 0;
    this.#onForget();
  }

  #forgetAll(): void {
    for (const end of this.#listed) end.peers = undefined;
    this.#listed.clear();
    this.#size = 0;
  }
}

/** Whether these are the places at some nodes. */
function areAt<P>(nodes: readonly TopicNode<Place<P>>[], places: readonly Place<P>[]): boolean {
  let at = 0;
  for (const { value } of nodes) {
    if (value !== undefined && value !== places[at++]) return false;
  }
  return at === places.length;
}

/** A place and those above it. */
function* upFrom<P>(place: Place<P>): Generator<Place<P>, void, undefined> {
  for (
    let node: Place<P>["node"] | undefined = place.node;
    node !== undefined;
    node = node.parent
  ) {
    if (node.value !== undefined) yield node.value;
  }
}

/** Whether these are they. */
function areUpFrom<P>(place: Place<P> | undefined, places: readonly Place<P>[]): boolean {
  let at = 0;
  for (let node = place?.node; node !== undefined; node = node.parent) {
    if (node.value !== undefined && node.value !== places[at++]) return false;
  }
  return at === places.length;
}

/** The peers of some places, each once. */
function peersOf<P>(places: Iterable<Place<P>>): readonly P[] {
  const peers: P[] = [];
  let audiences = 0;
  const take = (audience: Audience<P>) => {
    if (audience.size === 0) return;
    audiences++;
    audience.addTo(peers);
  };
  for (const place of places) {
    take(place);
    for (const scope of place.scopes) take(scope);
  }
  // A peer is in one audience once.
  return audiences > 1 ? [...new Set(peers)] : peers;
}

/** Whether somebody came or went, at a place or above it, or at a crossing, after so many changes. */
function hasChanged<P>(end: Place<P> | Crossing<P>, count: number): boolean {
  if (end instanceof Crossing) {
    for (const { node } of end.places) if (hasChangedAt(node, count)) return true;
    return false;
  }
  for (let node: Place<P>["node"] | undefined = end.node; node !== undefined; node = node.parent) {
    if (hasChangedAt(node, count)) return true;
  }
  return false;
}

function hasChangedAt<P>({ changed, value }: Place<P>["node"], count: number): boolean {
  return changed > count || value?.hasChangedSince(count) === true;
}
