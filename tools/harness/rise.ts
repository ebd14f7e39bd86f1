/**
 * How much longer messages take while something happens that must not matter to them, compared with
 * the same messages without it, by turns. So what the machine does meanwhile falls on both.
 */
import { median } from "./median.ts";
import { Latencies, type LatencyCounts } from "./processes.ts";

/** By how much the median may rise, and the p99, in milliseconds. */
const RISE_MS_MAX = 50;
/**
 * Of fewer messages than this a p99 says little: whenever the machine has something else to do, that is
 * one in a hundred of them. It may rise by so much.
 */
const MESSAGES_MIN = 1000;
const FEW_RISE_MS_MAX = 250;
/** The quantiles that are compared. */
const PARTS = [0.5, 0.99] as const;

/** When messages passed. */
export type When =
  /** Nothing happened. */
  | "without"
  /** It happened. */
  | "during"
  /** It happened, but not to these messages: they passed elsewhere on the same machine. */
  | "beside";

/**
 * Latencies of one round, with and without something.
 *
 * - Rounds are judged together, by the median of what rises: what else the machine does once is then
 *   no fault.
 */
export class Rise {
  readonly #stretch: number;
  readonly #latencies: Readonly<Record<When, Latencies>> = {
    without: new Latencies(),
    during: new Latencies(),
    beside: new Latencies(),
  };

  /**
   * Begins with no messages.
   *
   * @param stretch While it happened, everything took whoever passed the messages so many times as long
   * as it would have if there had always been a processor for it. A rise is divided by that.
   */
  constructor(stretch = 1) {
    this.#stretch = stretch;
  }

  /** Notes how long messages took. */
  add(when: When, counts: LatencyCounts): this {
    this.#latencies[when].addCounts(counts);
    return this;
  }

  /** A quantile, in milliseconds. */
  quantile(when: When, part: number): number {
    return this.#latencies[when].quantile(part);
  }

  /**
   * By how much a quantile is larger meanwhile than it is otherwise, in milliseconds, if there is a
   * processor for everything.
   */
  by(part: number): number {
    const otherwise = [this.quantile("without", part), this.quantile("beside", part)];
    const rise = this.quantile("during", part) - Math.max(...otherwise.filter(Number.isFinite));
    return rise / this.#stretch;
  }

  /** The quantiles, each with what it is otherwise. */
  toString(): string {
    return PARTS.map((part) => {
      const ms = (when: When) => this.quantile(when, part).toFixed(2);
      const beside = this.#latencies.beside.size > 0 ? `, ${ms("beside")} beside` : "";
      return `p${part * 100} ${ms("during")} ms (${ms("without")} without${beside})`;
    }).join(", ");
  }

  /** By how much the p99 may rise at least: little is said by a few. */
  get #p99Least(): number {
    return this.#latencies.during.size < MESSAGES_MIN ? FEW_RISE_MS_MAX : 0;
  }

  /**
   * What rose too much in most of some rounds, in a line each.
   *
   * @param most By how much a quantile may rise, in milliseconds.
   */
  static faults(rounds: readonly Rise[], most: number = RISE_MS_MAX): string[] {
    return PARTS.flatMap((part) => {
      const p99 = Math.max(most, ...rounds.map((round) => round.#p99Least));
      const bound = part === 0.99 ? p99 : most;
      const rise = median(rounds.map((round) => round.by(part)));
      if (rise <= bound) return [];
      return [`p${part * 100} rises by ${rise.toFixed(1)} ms; it may by ${bound} ms`];
    });
  }

  /** All rounds as one. */
  static of(rounds: readonly Rise[]): Rise {
    const all = new Rise();
    for (const round of rounds) {
      for (const when of ["without", "during", "beside"] as const) {
        all.add(when, round.#latencies[when].counts());
      }
    }
    return all;
  }
}
