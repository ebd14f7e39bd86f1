/** The jobs of a session by number: held against a Map. */
import { assert, assertEquals } from "@std/assert";
import type { GroupJob } from "../broker/group_jobs.ts";
import { NumberedJobs } from "../broker/numbered_jobs.ts";
import { randomOf } from "../tools/harness/random.ts";

function jobOf(n: number): GroupJob {
  return { n } as unknown as GroupJob;
}

for (
  const [how, choose] of [
    ["the first", () => 0],
    ["any", (many: number, random: (n: number) => number) => random(many)],
    // One stays for long, behind which there are more holes than jobs.
    ["any but the first few", (many, random) => Math.min(many - 1, 3 + random(8))],
  ] as readonly [string, (many: number, random: (n: number) => number) => number][]
) {
  Deno.test(`NumberedJobs finds what is left, when of many jobs ${how} end`, () => {
    const random = randomOf(30);
    const jobs = new NumberedJobs();
    const model = new Map<number, GroupJob>();
    for (let n = 1; n <= 60_000; n++) {
      const job = jobOf(n);
      assertEquals(jobs.add(job), n);
      model.set(n, job);
      if (n % 1000 === 0) {
        const gone = n - 999;
        assertEquals(jobs.take(gone) === undefined, !model.delete(gone));
      }
      if (model.size < 20) continue;
      const number = [...model.keys()][choose(model.size, (n) => random.int(n))]!;
      assert(jobs.take(number) === model.get(number));
      model.delete(number);
      assertEquals(jobs.take(number), undefined, "once");
    }
    assertEquals(jobs.size, model.size);
    for (const number of [0, -1, 60_001, 2 ** 53 - 1]) assertEquals(jobs.take(number), undefined);
    assertEquals([...jobs.takeAll()], [...model.values()]);
    assertEquals([jobs.size, jobs.add(jobOf(0))], [0, 60_001]);
  });
}
