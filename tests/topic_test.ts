import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { printable } from "../base/printable.ts";
import { TopicTree } from "../routing/topic_tree.ts";
import {
  ELEMENT_BYTES_MAX,
  formatTopic,
  isBrokerPath,
  isLocalPath,
  type Topic,
  TOPIC_ELEMENTS_MAX,
  topicPath,
} from "../topic.ts";
import { randomOf } from "../tools/harness/random.ts";

const SEED = 20261124;

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
  ["a number in it", ["a", 1], TypeError, "element 1 is 1, it must be a string"],
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
    "it has 17 elements, the limit is 16",
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
  assertEquals(printable("a\r\nb"), "a\\u000d\\u000ab");
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

Deno.test("TopicTree takes the earliest equal value away", () => {
  const tree = new TopicTree<string>();
  for (const value of ["x", "y", "x"]) tree.add(["a"], value);
  assert(tree.remove(["a"], "x"));
  assertEquals(tree.get(["a"])?.values, ["y", "x"]);
  assert(!tree.remove(["a"], "z"));
  assert(!tree.remove(["a", "b"], "x"));
  assertEquals(tree.size, 2);
});

Deno.test("TopicTree leaves no node that leads to no value", () => {
  const tree = new TopicTree<number>();
  tree.add(["a", "b", "c"], 1);
  tree.add(["a"], 2);
  tree.remove(["a", "b", "c"], 1);
  assertEquals([...tree.nodes()].map((node) => node.path), [[], ["a"]]);
  tree.remove(["a"], 2);
  assertEquals([...tree.nodes()].map((node) => node.path), [[]]);
});

Deno.test("TopicTree keeps the paths of its nodes apart from the caller's, and frozen", () => {
  const tree = new TopicTree<number>();
  const path = ["a", "b"];
  tree.add(path, 1);
  path[0] = "changed";
  const node = tree.get(["a", "b"])!;
  assertEquals(node.path, ["a", "b"]);
  assert(Object.isFrozen(node.path) && Object.isFrozen(node.parent!.path));
});

Deno.test("TopicTree replaces a node's values when one is removed", () => {
  const tree = new TopicTree<number>();
  const node = tree.add(["a"], 1);
  tree.add(["a"], 2);
  const seen = node.values;
  tree.remove(["a"], 1);
  assertEquals([seen, node.values], [[1, 2], [2]]);
});

Deno.test("TopicTree.clear empties the nodes that somebody holds", () => {
  const tree = new TopicTree<number>();
  const nodes = [[], ["a"], ["a", "b"]].map((path) => tree.add(path, 1));
  tree.clear();
  assertEquals(nodes.map((node) => node.values), [[], [], []]);
});

Deno.test("TopicTree.deepest stays the same until the version changes, in random operations", () => {
  for (let seed = SEED; seed < SEED + 50; seed++) {
    const random = randomOf(seed);
    const tree = new TopicTree<number>();
    const anyPath = () => Array.from({ length: random.int(4) }, () => random.pick(["a", "b"]));
    const paths = Array.from({ length: 8 }, anyPath);
    const held = paths.map((path) => ({ version: tree.version, node: tree.deepest(path) }));
    for (let step = 0; step < 200; step++) {
      const kind = random.int(100);
      if (kind < 45) tree.add(anyPath(), random.int(2));
      else if (kind < 98) tree.remove(anyPath(), random.int(2));
      else tree.clear();
      for (const [index, path] of paths.entries()) {
        const node = tree.deepest(path);
        if (held[index]!.version === tree.version) {
          assert(held[index]!.node === node, `seed ${seed}: ${path}`);
        }
        held[index] = { version: tree.version, node };
      }
    }
  }
});

Deno.test("TopicTree takes names that objects have as any other", () => {
  const tree = new TopicTree<number>();
  tree.add(["__proto__", "constructor"], 1);
  assertEquals(tree.get(["__proto__", "constructor"])?.values, [1]);
  assertEquals(tree.get(["toString"]), undefined);
});

Deno.test("TopicTree does what a list of pairs does, in random operations", () => {
  for (let seed = SEED; seed < SEED + 50; seed++) {
    const random = randomOf(seed);
    const tree = new TopicTree<number>();
    let naive: { path: string[]; value: number }[] = [];
    const same = (a: readonly string[], b: readonly string[]) => a.join() === b.join();
    const anyPath = () => Array.from({ length: random.int(4) }, () => random.pick(["a", "b", "c"]));
    const told = () => `seed ${seed}: ${JSON.stringify(naive)}`;
    for (let step = 0; step < 300; step++) {
      const path = anyPath();
      const value = random.int(3);
      const kind = random.int(100);
      if (kind < 50) {
        tree.add(path, value);
        naive.push({ path, value });
      } else if (kind < 99) {
        const at = naive.findIndex((e) => same(e.path, path) && e.value === value);
        assertEquals(tree.remove(path, value), at >= 0, told());
        if (at >= 0) naive.splice(at, 1);
      } else {
        tree.clear();
        naive = [];
      }
      const at = (path: readonly string[]) =>
        naive.filter((e) => same(e.path, path)).map((e) => e.value);
      const wanted = anyPath();
      assertEquals(tree.get(wanted)?.values ?? [], at(wanted), told());
      const met: number[][] = [];
      for (let node = tree.deepest(wanted); node.parent; node = node.parent) {
        met.unshift([
          ...node.values,
        ]);
      }
      const passed = wanted.map((_, depth) => at(wanted.slice(0, depth + 1)));
      assertEquals(met.flat(), passed.flat(), told());
      assertEquals(tree.size, naive.length, told());
      assertEquals([...tree.values()].sort(), naive.map((e) => e.value).sort(), told());
      const ways = new Set(
        naive.flatMap((e) => e.path.map((_, i) => e.path.slice(0, i + 1).join())),
      );
      assertEquals([...tree.nodes()].length, ways.size + 1, told());
    }
  }
});
