/**
 * Places in the order of frames from which on nothing is acknowledged yet, each until it is released.
 *
 * They mostly come in their order, and are released in any. So they are linked in their order: the
 * first is at hand, and adding or taking away one costs the same, however many there are.
 */

/** The frames up to a number, and how many bytes they are. */
export interface Position {
  /** The number of the last one. */
  count: number;
  /** Their bytes. */
  bytes: number;
}

/** A place, between those before and behind it. */
export interface Place extends Readonly<Position> {
  before: Place | undefined;
  behind: Place | undefined;
  isWithheld: boolean;
}

/** The places of one inbox, those with the smallest numbers first. */
export class Withheld {
  /** The one with the smallest number. */
  first: Place | undefined;
  #last: Place | undefined;

  /** Adds a place, behind those with the same number. */
  add({ count, bytes }: Readonly<Position>): Place {
    let before = this.#last;
    while (before !== undefined && before.count > count) before = before.before;
    const behind = before === undefined ? this.first : before.behind;
    const place: Place = { count, bytes, before, behind, isWithheld: true };
    this.#link(before, place);
    this.#link(place, behind);
    return place;
  }

  /** Takes a place away; returns whether it was there. */
  remove(place: Place): boolean {
    if (!place.isWithheld) return false;
    place.isWithheld = false;
    this.#link(place.before, place.behind);
    place.before = place.behind = undefined;
    return true;
  }

  /** Makes two places neighbours; where there is none, the other is the first or the last. */
  #link(before: Place | undefined, behind: Place | undefined): void {
    if (before === undefined) this.first = behind;
    else before.behind = behind;
    if (behind === undefined) this.#last = before;
    else behind.before = before;
  }

  /** Takes all away. */
  clear(): void {
    while (this.first !== undefined) this.remove(this.first);
  }
}
