import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { encodeTopic } from "../protocol/topic_block.ts";
import type { Peer } from "../routing/peer.ts";
import type { Crossing } from "../routing/peer_lists.ts";
import { type Route, Router } from "../routing/router.ts";
import { NOTHING, Share } from "../routing/share.ts";
import { any, formatTopic, type TopicPath, type TopicPattern } from "../topic.ts";
import { concat } from "../tools/harness/bytes.ts";
import { type Random, randomOf } from "../tools/harness/random.ts";
import { hears, patternOf, textOf } from "./helpers/patterns.ts";

class NamedPeer implements Peer {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  take(): void {}
  lose(): void {}
  room(): undefined {}
}

const [ANN, BOB, CAT] = [new NamedPeer("ann"), new NamedPeer("bob"), new NamedPeer("cat")];

/** A router in which each peer wants these topics. */
function routerOf(...interests: readonly (readonly [NamedPeer, ...TopicPattern[]])[]) {
  const router = new Router<NamedPeer>();
  for (const [peer, ...paths] of interests) {
    for (const path of paths) router.add(peer, path);
  }
  return router;
}

function routeOf(router: Router<NamedPeer>, path: TopicPath): Route<NamedPeer> {
  const block = encodeTopic(path);
  return router.route(block, 0, block.length, () => path);
}

/** Who gets a message. */
function peersOf(router: Router<NamedPeer>, path: TopicPath): readonly NamedPeer[] {
  return router.peers(routeOf(router, path));
}

/** The names of the peers that get a message, sorted, as often as they get it. */
function namesOf(router: Router<NamedPeer>, path: TopicPath): string[] {
  return router.peersOf(path).map(({ name }) => name).sort();
}

/** What a peer gets of a topic: these. */
function shareOf(...topics: readonly TopicPattern[]): Share {
  return new Share(topics);
}

/** Does all steps of something. */
function finish(steps: Iterable<void>): void {
  for (const _ of steps);
}

Deno.test("Router sends a topic to those who want it or one above it", () => {
  const router = routerOf([ANN, ["a"]], [BOB, ["a", "b"]], [CAT, []]);
  assertEquals(namesOf(router, ["a"]), ["ann", "cat"]);
  assertEquals(namesOf(router, ["a", "b"]), ["ann", "bob", "cat"]);
  assertEquals(namesOf(router, ["a", "b", "c"]), ["ann", "bob", "cat"]);
  assertEquals(namesOf(router, ["b"]), ["cat"]);
  assertEquals(namesOf(router, ["ab"]), ["cat"]);
});

Deno.test("Router sends nothing to peers without interests", () => {
  const router = new Router<NamedPeer>();
  assertEquals(namesOf(router, ["a"]), []);
  assertEquals(namesOf(router, []), []);
  assertEquals(router.interestsOf(ANN), 0);
});

Deno.test("Router sends a message once to a peer with several interests that match", () => {
  const router = routerOf([ANN, [], ["a"], ["a", "b"]]);
  assertEquals(namesOf(router, ["a", "b"]), ["ann"]);
  assertEquals(namesOf(router, []), ["ann"]);
});

Deno.test("Router counts an interest once for each peer and topic", () => {
  const router = routerOf([ANN, ["a"], ["a"], ["b"]], [BOB, ["a"]]);
  assertEquals([ANN, BOB, CAT].map((peer) => router.interestsOf(peer)), [2, 1, 0]);
  assert(router.remove(ANN, ["a"]));
  assertEquals(namesOf(router, ["a"]), ["bob"]);
  assertEquals(router.interestsOf(ANN), 1);
});

Deno.test("Router tells whether a peer had the interest that it removes", () => {
  const router = routerOf([ANN, ["a"]]);
  assertEquals(router.remove(ANN, ["a", "b"]), false);
  assertEquals(router.remove(ANN, []), false);
  assertEquals(router.remove(BOB, ["a"]), false);
  assertEquals(router.remove(ANN, ["a"]), true);
  assertEquals(router.remove(ANN, ["a"]), false);
});

Deno.test("Router tells topics apart whose elements look alike when joined", () => {
  const router = routerOf([ANN, ["a,b"]], [BOB, ["a", "b"]], [CAT, ['a","b']]);
  assertEquals(namesOf(router, ["a,b"]), ["ann"]);
  assertEquals(namesOf(router, ["a", "b"]), ["bob"]);
  assertEquals(namesOf(router, ['a","b']), ["cat"]);
  assertEquals(router.remove(ANN, ["a", "b"]), false);
});

Deno.test("Router takes names that objects have as any other", () => {
  const router = routerOf([ANN, ["__proto__", "constructor"]]);
  assertEquals(namesOf(router, ["__proto__", "constructor"]), ["ann"]);
  assertEquals(namesOf(router, ["toString"]), []);
});

Deno.test("Router sends a broadcast to all with any interest but the broker's own topics", () => {
  const router = routerOf([ANN, ["a", "b"]], [BOB, ["*broker"], ["*broker", "x"]], [CAT, [
    "*broker",
  ], []]);
  assertEquals(namesOf(router, []), ["ann", "cat"]);
});

Deno.test("Router sends what the broker publishes to those who want that, not to the catch-all", () => {
  const router = routerOf([ANN, ["*broker", "x"]], [BOB, ["*broker"]], [CAT, []]);
  assertEquals(namesOf(router, ["*broker", "x"]), ["ann", "bob"]);
  assertEquals(namesOf(router, ["*broker"]), ["bob"]);
  assertEquals(namesOf(router, ["a", "*broker"]), ["cat"]);
});

Deno.test("Router forgets all interests of a peer that is cleared, and no others", () => {
  const router = routerOf([ANN, [], ["a"], ["a", "b"]], [BOB, ["a"]]);
  finish(router.clear(ANN));
  assertEquals(namesOf(router, ["a", "b"]), ["bob"]);
  assertEquals(namesOf(router, []), ["bob"]);
  assertEquals(router.interestsOf(ANN), 0);
  assertEquals(router.remove(ANN, ["a"]), false);
  finish(router.clear(ANN));
  router.add(ANN, ["a"]);
  assertEquals(namesOf(router, ["a"]), ["ann", "bob"]);
});

Deno.test("Router replaces all interests of a peer, and no others", () => {
  const router = routerOf([ANN, ["a"], ["b"], ["c", "d"]], [BOB, ["a"], ["b"]]);
  finish(router.replace(ANN, [["b"], ["e"], ["e"]]));
  assertEquals([router.interestsOf(ANN), router.interestsOf(BOB)], [2, 2]);
  const topics = [["a"], ["b"], ["c", "d"], ["e"]];
  const names = topics.map((path) => namesOf(router, path));
  assertEquals(names, [["bob"], ["ann", "bob"], [], ["ann"]]);
  assertEquals(router.remove(ANN, ["a"]), false);
  assertEquals(router.remove(ANN, ["e"]), true);
  assertEquals(router.remove(ANN, ["e"]), false);
});

Deno.test("Router forgets a peer whose interests are replaced by none", () => {
  const router = routerOf([ANN, ["a"], []]);
  finish(router.replace(ANN, []));
  assertEquals([router.interestsOf(ANN), namesOf(router, ["a"]), namesOf(router, [])], [0, [], []]);
});

Deno.test("Router takes the interests of a peer that it does not know yet", () => {
  const router = routerOf([ANN, ["a"]]);
  finish(router.replace(BOB, [["a"], []]));
  assertEquals([router.interestsOf(BOB), namesOf(router, ["a"])], [2, ["ann", "bob"]]);
});

Deno.test("Router gives the same route while the topic comes again, without decoding it", () => {
  const router = routerOf([ANN, ["a"]]);
  const block = encodeTopic(["a"]);
  const around = concat(Uint8Array.of(9), block, Uint8Array.of(9));
  let decoded = 0;
  const decode = () => {
    decoded++;
    return ["a"];
  };
  const route = router.route(block, 0, block.length, decode);
  assertStrictEquals(router.route(around, 1, 1 + block.length, decode), route);
  routeOf(router, ["b"]);
  assertStrictEquals(router.route(around, 1, 1 + block.length, decode), route);
  assertEquals(decoded, 1);
});

Deno.test("Router remembers no topic whose decoding failed", () => {
  const router = routerOf([ANN, ["a"]]);
  const block = encodeTopic(["a"]);
  const broken = () => {
    throw new SyntaxError("broken");
  };
  for (let time = 0; time < 2; time++) {
    try {
      router.route(block, 0, block.length, broken);
      assert(false, "it was remembered");
    } catch (error) {
      assert(error instanceof SyntaxError, String(error));
    }
  }
  assertEquals(namesOf(router, ["a"]), ["ann"]);
});

for (
  const [what, change, names] of [
    ["an interest is added", (router) => router.add(BOB, ["a"]), ["ann", "bob"]],
    ["a catch-all is added", (router) => router.add(BOB, []), ["ann", "bob"]],
    ["an interest is removed", (router) => router.remove(ANN, ["a"]), []],
    ["a peer is cleared", (router) => finish(router.clear(ANN)), []],
    ["interests are replaced", (router) => finish(router.replace(BOB, [["a"]])), ["ann", "bob"]],
    ["interests are replaced by none", (router) => finish(router.replace(ANN, [])), []],
  ] as readonly [string, (router: Router<NamedPeer>) => void, string[]][]
) {
  Deno.test(`Router leads elsewhere when ${what}`, () => {
    const router = routerOf([ANN, ["a"]]);
    const before = peersOf(router, ["a"]);
    change(router);
    assertEquals(peersOf(router, ["a"]).map(({ name }) => name).sort(), names);
    assertEquals(before, [ANN]);
  });
}

Deno.test("Router finds the route of each of 10 000 topics, more than it remembers", () => {
  const router = new Router<NamedPeer>();
  const paths = Array.from({ length: 10_000 }, (_, i) => [`topic ${i % 100}`, `${i}`]);
  const peers = Array.from({ length: 100 }, (_, i) => new NamedPeer(`peer ${i}`));
  peers.forEach((peer, i) => router.add(peer, [`topic ${i}`]));
  for (let round = 0; round < 2; round++) {
    for (const [i, path] of paths.entries()) {
      const route = routeOf(router, path);
      assertEquals(router.peers(route), [peers[i % 100]!]);
      assertEquals(route.path[1], `${i}`);
    }
  }
});

function pathOf(random: Random): string[] {
  const path = Array.from({ length: random.int(4) }, () => random.pick(["a", "b", "*broker"]));
  return random.int(3) === 0 ? path.slice(0, 1) : path;
}

Deno.test("Router does what a list of interests does, in random operations", () => {
  const first = Date.now() % 2 ** 31;
  for (let seed = first; seed < first + 50; seed++) {
    const random = randomOf(seed);
    const router = new Router<NamedPeer>();
    const peers = [ANN, BOB, CAT];
    let naive: { peer: NamedPeer; path: string[] }[] = [];
    const matches = (interest: readonly string[], path: readonly string[]) => {
      if (path.length === 0) return interest[0] !== "*broker";
      if (interest.length === 0) return path[0] !== "*broker";
      return interest.every((element, i) => element === path[i]);
    };
    const told = () => `seed ${seed}: ${JSON.stringify(naive)}`;
    for (let step = 0; step < 200; step++) {
      const [peer, path, kind] = [random.pick(peers), pathOf(random), random.int(10)];
      const isSame = (entry: { peer: NamedPeer; path: string[] }) =>
        entry.peer === peer && entry.path.join() === path.join();
      const had = naive.some(isSame);
      if (kind < 5) {
        router.add(peer, path);
        if (!had) naive.push({ peer, path });
      } else if (kind < 9) {
        assertEquals(router.remove(peer, path), had, told());
        naive = naive.filter((entry) => !isSame(entry));
      } else {
        const paths = random.int(2) === 0 ? [] : Array.from({ length: 3 }, () => pathOf(random));
        if (paths.length === 0) finish(router.clear(peer));
        else finish(router.replace(peer, paths));
        const unique = new Map(paths.map((path) => [path.join(), { peer, path }]));
        naive = [...naive.filter((entry) => entry.peer !== peer), ...unique.values()];
      }
      for (const asked of [[], pathOf(random), pathOf(random)]) {
        const found = naive.filter((entry) => matches(entry.path, asked));
        const names = [...new Set(found.map((entry) => entry.peer.name))].sort();
        assertEquals(namesOf(router, asked), names, `${told()} ${asked}`);
        if (asked[0] === "*broker") continue;
        const routed = peersOf(router, asked).map(({ name }) => name).sort();
        assertEquals(routed, names, `${told()} ${asked}`);
      }
      const counts = peers.map((one) => naive.filter((entry) => entry.peer === one).length);
      assertEquals(peers.map((one) => router.interestsOf(one)), counts, told());
    }
  }
});

Deno.test("Router gives the same list of peers for topics that lead to the same", () => {
  const router = routerOf([ANN, ["a"], ["b"]], [BOB, ["b"], ["c", "d"]]);
  assertStrictEquals(peersOf(router, ["a"]), peersOf(router, ["a", "x"]));
  assertStrictEquals(peersOf(router, ["b", "x"]), peersOf(router, ["b", "y", "z"]));
  assertStrictEquals(peersOf(router, ["c", "d"]), peersOf(router, ["c", "d", "e"]));
  assert(peersOf(router, ["a"]) !== peersOf(router, ["b"]));
  router.add(BOB, ["a", "x"]);
  assertEquals(namesOf(router, ["a", "x"]), ["ann", "bob"]);
  assertEquals(namesOf(router, ["a", "y"]), ["ann"]);
  router.remove(ANN, ["b"]);
  assertStrictEquals(peersOf(router, ["b"]), peersOf(router, ["c", "d"]));
  assertEquals(namesOf(router, ["b"]), ["bob"]);
});

for (
  const [what, change] of [
    ["elsewhere", (router) => router.add(CAT, ["z"])],
    ["beside it", (router) => router.add(CAT, ["a", "z"])],
    ["below it", (router) => router.add(CAT, ["a", "b", "c"])],
    ["elsewhere and back", (router) => router.add(CAT, ["z"]) ?? router.remove(CAT, ["z"])],
    ["that is denied", (router) => router.add(CAT, ["a"], NOTHING)],
    ["at the root that is denied", (router) => router.add(CAT, [], NOTHING)],
    ["at the root that is granted elsewhere only", (router) => router.add(CAT, [], shareOf(["z"]))],
  ] as readonly [string, (router: Router<NamedPeer>) => void][]
) {
  Deno.test(`Router keeps the list of a topic when an interest changes ${what}`, () => {
    const router = routerOf([ANN, ["a"]], [BOB, ["a", "b"]]);
    const before = peersOf(router, ["a", "b"]);
    change(router);
    assertStrictEquals(peersOf(router, ["a", "b"]), before);
  });
}

Deno.test("Router gives the same list of peers for topics that cross any to the same", () => {
  const router = routerOf([ANN, [any, "x"]], [BOB, ["a"]], [CAT, ["b"]]);
  assertStrictEquals(peersOf(router, ["y", "x"]), peersOf(router, ["z", "x", "deeper"]));
  assertStrictEquals(peersOf(router, ["a", "x"]), peersOf(router, ["a", "x", "deeper"]));
  const before = peersOf(router, ["a", "x"]);
  router.add(CAT, ["z", any]);
  assertStrictEquals(peersOf(router, ["a", "x"]), before, "it changed elsewhere");
  router.add(CAT, ["a"]);
  assertEquals(namesOf(router, ["a", "x"]), ["ann", "bob", "cat"]);
});

Deno.test("Router forgets where messages crossed topics that are gone, and knows the others all the same", () => {
  const router = routerOf([ANN, [any], ["a"]]);
  const routes = [routeOf(router, ["a", "x"]), routeOf(router, ["a", "y"])] as const;
  router.add(BOB, [any, "x"]);
  assertEquals(router.peers(routes[0]).length, 2);
  const first = routes[0].end as Crossing<NamedPeer>;
  for (let n = 0; n < 40_000; n++) {
    router.remove(BOB, [any, "x"]);
    router.add(BOB, [any, "x"]);
    assertEquals([router.peers(routes[0]).length, router.peers(routes[1])[0]], [2, ANN]);
  }
  assert(first.isForgotten && first.peers === undefined);
  router.remove(ANN, [any]);
  router.remove(ANN, ["a"]);
  assertEquals([router.peers(routes[0]), router.peers(routes[1])], [[BOB], []]);
});

Deno.test("Router does not go on with what it has forgotten of a route, though nothing has changed", () => {
  const router = routerOf([ANN, [any], ["z"]]);
  const isForgotten = ({ end }: Route<NamedPeer>) => (end as Crossing<NamedPeer>).isForgotten;
  const paths = Array.from({ length: 20_000 }, (_, i) => ["many", `${i}`]);
  finish(router.replace(BOB, paths));
  const route = routeOf(router, ["z"]);
  assertEquals(router.peers(route), [ANN]);
  const first = route.end;
  for (const path of paths) assertEquals(peersOf(router, path).length, 2);
  assert(isForgotten(route), "there were enough others");
  assertEquals([router.peers(route), route.end === first, isForgotten(route)], [
    [ANN],
    false,
    false,
  ]);
});

Deno.test("Router keeps who gets broadcasts, until somebody has a first interest or no more", () => {
  const router = routerOf([ANN, ["a"]], [BOB, ["*broker"]]);
  const before = peersOf(router, []);
  assertEquals(before, [ANN]);
  router.add(ANN, ["b"]);
  router.remove(ANN, ["a"]);
  router.add(CAT, ["c"], NOTHING);
  assertStrictEquals(peersOf(router, []), before);
  router.add(BOB, ["b"]);
  assertEquals(namesOf(router, []), ["ann", "bob"]);
  router.remove(BOB, ["b"]);
  assertEquals(namesOf(router, []), ["ann"]);
});

Deno.test("Router gives a peer what is granted of a topic, and no more", () => {
  const router = new Router<NamedPeer>();
  const granted = shareOf(["a", "b"], ["c"]);
  router.add(ANN, [], granted);
  router.add(BOB, [], granted);
  router.add(CAT, ["c"]);
  assertEquals(namesOf(router, ["a"]), []);
  assertEquals(namesOf(router, ["a", "b", "x"]), ["ann", "bob"]);
  assertEquals(namesOf(router, ["c"]), ["ann", "bob", "cat"]);
  assertEquals(namesOf(router, []), ["ann", "bob", "cat"]);
  router.remove(ANN, []);
  assertEquals(namesOf(router, ["a", "b"]), ["bob"]);
  assertEquals(namesOf(router, ["c"]), ["bob", "cat"]);
  finish(router.clear(BOB));
  assertEquals([namesOf(router, ["a", "b"]), namesOf(router, ["c"])], [[], ["cat"]]);
});

/** A router that says what is wanted: `+a`, and no longer: `-a`. */
function told(): { router: Router<NamedPeer>; said: string[] } {
  const said: string[] = [];
  const router = new Router<NamedPeer>({
    onInterest: (_peer, path, wants) => void said.push(`${wants ? "+" : "-"}${path}`),
  });
  return { router, said };
}

Deno.test("Router makes the granted topics of many peers once, however often they come and go", () => {
  const { router, said } = told();
  const granted = shareOf(["a"], ["b"]);
  for (let time = 0; time < 10; time++) {
    for (const peer of [ANN, BOB]) router.add(peer, [], granted);
    assertEquals(namesOf(router, ["b", "x"]), ["ann", "bob"]);
    for (const peer of [ANN, BOB]) router.remove(peer, []);
    assertEquals(namesOf(router, ["b", "x"]), []);
    assert(!router.isWanted(["b"]));
  }
  assertEquals(said, ["+a", "+b"]);
});

Deno.test("Router.sweep forgets the granted topics that nobody has used since the sweep before", () => {
  const { router, said } = told();
  const granted = shareOf(["a"], ["b"]);
  router.add(ANN, [], granted);
  router.remove(ANN, []);
  finish(router.sweep());
  router.add(ANN, [], granted);
  finish(router.sweep());
  finish(router.sweep());
  assertEquals(said, ["+a", "+b"]);
  router.remove(ANN, []);
  finish(router.sweep());
  assertEquals(said, ["+a", "+b"]);
  finish(router.sweep());
  assertEquals(said, ["+a", "+b", "-a", "-b"]);
  router.add(BOB, [], granted);
  assertEquals(namesOf(router, ["a"]), ["bob"]);
});

for (const topic of [["t"], [any]] as const) {
  Deno.test(`Router.sweep leaves nobody in the list of ${formatTopic(topic)} who left before`, () => {
    const router = new Router<NamedPeer>();
    router.add(BOB, topic);
    router.add(ANN, [], shareOf(topic));
    assertEquals(peersOf(router, ["t"]).length, 2);
    router.remove(ANN, []);
    for (let time = 0; time < 2; time++) finish(router.sweep());
    assertEquals(peersOf(router, ["t"]), [BOB], "others are still there");
    assertEquals(router.peersOf(["t"]), [BOB]);
  });
}

Deno.test("Router.sweep closes a scope once that comes and goes while it sweeps", () => {
  const { router, said } = told();
  const many = Array.from({ length: 100 }, (_, i) => ["many", `${i}`]);
  const one = shareOf(["one", "x"]);
  router.add(ANN, ["many"], shareOf(...many));
  router.add(ANN, ["one"], one);
  router.remove(ANN, ["many"]);
  router.remove(ANN, ["one"]);
  finish(router.sweep());
  const steps = router.sweep();
  steps.next();
  router.add(ANN, ["one"], one);
  router.remove(ANN, ["one"]);
  finish(steps);
  router.add(BOB, ["one"], one);
  router.add(CAT, ["one", "x"]);
  for (let time = 0; time < 3; time++) finish(router.sweep());
  assertEquals(namesOf(router, ["one", "x"]), ["bob", "cat"]);
  const change = said.filter((text) => text.slice(1) === "one,x");
  assertEquals(change, ["+one,x", "-one,x", "+one,x", "+one,x"]);
});

Deno.test("Router.sweep leaves what is wanted again while it forgets", () => {
  const router = new Router<NamedPeer>();
  const many = Array.from({ length: 100 }, (_, i) => ["many", `${i}`]);
  const share = shareOf(...many);
  router.add(ANN, ["many"], share);
  router.remove(ANN, ["many"]);
  finish(router.sweep());
  const steps = router.sweep();
  steps.next();
  router.add(BOB, ["many"], share);
  finish(steps);
  for (const path of many) assertEquals(namesOf(router, path), ["bob"]);
});

Deno.test("Router.narrow changes what a peer gets without a gap, and tells what it loses", () => {
  const { router, said } = told();
  for (const path of [["a"], ["b"], ["c"], ["d"]]) router.add(ANN, path);
  router.add(ANN, ["e"], NOTHING);
  said.length = 0;
  const rights: Readonly<Record<string, Share>> = { b: shareOf(["b", "x"]), c: NOTHING };
  const lost: TopicPattern[] = [];
  finish(router.narrow(ANN, ([first]) => rights[String(first)], (path) => lost.push(path)));
  assertEquals(lost, [["c"]]);
  assertEquals(said, ["+b,x", "-b", "-c", "+e"]);
  const gets = [["a"], ["b"], ["b", "x"], ["c"], ["d"], ["e"]];
  assertEquals(gets.map((path) => namesOf(router, path).length), [1, 0, 1, 0, 1, 1]);
  assertEquals(router.interestsOf(ANN), 5);
});

Deno.test("Router.clear has a step for each few of the peer's own interests, however many others have", () => {
  const stepsAmong = (others: number) => {
    const router = new Router<NamedPeer>();
    const paths = Array.from({ length: 320 }, (_, i) => [`${i}`]);
    const peers = Array.from({ length: others }, (_, i) => new NamedPeer(`${i}`));
    for (const peer of [ANN, ...peers]) finish(router.replace(peer, paths));
    return [...router.clear(ANN)].length;
  };
  assertEquals([stepsAmong(0), stepsAmong(20)], [10, 10]);
});

Deno.test("Router.clear leaves all others in their routes after each step", () => {
  const router = new Router<NamedPeer>();
  const paths = Array.from({ length: 100 }, (_, i) => [`${i}`]);
  for (const peer of [ANN, BOB, CAT]) finish(router.replace(peer, paths));
  for (const _ of router.clear(BOB)) {
    for (const path of paths) {
      const names = namesOf(router, path).filter((name) => name !== "bob");
      assertEquals(names, ["ann", "cat"]);
    }
  }
  for (const path of paths) assertEquals(namesOf(router, path), ["ann", "cat"]);
});

/** So many topics of 16 elements, which have two in common. */
function longTopics(count: number, ...first: readonly string[]): string[][] {
  const rest = Array.from({ length: 13 - first.length }, (_, i) => `element ${i}`);
  return Array.from({ length: count }, (_, i) => ["a", "b", ...first, ...rest, `${i}`]);
}

/** How many steps something has. */
function stepsOf(steps: Iterable<void>): number {
  return [...steps].length;
}

Deno.test("Router.replace and Router.narrow have a step for each few elements of a peer's topics", () => {
  const router = new Router<NamedPeer>();
  const topics = longTopics(256);
  const fewest = topics.length / 8;
  assert(stepsOf(router.replace(ANN, topics)) >= fewest, "all are new");
  assert(stepsOf(router.replace(ANN, topics)) >= fewest, "all are known");
  assert(stepsOf(router.narrow(ANN, () => NOTHING, () => {})) >= fewest, "all are lost");
  assert(stepsOf(router.narrow(ANN, () => undefined, () => {})) >= fewest, "all come back");
  assert(stepsOf(router.replace(ANN, [])) >= fewest, "all go");
  assertEquals(router.interestsOf(ANN), 0);
});

Deno.test("Router.replace never leaves out what a peer wants before and after", () => {
  const router = new Router<NamedPeer>();
  const topics = longTopics(100);
  const [before, after] = [topics.slice(0, 80), topics.slice(20)];
  finish(router.replace(ANN, before));
  for (const _ of router.replace(ANN, after)) {
    for (const path of topics.slice(20, 80)) assertEquals(namesOf(router, path), ["ann"]);
    assertEquals(namesOf(router, []), ["ann"]);
  }
  assertEquals(topics.map((path) => namesOf(router, path).length), [
    ...new Array(20).fill(0),
    ...new Array(80).fill(1),
  ]);
});

Deno.test("Router.replace that is begun again leaves nothing of what was begun before", () => {
  const router = new Router<NamedPeer>();
  const first = router.replace(ANN, longTopics(100, "first"));
  first.next();
  first.next();
  assert(router.interestsOf(ANN) > 0);
  finish(router.replace(ANN, [["a"]]));
  assertEquals(router.interestsOf(ANN), 1);
  assertEquals(namesOf(router, ["a"]), ["ann"]);
});

Deno.test("Router.replace and Router.narrow stop when their peer is forgotten, and leave nothing", () => {
  const { router, said } = told();
  const topics = longTopics(100);
  const replacing = router.replace(ANN, topics);
  replacing.next();
  const granted = shareOf(["a", "b", "x"]);
  const narrowing = router.narrow(ANN, () => granted, () => {});
  narrowing.next();
  finish(router.clear(ANN));
  finish(narrowing);
  finish(replacing);
  assertEquals([router.interestsOf(ANN), namesOf(router, topics[0]!)], [0, []]);
  for (let i = 0; i < 3; i++) finish(router.sweep());
  const count = (sign: string) => said.filter((one) => one.startsWith(sign)).length;
  assertEquals(count("+"), count("-"));
});

Deno.test("Router.narrow keeps up with what comes and goes, and with rights that change meanwhile", () => {
  const router = new Router<NamedPeer>();
  const topics = longTopics(100);
  finish(router.replace(ANN, topics));
  let granted: Share | undefined = shareOf(["a", "b", "x"]);
  const steps = router.narrow(ANN, () => granted, () => {});
  for (let i = 0; i < 5; i++) steps.next();
  granted = undefined;
  assert(router.remove(ANN, topics.at(-1)!));
  assert(router.remove(ANN, topics.at(0)!));
  router.add(ANN, ["new"], granted);
  finish(steps);
  finish(router.narrow(ANN, () => granted, () => {}));
  const names = [...topics, ["new"]].map((path) => namesOf(router, path).length);
  assertEquals(names, [0, ...new Array(98).fill(1), 0, 1]);
  assertEquals([namesOf(router, ["a", "b", "x"]), router.interestsOf(ANN)], [[], 99]);
});

Deno.test("Router.prepare makes the places of what is granted in steps, for all who want it", () => {
  const { router, said } = told();
  const granted = shareOf(...longTopics(256));
  const [first, second] = [router.prepare(granted)!, router.prepare(granted)!];
  let steps = 0;
  for (let isDone = false; !isDone; steps++) isDone = !!(first.next().done || second.next().done);
  assert(steps >= granted.topics.length / 8, `${steps}`);
  finish(first as Generator<void>);
  finish(second as Generator<void>);
  assertEquals(said.length, granted.topics.length);
  assertEquals(router.prepare(granted), undefined);
  assertEquals(namesOf(router, granted.topics[0] as TopicPath), []);
  router.add(ANN, [], granted);
  assertEquals([said.length, namesOf(router, granted.topics[0] as TopicPath)], [
    granted.topics.length,
    ["ann"],
  ]);
});

Deno.test("Router.sweep forgets what was prepared and not used, but not while it is prepared", () => {
  const { router, said } = told();
  const granted = shareOf(...longTopics(64));
  const steps = router.prepare(granted)!;
  steps.next();
  const begun = said.length;
  assert(begun > 0 && begun < granted.topics.length);
  for (let i = 0; i < 3; i++) finish(router.sweep());
  assertEquals(said.length, begun);
  steps.return(undefined);
  for (let i = 0; i < 3; i++) finish(router.sweep());
  assertEquals(said.filter((one) => one.startsWith("-")).length, begun);
  router.add(ANN, [], granted);
  assertEquals(namesOf(router, granted.topics.at(-1) as TopicPath), ["ann"]);
});

Deno.test("Router does what a list of interests does while rights and interests change in steps", () => {
  const first = Date.now() % 2 ** 31;
  for (let seed = first; seed < first + 30; seed++) {
    const random = randomOf(seed);
    const router = new Router<NamedPeer>();
    const peers = [ANN, BOB, CAT];
    const wants = new Map(peers.map((peer) => [peer, new Map<string, TopicPattern>()]));
    // The same share for the same topic only.
    const scopes = new Map<string, Share>();
    const scopeOf = (path: TopicPattern) => {
      const scope = scopes.get(textOf(path)) ?? shareOf(["a", "a"], [any, "b"], ["b"]);
      scopes.set(textOf(path), scope);
      return scope;
    };
    let granted: Record<string, "all" | "some" | "nothing"> = {};
    const narrow = (path: TopicPattern) => {
      const what = granted[String(path[0] ?? "")] ?? "all";
      return what === "all" ? undefined : what === "nothing" ? NOTHING : scopeOf(path);
    };
    const tasks: Generator<void>[] = [];
    const change = () => {
      granted = Object.fromEntries(
        ["", "a", "b"].map((name) => [name, random.pick(["all", "some", "nothing"] as const)]),
      );
      for (const peer of peers) tasks.push(router.narrow(peer, narrow, () => {}));
    };
    for (let step = 0; step < 100; step++) {
      const [peer, path] = [random.pick(peers), patternOf(random)];
      const kind = random.int(10);
      if (kind < 5) {
        router.add(peer, path, narrow(path));
        wants.get(peer)!.set(textOf(path), path);
      } else if (kind < 7) {
        router.remove(peer, path);
        wants.get(peer)!.delete(textOf(path));
      } else if (kind < 8) change();
      else random.pick([...tasks, router.sweep()]).next();
    }
    for (const task of tasks) finish(task);
    for (const peer of peers) finish(router.narrow(peer, narrow, () => {}));
    for (const asked of [["a"], ["a", "a"], ["a", "b"], ["b"], ["c"]]) {
      const names = peers.filter((peer) =>
        wants.get(peer)!.values().some((path) => {
          const gets = narrow(path)?.topics ?? [path];
          return gets.some((one) => hears(one, asked));
        })
      ).map(({ name }) => name);
      assertEquals(namesOf(router, asked), names, `seed ${seed}: ${asked}`);
    }
  }
});

Deno.test("Router.narrow does not bring back what is removed while what is granted of it is prepared", () => {
  const router = routerOf([ANN, ["a", "b"], ["c"]]);
  const granted = shareOf(...longTopics(64));
  const steps = router.narrow(ANN, ([first]) => first === "a" ? granted : undefined, () => {});
  steps.next();
  assert(router.remove(ANN, ["a", "b"]));
  finish(steps);
  assertEquals([router.interestsOf(ANN), namesOf(router, granted.topics[0] as TopicPath)], [1, []]);
});
