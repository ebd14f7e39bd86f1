import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  any,
  ANY_MAX,
  beforeAny,
  ELEMENT_BYTES_MAX,
  formatTopic,
  isBrokerPath,
  isLocalPath,
  type Topic,
  TOPIC_ELEMENTS_MAX,
  type TopicPath,
  topicPath,
  type TopicPattern,
  topicPattern,
} from "../topic.ts";

Deno.test("topicPath makes a frozen copy of its own", () => {
  const topic = ["a", "b"];
  const path = topicPath(topic);
  assertEquals(path, ["a", "b"]);
  assert(Object.isFrozen(path));
  topic[0] = "changed";
  assertEquals(path, ["a", "b"]);
});

Deno.test("topicPath never splits a string", () => {
  assertEquals(topicPath("a.b/c"), ["a.b/c"]);
  assert(Object.isFrozen(topicPath("a")));
});

Deno.test("topicPath gives one frozen path for the root", () => {
  assertEquals(topicPath(null), []);
  assertStrictEquals(topicPath(null), topicPath([]));
  assert(Object.isFrozen(topicPath(null)));
});

const VALID: [name: string, topic: Topic][] = [
  ["a path with as many elements as the limit", new Array(TOPIC_ELEMENTS_MAX).fill("x")],
  ["an element as long as the limit", "x".repeat(ELEMENT_BYTES_MAX)],
  ["two bytes a character, at the limit", "é".repeat(127) + "x"],
  ["three bytes a character, at the limit", "€".repeat(85)],
  ["four bytes a character, at the limit", "😀".repeat(63) + "xyz"],
  ["a pair of surrogates", ["😀"]],
  ["control characters, blanks and separators", ["\n", " ", "\u2028", "a/b"]],
  ["names that objects have", ["__proto__", "constructor"]],
];
for (const [name, topic] of VALID) {
  Deno.test(`topicPath takes ${name}`, () => {
    assertEquals(topicPath(topic), typeof topic === "string" ? [topic] : topic!);
  });
}

const INVALID: [name: string, topic: unknown, kind: typeof Error, says: string][] = [
  ["an empty string", "", TypeError, "element 0 is empty"],
  ["an empty element", ["a", ""], TypeError, '["a",""] as a topic: element 1 is empty'],
  ["a hole", new Array(1), TypeError, "element 0 is undefined"],
  ["a number in it", ["a", 1], TypeError, "element 1 is 1; it must be a string"],
  ["a bigint in it", [1n], TypeError, "a value of type"],
  ["an array in it", [["a"]], TypeError, 'element 0 is ["a"]'],
  ["a String object in it", [new String("a")], TypeError, "must be a string"],
  ["a number", 5, TypeError, "Cannot use 5 as a topic"],
  ["undefined", undefined, TypeError, "Cannot use undefined as a topic"],
  ["an object", { length: 1, 0: "a" }, TypeError, "must be a string, an array of strings or null"],
  ["a symbol", Symbol("s"), TypeError, "Cannot use Symbol(s) as a topic"],
  ["a lone high surrogate", "a\ud83d", TypeError, "lone surrogate"],
  ["a lone low surrogate", ["\ude00a"], TypeError, "lone surrogate"],
  ["a lone surrogate in a long element", "x".repeat(200) + "\ud83d", TypeError, "lone surrogate"],
  [
    "one element more than the limit",
    new Array(TOPIC_ELEMENTS_MAX + 1).fill("x"),
    RangeError,
    "it has 17 elements; the limit is 16",
  ],
  ["an element one byte past the limit", "x".repeat(256), RangeError, "256 characters"],
  ["two bytes a character, past the limit", "é".repeat(128), RangeError, "is 256 bytes"],
  ["three bytes a character, past the limit", "€".repeat(85) + "x", RangeError, "is 256 bytes"],
  ["four bytes a character, past the limit", "😀".repeat(64), RangeError, "is 256 bytes"],
];
for (const [name, topic, kind, says] of INVALID) {
  Deno.test(`topicPath refuses ${name}`, () => {
    const error = assertThrows(() => topicPath(topic as Topic), kind, says);
    assert(error.message.length < 300, error.message);
  });
}

Deno.test("topicPath keeps messages short and on one line", () => {
  const error = assertThrows(() => topicPath(["x".repeat(1e6), "\x9b\n"]), RangeError);
  assert(error.message.length < 300);
  assertThrows(() => topicPath([5, "\x9b"] as unknown as Topic), TypeError, "\\u009b");
});

Deno.test("formatTopic shows a path as JSON without control characters", () => {
  assertEquals(formatTopic([]), "[]");
  assertEquals(formatTopic(["a", 'b"']), '["a","b\\""]');
  assertEquals(formatTopic(["\n\x1b\x9b\u2028"]), '["\\n\\u001b\\u009b\\u2028"]');
});

Deno.test("isLocalPath looks at the last element, isBrokerPath at the first", () => {
  assertEquals([[], ["*local"], ["a", "*local"], ["*local", "a"]].map(isLocalPath), [
    false,
    true,
    true,
    false,
  ]);
  assertEquals([[], ["*broker"], ["*broker", "a"], ["a", "*broker"]].map(isBrokerPath), [
    false,
    true,
    true,
    false,
  ]);
});

Deno.test("topicPattern makes a frozen copy with any, up to as many as the limit", () => {
  const most = new Array<typeof any>(ANY_MAX).fill(any);
  for (const topic of [[any], ["a", any, "b"], most, ["a"], []] as TopicPattern[]) {
    const pattern = topicPattern(topic);
    assertEquals(pattern, topic);
    assert(Object.isFrozen(pattern) && pattern !== topic);
  }
  assertThrows(
    () => topicPattern([...most, any]),
    RangeError,
    "4 elements are any; the limit is 3",
  );
});

Deno.test("topicPath takes no any, and says which element it is", () => {
  assertThrows(() => topicPath(["a", any]), TypeError, 'Cannot use ["a",any] as a topic here');
  assertThrows(() => topicPath([any, "a", any]), TypeError, "element 0 is any");
});

Deno.test("formatTopic shows any, and a string with that name as a string", () => {
  assertEquals(formatTopic(["a", any, "any", "\n"]), '["a",any,"any","\\n"]');
  assertEquals(JSON.stringify(["a", any]), '["a",null]');
});

Deno.test("beforeAny gives the path that stands before the first any", () => {
  const topics: [TopicPattern, TopicPath][] = [
    [[], []],
    [["a"], ["a"]],
    [[any, "a"], []],
    [["a", "b", any, "c", any], ["a", "b"]],
  ];
  for (const [pattern, path] of topics) assertEquals(beforeAny(pattern), path);
});
