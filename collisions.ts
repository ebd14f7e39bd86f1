/**
 * Maps and Sets whose members were chosen to collide.
 *
 * V8's hash of numbers and big integers is the same in every process (seen in V8 14 and 15), so whoever
 * publishes can choose members that all have the same place in the table. Each then costs as much as
 * there are members already: 20,000 integers of 100 KB took 510 ms instead of 3, and 20,000 big integers
 * 3 s. Strings are hashed with a secret seed.
 *
 * So it is watched how long members take to be added, beside harmless ones on the same machine at the
 * same time. Members that take 20 times as long, four looks in a row, are no accident.
 */
import { ProtocolError } from "./errors.ts";

/** Fewer members cannot cost much, however they collide. */
export const WATCHED_MEMBERS_MIN = 64;
/** After how many members there is a look. */
const MEMBERS_PER_LOOK = 512;
/** What so many may take without a second look, in milliseconds: 10 times as long as is usual. */
const SUSPICIOUS_MS = 1;
const FACTOR = 20;
const STRIKES = 4;

/** Watches the members of the Maps and Sets of one message; see the module. */
export class CollisionWatch {
  #members = 0;
  #ms = 0;
  #strikes = 0;

  /** Begins with another message. */
  reset(): void {
    this.#members = this.#ms = this.#strikes = 0;
  }

  /**
   * Adds members, one by one.
   *
   * @param add Adds the member with that index.
   * @throws {ProtocolError} When they collide.
   */
  addAll(count: number, add: (index: number) => void): void {
    for (let index = 0; index < count;) {
      const end = Math.min(count, index + MEMBERS_PER_LOOK - this.#members);
      this.#members += end - index;
      const start = performance.now();
      for (; index < end; index++) add(index);
      this.#ms += performance.now() - start;
      if (this.#members === MEMBERS_PER_LOOK) this.#look();
    }
  }

  #look(): void {
    const isSlow = this.#ms > SUSPICIOUS_MS && this.#ms > FACTOR * harmless();
    this.#strikes = isSlow ? this.#strikes + 1 : 0;
    this.#members = this.#ms = 0;
    if (this.#strikes < STRIKES) return;
    throw new ProtocolError("Cannot read a message: the members of a Map or a Set collide");
  }
}

/** How many milliseconds as many members take that do not collide. */
function harmless(): number {
  const set = new Set<number>();
  const start = performance.now();
  for (let member = 0; member < MEMBERS_PER_LOOK; member++) set.add(member);
  return performance.now() - start;
}
