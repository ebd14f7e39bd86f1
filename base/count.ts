/**
 * Counts that come from outside, and sums of them: whole numbers from 0 to 2⁵³ − 1, which a number
 * holds exactly. Beyond that `n + 1` may be `n`, so that a loop over such numbers never ends.
 *
 * This is the only place where 64 bits, or a number in JSON, become a count.
 */
import { ProtocolError } from "../errors.ts";

/** The largest count. */
export const COUNT_MAX = Number.MAX_SAFE_INTEGER;

/** Whether a value from outside is a count. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * The count in the 64 bits from `at` on, little endian.
 *
 * @throws {ProtocolError} If it is larger than {@linkcode COUNT_MAX}.
 */
export function readCount(view: DataView, at: number): number {
  const count = knownCount(view, at);
  if (count !== undefined) return count;
  throw new ProtocolError(
    `Cannot read a count: it is ${view.getBigUint64(at, true)}; the limit is ${COUNT_MAX}`,
  );
}

/** The same where the count only tells how much; `undefined`, if it is larger: nobody knows. */
export function knownCount(view: DataView, at: number): number | undefined {
  const count = view.getBigUint64(at, true);
  return count <= COUNT_MAX ? Number(count) : undefined;
}

/**
 * Writes a count in the 64 bits from `at` on, little endian. More than {@linkcode COUNT_MAX}, as a sum
 * may be, is written as that; `undefined`, which means that nobody knows, as what nobody can count.
 */
export function writeCount(view: DataView, at: number, count: number | undefined): void {
  const bits = count === undefined ? 2n ** 64n - 1n : BigInt(Math.min(count, COUNT_MAX));
  view.setBigUint64(at, bits, true);
}

/** The sum of two counts; it stays at {@linkcode COUNT_MAX} where it would be more. */
export function addCounts(a: number, b: number): number {
  const sum = a + b;
  return sum < COUNT_MAX ? sum : COUNT_MAX;
}

/** The first count from `at` on whose low 32 bits are these: for counts of which only those are sent. */
export function countFrom(at: number, low: number): number {
  return at + (low - at >>> 0);
}
