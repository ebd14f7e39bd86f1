/**
 * Numbers that others choose, as keys of a `Map`.
 *
 * V8's hash of integers is known: thousands can be chosen that are all in one place of its table, and
 * then to find one takes as long as to compare it with all others. So here each number stands for
 * another one, by a permutation that nobody outside knows: four rounds of a Feistel network.
 *
 * ```
 *  number, 52 bits   left 26 │ right 26
 *                      ▲          │
 *                      └── ⊕ ─────┤ secret factor × right, its high bits       four times, by turns
 * ```
 */

const HALF = 2 ** 26;
const HALF_MASK = HALF - 1;
const FACTORS = crypto.getRandomValues(new Int32Array(4)).map((factor) => factor | 1);
const ADDENDS = crypto.getRandomValues(new Int32Array(4));

/** What stands for a number, a whole one from 0 to 2⁵³ − 1; each for another. */
export function hiddenNumber(number: number): number {
  // The highest bit stays where it is.
  const top = number >= HALF * HALF ? HALF * HALF : 0;
  let left = Math.floor((number - top) / HALF);
  let right = (number - top) % HALF;
  for (let round = 0; round < 4; round++) {
    [left, right] = [right, left ^ mixed(right, round)];
  }
  return top + left * HALF + right;
}

/** The number for which another one stands. */
export function shownNumber(hidden: number): number {
  const top = hidden >= HALF * HALF ? HALF * HALF : 0;
  let left = Math.floor((hidden - top) / HALF);
  let right = (hidden - top) % HALF;
  for (let round = 3; round >= 0; round--) {
    [left, right] = [right ^ mixed(left, round), left];
  }
  return top + left * HALF + right;
}

function mixed(half: number, round: number): number {
  let h = Math.imul(half ^ ADDENDS[round]!, FACTORS[round]!);
  h = Math.imul(h ^ h >>> 15, 0x9e3779b1);
  return (h ^ h >>> 13) & HALF_MASK;
}
