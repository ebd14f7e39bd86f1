/**
 * Compares what publishers and subscribers noted, to find what was lost, repeated or inverted.
 */

/** A message that a subscriber got. */
export interface Sighting {
  /** Who published it. */
  readonly publisher: string;
  /** The id that the publisher gave it. */
  readonly id: number | string;
}

/** What each publisher published and each subscriber got, in the order in which it did so. */
export interface History {
  /** The ids of the messages that each publisher published; a publisher uses no id twice. */
  readonly published: Readonly<Record<string, readonly (number | string)[]>>;
  /** The messages that each subscriber got. */
  readonly seen: Readonly<Record<string, readonly Sighting[]>>;
}

/** A message that was lost, repeated, out of order or unknown. */
export interface HistoryFault extends Sighting {
  /**
   * What is wrong.
   *
   * - `"lost"`: the subscriber never got it.
   * - `"repeated"`: the subscriber had got it before.
   * - `"inverted"`: the subscriber got it for the first time after a later one of the same publisher.
   * - `"unknown"`: nobody published it.
   */
  readonly kind: "lost" | "repeated" | "inverted" | "unknown";
  /** Who got it, or did not. */
  readonly subscriber: string;
}

/** What {@linkcode checkHistory} found. */
export interface HistoryReport {
  /** All faults, by subscriber. */
  readonly faults: readonly HistoryFault[];
  /** How many faults there are of each kind. */
  readonly counts: Readonly<Record<HistoryFault["kind"], number>>;
  /** How many messages were published. */
  readonly published: number;
  /** How many messages the subscribers got, in all. */
  readonly seen: number;
}

/**
 * Finds messages that a subscriber did not get, got twice, got out of order ("inverted"), or that
 * nobody published.
 *
 * - Every subscriber is expected to get every message of every publisher.
 * - A message that arrives again is only repeated, never also inverted.
 *
 * @param history What was published, and who got what.
 * @returns Each fault, and how many there are of each kind.
 *
 * @example One of three is lost, one comes twice
 * ```ts
 * import { checkHistory } from "@mpubsub/mpubsub/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const { counts } = checkHistory({
 *   published: { alice: [1, 2, 3] },
 *   seen: { bob: [1, 3, 3].map((id) => ({ publisher: "alice", id })) },
 * });
 * assertEquals(counts, { lost: 1, repeated: 1, inverted: 0, unknown: 0 });
 * ```
 */
export function checkHistory(history: History): HistoryReport {
  const places = new Map(
    Object.entries(history.published).map(([publisher, ids]) => [
      publisher,
      new Map(ids.map((id, place) => [id, place])),
    ]),
  );
  const faults: HistoryFault[] = [];
  for (const [subscriber, sightings] of Object.entries(history.seen)) {
    for (const fault of faultsOf(subscriber, sightings, places)) faults.push(fault);
  }
  const counts = { lost: 0, repeated: 0, inverted: 0, unknown: 0 };
  for (const { kind } of faults) counts[kind]++;
  const total = (lists: Readonly<Record<string, readonly unknown[]>>) =>
    Object.values(lists).reduce((sum, { length }) => sum + length, 0);
  return { faults, counts, published: total(history.published), seen: total(history.seen) };
}

function* faultsOf(
  subscriber: string,
  sightings: readonly Sighting[],
  places: ReadonlyMap<string, ReadonlyMap<number | string, number>>,
): Generator<HistoryFault> {
  const seen = new Map([...places.keys()].map((publisher) => [publisher, new Set<unknown>()]));
  const latest = new Map<string, number>();
  for (const { publisher, id } of sightings) {
    const place = places.get(publisher)?.get(id);
    const own = seen.get(publisher);
    const fault = (kind: HistoryFault["kind"]) => ({ kind, subscriber, publisher, id });
    if (place === undefined || own === undefined) yield fault("unknown");
    else if (own.has(id)) yield fault("repeated");
    else {
      own.add(id);
      const before = latest.get(publisher) ?? -1;
      if (place < before) yield fault("inverted");
      else latest.set(publisher, place);
    }
  }
  for (const [publisher, ids] of places) {
    for (const id of ids.keys()) {
      if (!seen.get(publisher)!.has(id)) yield { kind: "lost", subscriber, publisher, id };
    }
  }
}
