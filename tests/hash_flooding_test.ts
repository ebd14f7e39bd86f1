/** Maps, Sets and objects whose members or names were chosen to collide, and those that were not. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { clock } from "../base/clock.ts";
import { concat } from "../base/bytes.ts";
import { LONG } from "../base/size_prefix.ts";
import { HashFloodGuard } from "../codec/hash_flooding.ts";
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

/** Strings that are array indexes, of which V8 takes the lowest 24 bits and the length for the hash. */
function collidingIndexes(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String((i + 1) * 2 ** 16));
}

/**
 * Strings with one hash in every process of Deno's, whose snapshot has the seed. The hash multiplies
 * what is made of the first and the last four bytes with what is made of those between; here the
 * former is 0.
 */
function collidingStrings(count: number): string[] {
  const between = (i: number) => i.toString(36).padStart(8, "0");
  return Array.from({ length: count }, (_, i) => `9\x9a\x96i${between(i)}e\\M\x99`);
}

/** A size in the long form. */
function long(size: number): Uint8Array {
  return Uint8Array.of(LONG, size, size >>> 8, size >>> 16, size >>> 24);
}

const VALUE = Uint8Array.of(6, 5, 118, 97, 108, 117, 101); // The names of { value }

/** An array of values as `encode` writes it, without its tag. */
function members(values: readonly unknown[]): Uint8Array {
  const bytes = encode({ value: values }, ENOUGH).subarray(VALUE.length);
  assertEquals(bytes[0], 0xb4);
  return bytes.subarray(1);
}

/** A Set of these, which is never made: that takes longest. An array differs by the tag alone. */
const setOf = (values: readonly unknown[]) => concat(Uint8Array.of(0xb3), members(values));

/** A Map with these keys, which is not made either. */
const mapOf = (keys: readonly unknown[]) => {
  const pairs = members(keys.flatMap((key) => [key, true])).subarray(5);
  return concat(Uint8Array.of(0xb2), long(keys.length), pairs);
};

/** An array of a few of those. */
const arrayOf = (...values: readonly Uint8Array[]) =>
  concat(Uint8Array.of(0xb4, values.length), ...values);

/** The payload of `{ value }` with an object that has these names, each of less than 255 bytes, for small integers. */
function objectOf(names: readonly string[]): Uint8Array {
  const block = concat(...names.map((name) => {
    const bytes = new TextEncoder().encode(name);
    return concat(Uint8Array.of(bytes.length), bytes);
  }));
  const values = new Uint8Array(names.length).map((_, i) => i & 127);
  return concat(VALUE, Uint8Array.of(0xb5), long(block.length), block, values);
}

/** Integers as they are in honest messages. */
const ordinary = (count: number) => Array.from({ length: count }, (_, i) => i);

const pairs = (keys: readonly unknown[]) => keys.map((key) => [key, true] as const);

for (
  const [what, value] of [
    ["a Set of big integers", () => setOf(collidingBigints(20_000))],
    ["a Map of big integers", () => mapOf(collidingBigints(20_000))],
    ["a Set of integers", () => setOf(collidingIntegers(40_000))],
    [
      "several Sets of big integers",
      () =>
        arrayOf(
          ...ordinary(10).map((shift) =>
            setOf(collidingBigints(4000).map((member) => member + BigInt(shift)))
          ),
        ),
    ],
    [
      "a Set of integers behind 200 000 that do not collide,",
      () => arrayOf(setOf(ordinary(200_000)), setOf(collidingIntegers(30_000))),
    ],
    [
      "a Set of big integers behind many small Sets that do not collide,",
      () =>
        arrayOf(
          concat(
            Uint8Array.of(0xb4),
            members(Array.from({ length: 1400 }, () => new Set(ordinary(256)))),
          ),
          setOf(collidingBigints(40_000)),
        ),
    ],
    ["a Set of array indexes", () => setOf(collidingIndexes(40_000))],
    ["a Map of array indexes", () => mapOf(collidingIndexes(40_000))],
    ["a Set of strings", () => setOf(collidingStrings(16_000))],
    ["a Map of strings", () => mapOf(collidingStrings(16_000))],
  ] as const
) {
  Deno.test(`decode refuses ${what} that collide`, () => {
    const payload = concat(VALUE, value());
    assertThrows(() => decode(payload), ProtocolError, "collide");
  });
}

Deno.test("decode refuses an object with names that collide", () => {
  const payload = objectOf(collidingStrings(16_000));
  assertThrows(() => decode(payload), ProtocolError, "collide");
});

/** Adds members that take so long each, on a clock of its own; returns how many it took to refuse. */
function added(costs: Iterable<number>) {
  let time = 0;
  let looks = 0;
  const guard = new HashFloodGuard(() => {
    looks++;
    return time;
  });
  const all = [...costs];
  let count = 0;
  let refused = false;
  try {
    guard.addAll(all.length, (i) => {
      count++;
      time += all[i]!;
    });
  } catch (error) {
    assert(error instanceof ProtocolError);
    refused = true;
  }
  return { refused, count, ms: time, looks };
}

function* costsOf(count: number, cost: (i: number) => number) {
  for (let i = 0; i < count; i++) yield cost(i);
}

for (
  const [what, cost] of [
    ["all take long", () => 0.01],
    ["each takes as long as there are already", (i: number) => i * 10e-6],
    ["those that collide stand between as many that do not", (i: number) => (i >> 9) & 1 && 0.01],
  ] as const
) {
  Deno.test(`HashFloodGuard refuses members after 0.3 s when ${what}`, () => {
    const { refused, ms } = added(costsOf(100_000, cost));
    assertEquals(refused, true);
    assert(ms > 250 && ms < 350, `refused after ${ms} ms`);
  });
}

Deno.test("HashFloodGuard times no member of its own when there is a larger table now and then", () => {
  const isPower = (i: number) => (i & (i - 1)) === 0;
  const larger = costsOf(150_000, (i) => i > 1000 && isPower(i) ? i * 10e-6 : 30e-6);
  const { refused, looks } = added(larger);
  assertEquals([refused, looks], [false, 2 * Math.ceil(150_000 / 512)]);
});

const COUNT = 100_000;

for (
  const [what, members] of [
    ["integers in their order", Array.from({ length: COUNT }, (_, i) => i)],
    ["random integers", Array.from({ length: COUNT }, (_, i) => Math.imul(i, 0x9e3779b1))],
    ["random numbers", Array.from({ length: COUNT }, () => Math.random())],
    ["big integers", Array.from({ length: COUNT }, (_, i) => BigInt(i) << 32n)],
    ["strings", Array.from({ length: COUNT }, (_, i) => `member ${i}`)],
    ["array indexes in their order", Array.from({ length: COUNT }, (_, i) => String(i))],
    ["multiples of 16 as strings", Array.from({ length: COUNT }, (_, i) => String(16 * i))],
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

for (
  const [what, name] of [
    ["strings", (i: number) => `name ${i}`],
    ["array indexes in their order", (i: number) => String(i)],
    ["multiples of 65536", (i: number) => String((i + 1) * 2 ** 16)],
  ] as const
) {
  Deno.test(`decode gives back an object whose names are 40 000 ${what}`, () => {
    const names = Array.from({ length: 40_000 }, (_, i) => name(i));
    const { value } = decode(objectOf(names)) as { value: Record<string, number> };
    assertEquals(Object.keys(value), names);
    assert(names.every((name, i) => value[name] === (i & 127)));
  });
}

Deno.test("decode keeps the order of many names, and makes own properties of all", () => {
  const odd = [
    "__proto__",
    "b",
    "05",
    "4294967295",
    "1.5",
    "-1",
    "",
    "toString",
    "2024-01-01",
    "a",
  ];
  const indexes = ["4294967294", "10", "9", "0"];
  const rest = Array.from({ length: 200 }, (_, i) => `name ${i}`);
  const { value } = decode(objectOf([...odd, ...indexes, ...rest])) as { value: object };
  assertEquals(Object.keys(value), [...indexes.toReversed(), ...odd, ...rest]);
  assertEquals(Object.getPrototypeOf(value), Object.prototype);
});

for (const name of ["name 7", "7", "__proto__", "4294967294", "07"]) {
  Deno.test(`decode refuses the name ${name} twice among many`, () => {
    const names = Array.from({ length: 300 }, (_, i) => i % 2 === 0 ? `name ${i}` : `${i * 1000}`);
    const many = [name, ...names.filter((other) => other !== name), name];
    assertThrows(() => decode(objectOf(many)), ProtocolError, `the name "${name}" comes twice`);
    assert(Object.hasOwn((decode(objectOf(many.slice(1))) as { value: object }).value, name));
  });
}

Deno.test("decode gives back a Set although another program has the machine now and then", () => {
  const members = Array.from({ length: COUNT }, (_, i) => i);
  const bytes = encode({ value: new Set(members) }, ENOUGH);
  const { now } = clock;
  let calls = 0;
  let lost = 0;
  clock.now = () => now() + (++calls % 201 === 8 ? lost += 100 : lost);
  try {
    assertEquals((decode(bytes) as { value: Set<unknown> }).value.size, COUNT);
  } finally {
    clock.now = now;
  }
  assertEquals(lost > 1000, true);
});
