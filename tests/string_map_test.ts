/** Maps from strings that may have been chosen to collide. */
import { assert, assertEquals } from "@std/assert";
import { salted, secretHash, StringMap } from "../base/string_map.ts";
import { randomNumbers } from "../base/seeded_random.ts";

const COUNT = 20_000;

/** How many of the strings, each another one, have a hash that one before has. */
function sharing(texts: readonly string[]): number {
  return texts.length - new Set(texts.map(secretHash)).size;
}

const numbers = Array.from({ length: COUNT }, (_, i) => i);

for (
  const [what, texts] of [
    ["names that count", numbers.map((i) => `name ${i}`)],
    ["array indexes that V8 has in one place", numbers.map((i) => String((i + 1) * 2 ** 17))],
    [
      "strings that have one hash in every Deno",
      numbers.map((i) => `9\x9a\x96i${i.toString(36).padStart(8, "0")}e\\M\x99`),
    ],
    ["strings of one letter", numbers.slice(0, 5000).map((i) => "a".repeat(i))],
    [
      "strings that end in zero characters",
      numbers.slice(0, 1000).map((i) => "a" + "\0".repeat(i)),
    ],
    ["strings of zero characters", numbers.slice(0, 1000).map((i) => "\0".repeat(i))],
    ["strings in which a letter moves", numbers.slice(0, 600).map((i) => at(i, 600))],
    [
      "strings in which two letters change places with those 256 before",
      numbers.slice(0, 256).map((i) => `${at(i, 256)}${at(255 - i, 256)}`),
    ],
    ["letters that differ in their high bits", numbers.map((i) => String.fromCharCode(i << 2, i))],
  ] as const
) {
  Deno.test(`StringMap has hardly any two in one place of ${what}`, () => {
    // Of random numbers of 30 bits, 0.2 pairs of 20,000 are the same.
    assert(sharing(texts) < 10, `${sharing(texts)} share a hash`);
  });
}

/** A text of `length` letters of which one is another. */
function at(index: number, length: number): string {
  return "a".repeat(index) + "b" + "a".repeat(length - index - 1);
}

/** Strings of which two or more have the same hash. */
function withSameHash(): string[] {
  const byHash = new Map<number, string>();
  const found: string[] = [];
  for (let i = 0; found.length < 12; i++) {
    const text = `text ${i}`;
    const hash = secretHash(text);
    const other = byHash.get(hash);
    if (other === undefined) byHash.set(hash, text);
    else found.push(other, text);
  }
  return found;
}

Deno.test("StringMap does what a Map does, in random operations", () => {
  const random = randomNumbers(7);
  const same = withSameHash();
  for (const keys of [10, 40, 200]) {
    const ours = new StringMap<number>();
    const map = new Map<string, number>();
    for (let i = 0; i < 5000; i++) {
      const key = random() < 0.4
        ? same[Math.floor(random() * same.length)]!
        : `key ${Math.floor(random() * keys)}`;
      if (random() < 0.4) assertEquals(ours.delete(key), map.delete(key));
      else {
        ours.set(key, i);
        map.set(key, i);
      }
      assertEquals(ours.size, map.size);
      assertEquals(ours.get(key), map.get(key));
      if (i % 1000 === 0) {
        assertEquals([...ours.entries()].sort(), [...map].sort());
        assertEquals([...ours.values()].sort(), [...map.values()].sort());
      }
    }
  }
});

Deno.test("salted gives texts of one hash others that do not begin alike, always the same ones", () => {
  const texts = numbers.map((i) => `9\x9a\x96i${i.toString(36).padStart(8, "0")}e\\M\x99`);
  const first = texts.map((text) => salted(text));
  assertEquals(first, texts.map((text) => salted(text)));
  assert(new Set(first.map((text) => text.slice(0, 8))).size > 0.99 * COUNT);
});
