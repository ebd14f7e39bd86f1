import { assert, assertEquals, assertMatch } from "@std/assert";
import { printable } from "../base/printable.ts";

/** What must never be shown as it is, by number, so that no table of a runtime is believed. */
const HIDDEN: readonly (readonly [what: string, from: number, to: number])[] = [
  ["C0 controls", 0x00, 0x1f],
  ["DEL and C1 controls, CSI among them", 0x7f, 0x9f],
  ["no-break space", 0xa0, 0xa0],
  ["soft hyphen", 0xad, 0xad],
  ["combining grapheme joiner", 0x34f, 0x34f],
  ["Arabic letter mark", 0x61c, 0x61c],
  ["Hangul fillers", 0x115f, 0x1160],
  ["Khmer vowels without a look", 0x17b4, 0x17b5],
  ["Mongolian selectors and separator", 0x180b, 0x180f],
  ["spaces, zero width, joiners, directional marks", 0x2000, 0x200f],
  ["line and paragraph separators, bidi embeddings, narrow space", 0x2028, 0x202f],
  ["spaces, word joiner, invisible operators, bidi isolates", 0x205f, 0x206f],
  ["blank braille", 0x2800, 0x2800],
  ["ideographic space", 0x3000, 0x3000],
  ["Hangul filler", 0x3164, 0x3164],
  ["surrogates and private use", 0xd800, 0xf8ff],
  ["variation selectors", 0xfe00, 0xfe0f],
  ["byte order mark", 0xfeff, 0xfeff],
  ["halfwidth Hangul filler", 0xffa0, 0xffa0],
  ["annotations", 0xfff0, 0xfffb],
  ["noncharacters", 0xfffe, 0xffff],
  ["Khitan filler", 0x16fe4, 0x16fe4],
  ["shorthand controls", 0x1bca0, 0x1bca3],
  ["musical blank", 0x1d159, 0x1d159],
  ["musical beams and slurs", 0x1d173, 0x1d17a],
  ["tags and more variation selectors", 0xe0000, 0xe0fff],
  ["private use", 0xf0000, 0x10ffff],
];

Deno.test("printable escapes each character that cannot be seen, and JSON stays equal", () => {
  for (const [what, from, to] of HIDDEN) {
    for (let code = from; code <= to; code++) {
      const shown = printable(String.fromCodePoint(code));
      assertMatch(shown, /^(\\u[\da-f]{4}){1,2}$/, `${what}: ${code.toString(16)}`);
      assertEquals(JSON.parse(`"${shown}"`), String.fromCodePoint(code), what);
    }
  }
});

Deno.test("printable shows letters, marks, numbers, punctuation, symbols and the space", () => {
  const isHidden = (code: number) => HIDDEN.some(([, from, to]) => from <= code && code <= to);
  for (let code = 0; code <= 0x10ffff; code++) {
    const character = String.fromCodePoint(code);
    if (!/[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(character) || isHidden(code)) continue;
    assertEquals(printable(character), character);
  }
  assertEquals(printable("Grüße, 世界 👍🏽 a\u0301 ½"), "Grüße, 世界 👍🏽 a\u0301 ½");
});

Deno.test("printable keeps a text on one line, also a second time", () => {
  const shown = printable("a\r\nb\u{e0041}\ud800\u200dc");
  assertEquals(shown, "a\\u000d\\u000ab\\udb40\\udc41\\ud800\\u200dc");
  assertEquals(printable(shown), shown);
});

Deno.test("printable tells an escape in JSON from one that was written by hand", () => {
  assertEquals(printable(JSON.stringify("a\u200b")), '"a\\u200b"');
  assertEquals(printable(JSON.stringify("a\\u200b")), '"a\\\\u200b"');
});

Deno.test("printable cuts at max, and never within an escape or a character", () => {
  assertEquals(printable("abcde", 5), "abcde");
  assertEquals(printable("abcdef", 5), "abcd…");
  assertEquals(printable("ab👍", 4), "ab👍");
  assertEquals(printable("ab👍c", 4), "ab…");
  assertEquals(printable("ab\x1b[m", 8), "ab…");
  assertEquals(printable("ab\x1bm", 9), "ab\\u001bm");
  assertEquals(printable("ab\x1bmn", 9), "ab\\u001b…");
  assertEquals(printable("\u{e0041}", 12), "\\udb40\\udc41");
  assertEquals(printable("\u{e0041}", 11), "…");
  for (let max = 1; max < 30; max++) {
    const shown = printable("x\u200b👍\u{e0041}yz", max);
    assert(shown.length <= max);
    assertEquals(printable(shown, max), shown);
  }
});
