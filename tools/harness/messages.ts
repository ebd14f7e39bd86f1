/** Values and messages that can be sent, at random and at their limits. */
import type { Random } from "./random.ts";

export const NUMBERS: readonly number[] = [
  ...[0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1],
  ...[2 ** 53 - 1, 2 ** 53, Number.MAX_VALUE, Number.MIN_VALUE, 1.5, 0.1, Math.PI, NaN, Infinity],
  ...[2 ** -149, 3.4028234663852886e38, 3.4028235677973366e38],
].flatMap((number) => [number, -number, -1 - number]);

export const BIGINTS: readonly bigint[] = [
  0n,
  1n,
  127n,
  255n,
  256n,
  2n ** 32n,
  2n ** 63n,
  2n ** 64n,
]
  .concat([16n ** 507n, 16n ** 508n, 256n ** 254n, 256n ** 255n, 7n ** 5000n])
  .flatMap((integer) => [integer, -integer, integer - 1n, 1n - integer]);

export const STRINGS: readonly string[] = [
  ...[0, 1, 23, 24, 25, 31, 32, 254, 255, 256, 70_000].map((length) => "x".repeat(length)),
  ...[12, 15, 16, 127, 128].map((length) => "é".repeat(length)),
  ..."é|日本|😀|a\0b|\ufeffbom|\u007f\u0080|\uffff|\u{10ffff}".split("|"),
  ...[7, 8, 63, 64].map((length) => "😀".repeat(length)),
  `${"x".repeat(23)}é`,
];

const ARRAY_TYPES = [
  Uint8Array,
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
  (globalThis as { Float16Array?: unknown }).Float16Array as typeof Float32Array | undefined,
].filter((type) => type !== undefined);

export const TYPED_ARRAYS: readonly ArrayBufferView[] = ARRAY_TYPES.flatMap((type) => {
  const { buffer } = Uint8Array.from({ length: 320 }, (_, i) => 255 - i);
  return [new type(0), new type(buffer), new type(buffer, 8, 2), new type(buffer, 8, 32)];
});

const NAMES = ["a", "b", "", "__proto__", "constructor", "1", "😀", "n".repeat(255)];

/** Any value that can be sent and arrives as it is. */
function valueOf(random: Random, depth: number): unknown {
  const values = () => Array.from({ length: random.int(5) }, () => valueOf(random, depth + 1));
  switch (random.int(depth < 6 ? 12 : 7)) {
    case 0:
      return random.pick(NUMBERS) * random.pick([1, 1, 0.5, 3]);
    case 1:
      return random.int(2 ** 32) - 2 ** 31;
    case 2:
      return random.pick(BIGINTS) * BigInt(random.int(1000));
    case 3:
      return random.pick(STRINGS.slice(0, 10)) + random.pick(STRINGS.slice(11));
    case 4:
      return random.pick(TYPED_ARRAYS);
    case 5:
      return random.pick([null, true, false]);
    case 6:
      return new Date(random.int(2 ** 53) - 2 ** 52);
    case 7:
      return values();
    case 8:
      return new Set(values());
    case 9:
      return new Map(values().map((key) => [key, valueOf(random, depth + 1)]));
    default:
      return messageOf(random, depth);
  }
}

/** Any message that can be sent and arrives as it is. */
export function messageOf(random: Random, depth = 0): object {
  const count = random.int(6);
  const names = Array.from({ length: count }, () => random.pick(NAMES));
  return Object.fromEntries(names.map((name) => [name, valueOf(random, depth + 1)]));
}
