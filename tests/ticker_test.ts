/** Ticks where timers come in time, late, or not at all. */
import { assert, assertEquals } from "@std/assert";
import { clock } from "../base/clock.ts";
import { Ticker } from "../base/ticker.ts";
import { Turn } from "../base/turn.ts";
import { until } from "../tools/harness/until.ts";
import { Clock } from "./helpers/clock.ts";

/** A timer that does not fire in a test. */
const FAR_MS = 1_000_000;

Deno.test("Ticker ticks when somebody looks while its timer is late, for all ticks that did not come", () => {
  using time = new Clock();
  const ticks: number[] = [];
  const ticker = new Ticker(FAR_MS, (passed) => ticks.push(passed));
  const look = (passed: number) => {
    time.spend(passed * FAR_MS);
    ticker.look(clock.now());
  };
  look(1);
  look(1.9);
  assertEquals(ticks, [], "a timer may be a little late");
  look(0.1);
  assertEquals(ticks, [3]);
  look(2.9);
  assertEquals(ticks, [3]);
  look(100);
  assertEquals(ticks, [3, 103]);
  ticker.end();
});

/** Ticks by the monotonic clock, by the time of day, and as told. */
const PASSED = [[1, 1, 1], [0.2, 0.2, 1], [3, 3, 3], [1, 50, 50], [50, 1, 50], [
  2,
  -50,
  2,
]] as const;

Deno.test("Ticker says at its timer how many ticks have passed, by the clock that says more", async () => {
  // A machine may sleep while the monotonic clock stands still, or the time of day may be set.
  for (const [now, date, expected] of PASSED) {
    using time = new Clock();
    const ticks: number[] = [];
    const ms = 5;
    const ticker = new Ticker(ms, (passed) => ticks.push(passed));
    time.spend(now * ms, date * ms);
    await until(() => ticks.length > 1);
    ticker.end();
    assertEquals(ticks.slice(0, 2), [expected, 1]);
  }
});

Deno.test("Ticker that has ended ticks no more", async () => {
  let ticks = 0;
  const ticker = new Ticker(1, () => ticks++);
  await until(() => ticks > 0);
  ticker.end();
  const before = ticks;
  let turns = 0;
  const other = new Ticker(1, () => turns++);
  await until(() => turns > 5);
  other.end();
  assertEquals(ticks, before);
});

/** Lets the timer of a ticker fire late; returns in the turn after that. */
async function fireLate(time: Clock, ms: number): Promise<void> {
  time.spend(50 * ms);
  const { looks } = time;
  while (time.looks === looks) await new Turn().came;
}

Deno.test("Ticker whose timer is late ticks after some turns, in which what has come is read", async () => {
  using time = new Clock();
  const ticks: number[] = [];
  const ms = 5;
  const ticker = new Ticker(ms, (passed) => ticks.push(passed));
  await fireLate(time, ms);
  let turns = 0;
  for (; ticks.length === 0; turns++) await new Turn().came;
  assertEquals(ticks[0], 50); // The next may have come in the same turn.
  assert(turns > 2, `there were ${turns} turns`);
  ticker.end();
});

Deno.test("Ticker that has ended while it waits for turns ticks no more", async () => {
  using time = new Clock();
  let ticks = 0;
  const ticker = new Ticker(5, () => ticks++);
  await fireLate(time, 5);
  ticker.end();
  for (let turns = 0; turns < 10; turns++) await new Turn().came;
  assertEquals(ticks, 0);
});
