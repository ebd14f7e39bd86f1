/**
 * Times in bounded memory: a histogram whose buckets grow with the time, like those of HdrHistogram.
 *
 * Each doubling of the time has 32 buckets of the same width, so a bucket is at most 1/32 of its time
 * wide, which is about 3 %. Below 64 µs a bucket is 1 µs wide.
 *
 * ```
 *  index   0 … 63            64 … 95             96 … 127            …   up to 895
 *  µs      0, 1, 2 … 63      64, 66, 68 … 126    128, 132 … 252      …   2^32, over an hour
 * ```
 */

/** The buckets of one doubling. */
const STEPS = 32;
const STEP_BITS = Math.log2(STEPS);
/** Later times count as this one, in microseconds. */
const MICROS_MAX = 2 ** 32 - 1;
const BUCKETS = indexOf(MICROS_MAX) + 1;

/** What a histogram holds; it can be sent to another thread. */
export interface Times {
  readonly counts: Float64Array;
  readonly min: number;
  readonly max: number;
}

/** Times between two bounds, in milliseconds, and how many there are. */
export interface Row {
  /** From this time on. */
  readonly from: number;
  /** Below this time. */
  readonly to: number;
  readonly count: number;
}

/** How often each time was seen; all times in milliseconds. */
export class Histogram implements Times {
  readonly counts = new Float64Array(BUCKETS);
  /** The shortest time, exactly; Infinity without any. */
  min = Infinity;
  /** The longest time, exactly; -Infinity without any. */
  max = -Infinity;

  /** How many times there are. */
  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /** Counts a time; one below 0, by clocks that differ, counts as 0. */
  add(ms: number): void {
    const time = Math.max(0, ms);
    this.counts[indexOf(Math.min(time * 1000, MICROS_MAX))]!++;
    if (time < this.min) this.min = time;
    if (time > this.max) this.max = time;
  }

  /** Counts all times of another one. */
  merge({ counts, min, max }: Times): void {
    for (let i = 0; i < BUCKETS; i++) this.counts[i]! += counts[i]!;
    this.min = Math.min(this.min, min);
    this.max = Math.max(this.max, max);
  }

  /** The time below or at which a part of the times lies (nearest rank); at most a bucket too long. */
  quantile(part: number): number {
    const rank = Math.max(1, Math.ceil(part * this.count));
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.counts[i]!;
      if (seen >= rank) return Math.min(Math.max(startOf(i + 1), this.min), this.max);
    }
    return NaN;
  }

  /** The buckets that are not empty. */
  buckets(): Row[] {
    return Array.from(this.counts, (count, i) => ({ from: startOf(i), to: startOf(i + 1), count }))
      .filter(({ count }) => count > 0);
  }

  /** All times in at most so many rows, whose bounds grow as the buckets do. */
  rows(most: number): Row[] {
    const first = this.counts.findIndex((count) => count > 0);
    if (first < 0) return [];
    const end = this.counts.findLastIndex((count) => count > 0) + 1;
    const rows = Math.min(most, end - first);
    const bound = (row: number) => first + Math.round((end - first) * row / rows);
    return Array.from({ length: rows }, (_, row) => ({
      from: startOf(bound(row)),
      to: startOf(bound(row + 1)),
      count: this.counts.subarray(bound(row), bound(row + 1)).reduce((sum, n) => sum + n, 0),
    }));
  }
}

/** The bucket of a time in microseconds. */
function indexOf(micros: number): number {
  const whole = Math.floor(micros);
  const shift = Math.max(0, 31 - Math.clz32(whole) - STEP_BITS);
  return shift * STEPS + (whole >>> shift);
}

/** Where a bucket starts, in milliseconds. */
function startOf(index: number): number {
  const shift = Math.max(0, Math.floor(index / STEPS) - 1);
  return (index - shift * STEPS) * 2 ** shift / 1000;
}
