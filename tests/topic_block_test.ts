import { assert, assertEquals, assertThrows } from "@std/assert";
import { concat } from "../base/bytes.ts";
import { ProtocolError } from "../errors.ts";
import { FrameError, Reason } from "../protocol/frame.ts";
import {
  decodePattern,
  decodeTopic,
  encodeTopic,
  longestElement,
  topicEnd,
} from "../protocol/topic_block.ts";
import { any, type TopicPattern } from "../topic.ts";

const LIMITS = { messageBytes: 1000, topicElements: 16, elementBytes: 255, subscriptions: 4 };

Deno.test("decodeTopic gives back what encodeTopic took", () => {
  const topics = [
    [],
    ["a"],
    ["foo", "bar"],
    ["é", "日本", "\0", "__proto__", "\ufeffbom"],
    ["x".repeat(254)],
    ["x".repeat(255)],
    Array.from({ length: 16 }, () => "y".repeat(255)),
  ];
  for (const topic of topics) {
    const block = encodeTopic(topic);
    const at = concat(Uint8Array.of(9, 9), block, Uint8Array.of(9));
    const end = topicEnd(at, 2, at.length);
    assertEquals(end, 2 + block.length);
    const path = decodeTopic(at, 2, end, LIMITS);
    assertEquals(path, topic);
    assert(Object.isFrozen(path));
  }
});

Deno.test("longestElement says how many bytes the longest element of a topic has", () => {
  const rows: [path: string[], longest: number][] = [
    [[], 0],
    [["a"], 1],
    [["abc", "ab"], 3],
    [["ab", "é€"], 5],
    [["a".repeat(254), "b"], 254],
    [["a", "b".repeat(255), "c"], 255],
    [["é".repeat(200), "b".repeat(300)], 400],
    [Array.from({ length: 16 }, (_, i) => "x".repeat(i + 240)), 255],
  ];
  for (const [path, longest] of rows) assertEquals(longestElement(encodeTopic(path)), longest);
});

Deno.test("decodeTopic takes a topic at the limits and refuses one past them", () => {
  const check = (topic: string[]) => {
    const block = encodeTopic(topic);
    return decodeTopic(block, 0, topicEnd(block, 0, block.length), LIMITS);
  };
  check(Array(16).fill("x"));
  assertThrows(() => check(Array(17).fill("x")), ProtocolError, "more than 16 elements");
  check(["x".repeat(255)]);
  assertThrows(() => check(["x".repeat(256)]), ProtocolError, "256 bytes; the limit is 255");
  assertThrows(() => check(["x", ""]), ProtocolError, "empty");
});

Deno.test("decodeTopic refuses every cut and broken block", () => {
  const block = encodeTopic(["foo", "b".repeat(255)]);
  for (let end = 0; end < block.length; end++) {
    assertThrows(() => topicEnd(block, 0, end), ProtocolError);
  }
  const broken = [
    Uint8Array.of(2, 5, 65), // An element longer than the block.
    Uint8Array.of(2, 255, 0), // An element's size that is cut.
    Uint8Array.of(2, 1, 0xff), // Not UTF-8.
    Uint8Array.of(4, 3, 0xed, 0xa0, 0x80), // A surrogate.
  ];
  for (const bytes of broken) {
    assertThrows(
      () => decodeTopic(bytes, 0, topicEnd(bytes, 0, bytes.length), LIMITS),
      ProtocolError,
    );
  }
});

Deno.test("decodePattern gives back what encodeTopic took, with any as an element of size 0", () => {
  const topics: TopicPattern[] = [
    [],
    ["a"],
    [any],
    ["sensors", any, "celsius"],
    [any, "é", any, any],
    [any, ...Array.from({ length: 15 }, () => "y".repeat(255))],
  ];
  for (const topic of topics) {
    const block = encodeTopic(topic);
    const pattern = decodePattern(block, 0, topicEnd(block, 0, block.length), LIMITS);
    assertEquals(pattern, topic);
    assert(Object.isFrozen(pattern));
  }
  assertEquals([...encodeTopic(["a", any])], [3, 1, 97, 0]);
  const long = Uint8Array.of(5, 255, 0, 0, 0, 0);
  assertEquals(
    decodePattern(long, 0, long.length, LIMITS),
    [any],
    "its size may be in the long form",
  );
});

Deno.test("decodePattern refuses a topic with more than three any", () => {
  const block = Uint8Array.of(4, 0, 0, 0, 0);
  assertEquals(decodePattern(Uint8Array.of(3, 0, 0, 0), 0, 4, LIMITS), [any, any, any]);
  const error = assertThrows(() => decodePattern(block, 0, block.length, LIMITS), FrameError);
  assertEquals(error.reason, Reason.TOPIC_TOO_BIG);
  assertThrows(() => decodeTopic(Uint8Array.of(1, 0), 0, 2, LIMITS), ProtocolError, "empty");
});
