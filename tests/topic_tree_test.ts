import { assert, assertEquals } from "@std/assert";
import { TopicTree } from "../routing/topic_tree.ts";
import { randomOf } from "../tools/harness/random.ts";

const SEED = 20261124;

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
