/**
 * Maps and Sets whose members were chosen to collide.
 *
 * V8's hash of numbers and big integers is the same in every process (seen in V8 14 and 15), so whoever
 * publishes can choose members that all have the same place in the table. Each then costs as much as
 * there are members already: 20,000 integers of 100 KB took 510 ms instead of 3, and 20,000 big integers
 * 3 s. Strings are hashed with a secret seed.
 *
 * So it is watched how long numbers take to be added, beside harmless ones on the same machine at the
 * same time: as much time as the members of all honest messages of that size do not take, even when
 * other programs have most of the machine, and 50 times as long as harmless ones, is no accident.
 */
import { ProtocolError } from "../errors.ts";

/** Fewer members cannot cost much, however they collide. */
export const WATCHED_MEMBERS_MIN = 64;
/** After how many members there is a look. */
const MEMBERS_PER_LOOK = 512;
/** What all members of a message may take without a second look, in milliseconds. */
const SUSPICIOUS_MS = 250;
const FACTOR = 50;

/** Watches the members of the Maps and Sets of one message; see the module. */
export class HashFloodGuard {
  #members = 0;
  #ms = 0;

  /** Begins with another message. */
  reset(): void {
    this.#members = this.#ms = 0;
  }

  /**
   * Adds members, one by one.
   *
   * @param add Adds the member with that index.
   * @throws {ProtocolError} When they collide.
   */
  addAll(members: readonly unknown[], add: (index: number) => void): void {
    const { length } = members;
    for (let index = 0; index < length;) {
      const end = Math.min(length, index + MEMBERS_PER_LOOK);
      const start = performance.now();
      const isWatched = isHashedOpenly(members, index, end);
      for (; index < end; index++) add(index);
      if (!isWatched) continue;
      this.#members += MEMBERS_PER_LOOK;
      this.#ms += performance.now() - start;
      if (this.#ms > SUSPICIOUS_MS) this.#look();
    }
  }

  #look(): void {
    const looks = this.#members / MEMBERS_PER_LOOK;
    if (this.#ms < FACTOR * looks * harmless()) return;
    throw new ProtocolError("Cannot read a message: the members of a Map or a Set collide");
  }
}

/** Whether one of these members is of a kind whose hash has no seed. */
function isHashedOpenly(members: readonly unknown[], start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    const kind = typeof members[index];
    if (kind === "number" || kind === "bigint") return true;
  }
  return false;
}

/** How many milliseconds as many members take that do not collide. */
function harmless(): number {
  const set = new Set<number>();
  const start = performance.now();
  for (let member = 0; member < MEMBERS_PER_LOOK; member++) set.add(member);
  return performance.now() - start;
}
