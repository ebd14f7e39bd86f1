/**
 * Who gets the messages that lead to a place: its own audience, its scopes', and those of the places
 * above it. The lists are kept until one of these changes.
 */
import type { Audience, Place } from "./audience.ts";
import type { TopicNode } from "./topic_tree.ts";

/** How many peers all kept lists may have together. */
const LISTED_PEERS_MAX = 2 ** 20;

/** Keeps a list of peers for each place that messages lead to. */
export class PeerLists<P> {
  /** The list of one peer alone, which all places share that lead to it only. */
  readonly #aloneOf: (peer: P) => readonly P[];
  /** The places that have a list. */
  readonly #listed = new Set<Place<P>>();
  #size = 0;

  /** Makes one without lists; `aloneOf` gives the same list for the same peer. */
  constructor(aloneOf: (peer: P) => readonly P[]) {
    this.#aloneOf = aloneOf;
  }

  /** Who gets what leads to a place, each once; `now` is the count of changes. */
  at(place: Place<P>, now: number): readonly P[] {
    if (place.checkedAt === now && place.peers !== undefined) return place.peers;
    if (place.peers === undefined || hasChanged(place.node, place.madeAt)) {
      this.forget(place);
      const peers = peersUpFrom(place.node);
      this.#keep(place, peers.length === 1 ? this.#aloneOf(peers[0]!) : peers);
      place.madeAt = now;
    }
    place.checkedAt = now;
    return place.peers!;
  }

  #keep(place: Place<P>, peers: readonly P[]): void {
    if (this.#size + peers.length > LISTED_PEERS_MAX) this.#forgetAll();
    place.peers = peers;
    this.#size += peers.length;
    this.#listed.add(place);
  }

  /** Forgets the list of a place. */
  forget(place: Place<P>): void {
    if (!this.#listed.delete(place)) return;
    this.#size -= place.peers!.length;
    place.peers = undefined;
  }

  #forgetAll(): void {
    for (const place of this.#listed) place.peers = undefined;
    this.#listed.clear();
    this.#size = 0;
  }
}

/** The peers at a node and at those above it, up to before `end`; each once. */
export function peersUpFrom<P>(
  from: TopicNode<Place<P>> | undefined,
  end?: TopicNode<Place<P>>,
): readonly P[] {
  const peers: P[] = [];
  let audiences = 0;
  const take = (audience: Audience<P>) => {
    if (audience.size === 0) return;
    audiences++;
    audience.addTo(peers);
  };
  for (let node = from; node !== undefined && node !== end; node = node.parent) {
    const place = node.value;
    if (place === undefined) continue;
    take(place);
    for (const scope of place.scopes) take(scope);
  }
  // A peer is in one audience once.
  return audiences > 1 ? [...new Set(peers)] : peers;
}

/** Whether somebody came or went at a node or above it, after so many changes. */
function hasChanged<P>(from: TopicNode<Place<P>>, count: number): boolean {
  for (let node: typeof from | undefined = from; node !== undefined; node = node.parent) {
    if (node.changed > count || node.value?.hasChangedSince(count)) return true;
  }
  return false;
}
