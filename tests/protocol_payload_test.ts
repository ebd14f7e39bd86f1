/** Holds what docs/protocol.md says of payloads against the codec. */
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { Decoder } from "../codec/codec.ts";
import { ProtocolError } from "../errors.ts";
import { toHex } from "../tools/harness/bytes.ts";
import { decode, encode, show } from "../tools/harness/payload.ts";
import { fromHex } from "./helpers/hex.ts";

/** What the bytes of a value stand for. */
function valueOf(hex: string): unknown {
  return decode(fromHex(`02 01 61 ${hex}`)).a;
}

/** The bytes of a value, as they are written. */
function hexOf(value: unknown): string {
  return toHex(encode({ a: value }).subarray(3));
}

function f64(number: number): string {
  return toHex(new Uint8Array(Float64Array.of(number).buffer));
}

const LAST_DATE = 8.64e15;

for (
  const [written, read] of [
    [LAST_DATE, LAST_DATE],
    [-LAST_DATE, -LAST_DATE],
    [LAST_DATE + 1, undefined],
    [-LAST_DATE - 1, undefined],
    [Infinity, undefined],
    [NaN, undefined],
    [1.9, 1],
    [-1.9, -1],
    [-0.5, 0],
    [-0, 0],
  ] as const
) {
  const what = read === undefined ? "refuses" : `reads ${read} from`;
  Deno.test(`decode ${what} a date of ${Object.is(written, -0) ? "-0" : written} ms`, () => {
    const date = () => valueOf(`b1 ${f64(written)}`);
    if (read === undefined) assertThrows(date, ProtocolError, "a date is invalid");
    else assertStrictEquals((date() as Date).getTime(), read);
  });
}

const EQUAL: readonly (readonly [what: string, one: string, other: string])[] = [
  ["0 and −0", "00", "aa 00 00 00 80"],
  ["1 and the f64 1", "01", `ab ${f64(1)}`],
  ["NaN and NaN with other bits", "aa 00 00 c0 7f", "ab 01 00 00 00 00 00 f8 ff"],
  ["a big 1 and one with zeros above", "ac 01 01", "ac 03 01 00 00"],
  ["a big 0 of no bytes and of one", "ac 00", "ac 01 00"],
  ["a text in its short form and its long one", "81 61", "ae 01 61"],
  ["null and null", "a0", "a0"],
  ["true and true", "a2", "a2"],
];

const DIFFERENT: readonly (readonly [what: string, one: string, other: string])[] = [
  ["1 and a big 1", "01", "ac 01 01"],
  ["1 and the text 1", "01", "81 31"],
  ["1 and true", "01", "a2"],
  ["0 and null", "00", "a0"],
  ["é in one character and in two", "82 c3 a9", "83 65 cc 81"],
  ["a text and the same behind a byte order mark", "81 61", "84 ef bb bf 61"],
  ["bytes and the same bytes", "af 01 07", "af 01 07"],
  ["a typed array and the same", "b0 00 01 07", "b0 00 01 07"],
  ["a date and the same", `b1 ${f64(0)}`, `b1 ${f64(0)}`],
  ["an empty Map and another", "b2 00", "b2 00"],
  ["an empty Set and another", "b3 00", "b3 00"],
  ["an empty array and another", "b4 00", "b4 00"],
  ["an empty object and another", "b5 00", "b5 00"],
];

for (const [what, one, other] of EQUAL) {
  Deno.test(`decode takes ${what} for the same key and member`, () => {
    assertThrows(() => valueOf(`b2 02 ${one} 05 ${other} 06`), ProtocolError, "a key twice");
    assertThrows(() => valueOf(`b3 02 ${one} ${other}`), ProtocolError, "a member twice");
  });
}

for (const [what, one, other] of DIFFERENT) {
  Deno.test(`decode takes ${what} for two keys and members, in their order`, () => {
    const keys = [valueOf(one), valueOf(other)];
    const map = valueOf(`b2 02 ${one} 05 ${other} 06`) as Map<unknown, unknown>;
    assertEquals(show([...map]), show([[keys[0], 5], [keys[1], 6]]));
    assertEquals(show([...valueOf(`b3 02 ${one} ${other}`) as Set<unknown>]), show(keys));
  });
}

Deno.test("decode keeps −0 as a value, and makes 0 of it as a key and a member", () => {
  const zero = "aa 00 00 00 80";
  assertStrictEquals(valueOf(zero), -0);
  assertStrictEquals([...valueOf(`b3 01 ${zero}`) as Set<unknown>][0], 0);
  const [[key, value]] = [...valueOf(`b2 01 ${zero} ${zero}`) as Map<unknown, unknown>] as [
    [unknown, unknown],
  ];
  assertStrictEquals(key, 0);
  assertStrictEquals(value, -0);
});

for (const [kind, width] of [1, 1, 2, 2, 4, 4, 2, 4, 8, 8, 8].entries()) {
  Deno.test(`decode takes typed arrays of kind ${kind} whose size is a multiple of ${width}`, () => {
    for (let size = 0; size <= 16; size++) {
      const hex = `b0 ${toHex(Uint8Array.of(kind, size))} ${toHex(new Uint8Array(size))}`;
      if (size % width === 0) {
        assertEquals((valueOf(hex) as Uint8Array).length, size / width);
      } else assertThrows(() => valueOf(hex), ProtocolError, "a part of an element");
    }
  });
}

for (
  const [hex, value, shortest] of [
    ["ac 00", 0n, "ac 00"],
    ["ac 02 00 00", 0n, "ac 00"],
    ["ac 03 00 01 00", 256n, "ac 02 00 01"],
    ["ad 00", -1n, "ad 00"],
    ["ad 01 00", -1n, "ad 00"],
    ["ad ff 01 00 00 00 ff", -256n, "ad 01 ff"],
    ["a3 05", 5, "05"],
    ["a4 05 00", 5, "05"],
    ["a8 00 00 00 00", -1, "a6 00"],
    ["ab 00 00 00 00 00 00 14 40", 5, "05"],
    ["ab 00 00 00 00 00 00 f8 3f", 1.5, "aa 00 00 c0 3f"],
    ["ae 01 61", "a", "81 61"],
    ["ae ff 01 00 00 00 61", "a", "81 61"],
    ["b4 ff 01 00 00 00 05", [5], "b4 01 05"],
  ] as const
) {
  Deno.test(`decode reads ${hex} although ${shortest} is shorter`, () => {
    assertEquals(show(valueOf(hex)), show(value));
    assertEquals(hexOf(value), toHex(fromHex(shortest)));
  });
}

Deno.test("decode gives each name its value, and names that are integers come first", () => {
  const payload = fromHex("09 01 62 02 31 30 01 32 01 61 06 07 08 09");
  // After some objects of the same names, they are read in another way.
  const decoder = new Decoder();
  for (let round = 0; round < 5; round++) {
    const entries = Object.entries(decode(payload, decoder));
    assertEquals(entries, [["2", 8], ["10", 7], ["b", 6], ["a", 9]]);
  }
});

Deno.test("decode refuses surrogates in texts and names, and Encoder writes none", () => {
  for (const hex of ["83 ed a0 80", "86 ed a0 bd ed b8 80", "b5 04 03 ed a0 80 05"]) {
    assertThrows(() => valueOf(hex), ProtocolError, "not UTF-8");
  }
  assertEquals(hexOf("\ud83d\ude00"), toHex(fromHex("84 f0 9f 98 80")));
  assertEquals(hexOf("\ud83d"), toHex(fromHex("83 ef bf bd")));
  assertEquals(hexOf({ "\ude00": 5 }), toHex(fromHex("b5 04 03 ef bf bd 05")));
});
