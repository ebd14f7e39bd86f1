/** Numbers that may have been chosen to collide. */
import { assert, assertEquals } from "@std/assert";
import { hiddenNumber, shownNumber } from "../base/hidden_number.ts";
import { randomNumbers } from "../base/seeded_random.ts";

const COUNT = 20_000;

Deno.test("shownNumber is the number that hiddenNumber hides, and no two are hidden by one", () => {
  const random = randomNumbers(3);
  const edges = [0, 1, 2 ** 26 - 1, 2 ** 26, 2 ** 31, 2 ** 32, 2 ** 52 - 1, 2 ** 52, 2 ** 53 - 1];
  const others = Array.from({ length: COUNT }, () => Math.floor(random() * 2 ** 53));
  const numbers = [...new Set([...edges, ...others])];
  const hidden = numbers.map(hiddenNumber);
  assertEquals(hidden.map(shownNumber), numbers);
  assert(hidden.every((number) => Number.isSafeInteger(number) && number >= 0));
  assertEquals(new Set(hidden).size, numbers.length);
});

for (
  const [what, of] of [
    ["numbers that count", (i) => i],
    ["numbers far apart", (i) => i * 2 ** 32],
    ["numbers whose low half is the same", (i) => i * 2 ** 26 + 5],
    ["numbers whose high bit is set", (i) => 2 ** 52 + i * 2 ** 20],
  ] as readonly [string, (i: number) => number][]
) {
  Deno.test(`hiddenNumber puts ${what} into different places`, () => {
    // As many places as numbers: each has one on average, and hardly any has as many as 12.
    const places = new Uint32Array(2 ** 15);
    for (let i = 0; i < 2 ** 15; i++) places[placeOf(hiddenNumber(of(i)))]!++;
    assert(Math.max(...places) < 16, `${Math.max(...places)} in one place`);
  });
}

/** Where V8 looks for an integer in a table of 2¹⁵ places, about: by bits of all of it. */
function placeOf(number: number): number {
  return (number % 2 ** 15) ^ Math.floor(number / 2 ** 26) % 2 ** 15;
}
