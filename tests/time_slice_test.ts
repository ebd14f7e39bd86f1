import { assert, assertEquals } from "@std/assert";
import { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { quiet } from "./helpers/quiet.ts";

/** TimeSlice on a clock of the test's own, and what spends time on it. */
function setUp() {
  let time = 1000;
  const turns = new TimeSlice(new Rounds(() => time));
  const spend = (ms: number) => {
    turns.begin();
    time += ms;
    return turns.isOver();
  };
  return { turns, spend, pass: (ms: number) => void (time += ms) };
}

Deno.test("TimeSlice.isOver when more than 5 ms were spent, in one piece or many", () => {
  const { turns, spend } = setUp();
  assertEquals([2, 2, 1, 0.1, 0.1].map(spend), [false, false, false, true, true]);
  turns.end();
  const once = setUp();
  assertEquals(once.spend(5.1), true);
  once.turns.end();
});

Deno.test("TimeSlice counts only what is spent between begin and isOver", () => {
  const { turns, spend, pass } = setUp();
  for (let i = 0; i < 10; i++) {
    assertEquals(spend(0.4), false);
    pass(100);
  }
  turns.end();
});

Deno.test("TimeSlice.next lets a timer fire that was set before, then counts anew", async () => {
  const { turns, spend } = setUp();
  let fired = false;
  setTimeout(() => fired = true, 0);
  assertEquals(spend(6), true);
  await turns.next();
  assertEquals(fired, true);
  assertEquals(spend(4), false);
  turns.end();
});

Deno.test("TimeSlice counts anew when everything else had its turn anyway", async () => {
  const { turns, spend } = setUp();
  for (let i = 0; i < 10; i++) {
    assertEquals(spend(2), false);
    await quiet();
    await quiet();
  }
  turns.end();
});

Deno.test("TimeSlice that has ended leaves no timer behind", () => {
  const { turns, spend } = setUp();
  spend(3);
  turns.end();
});

Deno.test("TimeSlice.did looks at the clock after work that took some time when it was last looked at", () => {
  let [time, looks] = [0, 0];
  const turns = new TimeSlice(
    new Rounds(() => {
      looks++;
      return time;
    }),
  );
  turns.begin();
  /** How much is done from one look to the next, when each piece takes so long. */
  const steps = (ms: number, count: number) =>
    Array.from({ length: count }, () => {
      const before = looks;
      for (let done = 1;; done++) {
        time += ms;
        turns.did(1);
        if (looks > before) return done;
      }
    });
  assertEquals(steps(0, 6), [64, 128, 256, 512, 1024, 1024]);
  const [burst, ...others] = steps(1, 4);
  assertEquals([burst, ...others], [1024, 1, 1, 1], "each takes longer than a look is worth");
  assertEquals(steps(0.011, 7), [1, 2, 4, 8, 4, 8, 4]);
  turns.end();
});

Deno.test("TimeSlice lets go of whoever waits for a turn when it ends", async () => {
  const { turns, spend } = setUp();
  assertEquals(spend(6), true);
  const waits = turns.next();
  turns.end();
  await waits;
});

Deno.test("TimeSlice of tasks that are trusted measures a few of many small pieces, for all of them", () => {
  let [time, looks, pieces] = [0, 0, 0];
  const now = () => {
    looks++;
    return time;
  };
  const turns = new TimeSlice(new Rounds(now, 8));
  do {
    turns.begin();
    time += 0.01;
    turns.did(1);
    pieces++;
  } while (!turns.finish());
  // Each of the 63 that it takes is one of eight; eight times the standard deviation is 480.
  assert(pieces > 100 && pieces < 1000, `${pieces} pieces of 0.01 ms were 5 ms`);
  assert(looks < pieces / 2, `${looks} looks for ${pieces} pieces`);
  turns.end();
});

Deno.test("TimeSlice of tasks that are trusted measures whatever is much work", () => {
  let [time, pieces] = [0, 0];
  const turns = new TimeSlice(new Rounds(() => time, 8));
  turns.begin();
  do {
    time += 0.3;
    pieces++;
  } while (!turns.did(100_000));
  assert(pieces === 17 || pieces === 18, `${pieces} pieces of 0.3 ms were 5 ms`); // The first may be free.
  turns.end();
});
