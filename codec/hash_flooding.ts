/**
 * Defends against Maps, Sets and objects whose members or names were chosen to collide.
 *
 * A publisher who knows how V8 hashes can choose values that all have the same place in its tables. Then
 * each costs as much as there are already. V8's hash is known (seen in V8 14 and 15) of
 *
 * - numbers and big integers: 20,000 integers, 100 KB, took 510 ms instead of 3, and 20,000 big integers
 *   3 s;
 * - strings that are array indexes, such as `"4096"`: it is the index. 65,000 of them, 700 KB, took 15 s;
 * - all other strings, too, where the seed of the hash lies in the snapshot from which a program starts,
 *   as in Deno: 12,000 of them, 240 KB, took 5 s.
 *
 * So the time to add members is measured, whatever they are: 250 ms in one message, each member 100 times
 * as long as a harmless one on the same machine at the same time, is no accident. Another program may
 * take the processor meanwhile, but only between a few members, not between all of them. So once that
 * may have happened, each member is timed, and the few that took longest do not count.
 */
import { clock } from "../base/clock.ts";
import { ProtocolError } from "../errors.ts";

/** Fewer members cannot cost much, however they collide. */
export const WATCHED_MEMBERS_MIN = 128;
/** After how many members the time is checked. */
const MEMBERS_PER_LOOK = 512;
/**
 * Members between two checks take less than this, unless they collide, the machine is busy, or V8 makes
 * a larger table or collects garbage.
 */
const SLOW_LOOK_MS = 0.5;
/** When slow members have taken so long in one message, each member is timed from then on. */
const SLOW_MS_MAX = 50;
/** A member that takes so many times as long as a harmless one collides. */
const FACTOR = 100;
/** How long colliding members of one message may take, in milliseconds. */
const COLLIDING_MS_MAX = 250;
/** The part of the members between two checks, those that took longest, that does not count. */
const INTERRUPTED_PART = 1 / 64;
/** Of so many measurements, the shortest is taken as one without an interruption. */
const TRIES = 3;

/** A monotonic time in milliseconds. */
type Clock = () => number;

/** Times the members of the Maps, Sets and objects of one message. */
export class HashFloodGuard {
  readonly #now: Clock;
  /** How long members have taken where they were slow. */
  #slowMs = 0;
  /** How long members that collide have taken. */
  #collidingMs = 0;
  /** Once each member is timed: how long a harmless one may take, and how long the timing itself takes. */
  #limits: { readonly memberMs: number; readonly timingMs: number } | undefined;

  /** Begins with a message; `now` is a monotonic time in milliseconds. */
  constructor(now: Clock = () => clock.now()) {
    this.#now = now;
  }

  /** Begins with another message. */
  reset(): void {
    this.#slowMs = 0;
    this.#collidingMs = 0;
    this.#limits = undefined;
  }

  /**
   * Adds members, one by one.
   *
   * @param count How many there are.
   * @param add Adds the member with this index.
   * @throws {ProtocolError} If they collide.
   */
  addAll(count: number, add: (index: number) => void): void {
    for (let start = 0; start < count; start += MEMBERS_PER_LOOK) {
      const end = Math.min(count, start + MEMBERS_PER_LOOK);
      if (this.#limits !== undefined) this.#addTimed(add, start, end, this.#limits);
      else this.#addWatched(add, start, end);
    }
  }

  #addWatched(add: (index: number) => void, start: number, end: number): void {
    const ms = msOf(this.#now, add, start, end);
    if (ms < SLOW_LOOK_MS) return;
    this.#slowMs += ms;
    if (this.#slowMs >= SLOW_MS_MAX) this.#limits = measureLimits(this.#now);
  }

  #addTimed(
    add: (index: number) => void,
    start: number,
    end: number,
    { memberMs, timingMs }: { readonly memberMs: number; readonly timingMs: number },
  ): void {
    const count = end - start;
    const ms = steadyMsOf(this.#now, add, start, end) - timingMs * count;
    if (ms < memberMs * count) return;
    this.#collidingMs += ms;
    if (this.#collidingMs < COLLIDING_MS_MAX) return;
    throw new ProtocolError(
      "Cannot read a message: the members of a Map or a Set, or the names of an object, collide",
    );
  }
}

/** How long a member may take that does not collide, and how long it takes to time one. */
function measureLimits(now: Clock): { readonly memberMs: number; readonly timingMs: number } {
  const shortest = (measure: () => number) =>
    Math.min(...Array.from({ length: TRIES }, measure)) / MEMBERS_PER_LOOK;
  const harmlessMs = shortest(() => {
    const set = new Set<number>();
    return msOf(now, (member) => set.add(member), 0, MEMBERS_PER_LOOK);
  });
  const timingMs = shortest(() => steadyMsOf(now, () => {}, 0, MEMBERS_PER_LOOK));
  return { memberMs: FACTOR * harmlessMs, timingMs };
}

/** How many milliseconds it takes to add these members. */
function msOf(now: Clock, add: (index: number) => void, start: number, end: number): number {
  const before = now();
  for (let index = start; index < end; index++) add(index);
  return now() - before;
}

/** The same, without the few members that took longest. */
function steadyMsOf(now: Clock, add: (index: number) => void, start: number, end: number): number {
  const times = new Float64Array(end - start);
  for (let i = start; i < end; i++) times[i - start] = msOf(now, add, i, i + 1);
  const counted = times.length - Math.ceil(times.length * INTERRUPTED_PART);
  return times.sort().subarray(0, counted).reduce((sum, ms) => sum + ms, 0);
}
