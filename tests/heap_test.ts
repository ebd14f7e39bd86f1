/** The heap, compared with a sorted array. */
import { assert, assertEquals } from "@std/assert";
import { Heap, type HeapItem } from "../base/heap.ts";
import { randomOf } from "../tools/harness/random.ts";

interface Item extends HeapItem {
  rank: number;
}

Deno.test("Heap has the first of all items after each of many random changes", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = randomOf(seed);
  const heap = new Heap<Item>((a, b) => a.rank < b.rank);
  const items: Item[] = [];
  for (let step = 0; step < 20_000; step++) {
    const choice = random.int(items.length > 200 ? 3 : 4);
    const [at, rank] = [random.int(Math.max(1, items.length)), random.int(50)];
    const item = items[at];
    if (item === undefined || choice === 3) {
      items.push({ at: -1, rank });
      heap.add(items.at(-1)!);
    } else if (choice === 0) {
      item.rank = rank;
      heap.changed(item);
    } else {
      heap.remove(item);
      items.splice(at, 1);
    }
    const least = items.length === 0 ? undefined : Math.min(...items.map(({ rank }) => rank));
    assertEquals([heap.size, heap.first?.rank], [items.length, least], `seed ${seed}`);
  }
});

Deno.test("Heap compares an item with few of 10,000 when it comes and goes", () => {
  let compared = 0;
  const heap = new Heap<Item>((a, b) => {
    compared++;
    return a.rank < b.rank;
  });
  const items = Array.from({ length: 10_000 }, (_, i) => ({ at: -1, rank: (i * 7919) % 10_007 }));
  for (const item of items) heap.add(item);
  for (const item of items) heap.remove(item);
  assert(compared < items.length * 4 * 14, `${compared} comparisons`);
});
