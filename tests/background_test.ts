import { assert, assertEquals, assertRejects } from "@std/assert";
import { Background } from "../base/background.ts";
import { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { quiet } from "./helpers/quiet.ts";

/** A background on a clock of the test's own, and tasks that note their steps. */
function setUp() {
  let time = 0;
  const log: string[] = [];
  const background = new Background(new TimeSlice(new Rounds(() => time)));
  function* task(name: string, steps: number, ms = 0): Generator<void, void, undefined> {
    for (let step = 1; step <= steps; step++) {
      time += ms;
      log.push(`${name}${step}`);
      yield;
    }
  }
  return { background, task, log, [Symbol.dispose]: () => background.end() };
}

Deno.test("Background does what is short before run returns", async () => {
  using stage = setUp();
  const { background, task, log } = stage;
  const done = background.run(task("a", 3));
  assertEquals(log, ["a1", "a2", "a3"]);
  await done;
});

Deno.test("Background gives everything else a turn every few milliseconds, and tasks step by step", async () => {
  using stage = setUp();
  const { background, task, log } = stage;
  const timer = Promise.withResolvers<void>();
  const first = background.run(task("a", 3, 6));
  const second = background.run(task("b", 2, 6));
  assertEquals(log, ["a1"]);
  setTimeout(() => {
    log.push("timer");
    timer.resolve();
  });
  await Promise.all([first, second, timer.promise]);
  assertEquals(log.filter((entry) => entry !== "timer"), ["a1", "a2", "b1", "a3", "b2"]);
  assert(log.indexOf("timer") < log.length - 1, log.join());
});

Deno.test("Background begins several short tasks of one turn only while there is time", async () => {
  using stage = setUp();
  const { background, task, log } = stage;
  const tasks = ["a", "b", "c", "d"].map((name) => background.run(task(name, 1, 3)));
  assertEquals(log, ["a1", "b1"]);
  await Promise.all(tasks);
  assertEquals(log, ["a1", "b1", "c1", "d1"]);
});

Deno.test("Background goes on with other tasks when one fails", async () => {
  using stage = setUp();
  const { background, task, log } = stage;
  const failing = background.call(() => {
    throw new SyntaxError("no");
  });
  await background.run(task("a", 1));
  await assertRejects(() => failing, SyntaxError, "no");
  assertEquals(log, ["a1"]);
});

Deno.test("Background.repeatedly begins something again only when it is done", async () => {
  using stage = setUp();
  const { background, task, log } = stage;
  let count = 0;
  const again = background.repeatedly(() => task(`${++count}.`, 2, 6));
  for (let i = 0; i < 3; i++) again();
  assertEquals([count, log], [1, ["1.1"]]);
  await background.run(task("a", 2, 6)); // Others have their turn, and it is done.
  again();
  await background.run(task("b", 2, 6));
  assertEquals([count, log], [2, ["1.1", "1.2", "a1", "a2", "2.1", "2.2", "b1", "b2"]]);
});

Deno.test("Background that has ended does no more, and leaves no timer behind", async () => {
  const { background, task, log } = setUp();
  background.run(task("a", 3, 6));
  background.end();
  await quiet();
  assertEquals(log, ["a1"]);
});
