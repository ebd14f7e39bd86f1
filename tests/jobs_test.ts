/** What a broker is told of the jobs that it has given to a client's members, and when. */
import { assertEquals, assertRejects } from "@std/assert";
import { Jobs } from "../net/jobs.ts";
import type { JobRange } from "../protocol/job_bodies.ts";

/** Notes what is told, as `F` or `R` and the first and last number of each range. */
function noting(): { jobs: Jobs; told: string[] } {
  const told: string[] = [];
  const note = (what: string, ranges: readonly JobRange[]) =>
    void told.push(
      [what, ...ranges.map(({ first, count }) => `${first}-${first + count - 1}`)].join(" "),
    );
  const jobs = new Jobs({
    finished: (ranges) => note("F", ranges),
    returned: (ranges) => note("R", ranges),
  });
  return { jobs, told };
}

Deno.test("Jobs tells of what ended meanwhile once the code that runs has ended, in ranges", async () => {
  const { jobs, told } = noting();
  const all = Array.from({ length: 8 }, () => jobs.next());
  for (const place of [6, 1, 0, 3, 2]) jobs.end(all[place]!, true);
  for (const place of [7, 4]) jobs.end(all[place]!, false);
  assertEquals([told, jobs.open], [[], 1]);
  await Promise.resolve();
  assertEquals(told, ["F 1-4 7-7", "R 5-5 8-8"]);
  jobs.end(all[5]!, true);
  await Promise.resolve();
  assertEquals(told.slice(2), ["F 6-6"]);
  assertEquals(jobs.open, 0);
});

Deno.test("Jobs tells of those that asynchronous functions finish in one turn at once", async () => {
  const { jobs, told } = noting();
  for (let n = 0; n < 16; n++) {
    const job = jobs.next();
    (async () => {
      await null;
      await null;
    })().then(() => jobs.end(job, true));
  }
  while (jobs.open > 0) await null;
  await null;
  assertEquals(told, ["F 1-16"]);
});

Deno.test("Jobs tells of 1024 at once, so that their members get more", () => {
  const { jobs, told } = noting();
  for (let n = 0; n < 2050; n++) jobs.end(jobs.next(), true);
  assertEquals(told, ["F 1-1024", "F 1025-2048"]);
  jobs.tell();
  assertEquals(told.slice(2), ["F 2049-2050"]);
});

Deno.test("Jobs.idle waits for all that are open, until its signal aborts", async () => {
  const { jobs, told } = noting();
  await jobs.idle(undefined);
  const [first, second] = [jobs.next(), jobs.next()];
  const idle = jobs.idle(undefined);
  const controller = new AbortController();
  const givenUp = jobs.idle(controller.signal);
  jobs.end(first, true);
  controller.abort(new Error("enough"));
  await assertRejects(() => givenUp, Error, "enough");
  jobs.end(second, false);
  await idle;
  assertEquals(told, ["F 1-1", "R 2-2"]);
});

Deno.test("Jobs of a session that is over are told of no more, and not waited for", async () => {
  const { jobs, told } = noting();
  const [first, second] = [jobs.next(), jobs.next()];
  jobs.end(first, true);
  const idle = jobs.idle(undefined);
  jobs.close();
  await idle;
  jobs.end(second, true);
  await Promise.resolve();
  assertEquals([told, jobs.open], [[], 0]);
});
