/**
 * Maps and Sets whose members were chosen to collide.
 *
 * V8's hash of numbers and big integers is the same in every process (seen in V8 14 and 15), so whoever
 * publishes can choose members that all have the same place in the table. Each then costs as much as
 * there are members already: 20,000 integers of 100 KB took 510 ms instead of 3, and 20,000 big integers
 * 3 s. Strings are hashed with a secret seed.
 *
 * So it is watched how long numbers take to be added: 250 ms in one message, each 50 times as long as a
 * harmless one on the same machine at the same time, is no accident. Another program may have the
 * machine in the middle of that, but between two members, or a few, and not between all. So once that may
 * have happened, each member is timed, and the few that took longest do not count.
 */
import { ProtocolError } from "../errors.ts";

/** Fewer members cannot cost much, however they collide. */
export const WATCHED_MEMBERS_MIN = 64;
/** After how many members there is a look. */
const MEMBERS_PER_LOOK = 512;
/** The members of one look take less than this, unless they collide or the machine is busy. */
const SLOW_LOOK_MS = 0.5;
/** How many times as long as a harmless member one takes that collides. */
const FACTOR = 50;
/** What all that collide in a message may take, in milliseconds. */
const COLLIDING_MS_MAX = 250;
/** One in so many members of a look, those that took longest, does not count. */
const INTERRUPTED_PART = 1 / 64;
/** The shortest of so many times is one without an interruption. */
const TRIES = 3;

/** Watches the members of the Maps and Sets of one message; see the module. */
export class HashFloodGuard {
  /** What members that collide have taken. */
  #collidingMs = 0;
  /** What one member takes at most that does not collide, once each is timed; and the timing itself. */
  #limits: { readonly memberMs: number; readonly timingMs: number } | undefined;

  /** Begins with another message. */
  reset(): void {
    this.#collidingMs = 0;
    this.#limits = undefined;
  }

  /**
   * Adds members, one by one.
   *
   * @param add Adds the member with that index.
   * @throws {ProtocolError} When they collide.
   */
  addAll(members: readonly unknown[], add: (index: number) => void): void {
    const { length } = members;
    for (let index = 0; index < length; index += MEMBERS_PER_LOOK) {
      const end = Math.min(length, index + MEMBERS_PER_LOOK);
      if (!isHashedOpenly(members, index, end)) { for (let i = index; i < end; i++) add(i); }
      else if (this.#limits !== undefined) this.#addTimed(add, index, end, this.#limits);
      else if (msOf(add, index, end) > SLOW_LOOK_MS) this.#limits = measureLimits();
    }
  }

  #addTimed(
    add: (index: number) => void,
    start: number,
    end: number,
    { memberMs, timingMs }: { readonly memberMs: number; readonly timingMs: number },
  ): void {
    const count = end - start;
    const ms = steadyMsOf(add, start, end) - timingMs * count;
    if (ms < memberMs * count) return;
    this.#collidingMs += ms;
    if (this.#collidingMs < COLLIDING_MS_MAX) return;
    throw new ProtocolError("Cannot read a message: the members of a Map or a Set collide");
  }
}

/** What members take that do not collide, and what it takes to time each. */
function measureLimits(): { readonly memberMs: number; readonly timingMs: number } {
  const shortest = (measure: () => number) =>
    Math.min(...Array.from({ length: TRIES }, measure)) / MEMBERS_PER_LOOK;
  const harmlessMs = shortest(() => {
    const set = new Set<number>();
    return msOf((member) => set.add(member), 0, MEMBERS_PER_LOOK);
  });
  const timingMs = shortest(() => steadyMsOf(() => {}, 0, MEMBERS_PER_LOOK));
  return { memberMs: FACTOR * harmlessMs, timingMs };
}

/** How many milliseconds it takes to add these members. */
function msOf(add: (index: number) => void, start: number, end: number): number {
  const before = performance.now();
  for (let index = start; index < end; index++) add(index);
  return performance.now() - before;
}

/** The same without the few members that took longest. */
function steadyMsOf(add: (index: number) => void, start: number, end: number): number {
  const times = new Float64Array(end - start);
  for (let index = start; index < end; index++) times[index - start] = msOf(add, index, index + 1);
  const counted = times.length - Math.ceil(times.length * INTERRUPTED_PART);
  return times.sort().subarray(0, counted).reduce((sum, ms) => sum + ms, 0);
}

/** Whether one of these members is of a kind whose hash has no seed. */
function isHashedOpenly(members: readonly unknown[], start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    const kind = typeof members[index];
    if (kind === "number" || kind === "bigint") return true;
  }
  return false;
}
