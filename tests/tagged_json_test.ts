import { assertEquals, assertThrows } from "@std/assert";
import { formatJson, parseJson } from "../cli/tagged_json.ts";
import { BIGINTS, messageOf, NUMBERS, STRINGS, TYPED_ARRAYS } from "../tools/harness/messages.ts";
import { randomOf } from "../tools/harness/random.ts";

/** What stands in the JSON of a value. */
const TAGGED: readonly (readonly [value: unknown, json: string])[] = [
  [Uint8Array.of(104, 105), '{"$bytes":"aGk="}'],
  [9007199254740993n, '{"$bigint":"9007199254740993"}'],
  [NaN, '{"$number":"NaN"}'],
  [-Infinity, '{"$number":"-Infinity"}'],
  [-0, '{"$number":"-0"}'],
  [new Date(0), '{"$date":"1970-01-01T00:00:00.000Z"}'],
  [new Map<unknown, unknown>([["a", 1n]]), '{"$map":[["a",{"$bigint":"1"}]]}'],
  [new Set([NaN]), '{"$set":[{"$number":"NaN"}]}'],
  [Float64Array.of(1), '{"$Float64Array":"AAAAAAAA8D8="}'],
  [{ $bytes: "aGk=" }, '{"$object":{"$bytes":"aGk="}}'],
  [{ $object: { $object: 1 } }, '{"$object":{"$object":{"$object":{"$object":1}}}}'],
  [{ $bytes: 1, b: 2 }, '{"$bytes":1,"b":2}'],
];

for (const [value, json] of TAGGED) {
  Deno.test(`formatJson writes ${json}, and parseJson reads it`, () => {
    assertEquals(formatJson(value), json);
    assertEquals(parseJson(json), value);
  });
}

Deno.test("parseJson reads back whatever formatJson writes of a message", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = randomOf(seed);
  for (const value of [...NUMBERS, ...BIGINTS, ...STRINGS, ...TYPED_ARRAYS]) {
    assertEquals(parseJson(formatJson({ value })), { value });
  }
  for (let round = 0; round < 500; round++) {
    const message = messageOf(random);
    assertEquals(parseJson(formatJson(message)), message, `seed ${seed}`);
  }
});

Deno.test("parseJson takes an own property __proto__ for what it is", () => {
  const text = '{"__proto__":{"polluted":{"$bigint":"1"}}}';
  const value = parseJson(text) as Record<string, unknown>;
  assertEquals(Object.keys(value), ["__proto__"]);
  assertEquals(Object.getPrototypeOf(value), Object.prototype);
  assertEquals(formatJson(value), text);
});

Deno.test("parseJson leaves an object whose tag it does not know", () => {
  assertEquals(parseJson('{"$oid":"1"}'), { $oid: "1" });
  assertEquals(parseJson('{"constructor":1}'), { constructor: 1 });
});

Deno.test("parseJson refuses what a tag does not fit, and names it", () => {
  for (
    const json of [
      '{"$bytes":"*"}',
      '{"$bytes":1}',
      '{"$bigint":"1.5"}',
      '{"$bigint":" "}',
      '{"$number":"1"}',
      '{"$date":"yesterday Z"}',
      '{"$date":"2026-13-01T00:00:00.000Z"}',
      '{"$map":[1]}',
      '{"$set":{}}',
      '{"$Float64Array":"AAA="}',
    ]
  ) {
    assertThrows(() => parseJson(json), TypeError, `Cannot read ${json}`.replace(":", ": "));
  }
  assertThrows(() => parseJson("{"), SyntaxError);
});

Deno.test("parseJson refuses a whole number that another would take the place of", () => {
  const error = assertThrows(() => parseJson('{"id":12345678901234567890}'), RangeError);
  assertEquals(
    error.message,
    "Cannot take 12345678901234567890: a number is exact up to 2^53; " +
      'write {"$bigint": "12345678901234567890"} or a string',
  );
  for (const number of [2 ** 53, 2 ** 60, 1e20, -(2 ** 62), Number.MAX_SAFE_INTEGER]) {
    assertEquals(parseJson(formatJson([number])), [number]);
  }
  assertEquals(parseJson("[9007199254740992]"), [2 ** 53]);
});

Deno.test("parseJson refuses a number beyond all, and values that are nested too deep", () => {
  assertThrows(() => parseJson('{"a":1e400}'), RangeError, 'write {"$number": "Infinity"}');
  assertEquals(parseJson("[1e300]"), [1e300]);
  const deep = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  assertThrows(() => parseJson(deep(9000)), RangeError, "nested more than 256 deep");
  assertThrows(() => parseJson(`{"$set":[${deep(300)}]}`), RangeError, "nested more than 256");
  parseJson(deep(64));
});
