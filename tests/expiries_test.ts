/** When what ends at a time of day is ended, and how often the clock is looked at for that. */
import { assert, assertEquals } from "@std/assert";
import { Background } from "../base/background.ts";
import { clock } from "../base/clock.ts";
import { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { Expiries } from "../broker/expiries.ts";
import { until } from "../tools/harness/until.ts";

const HOUR_MS = 3_600_000;

Deno.test("Expiries looks at the clock few times for many that end, however they come and go", () => {
  const { date } = clock;
  let looks = 0;
  const at = Date.now();
  clock.date = () => (looks++, at);
  try {
    const expiries = new Expiries(new Background());
    const all = Array.from({ length: 10_000 }, (_, i) => expiries.add(at + HOUR_MS + i, () => {}));
    assert(looks < 100, `${looks} looks for the first of 10 000, which come in order`);
    looks = 0;
    for (const each of all.slice(1)) expiries.remove(each);
    assertEquals(looks, 0, "none of these is waited for");
    expiries.remove(all[0]!);
  } finally {
    clock.date = date;
  }
});

Deno.test("Expiries waits for the end of time without looking at the clock over and over", async () => {
  const { date } = clock;
  let looks = 0;
  clock.date = () => (looks++, Date.now());
  try {
    const expiries = new Expiries(new Background());
    const late = [40 * 24 * HOUR_MS, 8.64e15 - Date.now()];
    const all = late.map((ms) => expiries.add(Date.now() + ms, () => looks = Infinity));
    // Longer than one timer can wait: it must not fire at once instead.
    const ended: number[] = [];
    new Expiries(new Background()).add(Date.now() + 50, () => ended.push(50));
    await until(() => ended.length > 0);
    assert(looks < 10, `${looks} looks`);
    for (const each of all) expiries.remove(each);
  } finally {
    clock.date = date;
  }
});

Deno.test("Expiries ends each when its time has come, in their order, and none that was removed", async () => {
  const expiries = new Expiries(new Background());
  const ended: number[] = [];
  const now = Date.now();
  const all = [50, 10, 30, 60, 20, 40].map((ms) => expiries.add(now + ms, () => ended.push(ms)));
  expiries.remove(all[2]!);
  await until(() => ended.includes(60));
  assertEquals(ended, [10, 20, 40, 50, 60]);
});

Deno.test("Expiries goes by the clock, also when that is set anew", async () => {
  const { date } = clock;
  let shift = 0;
  clock.date = () => Date.now() + shift;
  try {
    const expiries = new Expiries(new Background());
    const ended: string[] = [];
    const now = Date.now();
    expiries.add(now + 10 * HOUR_MS, () => ended.push("second"));
    expiries.add(now + 20, () => ended.push("first"));
    shift = 10 * HOUR_MS; // It is noticed when it looks next.
    await until(() => ended.length === 2);
    assertEquals(ended, ["first", "second"]);
  } finally {
    clock.date = date;
  }
});

Deno.test("Expiries ends many in turns with everything else", async () => {
  let time = 0;
  const background = new Background(new TimeSlice(new Rounds(() => time += 10)));
  const expiries = new Expiries(background);
  let ended = 0;
  let seen = 0;
  const now = Date.now();
  for (let n = 0; n < 3200; n++) {
    expiries.add(now, () => {
      // What is due in the next turn comes before the next step.
      if (ended++ === 0) setTimeout(() => seen = ended, 0);
    });
  }
  await until(() => ended === 3200);
  background.end(); // Its turn may not be over yet.
  assert(seen > 0 && seen < 3200, `${seen}`);
});
