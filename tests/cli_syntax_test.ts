import { assertEquals, assertThrows } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";
import { Arguments, parseTime, timeText, UsageError } from "../cli/command.ts";
import {
  describeLine,
  dotNotice,
  parseLine,
  parsePairs,
  parsePattern,
  parseTopic,
  topicText,
} from "../cli/syntax.ts";
import { any } from "../topic.ts";

for (
  const [text, path] of [
    ["a", ["a"]],
    ["sensors/kitchen", ["sensors", "kitchen"]],
    ['["a/b","c"]', ["a/b", "c"]],
    ["/", []],
    ["*broker/stats", ["*broker", "stats"]],
    ["日本/😀", ["日本", "😀"]],
    ['["[x"]', ["[x"]],
    ['["a","*"]', ["a", "*"]],
    ['["a.>"]', ["a.>"]],
    ["a.b", ["a.b"]],
    ["C#/c++/*x", ["C#", "c++", "*x"]],
  ] as const
) {
  Deno.test(`parseTopic reads ${text}, and topicText writes it`, () => {
    assertEquals(parseTopic(text), path);
    assertEquals(parsePattern(text), path);
    assertEquals(topicText(path), text);
  });
}

for (
  const [text, pattern] of [
    ["+", [any]],
    ["sensors/+/celsius", ["sensors", any, "celsius"]],
    ["+/+/+", [any, any, any]],
    ['["a/b",null]', ["a/b", any]],
    ['["+",null,"+"]', ["+", any, "+"]],
  ] as const
) {
  Deno.test(`parsePattern reads ${text}, and topicText writes it`, () => {
    assertEquals(parsePattern(text), pattern);
    assertEquals(topicText(pattern), text);
  });
}

Deno.test("parsePattern reads null in each JSON array as any, also where + is shorter", () => {
  assertEquals(parsePattern('["a",null]'), ["a", any]);
  assertEquals(topicText(["a", any]), "a/+");
});

Deno.test("parsePattern says what is wrong with a topic", () => {
  for (
    const [text, why] of [
      ["a/*", "+ is one element of any name"],
      ["a/#", `there are no other wildcards. Write '["a","#"]' for this very name`],
      ["a.+", "no other wildcards"],
      ["+/+/+/+", "4 elements are any; the limit is 3"],
      ["[null,null,null,null]", "the limit is 3"],
      ["+//a", "element 1 is empty"],
      ["[1]", "element 0 is 1"],
    ] as const
  ) {
    assertThrows(() => parsePattern(text), UsageError, why);
  }
});

Deno.test("parseTopic says what is wrong with a topic", () => {
  for (
    const [text, why] of [
      ["", `Cannot use "" as a topic: element 0 is empty`],
      ["a//b", "empty"],
      ["/a", "empty"],
      ["[1]", "Cannot use [1] as a topic"],
      ['["a"', "it is not a JSON array"],
      ["x".repeat(256), "255"],
      [Array(17).fill("a").join("/"), "limit is 16"],
      ["a/*", `there are no wildcards to publish to; write '["a","*"]' for this very name`],
      ...["*", "**", "#", "a/#", "a.>", "a.*.b", "*.b", "a.+"].map((text) =>
        [text, "there are no wildcards"] as const
      ),
      [
        "a/+",
        `+ stands for any name, where one subscribes or grants; name one, or write '["a","+"]'`,
      ],
      ["+/b", "+ stands for any name"],
      ['["a",null]', "element 1 is null; it must be a string"],
    ] as const
  ) {
    assertThrows(() => parseTopic(text), UsageError, why);
  }
});

Deno.test("parseLine takes null for the root, and refuses it within a topic", () => {
  assertEquals(parseLine('{"topic":null,"message":{}}').topic, []);
  const line = '{"topic":["a",null],"message":{}}';
  assertThrows(() => parseLine(line), TypeError, "element 1 is null; it must be a string");
});

Deno.test("dotNotice tells who may have meant a path, and nobody who knows how to write one", () => {
  assertEquals(
    dotNotice("sensors.kitchen"),
    "sensors.kitchen is one name with dots in it; a path is written sensors/kitchen, and " +
      `'["sensors.kitchen"]' says that the name is meant`,
  );
  for (const text of ["a", "hosts/a.example", '["a.b"]', ".a", "a.", "...", "/"]) {
    assertEquals(dotNotice(text), undefined, text);
  }
});

Deno.test("topicText writes what a terminal would obey as JSON", () => {
  assertEquals(topicText(["a\x1b[2J"]), '["a\\u001b[2J"]');
});

/** For pairs that name no file. */
function noFile(path: string): never {
  throw new Error(`reads ${path}`);
}

Deno.test("parsePairs reads a file for a value that begins with @, and only then", () => {
  const bytes = Uint8Array.of(0, 255);
  const read = (path: string) => {
    assertEquals(path, "my a.jpg");
    return bytes;
  };
  assertEquals(parsePairs(["photo=@my a.jpg", 'by="@ann"', "mail=a@b"], read), {
    photo: bytes,
    by: "@ann",
    mail: "a@b",
  });
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
    ], noFile),
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
  assertThrows(() => parsePairs(["=1"], noFile), UsageError, "write key=value");
  assertThrows(() => parsePairs(["a=1", "a=2"], noFile), UsageError, "a comes twice");
  assertThrows(() => parsePairs(["novalue"], noFile), UsageError, "write key=value");
  assertThrows(() => parsePairs([""], noFile), UsageError, 'Cannot use "" as a value');
  // A shell took the quotation marks away.
  assertThrows(() => parsePairs(["{a:1}"], noFile), UsageError, `as --json '{"a":1}'`);
  assertThrows(
    () => parsePairs(["n=12345678901234567890"], noFile),
    UsageError,
    "exact up to 2^53",
  );
});

Deno.test("describeLine prints values as parsePairs reads them, and nothing that a terminal obeys", () => {
  const message = {
    ...{ n: 1, s: "plain", t: "1", u: "two words", at: "@ann" },
    ...{ c: "\x1b[2J\x9b2J", "\x07": null },
  };
  const text = stripAnsiCode(
    describeLine({ topic: ["a", "b"], message }, new Date(2026, 0, 2, 3, 4, 5, 6)),
  );
  assertEquals(
    text,
    '03:04:05.006 a/b n=1 s=plain t="1" u="two words" at="@ann" c="\\u001b[2J\\u009b2J" \\u0007=null',
  );
});

Deno.test("parseTime reads a number with a unit, or 0, and nothing else", () => {
  const times = { "0": 0, "250ms": 250, "1.5ms": 1.5, "5s": 5000, "2m": 120_000, "1h": 3_600_000 };
  for (const [text, ms] of Object.entries(times)) {
    assertEquals([parseTime(text), timeText(ms)], [ms, text]);
  }
  assertEquals(timeText(90_000), "90s");
  for (const text of ["", "250", "00", "0.0", "-1s", "5 s", "5S", "s", "1d", "1e3ms", "999999h"]) {
    assertEquals(parseTime(text), undefined, text);
  }
});

const COMMANDS = ["broker", "pub", "sub", "ping", "bench", "top", "stats", "key"];

for (const name of COMMANDS) {
  const { [name]: command } = await import(`../cli/${name}.ts`);
  for (const { name: option, value } of command.options) {
    if (value !== "TIME") continue;
    Deno.test(`cli ${name} --${option} takes a time with its unit only`, () => {
      const timeOf = (text: string) => new Arguments(command, [`--${option}`, text]).time(option);
      assertEquals(["0", "5s"].map(timeOf), [0, 5000]);
      for (const text of ["250", "soon", "720h"]) {
        assertThrows(
          () => timeOf(text),
          UsageError,
          `--${option} needs a time like 250ms, 5s or 2m, at most 596h, not ${text}`,
        );
      }
    });
  }
}
