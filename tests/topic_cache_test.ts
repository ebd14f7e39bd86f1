import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { TopicCache } from "../routing/topic_cache.ts";
import { type Topic, topicPath } from "../topic.ts";
import { randomOf } from "../tools/harness/random.ts";

const SEED = 20261203;
/** More than are remembered. */
const MANY = 5000;

const textOf = (topic: Topic) => JSON.stringify(topicPath(topic));

function makeCache(): TopicCache<string> {
  return new TopicCache(topicPath(null), "[]");
}

/** Remembers for each topic the text of its path. */
function fill(cache: TopicCache<string>, topics: Iterable<Topic>): void {
  for (const topic of topics) {
    if (cache.get(topic) === undefined) cache.set(topicPath(topic), textOf(topic));
  }
}

/** How many of these topics are remembered. */
function known(cache: TopicCache<string>, topics: readonly Topic[]): number {
  return topics.filter((topic) => cache.get(topic) !== undefined).length;
}

function* many(prefix: string, count = MANY): Generator<Topic> {
  for (let index = 0; index < count; index++) yield ["many", `${prefix}${index}`];
}

Deno.test("TopicCache gives the same value for each form of a topic", () => {
  const cache = makeCache();
  for (const topic of [null, []]) assertEquals(cache.get(topic), "[]");
  const path = topicPath("a");
  cache.set(path, "a");
  cache.set(topicPath(["a", "b"]), "a b");
  cache.set(topicPath(null), "root again");
  for (let times = 0; times < 2; times++) {
    for (const topic of ["a", ["a"], path]) assertEquals(cache.get(topic), "a");
    assertEquals(cache.get(["a", "b"]), "a b");
    for (const topic of [null, []]) assertEquals(cache.get(topic), "root again");
  }
});

Deno.test("TopicCache does not take one topic for another", () => {
  const topics: Topic[] = [null, "a", ["a", "b"], ["a", "b", "c"], "a,b", "b", ["b", "a"]];
  for (const set of topics) {
    for (const latest of topics) {
      const cache = makeCache();
      fill(cache, [set, latest]);
      for (const topic of topics) {
        const expected = [undefined, textOf(topic)];
        assert(expected.includes(cache.get(topic)), JSON.stringify({ set, latest, topic }));
      }
    }
  }
});

Deno.test("TopicCache does not know what is no topic", () => {
  const cache = makeCache();
  fill(cache, ["a", ["a", "b"], "1", "undefined", "null", "[object Object]"]);
  cache.set(topicPath(null), "[]");
  cache.set(topicPath("b"), "b");
  const sparse: unknown[] = ["a"];
  sparse.length = 2;
  const others = [undefined, 1, {}, [1], [undefined], [null], [["a"]], ["a", {}], sparse, {
    length: 0,
  }];
  for (const other of others) assertEquals(cache.get(other as Topic), undefined);
});

Deno.test("TopicCache keeps to the elements that a topic had when its array changes", () => {
  const cache = makeCache();
  const topic = ["a", "b"];
  cache.set(topicPath(topic), "a b");
  topic[1] = "c";
  assertEquals(cache.get(topic), undefined);
  assertEquals(cache.get(["a", "b"]), "a b");
});

Deno.test("TopicCache remembers topics that come in turn", () => {
  const cache = makeCache();
  const topics = [...many("x", 1000)];
  fill(cache, topics);
  assertEquals(known(cache, topics), topics.length);
});

Deno.test("TopicCache remembers a bounded number of topics, and the latest always", () => {
  const cache = makeCache();
  const topics = [...many("x")];
  fill(cache, topics);
  assertEquals(cache.get(topics.at(-1)!), textOf(topics.at(-1)!));
  assert(known(cache, topics) <= 1024);
});

Deno.test("TopicCache remembers a bounded number of topics also when they come again", () => {
  const cache = makeCache();
  const topics = [...many("x")];
  for (let start = 0; start < topics.length; start += 100) {
    const some = topics.slice(start, start + 100);
    for (let times = 0; times < 3; times++) fill(cache, some);
  }
  const count = known(cache, topics);
  assert(count > 0 && count <= 1024, `${count}`);
});

Deno.test("TopicCache remembers topics that come again after others that did not", () => {
  const cache = makeCache();
  const topics = [...many("x", 100)];
  fill(cache, many("y", 100_000));
  for (let times = 0; known(cache, topics) < topics.length; times++) {
    assert(times < 10_000, "they are never remembered");
    fill(cache, topics);
  }
});

Deno.test("TopicCache never gives the value of another topic, in random operations", () => {
  for (let seed = SEED; seed < SEED + 20; seed++) {
    const random = randomOf(seed);
    const cache = makeCache();
    const values = new Map([["[]", "[]"]]);
    const variety = random.pick([2, 10, 40]);
    for (let step = 0; step < 5000; step++) {
      const path = Array.from({ length: random.int(4) }, () => `${random.int(variety)}`);
      const topic = path.length === 1 && random.int(2) === 0 ? path[0]! : path;
      const text = JSON.stringify(path);
      const value = cache.get(topic);
      if (value === undefined) {
        values.set(text, `${step}`);
        cache.set(topicPath(topic), `${step}`);
        assertStrictEquals(cache.get(topic), `${step}`, `seed ${seed}`);
      } else assertEquals(value, values.get(text), `seed ${seed}: ${text}`);
    }
  }
});
