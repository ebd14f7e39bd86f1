import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { type TopicNode, TopicTree } from "../routing/topic_tree.ts";
import { randomOf } from "../tools/harness/random.ts";

const SEED = 20261124;

/** Puts a value at a path. */
function put<V>(tree: TopicTree<V>, path: readonly string[], value: V): TopicNode<V> {
  const node = tree.at(path);
  node.value = value;
  return node;
}

/** Takes the value at a path away, if there is one. */
function take<V>(tree: TopicTree<V>, path: readonly string[]): void {
  const node = tree.get(path);
  if (node === undefined) return;
  node.value = undefined;
  tree.prune(node);
}

const pathsOf = (tree: TopicTree<unknown>, from?: readonly string[]) =>
  [...tree.nodes(from)].map(({ path }) => path);

Deno.test("TopicTree leaves no node that leads to no value", () => {
  const tree = new TopicTree<number>();
  put(tree, ["a", "b", "c"], 1);
  put(tree, ["a"], 2);
  take(tree, ["a", "b", "c"]);
  assertEquals(pathsOf(tree), [[], ["a"]]);
  take(tree, ["a"]);
  assertEquals(pathsOf(tree), [[]]);
});

Deno.test("TopicTree leaves the successor of a node that is pruned twice", () => {
  const tree = new TopicTree<number>();
  const first = put(tree, ["a"], 1);
  take(tree, ["a"]);
  const second = put(tree, ["a"], 2);
  tree.prune(first);
  assertStrictEquals(tree.get(["a"]), second);
});

Deno.test("TopicTree keeps the paths of its nodes apart from the caller's, and frozen", () => {
  const tree = new TopicTree<number>();
  const path = ["a", "b"];
  put(tree, path, 1);
  path[0] = "changed";
  const node = tree.get(["a", "b"])!;
  assertEquals(node.path, ["a", "b"]);
  assert(Object.isFrozen(node.path) && Object.isFrozen(node.parent!.path));
});

Deno.test("TopicTree gives the nodes from one down, and none below a path that is not there", () => {
  const tree = new TopicTree<number>();
  for (const path of [["a"], ["a", "b"], ["c"]]) put(tree, path, 1);
  assertEquals(pathsOf(tree, ["a"]), [["a"], ["a", "b"]]);
  assertEquals(pathsOf(tree, ["a", "x"]), []);
});

Deno.test("TopicTree.clear empties the nodes that somebody holds", () => {
  const tree = new TopicTree<number>();
  const nodes = [[], ["a"], ["a", "b"]].map((path) => put(tree, path, 1));
  tree.clear();
  assertEquals(nodes.map((node) => node.value), [undefined, undefined, undefined]);
});

Deno.test("TopicTree.deepest stays the same while the shape of that node does, in random operations", () => {
  for (let seed = SEED; seed < SEED + 50; seed++) {
    const random = randomOf(seed);
    const tree = new TopicTree<number>();
    const anyPath = () => Array.from({ length: random.int(4) }, () => random.pick(["a", "b"]));
    const paths = Array.from({ length: 8 }, anyPath);
    const find = (path: string[]) => {
      const node = tree.deepest(path);
      return { node, shape: node.shape };
    };
    const held = paths.map(find);
    for (let step = 0; step < 200; step++) {
      const kind = random.int(100);
      if (kind < 45) put(tree, anyPath(), random.int(2));
      else if (kind < 98) take(tree, anyPath());
      else tree.clear();
      for (const [index, path] of paths.entries()) {
        const { node, shape } = held[index]!;
        if (shape === node.shape) assert(node === tree.deepest(path), `seed ${seed}: ${path}`);
        held[index] = find(path);
      }
    }
  }
});

Deno.test("TopicTree does not change the shape of nodes elsewhere", () => {
  const tree = new TopicTree<number>();
  put(tree, ["a", "b"], 1);
  put(tree, ["c"], 1);
  const shapes = () => [["a", "b"], ["c"]].map((path) => tree.get(path)!.shape);
  const before = shapes();
  put(tree, ["d", "e"], 1);
  put(tree, ["a", "x"], 1);
  take(tree, ["d", "e"]);
  assertEquals(shapes(), before);
});

Deno.test("TopicTree takes names that objects have as any other", () => {
  const tree = new TopicTree<number>();
  put(tree, ["__proto__", "constructor"], 1);
  assertEquals(tree.get(["__proto__", "constructor"])?.value, 1);
  assertEquals(tree.get(["toString"]), undefined);
});

Deno.test("TopicTree does what a map by paths does, in random operations", () => {
  for (let seed = SEED; seed < SEED + 50; seed++) {
    const random = randomOf(seed);
    const tree = new TopicTree<number>();
    const naive = new Map<string, { path: string[]; value: number }>();
    const anyPath = () => Array.from({ length: random.int(4) }, () => random.pick(["a", "b", "c"]));
    const told = () => `seed ${seed}: ${JSON.stringify([...naive.values()])}`;
    const at = (path: readonly string[]) => naive.get(path.join())?.value;
    for (let step = 0; step < 300; step++) {
      const path = anyPath();
      const value = random.int(3);
      const kind = random.int(100);
      if (kind < 50) {
        put(tree, path, value);
        naive.set(path.join(), { path, value });
      } else if (kind < 99) {
        take(tree, path);
        naive.delete(path.join());
      } else {
        tree.clear();
        naive.clear();
      }
      const wanted = anyPath();
      assertEquals(tree.get(wanted)?.value, at(wanted), told());
      const upward = [];
      let node: TopicNode<number> | undefined = tree.deepest(wanted);
      for (; node !== undefined; node = node.parent) upward.unshift(node.value);
      const passed = [undefined, ...wanted].map((_, depth) => at(wanted.slice(0, depth)));
      const isValue = (value: number | undefined) => value !== undefined;
      assertEquals(upward.filter(isValue), passed.filter(isValue), told());
      assertEquals(tree.covers(wanted), passed.some(isValue), told());
      const ways = new Set(
        [...naive.values()].flatMap((e) => e.path.map((_, i) => e.path.slice(0, i + 1).join())),
      );
      assertEquals([...tree.nodes()].length, ways.size + 1, told());
    }
  }
});
