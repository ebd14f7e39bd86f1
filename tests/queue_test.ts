import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { type Overflow, Queue } from "../base/queue.ts";
import { BacklogError } from "../errors.ts";

/** A clock that stands: nobody who takes values has to wait for a turn, however slow the machine is. */
const now = () => 0;

function queueOf(overflow: Overflow, limit = 2, on: { onRoom?(): void; onCancel?(): void } = {}) {
  return new Queue<number>({ name: "the queue", limit, overflow, now, ...on });
}

/** A queue of numbers that count themselves as bytes. */
function sizedQueue(overflow: Overflow, limitBytes: number, limit = 100, onRoom = () => {}) {
  const queue = new Queue<number>({ name: "the queue", limit, limitBytes, overflow, onRoom, now });
  return {
    queue,
    push: (...sizes: number[]) =>
      sizes.map((bytes) => queue.push(bytes, { most: 160 * bytes, bytes })),
    iterator: queue[Symbol.asyncIterator](),
  };
}

for (const limitBytes of [0, -1, 1.5, NaN, Infinity, 2 ** 53, "5" as unknown as number, null]) {
  Deno.test(`Queue refuses ${typeof limitBytes} ${limitBytes} as its limitBytes`, () => {
    const make = () => sizedQueue("wait", limitBytes as number);
    assertThrows(make, RangeError, `limitBytes is ${limitBytes}`);
  });
}

Deno.test("Queue drops the oldest until the new value fits in both bounds", async () => {
  const { queue, push, iterator } = sizedQueue("drop-oldest", 10, 4);
  assertEquals(push(3, 3, 4), ["kept", "kept", "kept"]);
  assertEquals([queue.bytes, queue.full, queue.bound.name], [10, true, "limitBytes"]);
  assertEquals(push(7), ["dropping"], "two go, or it does not fit");
  assertEquals([queue.length, queue.bytes, queue.dropped], [1, 7, 3]);
  assertEquals(push(1, 1, 1), ["kept", "kept", "kept"]);
  assertEquals([queue.full, queue.bound.name], [true, "limit"]);
  assertEquals(push(1), ["dropped"]);
  assertEquals([queue.length, queue.bytes, queue.dropped], [4, 4, 4]);
  for (const left of [3, 2, 1, 0]) {
    assertEquals((await iterator.next()).value, 1);
    assertEquals(queue.bytes, left);
  }
});

Deno.test("Queue takes a single value of any size, and one beside others that count nothing", () => {
  for (const overflow of ["drop-oldest", "wait", "throw"] as const) {
    const { queue, push } = sizedQueue(overflow, 10);
    assertEquals(push(0, 0, 1000), ["kept", "kept", "kept"]);
    assertEquals([queue.length, queue.bytes, queue.full], [3, 1000, true]);
  }
});

Deno.test("Queue counts the bytes of each value, wherever those stand that have none", async () => {
  const { queue, push, iterator } = sizedQueue("wait", 1000);
  const sizes = [0, 0, 5, 0, 7, 0, 0, 1, 0];
  push(...sizes);
  let left = 13;
  for (const size of sizes) {
    assertEquals(queue.bytes, left);
    assertEquals((await iterator.next()).value, size);
    left -= size;
  }
  assertEquals(queue.bytes, 0);
  push(0, 2, 3);
  queue.clear();
  push(0, 4);
  assertEquals([queue.length, queue.bytes], [2, 4]);
});

Deno.test("Queue measures no value before it holds a sixteenth of its bytes, and again from then on", async () => {
  const limitBytes = 16 * 1000;
  const overflow = "drop-oldest";
  const queue = new Queue<number>({ name: "it", limit: 1000, limitBytes, overflow, now });
  const iterator = queue[Symbol.asyncIterator]();
  let measured = 0;
  const push = (times: number) => {
    for (let i = 0; i < times; i++) {
      const size = {
        most: 100,
        get bytes() {
          measured++;
          return 50;
        },
      };
      queue.push(i, size);
    }
  };
  push(10);
  assertEquals([measured, queue.bytes], [0, 1000]);
  push(300);
  assertEquals([measured, queue.bytes, queue.dropped], [300, 16_000, 0]);
  push(1);
  assertEquals([queue.bytes, queue.dropped, queue.length], [16_000, 11, 300]);
  while (queue.length > 0) await iterator.next();
  assertEquals(queue.bytes, 0);
  push(10);
  assertEquals([measured, queue.bytes], [301, 1000]);
});

Deno.test("Queue with the policy throw names limitBytes when that is exceeded", async () => {
  const { push, iterator } = sizedQueue("throw", 10);
  assertEquals(push(6, 4, 1), ["kept", "kept", "ended"]);
  await iterator.next();
  await iterator.next();
  const text = "it is full (limitBytes is 10); take them faster, raise limitBytes";
  const error = await assertRejects(() => iterator.next(), BacklogError, text);
  assertEquals(error.limit, 10);
});

Deno.test("Queue with the policy wait is full in bytes until enough of them are taken", async () => {
  let rooms = 0;
  const { queue, push, iterator } = sizedQueue("wait", 10, 100, () => rooms++);
  assertEquals(push(9), ["kept"]);
  assert(!queue.full);
  assertEquals(push(1, 1), ["kept", "kept"], "nothing is dropped");
  const seen: unknown[] = [];
  for (let n = 0; n < 3; n++) seen.push((await iterator.next()).value, queue.full, rooms);
  assertEquals(seen, [9, false, 1, 1, false, 1, 1, false, 1]);
});

for (const limit of [0, -1, 1.5, NaN, Infinity, 2 ** 53, "5" as unknown as number]) {
  Deno.test(`Queue refuses ${typeof limit} ${limit} as its limit`, () => {
    assertThrows(() => queueOf("wait", limit), RangeError, `limit is ${limit}`);
  });
}

Deno.test("Queue refuses an unknown policy", () => {
  assertThrows(() => queueOf("drop" as Overflow), TypeError, "overflow is drop");
});

Deno.test("Queue hands over what it holds, in order", async () => {
  const queue = queueOf("wait", 5);
  assertEquals([queue.push(1), queue.push(2), queue.length], ["kept", "kept", 2]);
  queue.close();
  assertEquals(await Array.fromAsync(queue), [1, 2]);
});

Deno.test("Queue serves several next() in the order of the calls", async () => {
  const queue = queueOf("wait", 1);
  const iterator = queue[Symbol.asyncIterator]();
  const all = Promise.all([iterator.next(), iterator.next(), iterator.next()]);
  assertEquals([queue.push(1), queue.push(2), queue.length], ["kept", "kept", 0]);
  queue.close();
  assertEquals((await all).map((result) => result.value), [1, 2, undefined]);
  assertEquals(await iterator.next(), { done: true, value: undefined });
});

Deno.test("Queue drops the oldest, counts them, and tells the first of each episode", async () => {
  const queue = queueOf("drop-oldest", 2);
  const iterator = queue[Symbol.asyncIterator]();
  const push = (...values: number[]) => values.map((value) => queue.push(value));
  assertEquals(push(1, 2, 3, 4), ["kept", "kept", "dropping", "dropped"]);
  assertEquals((await iterator.next()).value, 3);
  assertEquals(push(5, 6), ["kept", "dropped"], "it was never empty: still the same episode");
  assertEquals([(await iterator.next()).value, (await iterator.next()).value], [5, 6]);
  assertEquals(push(7, 8, 9), ["kept", "kept", "dropping"]);
  assertEquals(queue.dropped, 4);
});

Deno.test("Queue with the policy throw ends with an error after what it holds", async () => {
  const queue = queueOf("throw", 1);
  const iterator = queue[Symbol.asyncIterator]();
  assertEquals([queue.push(1), queue.push(2), queue.push(3)], ["kept", "ended", "ended"]);
  assertEquals((await iterator.next()).value, 1);
  const error = await assertRejects(
    () => iterator.next(),
    BacklogError,
    "the queue: it is full (limit is 1)",
  );
  assertEquals(error.limit, 1);
  await assertRejects(() => iterator.next(), BacklogError);
  assertEquals(queue.dropped, 0);
});

Deno.test("Queue with the policy wait says when it is full, and keeps what comes all the same", async () => {
  let rooms = 0;
  const queue = queueOf("wait", 2, { onRoom: () => rooms++ });
  const iterator = queue[Symbol.asyncIterator]();
  queue.push(1);
  assert(!queue.full);
  queue.push(2);
  assert(queue.full);
  queue.push(3);
  const seen: unknown[] = [];
  for (let n = 0; n < 3; n++) seen.push((await iterator.next()).value, queue.full, rooms);
  assertEquals(seen, [1, true, 0, 2, false, 1, 3, false, 1]);
});

Deno.test("Queue closed with an error yields what it holds, then rejects each time", async () => {
  const queue = queueOf("wait");
  queue.push(1);
  queue.close({ error: undefined });
  const iterator = queue[Symbol.asyncIterator]();
  assertEquals((await iterator.next()).value, 1);
  for (let n = 0; n < 2; n++) {
    assertEquals(await iterator.next().then(() => "done", (error) => [error]), [undefined]);
  }
});

Deno.test("Queue closed with an error rejects all next() that wait", async () => {
  const queue = queueOf("wait");
  const iterator = queue[Symbol.asyncIterator]();
  const all = Promise.allSettled([iterator.next(), iterator.next()]);
  queue.close({ error: new Error("gone") });
  assertEquals((await all).map((result) => result.status), ["rejected", "rejected"]);
});

Deno.test("Queue is cancelled by return(): what it holds goes, and next() is done", async () => {
  let cancelled = 0;
  const queue = queueOf("wait", 5, { onCancel: () => cancelled++ });
  queue.push(1);
  queue.push(2);
  for await (const value of queue) {
    assertEquals(value, 1);
    break;
  }
  assertEquals([queue.length, cancelled, queue.push(3)], [0, 1, "ended"]);
  assertEquals(await Array.fromAsync(queue), []);
});

Deno.test("Queue yields nothing of what it held when it was cleared in the middle of a loop", async () => {
  const queue = queueOf("wait", 20);
  for (let value = 0; value < 20; value++) queue.push(value);
  const iterator = queue[Symbol.asyncIterator]();
  for (let value = 0; value < 10; value++) assertEquals((await iterator.next()).value, value);
  queue.clear();
  const next = iterator.next();
  queue.push(99);
  assertEquals(await next, { done: false, value: 99 });
  queue.cancel();
  assertEquals(await iterator.next(), { done: true, value: undefined });
});

Deno.test("Queue settles a next() that waits when return() comes", async () => {
  const iterator = queueOf("wait")[Symbol.asyncIterator]();
  const next = iterator.next();
  await iterator.return!();
  assertEquals(await next, { done: true, value: undefined });
});

Deno.test("Queue takes one consumer until that one is done", async () => {
  const queue = queueOf("wait");
  const iterator = queue[Symbol.asyncIterator]();
  assert(iterator[Symbol.asyncIterator]() === iterator, "the iterator is iterable");
  const error = assertThrows(() => queue[Symbol.asyncIterator](), TypeError, "has a consumer");
  assertInstanceOf(error, TypeError);
  queue.push(1);
  queue.close();
  assertThrows(() => queue[Symbol.asyncIterator](), TypeError, "has a consumer");
  await iterator.next();
  assertEquals(await Array.fromAsync(queue), []);
});
