import { assert, assertEquals } from "@std/assert";
import { type CoverChange, Covers } from "../routing/covers.ts";
import type { TopicPath } from "../topic.ts";
import { randomOf } from "../tools/harness/random.ts";

const SEED = 20261125;

/** Covers of these topics. */
function coversOf(...paths: readonly TopicPath[]): Covers {
  const covers = new Covers();
  for (const path of paths) covers.add(path);
  return covers;
}

/** A change as text, for comparison: its paths are in no order. */
function textOf(change: CoverChange | undefined) {
  return change && { added: texts(change.added), removed: texts(change.removed) };
}

function texts(paths: Iterable<TopicPath>): string[] {
  return [...paths].map((path) => JSON.stringify(path)).sort();
}

Deno.test("Covers starts without any", () => {
  const covers = new Covers();
  assertEquals([covers.size, [...covers.paths()], covers.covers([])], [0, [], false]);
});

Deno.test("Covers takes a topic as its own cover when none above it is wanted", () => {
  const covers = new Covers();
  assertEquals(covers.add(["a", "b"]), { added: [["a", "b"]], removed: [] });
  assertEquals(covers.add(["a", "c"]), { added: [["a", "c"]], removed: [] });
  assertEquals(covers.size, 2);
  assertEquals(texts(covers.paths()), ['["a","b"]', '["a","c"]']);
});

Deno.test("Covers replaces those below a topic by it, and brings them back", () => {
  const covers = coversOf(["a", "b"], ["a", "c"], ["a", "c", "d"], ["e"]);
  const below = ['["a","b"]', '["a","c"]'];
  assertEquals(textOf(covers.add(["a"])), { added: ['["a"]'], removed: below });
  assertEquals([covers.size, texts(covers.paths())], [2, ['["a"]', '["e"]']]);
  assertEquals(textOf(covers.remove(["a"])), { added: below, removed: ['["a"]'] });
  assertEquals([covers.size, texts(covers.paths())], [3, [...below, '["e"]']]);
});

Deno.test("Covers stays the same for a topic below one that is wanted", () => {
  const covers = coversOf(["a"]);
  assertEquals(covers.add(["a", "b"]), undefined);
  assertEquals(covers.remove(["a", "b"]), undefined);
  assertEquals([...covers.paths()], [["a"]]);
});

Deno.test("Covers takes the root as the cover of everything", () => {
  const covers = coversOf(["a"], ["b", "c"]);
  assertEquals(textOf(covers.add([])), { added: ["[]"], removed: ['["a"]', '["b","c"]'] });
  assert(covers.covers(["x"]));
  assertEquals(textOf(covers.remove([])), { added: ['["a"]', '["b","c"]'], removed: ["[]"] });
});

Deno.test("Covers keeps a topic until as many have taken it back as wanted it", () => {
  const covers = coversOf(["a"], ["a"]);
  assertEquals(covers.add(["a"]), undefined);
  assertEquals(covers.remove(["a"]), undefined);
  assertEquals(covers.remove(["a"]), undefined);
  assertEquals(covers.remove(["a"]), { added: [], removed: [["a"]] });
  assertEquals(covers.remove(["a"]), undefined);
  assertEquals(covers.size, 0);
});

Deno.test("Covers stays the same when what was not added is removed", () => {
  const covers = coversOf(["a", "b"]);
  for (const path of [[], ["a"], ["a", "b", "c"], ["x"], ["toString"]]) {
    assertEquals(covers.remove(path), undefined);
  }
  assertEquals([...covers.paths()], [["a", "b"]]);
});

Deno.test("Covers tells whether a path or one above it is wanted", () => {
  const covers = coversOf(["a", "b"], ["a", "b", "c", "d"], ["e"]);
  for (const path of [["a", "b"], ["a", "b", "c", "d", "e"]]) assert(covers.covers(path));
  for (const path of [[], ["a"], ["a", "x"], ["ab"]]) assert(!covers.covers(path));
});

Deno.test("Covers keeps its paths apart from the caller's, and frozen", () => {
  const path = ["a", "b"];
  const covers = new Covers();
  const added = covers.add(path)!.added;
  path[0] = "changed";
  assertEquals([added, [...covers.paths()]], [[["a", "b"]], [["a", "b"]]]);
  assert([...added, ...covers.paths()].every(Object.isFrozen));
});

Deno.test("Covers takes names that objects have as any other, and tells look-alikes apart", () => {
  const covers = coversOf(["__proto__", "constructor"], ["a,b"]);
  assert(covers.covers(["__proto__", "constructor", "x"]));
  assert(!covers.covers(["__proto__"]));
  assert(!covers.covers(["a", "b"]));
});

Deno.test("Covers does not pass over topics that a change does not concern", () => {
  const COUNT = 20_000;
  const covers = coversOf(["a"], ["z", "z"]);
  for (let i = 0; i < COUNT; i++) {
    covers.add(["a", "b", `${i}`]);
    covers.add([`${i}`]);
  }
  assertEquals(covers.size, COUNT + 2);
  const start = performance.now();
  for (let i = 0; i < COUNT; i++) {
    // Below a wanted one, above many; beside many; wanted many times.
    assertEquals([covers.add(["a", "b"]), covers.remove(["a", "b"])], [undefined, undefined]);
    assertEquals(covers.add(["z"])?.removed.length, 1);
    assertEquals(covers.remove(["z"])?.added.length, 1);
    assertEquals(covers.add(["a"]), undefined);
  }
  for (let i = 0; i < COUNT; i++) assertEquals(covers.remove(["a"]), undefined);
  // It takes 0.3 s; half a minute, if any one of these passed over all.
  assert(performance.now() - start < 5000);
});

Deno.test("Covers does what a list of wanted topics does, in random operations", () => {
  for (let seed = SEED; seed < SEED + 50; seed++) {
    const random = randomOf(seed);
    const covers = new Covers();
    const wanted: TopicPath[] = [];
    const elements = ["a", "b", "__proto__"];
    const anyPath = () => Array.from({ length: random.int(5) }, () => random.pick(elements));
    const isAbove = (a: TopicPath, b: TopicPath) =>
      a.length < b.length && a.every((element, i) => element === b[i]);
    const naive = () => {
      const tops = wanted.filter((path) => !wanted.some((other) => isAbove(other, path)));
      return [...new Set(texts(tops))];
    };
    const held = new Set<string>();
    const bias = 30 + random.int(40);
    for (let step = 0; step < 200; step++) {
      const path = random.int(2) === 0 && wanted.length > 0 ? random.pick(wanted) : anyPath();
      const before = naive();
      const told = () => `seed ${seed}, step ${step}: ${JSON.stringify([path, wanted])}`;
      let change: CoverChange | undefined;
      if (random.int(100) < bias) {
        change = covers.add(path);
        wanted.push(path);
      } else {
        change = covers.remove(path);
        const at = wanted.findIndex((other) => `${texts([other])}` === `${texts([path])}`);
        if (at >= 0) wanted.splice(at, 1);
      }
      const after = naive();
      const added = after.filter((text) => !before.includes(text));
      const removed = before.filter((text) => !after.includes(text));
      const isSame = added.length + removed.length === 0;
      assertEquals(textOf(change), isSame ? undefined : { added, removed }, told());
      // What a change says is enough to keep up.
      for (const text of texts(change?.removed ?? [])) assert(held.delete(text), told());
      for (const text of texts(change?.added ?? [])) held.add(text);
      assertEquals([...held].sort(), after, told());
      assertEquals(texts(covers.paths()), after, told());
      assertEquals(covers.size, after.length, told());
      const sought = anyPath();
      const isCovered = after.map((text): TopicPath => JSON.parse(text))
        .some((top) => isAbove(top, sought) || `${texts([top])}` === `${texts([sought])}`);
      assertEquals(covers.covers(sought), isCovered, told());
    }
  }
});
