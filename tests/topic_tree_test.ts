import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { type TopicNode, TopicTree, Way } from "../routing/topic_tree.ts";
import { any, isPath, type TopicPath, type TopicPattern } from "../topic.ts";
import { randomOf } from "../tools/harness/random.ts";

const SEED = 20261124;

/** Puts a value at a path. */
function put<V>(tree: TopicTree<V>, path: TopicPattern, value: V): TopicNode<V> {
  const node = tree.at(path);
  node.value = value;
  return node;
}

/** Takes the value at a path away, if there is one. */
function take<V>(tree: TopicTree<V>, path: TopicPattern): void {
  const node = tree.get(path);
  if (node === undefined) return;
  node.value = undefined;
  tree.prune(node);
}

const pathsOf = (tree: TopicTree<unknown>, from?: TopicPattern) =>
  [...tree.nodes(from)].map(({ path }) => path);

/** The nodes on a way, in the order of delivery. */
function nodesOn<V>(tree: TopicTree<V>, way: Way<V>): readonly TopicNode<V>[] {
  tree.follow(way);
  if (way.crossing !== undefined) return way.crossing;
  const nodes = [way.node];
  for (let node = way.node.parent; node !== undefined; node = node.parent) nodes.push(node);
  return nodes;
}

/** The paths of the nodes on the way of a path; `any` is `+`. */
function wayOf(tree: TopicTree<unknown>, path: TopicPath): string[] {
  return nodesOn(tree, new Way(path, tree)).map((node) =>
    node.path.map((element) => element === any ? "+" : String(element)).join("/")
  );
}

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

Deno.test("TopicTree.follow leads to the longest topics first, and past an exact name before any", () => {
  const tree = new TopicTree<number>();
  const paths: TopicPattern[] = [[], [any], [any, any], [any, "b"], ["a", any], ["a", "b"], [
    "a",
    "b",
    any,
  ]];
  for (const path of paths) put(tree, path, 1);
  const shorter = ["a/b", "a/+", "+/b", "+/+", "a", "+", ""];
  assertEquals(wayOf(tree, ["a", "b"]), shorter);
  assertEquals(wayOf(tree, ["a", "b", "c", "d"]), ["a/b/+", ...shorter]);
  assertEquals(wayOf(tree, ["z"]), ["+", ""]);
});

Deno.test("TopicTree.follow leads from what the broker publishes neither to any nor to the root", () => {
  const tree = new TopicTree<number>();
  const paths: TopicPattern[] = [[], [any], [any, "x"], ["*broker", any], ["*broker"]];
  for (const path of paths) put(tree, path, 1);
  assertEquals(wayOf(tree, ["*broker", "x"]), ["*broker/+", "*broker"]);
  assertEquals(wayOf(tree, ["a", "*broker"]), ["+", ""]);
});

Deno.test("TopicTree.follow notes a crossing only where the path meets any", () => {
  const tree = new TopicTree<number>();
  put(tree, ["a", "b"], 1);
  put(tree, ["z", any], 1);
  const [past, through] = [
    new Way<number>(["a", "b", "x"], tree),
    new Way<number>(["z", "x"], tree),
  ];
  tree.follow(past);
  tree.follow(through);
  assertEquals([past.crossing, past.node.path], [undefined, ["a", "b"]]);
  assertEquals(through.crossing?.map(({ path }) => path), [["z", any], ["z"], []]);
});

for (
  const [what, elements] of [["without any", ["a", "b"]], ["with any", ["a", "b", any]]] as const
) {
  Deno.test(`TopicTree.follow finds a way again whenever it changes, in random operations ${what}`, () => {
    for (let seed = SEED; seed < SEED + 50; seed++) {
      const random = randomOf(seed);
      const tree = new TopicTree<number>();
      const anyPattern = (): TopicPattern =>
        Array.from({ length: random.int(4) }, () => random.pick(elements));
      const anyPath = () =>
        Array.from({ length: random.int(4) }, () => random.pick(["a", "b", "*broker"]));
      const ways = Array.from({ length: 8 }, () => new Way<number>(anyPath(), tree));
      for (let step = 0; step < 200; step++) {
        const kind = random.int(100);
        if (kind < 45) put(tree, anyPattern(), random.int(2));
        else if (kind < 98) take(tree, anyPattern());
        else tree.clear();
        for (const way of ways) {
          if (random.int(2) === 0) continue;
          const found = nodesOn(tree, way);
          const again = nodesOn(tree, new Way(way.path, tree));
          const told = `seed ${seed}, step ${step}: ${way.path}`;
          assertEquals(found.length, again.length, told);
          assert(found.every((node, i) => node === again[i]), told);
        }
      }
    }
  });
}

Deno.test("TopicTree.follow does not find a way again that changes elsewhere do not concern", () => {
  const tree = new TopicTree<number>();
  put(tree, ["a", "b"], 1);
  const way = new Way<number>(["a", "b", "c"], tree);
  tree.follow(way);
  put(tree, ["z", "y"], 1);
  put(tree, ["a", "x"], 1);
  tree.root.children!.get = () => {
    throw new Error("it was found again");
  };
  tree.follow(way);
  assertEquals(way.node.path, ["a", "b"]);
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

Deno.test("TopicTree finds a way across any again only when something on it comes or goes", () => {
  const tree = new TopicTree<number>();
  put(tree, ["a", any], 1);
  put(tree, ["a", "b"], 2);
  put(tree, ["x", "y"], 3);
  const way = new Way(["a", "b", "c"], tree);
  const isSame = (change: () => void) => {
    const before = nodesOn(tree, way);
    change();
    return nodesOn(tree, way) === before;
  };
  assert(isSame(() => put(tree, ["z"], 4)));
  assert(isSame(() => put(tree, ["a", "other"], 5)));
  assert(isSame(() => take(tree, ["x", "y"])));
  assert(!isSame(() => put(tree, ["a", any, "c"], 6)));
  assert(!isSame(() => put(tree, ["a", "b", any], 7)));
  assert(!isSame(() => put(tree, [any], 8)));
  assert(!isSame(() => take(tree, ["a", "b", any])));
  assert(!isSame(() => tree.clear()));
  assertEquals(nodesOn(tree, way), [tree.root]);
});

Deno.test("TopicTree keeps few long ways across any, and finds the others again", () => {
  const tree = new TopicTree<number>();
  const names = Array.from({ length: 12 }, (_, i) => `e${i}`);
  for (let i = 0; i < names.length; i++) {
    for (let j = 0; j < i; j++) {
      put(tree, names.map((name, at) => at === i || at === j ? any : name), i);
    }
  }
  const ways = Array.from({ length: 2000 }, (_, i) => new Way([...names, `x${i}`], tree));
  const lengths = ways.map((way) => nodesOn(tree, way).length);
  assert(lengths[0]! > 50 && lengths.every((length) => length === lengths[0]), `${lengths[0]}`);
  const kept = ways.reduce((sum, { crossing, ends }) => {
    return sum + (crossing?.length ?? 0) + ends.length;
  }, 0);
  assert(kept > 0 && kept < 2 * 2 ** 16, `${kept} nodes are kept`);
  assertEquals(ways.map((way) => nodesOn(tree, way).length), lengths);
});

Deno.test("TopicTree does what a map by paths does, in random operations", () => {
  for (let seed = SEED; seed < SEED + 50; seed++) {
    const random = randomOf(seed);
    const tree = new TopicTree<number>();
    const naive = new Map<string, { path: TopicPattern; value: number }>();
    const elements: TopicPattern = seed % 2 === 0 ? ["a", "b", "c"] : ["a", "b", any];
    const anyPattern = (): TopicPattern =>
      Array.from({ length: random.int(4) }, () => random.pick(elements));
    const keyOf = (path: TopicPattern) => JSON.stringify(path);
    const told = () => `seed ${seed}: ${JSON.stringify([...naive.values()])}`;
    const at = (path: TopicPattern) => naive.get(keyOf(path))?.value;
    for (let step = 0; step < 300; step++) {
      const path = anyPattern();
      const value = random.int(3);
      const kind = random.int(100);
      if (kind < 50) {
        put(tree, path, value);
        naive.set(keyOf(path), { path, value });
      } else if (kind < 99) {
        take(tree, path);
        naive.delete(keyOf(path));
      } else {
        tree.clear();
        naive.clear();
      }
      const wanted = anyPattern();
      assertEquals(tree.get(wanted)?.value, at(wanted), told());
      const isAbove = (top: TopicPattern) =>
        top.length <= wanted.length && top.every((one, i) => one === any || one === wanted[i]);
      const passed = [...naive.values()].filter(({ path }) => isAbove(path));
      assertEquals(tree.covers(wanted), passed.length > 0, told());
      if (isPath(wanted)) {
        const values = nodesOn(tree, new Way(wanted, tree)).map((node) => node.value);
        const isValue = (value: number | undefined) => value !== undefined;
        assertEquals(values.filter(isValue).length, passed.length, told());
      }
      const ways = new Set(
        [...naive.values()].flatMap((e) => e.path.map((_, i) => keyOf(e.path.slice(0, i + 1)))),
      );
      assertEquals([...tree.nodes()].length, ways.size + 1, told());
    }
  }
});
