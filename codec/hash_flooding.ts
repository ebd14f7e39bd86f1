/**
 * Defends against Maps and Sets whose members were chosen to collide.
 *
 * V8's hash of numbers and big integers is the same in every process (seen in V8 14 and 15), so a
 * publisher can choose members that all have the same place in the table. Then each costs as much as
 * there are members already: 20,000 integers, 100 KB, took 510 ms instead of 3, and 20,000 big integers
 * 3 s. Strings are hashed with a secret seed.
 *
 * So the time to add numbers is measured: 250 ms in one message, each member 50 times as long as a
 * harmless one on the same machine at the same time, is no accident. Another program may take the
 * processor meanwhile, but only between a few members, not between all of them. So once that may have
 * happened, each member is timed, and the few that took longest do not count.
 */
import { ProtocolError } from "../errors.ts";

/** Fewer members cannot cost much, however they collide. */
export const WATCHED_MEMBERS_MIN = 64;
/** After how many members the time is checked. */
const MEMBERS_PER_LOOK = 512;
/** Members between two checks take less than this, unless they collide or the machine is busy. */
const SLOW_LOOK_MS = 0.5;
/** A member that takes so many times as long as a harmless one collides. */
const FACTOR = 50;
/** How long colliding members of one message may take, in milliseconds. */
const COLLIDING_MS_MAX = 250;
/** The part of the members between two checks, those that took longest, that does not count. */
const INTERRUPTED_PART = 1 / 64;
/** Of so many measurements, the shortest is taken as one without an interruption. */
const TRIES = 3;

/** Times the members of the Maps and Sets of one message. */
export class HashFloodGuard {
  /** How long members that collide have taken. */
  #collidingMs = 0;
  /** Once each member is timed: how long a harmless one may take, and how long the timing itself takes. */
  #limits: { readonly memberMs: number; readonly timingMs: number } | undefined;

  /** Begins with another message. */
  reset(): void {
    this.#collidingMs = 0;
    this.#limits = undefined;
  }

  /**
   * Adds members, one by one.
   *
   * @param add Adds the member with this index.
   * @throws {ProtocolError} If they collide.
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

/** How long a member may take that does not collide, and how long it takes to time one. */
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

/** The same, without the few members that took longest. */
function steadyMsOf(add: (index: number) => void, start: number, end: number): number {
  const times = new Float64Array(end - start);
  for (let index = start; index < end; index++) times[index - start] = msOf(add, index, index + 1);
  const counted = times.length - Math.ceil(times.length * INTERRUPTED_PART);
  return times.sort().subarray(0, counted).reduce((sum, ms) => sum + ms, 0);
}

/** Whether one of these members is of a kind whose hash has no secret seed. */
function isHashedOpenly(members: readonly unknown[], start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    const kind = typeof members[index];
    if (kind === "number" || kind === "bigint") return true;
  }
  return false;
}
