/**
 * How much is written of one kind: a hundred at once, and ten a minute in the long run. Whoever makes
 * things happen from outside cannot fill a log with them. What is left out is counted, to be told later.
 */
import { Allowance } from "./allowance.ts";

/** How many reports of a kind there are at once, and how many a minute in the long run. */
const REPORTS_MAX = 100;
const REPORTS_PER_MINUTE = 10;
/** The longest text that is reported, in characters. */
export const REPORT_CHARS_MAX = 1000;

/** Reports of one kind, of which some are left out. */
export class Reports {
  readonly #name: string;
  readonly #allowance = new Allowance(REPORTS_MAX, REPORTS_PER_MINUTE / 60);
  #leftOut = 0;

  /** Makes one that has reported nothing; `name` says what others like it are, in the plural. */
  constructor(name: string) {
    this.#name = name;
  }

  /**
   * Whether one more may be reported; otherwise it counts as left out.
   *
   * @param now A monotonic time in milliseconds.
   * @param isWanted Whether it is to be reported, if there is room.
   */
  admit(now: number, isWanted = true): boolean {
    if (isWanted && this.#allowance.spend(now)) return true;
    this.#leftOut++;
    return false;
  }

  /** What was left out, if something was and there is room for a report; it is told by that. */
  rest(now: number): string | undefined {
    if (this.#leftOut === 0 || !this.#allowance.spend(now)) return undefined;
    return this.told();
  }

  /** What was left out, as a sentence; empty if nothing was. It is told by that. */
  told(): string {
    const count = this.#leftOut;
    this.#leftOut = 0;
    return count === 0 ? "" : `${count} ${this.#name} were not reported`;
  }
}
