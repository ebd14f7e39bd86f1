import { assert, assertEquals } from "@std/assert";
import { BytesCache } from "../base/bytes_cache.ts";
import { encodeTopic } from "../protocol/topic_block.ts";
import { randomOf } from "../tools/harness/random.ts";

for (const size of [1, 2, 8]) {
  Deno.test(`BytesCache of ${size} slots may forget, but never gives the value of another key`, () => {
    const seed = Date.now() % 2 ** 31;
    const random = randomOf(seed);
    const cache = new BytesCache<number>(size);
    const naive = new Map<string, number>();
    let hits = 0;
    for (let step = 0; step < 20_000; step++) {
      const around = Uint8Array.from({ length: 6 }, () => random.int(2));
      const start = random.int(4);
      const end = start + random.int(4);
      const key = around.slice(start, end).join();
      const found = cache.get(around, start, end);
      if (found !== undefined) hits++;
      assert(found === undefined || found === naive.get(key), `seed ${seed}, step ${step}`);
      if (random.int(2) === 0) {
        cache.set(around, start, end, step);
        naive.set(key, step);
        around.fill(7);
      } else if (random.int(200) === 0) {
        cache.clear();
        naive.clear();
      }
    }
    assert(hits > 500, `seed ${seed}: ${hits} hits`);
  });
}

Deno.test("BytesCache finds again nearly all topics that differ in a number, or in one byte", () => {
  for (
    const [count, topicOf] of [
      [10, (n: number) => ["crowd", "7", `${n}`]],
      [200, (n: number) => [String.fromCharCode(33 + n), "temperature"]],
      [10_000, (n: number) => ["sensors", `${n}`, "temperature"]],
      [10_000, (n: number) => ["sensors", "temperature", `${n}`]],
    ] as const
  ) {
    const cache = new BytesCache<number>(32_768);
    const blocks = Array.from({ length: count }, (_, n) => encodeTopic(topicOf(n)));
    const missing = () =>
      blocks.filter((block, n) => {
        const found = cache.get(block, 0, block.length);
        if (found === undefined) cache.set(block, 0, block.length, n);
        return found === undefined;
      }).length;
    assertEquals(missing(), count);
    missing(); // The table has grown as it may.
    assert(missing() <= count / 100, `${missing()} of ${count} topics like ${topicOf(1)}`);
  }
});

Deno.test("BytesCache keeps a copy of its key", () => {
  const cache = new BytesCache<string>(1);
  const bytes = Uint8Array.of(1, 2, 3);
  cache.set(bytes, 0, 3, "value");
  bytes.fill(0);
  assertEquals(cache.get(Uint8Array.of(1, 2, 3), 0, 3), "value");
  assertEquals(cache.get(bytes, 0, 3), undefined);
});

Deno.test("BytesCache gives what was set for the same bytes, wherever they stand", () => {
  const cache = new BytesCache<string>(16);
  cache.set(Uint8Array.of(1, 2, 3), 0, 3, "whole");
  cache.set(Uint8Array.of(1, 2, 3), 1, 1, "nothing");
  assertEquals(cache.get(Uint8Array.of(0, 1, 2, 3, 4), 1, 4), "whole");
  assertEquals(cache.get(new Uint8Array(), 0, 0), "nothing");
  assertEquals(cache.get(Uint8Array.of(1, 2, 3), 0, 2), undefined);
});
