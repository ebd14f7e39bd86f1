import { assertEquals, assertThrows } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";
import { UsageError } from "../cli/command.ts";
import { describeLine, parsePairs, parseTopic, topicText } from "../cli/syntax.ts";

for (
  const [text, path] of [
    ["a", ["a"]],
    ["sensors/kitchen", ["sensors", "kitchen"]],
    ['["a/b","c"]', ["a/b", "c"]],
    ["/", []],
    ["*broker/stats", ["*broker", "stats"]],
    ["日本/😀", ["日本", "😀"]],
    ['["[x"]', ["[x"]],
  ] as const
) {
  Deno.test(`parseTopic reads ${text}, and topicText writes it`, () => {
    assertEquals(parseTopic(text), path);
    assertEquals(topicText(path), text);
  });
}

Deno.test("parseTopic says what is wrong with a topic", () => {
  for (
    const [text, why] of [
      ["", "empty"],
      ["a//b", "empty"],
      ["/a", "empty"],
      ["[1]", "Cannot use [1] as a topic"],
      ['["a"', "it is not a JSON array"],
      ["x".repeat(256), "255"],
      [Array(17).fill("a").join("/"), "limit is 16"],
    ] as const
  ) {
    assertThrows(() => parseTopic(text), UsageError, why);
  }
});

Deno.test("topicText writes what a terminal would obey as JSON", () => {
  assertEquals(topicText(["a\x1b[2J"]), '["a\\u001b[2J"]');
});

Deno.test("parsePairs takes a value for JSON where it is that, else for a text", () => {
  assertEquals(
    parsePairs([
      "n=1.5",
      "t=true",
      "s=hello",
      's2="1"',
      "e=",
      "a==b",
      'b={"$bytes":"aGk="}',
      "x=[1]",
    ]),
    {
      n: 1.5,
      t: true,
      s: "hello",
      s2: "1",
      e: "",
      a: "=b",
      b: Uint8Array.of(104, 105),
      x: [1],
    },
  );
  assertThrows(() => parsePairs(["=1"]), UsageError, "write key=value");
  assertThrows(() => parsePairs(["a=1", "a=2"]), UsageError, "a comes twice");
  assertThrows(() => parsePairs(["novalue"]), UsageError, "write key=value");
  assertThrows(() => parsePairs(["n=12345678901234567890"]), UsageError, "exact up to 2^53");
});

Deno.test("describeLine prints values as parsePairs reads them, and nothing that a terminal obeys", () => {
  const message = { n: 1, s: "plain", t: "1", u: "two words", c: "\x1b[2J\x9b2J", "\x07": null };
  const text = stripAnsiCode(
    describeLine({ topic: ["a", "b"], message }, new Date(2026, 0, 2, 3, 4, 5, 6)),
  );
  assertEquals(
    text,
    '03:04:05.006 a/b n=1 s=plain t="1" u="two words" c="\\u001b[2J\\u009b2J" \\u0007=null',
  );
});
