import { assert, assertEquals, assertRejects } from "@std/assert";
import { Flushes } from "../protocol/flushes.ts";

/** Flushes, with what was settled and how often was asked. */
function setUp() {
  const flushes = new Flushes();
  const log: string[] = [];
  let asks = 0;
  const add = (name: string, until: number, signal?: AbortSignal) =>
    flushes.add(until, signal).then(
      () => log.push(name),
      (reason) => log.push(`${name}: ${reason}`),
    );
  const ask = () => ++asks;
  return { flushes, log, add, ask };
}

const settled = () => new Promise((resolve) => setTimeout(resolve));

Deno.test("Flushes asks once for all whose part is on its way, and settles them in order", async () => {
  const { flushes, log, add, ask } = setUp();
  for (const [name, until] of [["a", 1], ["b", 2], ["c", 3]] as const) add(name, until);
  flushes.askFor(2, ask);
  flushes.askFor(2, ask);
  flushes.settle(0, 3);
  flushes.settle(1, 1);
  await settled();
  assertEquals(log, ["a"]);
  flushes.settle(1, 3);
  await settled();
  assertEquals(log, ["a", "b"]);
  flushes.askFor(3, ask);
  flushes.settle(1, 3);
  assert(!flushes.isEmpty);
  flushes.settle(2, 3);
  assert(flushes.isEmpty);
});

Deno.test("Flushes asks again for those who were not answered before the connection was lost", async () => {
  const { flushes, log, add, ask } = setUp();
  add("a", 1);
  flushes.askFor(1, ask);
  add("b", 2);
  flushes.reconnect();
  flushes.settle(1, 2);
  assert(!flushes.isEmpty);
  flushes.askFor(2, ask);
  flushes.settle(2, 2);
  await settled();
  assertEquals(log, ["a", "b"]);
});

Deno.test("Flushes rejects for one whose signal aborts, and keeps nothing of it", async () => {
  const { flushes, ask } = setUp();
  for (const isAsked of [false, true]) {
    const controller = new AbortController();
    const flushed = flushes.add(1, controller.signal);
    if (isAsked) flushes.askFor(1, ask);
    controller.abort("no more");
    assertEquals(await flushed.catch((reason) => reason), "no more");
    assert(flushes.isEmpty);
  }
});

Deno.test("Flushes rejects for all at the end, in order", async () => {
  const { flushes, log, add, ask } = setUp();
  for (const name of ["a", "b"]) add(name, 1);
  flushes.askFor(1, ask);
  add("c", 2);
  flushes.end("over");
  await settled();
  assertEquals(log, ["a: over", "b: over", "c: over"]);
  assert(flushes.isEmpty);
  const late = flushes.add(1, undefined);
  flushes.end(new SyntaxError("over"));
  await assertRejects(() => late, SyntaxError, "over");
});

Deno.test("Flushes looks at none that cannot be due yet, however many wait", () => {
  const { flushes, ask } = setUp();
  const COUNT = 1000;
  let looks = 0;
  const counted = (until: number) => ({
    [Symbol.toPrimitive]() {
      looks++;
      return until;
    },
  });
  for (let n = 1; n <= COUNT; n++) {
    flushes.add(counted(n) as unknown as number, undefined);
    flushes.askFor(0, ask);
  }
  for (let n = 1; n <= COUNT; n++) {
    flushes.askFor(n, ask);
    flushes.settle(n, n);
  }
  assert(flushes.isEmpty && looks < 6 * COUNT, `${looks}`);
});

Deno.test("Flushes lets all who wait, asked or not, wait for what is put in the place of their part", async () => {
  const { flushes, log, add, ask } = setUp();
  add("a", 1);
  flushes.askFor(1, ask);
  add("b", 2);
  flushes.postpone(5);
  flushes.askFor(4, ask);
  flushes.settle(9, 5);
  assert(!flushes.isEmpty);
  flushes.askFor(5, ask);
  flushes.settle(9, 4);
  assert(!flushes.isEmpty);
  flushes.settle(9, 5);
  await settled();
  assertEquals(log, ["a", "b"]);
});
