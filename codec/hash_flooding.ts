/**
 * Defends against Maps and Sets whose members were chosen to collide.
 *
 * V8's hash of numbers and big integers is the same in every process (seen in V8 14 and 15), so a
 * publisher can choose members that all have the same place in the table. Then each costs as much as
 * there are members already: 20,000 integers, 100 KB, took 510 ms instead of 3, and 20,000 big integers
 * 3 s. Strings are hashed with a secret seed.
 *
 * So the time to add numbers is compared with that of harmless numbers, on the same machine at the same
 * time: 250 ms in one message, and 50 times as long as harmless ones, is no accident. Another program
 * may take the processor meanwhile, but only between a few members, not between all of them. When that
 * may have happened, each member is timed, and the few that took longest do not count.
 */
import { ProtocolError } from "../errors.ts";

/** Fewer members cannot cost much, however they collide. */
export const WATCHED_MEMBERS_MIN = 64;
/** After how many members the time is checked. */
const MEMBERS_PER_LOOK = 512;
/** Members between two checks take less than this, unless they collide or the machine is busy. */
const SLOW_LOOK_MS = 2;
/** When members are timed one by one, so many of the slowest between two checks do not count. */
const INTERRUPTIONS_MAX = 8;
/** How long all members of a message may take without a comparison, in milliseconds. */
const SUSPICIOUS_MS = 250;
const FACTOR = 50;

/** Times the members of the Maps and Sets of one message. */
export class HashFloodGuard {
  #members = 0;
  #ms = 0;
  /** Whether each member is timed by itself. */
  #isAlert = false;

  /** Begins with another message. */
  reset(): void {
    this.#isAlert = false;
    this.#members = this.#ms = 0;
  }

  /**
   * Adds members, one by one.
   *
   * @param add Adds the member with this index.
   * @throws {ProtocolError} When they collide.
   */
  addAll(members: readonly unknown[], add: (index: number) => void): void {
    const { length } = members;
    for (let index = 0; index < length; index += MEMBERS_PER_LOOK) {
      const end = Math.min(length, index + MEMBERS_PER_LOOK);
      const isWatched = isHashedOpenly(members, index, end);
      const ms = this.#msOf(add, index, end);
      if (!isWatched) continue;
      this.#members += MEMBERS_PER_LOOK;
      this.#ms += this.#isAlert ? ms : Math.min(ms, SLOW_LOOK_MS);
      this.#isAlert ||= ms > SLOW_LOOK_MS;
      if (this.#ms > SUSPICIOUS_MS) this.#compare();
    }
  }

  #msOf(add: (index: number) => void, start: number, end: number): number {
    return this.#isAlert ? steadyMsOf(add, start, end) : msOf(add, start, end);
  }

  #compare(): void {
    const looks = this.#members / MEMBERS_PER_LOOK;
    const set = new Set<number>();
    const harmless = this.#msOf((member) => set.add(member), 0, MEMBERS_PER_LOOK);
    if (this.#ms < FACTOR * looks * harmless) return;
    throw new ProtocolError("Cannot read a message: the members of a Map or a Set collide");
  }
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
  return times.sort().subarray(0, -INTERRUPTIONS_MAX).reduce((sum, ms) => sum + ms, 0);
}

/** Whether one of these members is of a kind whose hash has no secret seed. */
function isHashedOpenly(members: readonly unknown[], start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    const kind = typeof members[index];
    if (kind === "number" || kind === "bigint") return true;
  }
  return false;
}
