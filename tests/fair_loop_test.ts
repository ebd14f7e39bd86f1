/** Turns of the event loop in loops over values that are there, by a clock of the test's own. */
import { assert, assertEquals } from "@std/assert";
import { FairLoop } from "../base/fair_loop.ts";
import { Queue } from "../base/queue.ts";
import { quiet } from "./helpers/quiet.ts";

/** A clock that only the test moves, and that counts how often it is looked at. */
class Clock {
  time = 1000;
  looks = 0;

  now = () => {
    this.looks++;
    return this.time;
  };
}

/** Makes one step after the other, each of which takes `ms`; returns after which it had to wait. */
async function steps(loop: FairLoop, clock: Clock, count: number, ms: number): Promise<number[]> {
  const waits: number[] = [];
  for (let step = 1; step <= count; step++) {
    if (loop.steps(1) === 0) {
      waits.push(step);
      await loop.turn;
    }
    clock.time += ms;
  }
  return waits;
}

/** A queue that holds `count` values, and a loop over it whose body takes `ms` on the clock. */
function busyLoop(count: number, ms: number, clock = new Clock()) {
  const queue = new Queue<number>({ name: "it", limit: count, overflow: "wait", now: clock.now });
  for (let value = 0; value < count; value++) queue.push(value);
  const values: number[] = [];
  const run = async () => {
    for await (const value of queue) {
      values.push(value);
      clock.time += ms;
      if (values.length === count) break;
    }
  };
  return { queue, clock, values, run };
}

/** Notes the time on the clock at each turn of the event loop, until it is disposed of. */
function watchTurns(clock: Clock) {
  let longest = 0;
  let turns = 0;
  let last = clock.time;
  const tick = () => {
    turns++;
    longest = Math.max(longest, clock.time - last);
    last = clock.time;
    timer = setTimeout(tick, 0);
  };
  let timer = setTimeout(tick, 0);
  return {
    turns: () => turns,
    longest: () => Math.max(longest, clock.time - last),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

for (const [ms, longest] of [[0.3, 9], [1, 9], [4, 12], [100, 300]] as const) {
  Deno.test(`Queue gives everything else a turn in a loop over values of ${ms} ms`, async () => {
    const { clock, values, run } = busyLoop(200, ms);
    using turns = watchTurns(clock);
    await run();
    assertEquals(values, Array.from({ length: 200 }, (_, i) => i));
    assert(turns.longest() <= longest, `went on for ${turns.longest()} ms`);
  });
}

Deno.test("Queue gives turns to who calls next() by hand, too, and in the order of the calls", async () => {
  const { queue, clock } = busyLoop(40, 1);
  const iterator = queue[Symbol.asyncIterator]();
  using turns = watchTurns(clock);
  const settled: unknown[] = [];
  const calls: Promise<unknown>[] = [];
  for (let i = 0; i < 40; i++) {
    calls.push(iterator.next().then(({ value }) => settled.push(value)));
    clock.time += 1;
  }
  await Promise.all(calls);
  assertEquals(settled, Array.from({ length: 40 }, (_, i) => i));
  assert(turns.turns() > 0);
  await iterator.return!();
});

Deno.test("Queue gives turns to a loop that adds what it takes next", async () => {
  const clock = new Clock();
  const queue = new Queue<number>({ name: "it", limit: 9, overflow: "wait", now: clock.now });
  using turns = watchTurns(clock);
  queue.push(0);
  for await (const value of queue) {
    clock.time += 1;
    if (value === 100) break;
    queue.push(value + 1);
  }
  assert(turns.longest() <= 9, `went on for ${turns.longest()} ms`);
});

Deno.test("Queue gives no turn to a loop that does little, and hardly looks at the clock", async () => {
  const { clock, values, run } = busyLoop(10_000, 0.00004);
  using turns = watchTurns(clock);
  await run();
  assertEquals(turns.turns(), 0);
  assert(clock.looks < values.length / 75, `looked ${clock.looks} times`);
});

Deno.test("Queue looks at no clock for a few values at a time", async () => {
  const clock = new Clock();
  const queue = new Queue<number>({ name: "it", limit: 9, overflow: "wait", now: clock.now });
  const iterator = queue[Symbol.asyncIterator]();
  for (let round = 0; round < 1000; round++) {
    const first = iterator.next();
    for (let value = 0; value < 4; value++) queue.push(value);
    assertEquals((await first).value, 0);
    for (let value = 1; value < 4; value++) assertEquals((await iterator.next()).value, value);
  }
  assert(clock.looks < 10, `looked ${clock.looks} times`);
  await iterator.return!();
});

/** A queue whose consumer waits for a turn: `next()` was called and has not settled. */
async function yielding(overflow: "wait" | "drop-oldest" = "wait") {
  const clock = new Clock();
  const queue = new Queue<number>({ name: "it", limit: 20, overflow, now: clock.now });
  const iterator = queue[Symbol.asyncIterator]();
  for (let value = 0; value < 20; value++) queue.push(value);
  let taken = 0;
  for (;;) {
    let settled = false;
    const next = iterator.next().finally(() => settled = true);
    await Promise.resolve().then(() => {}).then(() => {});
    if (!settled) return { queue, iterator, next, taken };
    taken++;
    clock.time += 1;
  }
}

Deno.test("Queue holds values while its consumer waits for a turn, and drops the oldest when full", async () => {
  const { queue, iterator, next, taken } = await yielding("drop-oldest");
  assertEquals(queue.length, 20 - taken, "what it waits for is held, too");
  for (let value = 20; !queue.full; value++) queue.push(value);
  assertEquals(queue.push(99), "dropping");
  assertEquals((await next).value, taken + 1, "the oldest is gone");
  await iterator.return!();
});

Deno.test("Queue ends when its consumer waits for a turn: after what it holds, or at once", async () => {
  const closed = await yielding();
  closed.queue.close({ error: new Error("gone") });
  assertEquals((await closed.next).value, closed.taken);
  let taken = closed.taken + 1;
  const takeAll = async () => {
    for (;; taken++) await closed.iterator.next();
  };
  assertEquals(await takeAll().catch((error) => [error.message, taken]), ["gone", 20]);

  const cancelled = await yielding();
  cancelled.queue.cancel();
  assertEquals(await cancelled.next, { done: true, value: undefined });

  const aborted = await yielding();
  aborted.queue.clear();
  aborted.queue.close({ error: new Error("aborted") });
  assertEquals(await aborted.next.catch((error) => error.message), "aborted");
});

Deno.test("Queue keeps the order when onRoom adds a value in the turn of several next()", async () => {
  const clock = new Clock();
  let added = 10;
  const onRoom = () => void queue.push(added++);
  const queue = new Queue<number>({
    name: "it",
    limit: 3,
    overflow: "wait",
    now: clock.now,
    onRoom,
  });
  for (const value of [0, 1, 2]) queue.push(value);
  const iterator = queue[Symbol.asyncIterator]();
  const calls: Promise<IteratorResult<number>>[] = [];
  for (let i = 0; i < 7; i++) {
    calls.push(iterator.next());
    clock.time += i < 3 ? 5 : 0;
  }
  assertEquals(queue.length, 3, "the third call and those after it wait for a turn");
  assertEquals((await Promise.all(calls)).map(({ value }) => value), [0, 1, 2, 10, 11, 12, 13]);
  await iterator.return!();
});

Deno.test("FairLoop waits after a few milliseconds, then counts anew", async () => {
  const clock = new Clock();
  const loop = new FairLoop(clock.now);
  assertEquals(await steps(loop, clock, 14, 1), [6, 12]);
  loop.rest();
});

Deno.test("FairLoop does not wait when everything else had its turn anyway", async () => {
  const clock = new Clock();
  const loop = new FairLoop(clock.now);
  for (let i = 0; i < 30; i++) {
    const waits = await steps(loop, clock, 1, 100);
    // For the first few no timer is set that could have shown it.
    if (i >= 9) assertEquals(waits, []);
    await quiet();
  }
  loop.rest();
});

Deno.test("FairLoop looks at each step while they take long, though it has waited for values", async () => {
  const clock = new Clock();
  const loop = new FairLoop(clock.now);
  await steps(loop, clock, 10_000, 0.0001);
  const fast = clock.looks;
  assert(fast < 100, `looked ${fast} times`);
  // So many may go unseen.
  await steps(loop, clock, 128, 1);
  for (let round = 0; round < 3; round++) {
    loop.rest();
    const waits = await steps(loop, clock, 40, 1);
    assert(waits.length >= 3, `waited ${waits.length} times`);
  }
  loop.rest();
});

Deno.test("Queue leaves no timer behind when a few values are taken slowly, and the rest is not", async () => {
  const { queue, clock } = busyLoop(20, 0);
  const iterator = queue[Symbol.asyncIterator]();
  for (let i = 0; i < 6; i++) {
    await iterator.next();
    clock.time += 4;
  }
});

Deno.test("FairLoop that rests leaves no timer behind", async () => {
  const clock = new Clock();
  const loop = new FairLoop(clock.now);
  await steps(loop, clock, 12, 1);
  assertEquals(await steps(loop, clock, 4, 1), []);
  loop.rest();
});
