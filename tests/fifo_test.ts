import { assertEquals } from "@std/assert";
import { Fifo } from "../base/fifo.ts";
import { randomOf } from "../tools/harness/random.ts";

const SEED = 20261124;

Deno.test("Fifo does what an array does, in random operations", () => {
  for (let seed = SEED; seed < SEED + 20; seed++) {
    const random = randomOf(seed);
    const fifo = new Fifo<number>();
    const naive: number[] = [];
    for (let round = 0; round < 40; round++) {
      for (let n = random.int(200); n > 0; n--) {
        fifo.push(n);
        naive.push(n);
      }
      for (let n = random.int(200); n > 0; n--) {
        assertEquals(fifo.shift(), naive.shift(), `seed ${seed}`);
      }
      assertEquals(fifo.length, naive.length, `seed ${seed}`);
    }
  }
});

Deno.test("Fifo keeps its order through growing far and draining", () => {
  const fifo = new Fifo<number>();
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 100_000; n++) fifo.push(n);
    for (let n = 0; n < 100_000; n++) if (fifo.shift() !== n) throw new Error(`lost ${n}`);
    assertEquals(fifo.shift(), undefined);
  }
  fifo.push(1);
  fifo.clear();
  assertEquals([fifo.length, fifo.shift()], [0, undefined]);
});
