/**
 * Who has a place at the broker, and who gives it up when another comes. Each session takes a place for as
 * long as it lasts, with a connection or without. A place is found in O(log n) steps.
 *
 * ```
 *                      │ its own                  │ of the key that has most
 *  newcomer of a key   │ detached    connected    │ detached    connected
 *  ────────────────────┼──────────────────────────┼───────────────────────
 *  beyond `connections`│
 *  of the key          │ 1st         is refused   │ –           –
 *  of the broker, and  │
 *    its key has most  │ 1st         is refused   │ –           –
 *    another has most  │ 2nd                      │ 1st         3rd
 * ```
 *
 * - The places of a key are shared out in the same way among those who have it: each for whom tickets
 *   are, all with tickets for nobody by name, and all with the key itself. So a newcomer of a key takes
 *   the place of whom of it has most, connected or not; of whom has as many as the newcomer gets, only
 *   one that is detached; and else its own.
 * - Of the sessions of one of these, and of several who have as many, goes first the one that was
 *   connected for the shortest time, all its connections together. Who connects and closes in a loop so pushes out nothing but what the loop left.
 * - Another key loses a place only while it keeps at least as many as the newcomer's key gets. So two keys
 *   never push each other out by turns.
 * - Nobody loses a connection for what has none: a key whose sessions are detached gives up one of those.
 */
import { Heap, type HeapItem } from "../base/heap.ts";
import { BusyError } from "../protocol/authenticate.ts";
import type { Access } from "./access.ts";
import type { Key } from "./keys.ts";

/** What takes a place. */
export interface Holder {
  /** What it has proved to have; of the same holder for as long as it has the place. */
  readonly access: Owner;
}

/** Whose a place is: what of an access counts here. */
export type Owner = Pick<Access, "key" | "holder">;

/** Who gives up its place. */
export interface Loser<H> {
  readonly holder: H;
  /** Why, in words for people. */
  readonly why: string;
}

/** The place of one holder. */
interface Place<H> extends HeapItem {
  readonly holder: H;
  isConnected: boolean;
  /** For how long it was connected; while it is connected, that less the time at which that began. */
  rank: number;
  /** Its number among all changes: tells two apart that are equal otherwise. */
  turn: number;
}

/** Of two without a connection: of equal ones the one that lost it first goes first. */
function isDetachedBefore<H>(a: Place<H>, b: Place<H>): boolean {
  return a.rank < b.rank || a.rank === b.rank && a.turn < b.turn;
}

/** Of two with one: of equal ones the one that came last goes first. */
function isConnectedBefore<H>(a: Place<H>, b: Place<H>): boolean {
  return a.rank < b.rank || a.rank === b.rank && a.turn > b.turn;
}

/** All places of one who has a key. */
class Part<H> implements HeapItem {
  at = 0;
  readonly detached = new Heap<Place<H>>(isDetachedBefore);
  readonly connected = new Heap<Place<H>>(isConnectedBefore);

  get size(): number {
    return this.detached.size + this.connected.size;
  }

  /** Those among which a place is. */
  among({ isConnected }: Place<H>): Heap<Place<H>> {
    return isConnected ? this.connected : this.detached;
  }
}

/** Of two who have a key: of those with as many places the one whose place is the first to go. */
function isPartBefore<H>(a: Part<H>, b: Part<H>): boolean {
  if (a.size !== b.size) return a.size > b.size;
  const [ofA, ofB] = [a.detached.first, b.detached.first];
  if (ofA !== undefined && ofB !== undefined) return isDetachedBefore(ofA, ofB);
  if (ofA !== undefined || ofB !== undefined) return ofA !== undefined;
  return a.size > 0 && isConnectedBefore(a.connected.first!, b.connected.first!);
}

/** All places of one key. */
class Share<H> implements HeapItem {
  at = 0;
  size = 0;
  /** By who has the key. */
  readonly parts = new Map<string, Part<H>>();
  /** Who has most first. */
  readonly #largest = new Heap<Part<H>>(isPartBefore);

  /** Who has most of them. */
  get largest(): Part<H> {
    return this.#largest.first!;
  }

  add(holder: string, place: Place<H>): void {
    let part = this.parts.get(holder);
    if (part === undefined) {
      this.parts.set(holder, part = new Part());
      this.#largest.add(part);
    }
    part.among(place).add(place);
    this.#largest.changed(part);
    this.size++;
  }

  /** Changes a place within its part. */
  mark(holder: string, place: Place<H>, change: () => void): void {
    const part = this.parts.get(holder)!;
    part.among(place).remove(place);
    change();
    part.among(place).add(place);
    this.#largest.changed(part);
  }

  remove(holder: string, place: Place<H>): void {
    const part = this.parts.get(holder)!;
    part.among(place).remove(place);
    this.size--;
    if (part.size > 0) return this.#largest.changed(part);
    this.#largest.remove(part);
    this.parts.delete(holder);
  }
}

/** The places of one broker. */
export class Places<H extends Holder> {
  readonly #limit: number;
  readonly #now: () => number;
  readonly #places = new Map<H, Place<H>>();
  readonly #shares = new Map<Key, Share<H>>();
  /** The key that has most first. */
  readonly #largest = new Heap<Share<H>>((a, b) => a.size > b.size);
  #turn = 0;

  /** Makes so many, all of them free; `now` tells the time in milliseconds. */
  constructor(limit: number, now: () => number) {
    this.#limit = limit;
    this.#now = now;
  }

  /**
   * Who gives up its place to a newcomer; `undefined` if there is a free one. It is for the caller to do
   * so: nothing changes here.
   *
   * @throws {BusyError} If there is no place for it.
   */
  loserFor({ key, holder }: Owner): Loser<H> | undefined {
    const own = this.#shares.get(key);
    const size = (own?.size ?? 0) + 1;
    if (size > key.rights.connections) return loser(own && loserIn(own, holder), atLimit(key));
    if (this.#places.size < this.#limit) return undefined;
    const largest = this.#largest.first!;
    const isOwn = largest.size <= size;
    const place = isOwn
      ? own && loserIn(own, holder)
      : largest.largest.detached.first ?? (own && detachedIn(own, holder)) ??
        largest.largest.connected.first;
    const most = isOwn ? key : place!.holder.access.key;
    return loser(
      place,
      `the broker has as many clients as its limit, ${this.#limit}, many of them with ${
        keyText(most)
      }`,
    );
  }

  /** Who of a key gives up its place because there are more than the key may have now; nobody if not. */
  loserOf(key: Key): Loser<H> | undefined {
    const own = this.#shares.get(key);
    if (own === undefined || own.size <= key.rights.connections) return undefined;
    const { detached, connected } = own.largest;
    return loser(detached.first ?? connected.first, atLimit(key));
  }

  /** Somebody new takes a place, and is connected. */
  take(holder: H): void {
    const { access } = holder;
    let share = this.#shares.get(access.key);
    if (share === undefined) {
      this.#shares.set(access.key, share = new Share<H>());
      this.#largest.add(share);
    }
    const rank = -this.#now();
    const place = { holder, at: 0, isConnected: true, rank, turn: ++this.#turn };
    this.#places.set(holder, place);
    share.add(access.holder, place);
    this.#largest.changed(share);
  }

  /** Somebody who has a place is connected again, or is not any more. */
  mark(holder: H, isConnected: boolean): void {
    const place = this.#places.get(holder);
    if (place === undefined || place.isConnected === isConnected) return;
    this.#shares.get(holder.access.key)!.mark(holder.access.holder, place, () => {
      place.isConnected = isConnected;
      place.rank += isConnected ? -this.#now() : this.#now();
      place.turn = ++this.#turn;
    });
  }

  /** Somebody gives up its place; twice is once. */
  leave(holder: H): void {
    const place = this.#places.get(holder);
    if (place === undefined) return;
    this.#places.delete(holder);
    const { key, holder: who } = holder.access;
    const share = this.#shares.get(key)!;
    share.remove(who, place);
    if (share.size > 0) return this.#largest.changed(share);
    this.#largest.remove(share);
    this.#shares.delete(key);
  }
}

/** Which place of a key goes for a newcomer who has it; none if it is for the newcomer to go without. */
function loserIn<H>(share: Share<H>, holder: string): Place<H> | undefined {
  const isLarger = share.largest.size > sizeWith(share, holder);
  return detachedIn(share, holder) ?? (isLarger ? share.largest.connected.first : undefined);
}

/** Which place without a connection goes for it: not that of one who has fewer than the newcomer gets. */
function detachedIn<H>(share: Share<H>, holder: string): Place<H> | undefined {
  const own = share.parts.get(holder)?.detached.first;
  const size = sizeWith(share, holder);
  const { largest } = share;
  if (largest.size < size) return own;
  const theirs = largest.detached.first;
  return largest.size > size ? theirs ?? own : own ?? theirs;
}

/** How many places of a key somebody has who gets one more. */
function sizeWith<H>(share: Share<H>, holder: string): number {
  return (share.parts.get(holder)?.size ?? 0) + 1;
}

/** Says who loses its place; refuses the newcomer if that is nobody. */
function loser<H>(place: Place<H> | undefined, why: string): Loser<H> {
  if (place === undefined) throw new BusyError(`${why}; try again later`);
  return { holder: place.holder, why };
}

function atLimit(key: Key): string {
  return `${keyText(key)} has as many clients as its limit, ${key.rights.connections}`;
}

function keyText({ name }: Key): string {
  return name === "" ? "authkey" : `the key ${JSON.stringify(name)}`;
}
