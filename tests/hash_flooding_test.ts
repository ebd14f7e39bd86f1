/** Maps and Sets whose members were chosen to collide, and those that were not. */
import { assertEquals, assertThrows } from "@std/assert";
import { ProtocolError } from "../errors.ts";
import { decode, encode } from "../tools/harness/payload.ts";

const ENOUGH = { limit: 2 ** 24 };

/** Big integers that are the same in their lowest 64 bits, which is all that V8 looks at. */
function collidingBigints(count: number): bigint[] {
  return Array.from({ length: count }, (_, i) => BigInt(i + 1) << 64n);
}

/** V8's hash of a small integer. */
function hashOf(integer: number): number {
  let hash = (~integer + (integer << 15)) | 0;
  hash ^= hash >>> 12;
  hash = (hash + (hash << 2)) | 0;
  hash ^= hash >>> 4;
  hash = Math.imul(hash, 2057);
  return (hash ^ (hash >>> 16)) & 0x3fffffff;
}

/** Integers whose hashes are the same in their lowest 14 bits. */
function collidingIntegers(count: number): number[] {
  const integers: number[] = [];
  for (let integer = 0; integers.length < count; integer++) {
    if ((hashOf(integer) & 0x3fff) === 77) integers.push(integer);
  }
  return integers;
}

/** Integers as they are in honest messages. */
const ordinary = (count: number) => Array.from({ length: count }, (_, i) => i);

const pairs = (keys: readonly unknown[]) => keys.map((key) => [key, true] as const);

for (
  const [what, value] of [
    ["a Set of big integers", new Set(collidingBigints(20_000))],
    ["a Map of big integers", new Map(pairs(collidingBigints(20_000)))],
    ["a Set of integers", new Set(collidingIntegers(40_000))],
    [
      "several Sets of big integers",
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((shift) =>
        new Set(collidingBigints(4000).map((member) => member + BigInt(shift)))
      ),
    ],
    [
      "a Set of integers behind 200 000 that do not collide,",
      [new Set(ordinary(200_000)), new Set(collidingIntegers(30_000))],
    ],
    [
      "a Set of big integers behind many small Sets that do not collide,",
      [
        Array.from({ length: 5500 }, () => new Set(ordinary(64))),
        new Set(collidingBigints(40_000)),
      ],
    ],
  ] as const
) {
  Deno.test(`decode refuses ${what} that collide`, () => {
    assertThrows(() => decode(encode({ value }, ENOUGH)), ProtocolError, "collide");
  });
}

const COUNT = 100_000;

for (
  const [what, members] of [
    ["integers in their order", Array.from({ length: COUNT }, (_, i) => i)],
    ["random integers", Array.from({ length: COUNT }, (_, i) => Math.imul(i, 0x9e3779b1))],
    ["random numbers", Array.from({ length: COUNT }, () => Math.random())],
    ["big integers", Array.from({ length: COUNT }, (_, i) => BigInt(i) << 32n)],
    ["strings", Array.from({ length: COUNT }, (_, i) => `member ${i}`)],
  ] as const
) {
  Deno.test(`decode gives back a Set and a Map of 100 000 ${what}`, () => {
    const [set, map] = [new Set<unknown>(members), new Map<unknown, boolean>(pairs(members))];
    const { value } = decode(encode({ value: [set, map] }, ENOUGH)) as {
      value: [Set<unknown>, Map<unknown, unknown>];
    };
    assertEquals(value[0].size, set.size);
    assertEquals([...value[0]].every((member) => set.has(member)), true);
    assertEquals(value[1].size, map.size);
  });
}

Deno.test("decode gives back a Set although another program has the machine now and then", () => {
  const members = Array.from({ length: COUNT }, (_, i) => i);
  const bytes = encode({ value: new Set(members) }, ENOUGH);
  const { now } = performance;
  let calls = 0;
  let lost = 0;
  performance.now = () => now.call(performance) + (++calls % 200 === 7 ? lost += 100 : lost);
  try {
    assertEquals((decode(bytes) as { value: Set<unknown> }).value.size, COUNT);
  } finally {
    performance.now = now;
  }
  assertEquals(lost > 1000, true);
});
