/**
 * The subscribers of one path.
 */
import { Fifo } from "../base/fifo.ts";
import type { Registration } from "./registration.ts";

/** Up to this length, a list is searched and copied at each removal. */
const SHORT = 16;

/**
 * The registrations of one path, in the order in which they subscribed.
 *
 * - However many there are, each comes and goes at the same cost, on average: those that are removed stay
 *   in the list, inactive, until they are more than half of it.
 */
export class Registrations {
  /**
   * All that are active, and some that are no longer.
   *
   * - Adding appends to this array; removing may replace it. So whoever walks over the first `length`
   *   that were there misses none, and sees none twice.
   */
  list: readonly Registration[] = [];
  /** How many are active. */
  size = 0;
  /** How many of these stand for groups. */
  groups = 0;
  /** Those whose queue has no room. */
  readonly full = new Set<Registration>();
  /** By subscriber: its registrations, the earliest first; some of them inactive. */
  #bySubscriber: Map<unknown, Fifo<Registration>> | undefined;

  /** Adds one that is active. */
  add(registration: Registration): void {
    (this.list as Registration[]).push(registration);
    this.size++;
    if (registration.isGroup) this.groups++;
    if (this.#bySubscriber !== undefined) index(this.#bySubscriber, registration);
  }

  /** Notes that one of them has become inactive. */
  removed({ isGroup }: Registration): void {
    this.size--;
    if (isGroup) this.groups--;
    const { length } = this.list;
    if (length > SHORT && 2 * this.size > length) return;
    this.list = this.list.filter(({ active }) => active);
    this.#bySubscriber = undefined;
  }

  /** The earliest active registration of a subscriber. */
  earliestOf(subscriber: unknown): Registration | undefined {
    const { list } = this;
    if (list.length <= SHORT) {
      return list.find((one) => one.subscriber === subscriber && one.active);
    }
    if (this.#bySubscriber === undefined) {
      this.#bySubscriber = new Map();
      for (const one of list) index(this.#bySubscriber, one);
    }
    const own = this.#bySubscriber.get(subscriber);
    while (own?.at(0)?.active === false) own.shift();
    return own?.at(0);
  }
}

function index(bySubscriber: Map<unknown, Fifo<Registration>>, registration: Registration): void {
  let own = bySubscriber.get(registration.subscriber);
  if (own === undefined) bySubscriber.set(registration.subscriber, own = new Fifo());
  own.push(registration);
}
