/** What many tasks take together of one round of the event loop. */
import { assert } from "@std/assert";
import { clock } from "../base/clock.ts";
import { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { MemoryBroker } from "../tools/growth/memory_broker.ts";
import { frame, repeat, topic, Type } from "../tools/attacks/raw_client.ts";
import { quiet } from "./helpers/quiet.ts";

/** Tasks that take their turns together, on a clock of the test's own. */
class Stage implements Disposable {
  time = 0;
  readonly log: string[] = [];
  readonly #rounds = new Rounds(() => this.time);
  readonly #slices: TimeSlice[] = [];
  readonly #ended = new Set<TimeSlice>();

  slice(): TimeSlice {
    const slice = new TimeSlice(this.#rounds);
    this.#slices.push(slice);
    return slice;
  }

  /** Begins a task of so many pieces, each of so many milliseconds. */
  async task(name: string, pieces: number, ms: number, slice = this.slice()): Promise<void> {
    const isDone = () => done >= pieces || this.#ended.has(slice);
    let done = 0;
    while (!isDone()) {
      if (slice.mustWait) await slice.next();
      slice.begin();
      this.log.push(name);
      for (let isOver = false; !isOver && !isDone(); done++) {
        this.time += ms;
        isOver = slice.isOver();
        if (isOver) await slice.next();
      }
      slice.rest();
    }
  }

  /** Begins a task that has nothing to do but to read in vain, so many times. */
  async reader(times: number, ms = 0.01, bytes = 1024): Promise<void> {
    const slice = this.slice();
    for (; times > 0 && !this.#ended.has(slice); times--) {
      await undefined;
      this.time += ms;
      if (slice.mustWait) await slice.next();
      slice.begin();
      slice.readInVain(bytes);
      if (slice.isOver()) await slice.next();
      slice.rest();
    }
  }

  /** The longest time from one turn of the event loop to the next, of so many. */
  async longest(turns: number): Promise<number> {
    let longest = 0;
    for (let turn = 0, before = this.time; turn < turns; turn++, before = this.time) {
      await new Promise((resolve) => setTimeout(resolve));
      longest = Math.max(longest, this.time - before);
    }
    return longest;
  }

  /** Ends a task. */
  end(slice: TimeSlice): void {
    this.#ended.add(slice);
    slice.end();
  }

  [Symbol.dispose](): void {
    for (const slice of this.#slices) this.end(slice);
  }
}

for (const tasks of [1, 2, 40, 400]) {
  Deno.test(`Rounds of ${tasks} tasks that have much to do are as long as those of one`, async () => {
    using stage = new Stage();
    for (let i = 0; i < tasks; i++) stage.task(`${i}`, Infinity, 0.1);
    await quiet(); // In the first, nobody was known to have much to do.
    const longest = await stage.longest(20);
    assert(longest > 4 && longest < 7.2, `${longest}`);
  });
}

for (const tasks of [1, 40]) {
  // What brings little may have been much, as frames of a WebSocket without a byte in them.
  for (const [what, bytes, ms] of [["", 1024, 0.01], [" nearly nothing", 0, 0.05]] as const) {
    Deno.test(`Rounds of ${tasks} tasks that read${what} in vain are as long as those of others`, async () => {
      using stage = new Stage();
      for (let i = 0; i < tasks; i++) stage.reader(40_000 / tasks, ms, bytes);
      const longest = await stage.longest(20);
      assert(longest > 4 && longest < 7.2 + ms * tasks, `${longest}`);
    });
  }
}

Deno.test("Rounds give tasks that have much to do about the same share", async () => {
  using stage = new Stage();
  for (let i = 0; i < 8; i++) stage.task(`${i}`, Infinity, 0.1);
  await stage.longest(40);
  const counts = Array.from(
    { length: 8 },
    (_, i) => stage.log.filter((name) => name === `${i}`).length,
  );
  assert(Math.max(...counts) - Math.min(...counts) <= 2, counts.join());
});

Deno.test("Rounds let a task with little to do go on within a round, beside many with much", async () => {
  using stage = new Stage();
  for (let i = 0; i < 40; i++) stage.task("much", Infinity, 0.1);
  await quiet();
  const slice = stage.slice();
  for (let i = 0; i < 20; i++) {
    await stage.longest(3); // It has had little for a while.
    const before = stage.time;
    await stage.task("little", 1, 0.1, slice);
    assert(stage.time - before <= 7, `${stage.time - before} in round ${i}`);
  }
});

Deno.test("Rounds let the others go on when a task ends while it waits or has its turn", async () => {
  using stage = new Stage();
  const [first, second] = [stage.slice(), stage.slice()];
  stage.task("first", Infinity, 1, first);
  stage.task("second", Infinity, 1, second);
  const third = stage.task("third", 20, 1);
  await quiet();
  stage.end(first);
  stage.end(second);
  await third;
  assert(stage.log.includes("second"));
});

/** A clock on which each look takes as long as some work. */
function lookingClock(ms: number): { time(): number } & Disposable {
  const { now } = clock;
  let time = now();
  clock.now = () => time += ms;
  return { time: () => time, [Symbol.dispose]: () => void (clock.now = now) };
}

for (
  const [what, some] of [
    ["ASK", frame(Type.ASK)],
    ["UNSUBSCRIBE", frame(Type.UNSUBSCRIBE, topic("nothing"))],
  ] as const
) {
  Deno.test(`Broker takes no more of a round for ${what} of 40 clients than of one`, async () => {
    await using memory = await MemoryBroker.start();
    const members = await memory.members(40, () => ({}));
    const bytes = repeat(some, Math.floor(16 * 1024 / some.length));
    using looks = lookingClock(0.04);
    let [longest, before, isOver] = [0, looks.time(), false];
    const timed = async () => {
      while (!isOver) {
        await new Promise((resolve) => setTimeout(resolve));
        longest = Math.max(longest, looks.time() - before);
        before = looks.time();
      }
    };
    const timing = timed();
    await Promise.all(members.map(async ({ client }) => {
      await client.send(bytes);
      assert(await client.flush());
    }));
    isOver = true;
    await timing;
    // What 40 clients do that have read nothing yet, and one round.
    assert(longest < 20, `${longest} ms, on a clock of looks`);
  });
}

Deno.test("Broker looks at the clock by the work that frames are, not after each", async () => {
  await using memory = await MemoryBroker.start();
  const { client } = await memory.member();
  const bytes = repeat(frame(Type.ASK), 20_000);
  const { now } = clock;
  let looks = 0;
  clock.now = () => {
    looks++;
    return 0;
  };
  try {
    await client.send(bytes);
    assert(await client.flush());
  } finally {
    clock.now = now;
  }
  assert(looks < 20_000 / 8, `${looks} looks`);
});
