/** How a queue slows down those who feed it. */
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { Backpressure } from "../broker/backpressure.ts";
import type { Origin } from "../routing/peer.ts";
import { until } from "../tools/harness/until.ts";

/** Longer than any test takes. */
const LONG_MS = 2 ** 30;

/** A queue that is as full as the test says, and how its backpressure ran out of patience. */
class Stub {
  isEmpty = false;
  readonly impatience: number[] = [];
  readonly backpressure = new Backpressure({
    isHalfEmpty: () => this.isEmpty,
    onImpatience: (patience) => this.impatience.push(patience),
  });

  constructor(patience: number) {
    this.backpressure.patience = patience;
  }
}

/** Something that publishes, and what was said to it. */
class Publisher implements Origin {
  readonly log: string[] = [];

  withhold(messages: number, bytes: number): () => void {
    this.log.push(`withhold ${messages} of ${bytes}`);
    return () => this.log.push("release");
  }
}

Deno.test("Backpressure holds each origin back once, until half of the queue is empty", () => {
  const stub = new Stub(LONG_MS);
  const { backpressure } = stub;
  const [ann, bob] = [new Publisher(), new Publisher()];
  assertEquals(backpressure.isActive, false);
  backpressure.holdBack(ann, 3, 100);
  backpressure.holdBack(bob, 1, 10);
  backpressure.holdBack(ann, 1, 10);
  backpressure.progress();
  assertEquals(backpressure.isActive, true);
  assertEquals([ann.log, bob.log], [["withhold 3 of 100"], ["withhold 1 of 10"]]);
  stub.isEmpty = true;
  backpressure.progress();
  assertEquals(backpressure.isActive, false);
  assertEquals([ann.log.slice(1), bob.log.slice(1)], [["release"], ["release"]]);
  backpressure.holdBack(ann, 2, 20);
  assertEquals(ann.log.slice(2), ["withhold 2 of 20"]);
  backpressure.end();
  assertEquals(ann.log.slice(3), ["release"]);
});

Deno.test("Backpressure runs out of patience when nothing is acknowledged meanwhile", async () => {
  const stub = new Stub(20);
  stub.backpressure.holdBack(new Publisher(), 1, 1);
  await until(() => stub.impatience.length > 0);
  assertEquals(stub.impatience, [20]);
  stub.backpressure.end();
});

Deno.test("Backpressure begins its patience anew with each progress", async () => {
  const stub = new Stub(100);
  const begun = performance.now();
  stub.backpressure.holdBack(new Publisher(), 1, 1);
  const progress = setTimeout(() => stub.backpressure.progress(), 60);
  await until(() => stub.impatience.length > 0);
  assert(performance.now() - begun >= 155, `after ${performance.now() - begun} ms`);
  clearTimeout(progress);
});

Deno.test("Backpressure that is released does not run out of patience", async () => {
  const stub = new Stub(20);
  stub.backpressure.holdBack(new Publisher(), 1, 1);
  stub.backpressure.release();
  const other = new Stub(40);
  other.backpressure.holdBack(new Publisher(), 1, 1);
  await until(() => other.impatience.length > 0);
  assertEquals(stub.impatience, []);
});

for (
  const [what, patience, isEmpty, isActive] of [
    ["is taken away", 0, false, false],
    ["changes while the queue is full", 1000, false, true],
    ["changes once half of the queue is empty", 1000, true, false],
  ] as const
) {
  Deno.test(`Backpressure ${isActive ? "goes on" : "ends"} when patience ${what}`, () => {
    const stub = new Stub(LONG_MS);
    const publisher = new Publisher();
    stub.backpressure.holdBack(publisher, 1, 1);
    stub.isEmpty = isEmpty;
    stub.backpressure.patience = patience;
    assertEquals(stub.backpressure.isActive, isActive);
    assertEquals(publisher.log.includes("release"), !isActive);
    stub.backpressure.end();
  });
}

Deno.test("Backpressure.room is nothing while half of the queue is empty, else one wait for all", async () => {
  const stub = new Stub(0);
  const { backpressure } = stub;
  stub.isEmpty = true;
  assertEquals(backpressure.room(), undefined);
  stub.isEmpty = false;
  const room = backpressure.room();
  assert(room !== undefined);
  assertStrictEquals(backpressure.room(), room);
  backpressure.progress();
  assertStrictEquals(backpressure.room(), room);
  stub.isEmpty = true;
  backpressure.progress();
  await room;
  stub.isEmpty = false;
  const next = backpressure.room();
  assert(next !== room);
  backpressure.end();
  await next;
});

Deno.test("Backpressure.room lets go after a second, and nobody waits then until half is empty", async () => {
  const stub = new Stub(0);
  const { backpressure } = stub;
  const begun = performance.now();
  let isOver = false;
  backpressure.room()!.then(() => isOver = true);
  await until(() => isOver);
  assert(performance.now() - begun >= 990, `after ${performance.now() - begun} ms`);
  assertEquals(backpressure.room(), undefined);
  backpressure.progress();
  assertEquals(backpressure.room(), undefined);
  stub.isEmpty = true;
  backpressure.progress();
  stub.isEmpty = false;
  assert(backpressure.room() !== undefined);
  backpressure.end();
});
