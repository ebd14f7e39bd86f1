import { assertEquals, assertThrows } from "@std/assert";
import {
  addCounts,
  COUNT_MAX,
  countFrom,
  isCount,
  knownCount,
  readCount,
  writeCount,
} from "../base/count.ts";
import { ProtocolError } from "../errors.ts";

const view = new DataView(new ArrayBuffer(9));

Deno.test("readCount and knownCount take every count that a number holds, and no other", () => {
  for (const count of [0, 1, 2 ** 32, 2 ** 53 - 2, 2 ** 53 - 1]) {
    view.setBigUint64(1, BigInt(count), true);
    assertEquals([readCount(view, 1), knownCount(view, 1)], [count, count]);
  }
  for (const count of [2n ** 53n, 2n ** 53n + 100n, 2n ** 60n, 2n ** 64n - 1n]) {
    view.setBigUint64(1, count, true);
    assertThrows(() => readCount(view, 1), ProtocolError, `it is ${count}; the limit is`);
    assertEquals(knownCount(view, 1), undefined);
  }
});

Deno.test("writeCount writes what can be read, however large a sum has become", () => {
  for (const count of [0, 7, COUNT_MAX]) {
    writeCount(view, 1, count);
    assertEquals(readCount(view, 1), count);
  }
  for (const count of [2 ** 53, 2 ** 64, 1e300, Infinity]) {
    writeCount(view, 1, count);
    assertEquals(readCount(view, 1), COUNT_MAX);
  }
  writeCount(view, 1, undefined);
  assertEquals(knownCount(view, 1), undefined);
});

Deno.test("isCount takes whole numbers that are exact, and nothing else", () => {
  for (const value of [0, 1, COUNT_MAX]) assertEquals(isCount(value), true);
  for (
    const value of [-1, -0.5, 0.5, 2 ** 53, 1e300, Infinity, NaN, "1", 1n, null, undefined, []]
  ) {
    assertEquals(isCount(value), false, String(value));
  }
});

Deno.test("addCounts stays at the largest count", () => {
  assertEquals(addCounts(1, 2), 3);
  assertEquals(addCounts(COUNT_MAX - 1, 1), COUNT_MAX);
  assertEquals(addCounts(COUNT_MAX, COUNT_MAX), COUNT_MAX);
});

Deno.test("countFrom goes on where 32 bits begin anew", () => {
  const all = 2 ** 32;
  assertEquals(countFrom(0, 0), 0);
  assertEquals(countFrom(5, 5), 5);
  assertEquals(countFrom(5, 7), 7);
  assertEquals(countFrom(all - 1, 0), all);
  assertEquals(countFrom(3 * all + 2, 4), 3 * all + 4);
  assertEquals(countFrom(2 ** 40 + 7, 7), 2 ** 40 + 7);
  // What is less than before is nearly 2³² more: more than was ever sent.
  assertEquals(countFrom(5, 4), all + 4);
});
