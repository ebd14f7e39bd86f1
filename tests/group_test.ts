/** Who of a group gets a job: held against a list that is searched from its beginning. */
import { assert, assertEquals } from "@std/assert";
import { Group, type Job, Seat, UNFINISHED_BYTES_MAX } from "../routing/group.ts";
import { type Random, randomOf } from "../tools/harness/random.ts";

const SEED = 20_261_201;

/** A member that keeps what it gets. */
class Worker {
  readonly seat: Seat<Job>;
  readonly jobs: Job[] = [];

  constructor(concurrency = 16) {
    this.seat = new Seat<Job>(concurrency, (job) => this.jobs.push(job));
  }
}

function groupOf(...workers: readonly Worker[]): Group<Job> {
  const group = new Group<Job>();
  for (const { seat } of workers) group.join(seat);
  return group;
}

function jobsOf(count: number, bytes = 1): Job[] {
  return Array.from({ length: count }, () => ({ bytes }));
}

Deno.test("Group gives each job to a member with the fewest unfinished, in turn among equals", () => {
  const workers = [new Worker(), new Worker(), new Worker()] as const;
  const group = groupOf(...workers);
  const jobs = jobsOf(7);
  for (const job of jobs) group.offer(job);
  const got = () => workers.map((worker) => worker.jobs.map((job) => jobs.indexOf(job)));
  assertEquals(got(), [[0, 3, 6], [1, 4], [2, 5]]);
  for (const job of workers[2].jobs) group.finish(workers[2].seat, job);
  for (const job of jobsOf(3)) group.offer(job);
  assertEquals(workers.map((worker) => worker.jobs.length), [3, 3, 4]);
});

Deno.test("Group lets jobs wait while all members are busy, and hands them out in their order", () => {
  const [slow, quick] = [new Worker(1), new Worker(2)];
  const group = groupOf(slow, quick);
  const jobs = jobsOf(6);
  for (const job of jobs) group.offer(job);
  assertEquals([slow.jobs.length, quick.jobs.length, group.waiting], [1, 2, 3]);
  group.finish(quick.seat, quick.jobs[0]!);
  assertEquals([quick.jobs.at(-1), group.waiting], [jobs[3], 2]);
  group.join(new Worker(8).seat);
  assertEquals(group.waiting, 0);
});

Deno.test("Group gives a member one job of any size, and no more than 1 MiB besides", () => {
  const [one, other] = [new Worker(), new Worker()];
  const group = groupOf(one, other);
  for (const bytes of [4 * UNFINISHED_BYTES_MAX, UNFINISHED_BYTES_MAX, 1]) group.offer({ bytes });
  assertEquals([one.jobs.length, other.jobs.length, group.waiting], [1, 1, 1]);
  group.finish(other.seat, other.jobs[0]!);
  assertEquals([other.jobs.length, group.waiting], [2, 0]);
});

Deno.test("Group gives what was given back to others, before all that waits", () => {
  const [leaving, other] = [new Worker(2), new Worker(1)];
  const group = groupOf(leaving, other);
  const jobs = jobsOf(5);
  for (const job of jobs) group.offer(job);
  group.leave(leaving.seat);
  for (const job of leaving.jobs) group.giveBack(leaving.seat, job);
  while (other.jobs.length < 5) group.finish(other.seat, other.jobs.at(-1)!);
  assertEquals(other.jobs.map((job) => jobs.indexOf(job)), [1, 0, 2, 3, 4]);
});

Deno.test("Group hands out thousands of jobs to a member that finishes each at once", () => {
  const group = new Group<Job>();
  let done = 0;
  const seat: Seat<Job> = new Seat<Job>(1, (job) => {
    done++;
    group.finish(seat, job);
  });
  for (const job of jobsOf(50_000)) group.offer(job);
  group.join(seat);
  assertEquals([done, group.waiting], [50_000, 0]);
});

/** The same, searched from the beginning each time. */
class Naive {
  /** Who got or finished a job last comes last. */
  order: Worker[] = [];
  waiting: Job[] = [];

  handOut(): void {
    for (let job = this.waiting[0]; job !== undefined; job = this.waiting[0]) {
      const able = this.order.filter(({ seat, jobs }) =>
        jobs.length < seat.concurrency &&
        (jobs.length === 0 || sum(jobs) + job!.bytes <= UNFINISHED_BYTES_MAX)
      );
      const [first] = able.toSorted((a, b) => a.jobs.length - b.jobs.length);
      if (first === undefined) return;
      this.waiting.shift();
      first.jobs.push(job);
      this.moved(first);
    }
  }

  moved(worker: Worker): void {
    this.order = [...this.order.filter((other) => other !== worker), worker];
  }
}

function sum(jobs: readonly Job[]): number {
  return jobs.reduce((bytes, job) => bytes + job.bytes, 0);
}

function step(random: Random, group: Group<Job>, all: Worker[], naive: Naive, twins: Worker[]) {
  const kind = random.int(10);
  const at = random.int(Math.max(1, all.length));
  const [worker, twin] = [all[at], twins[at]];
  if (kind === 0 || worker === undefined) {
    const concurrency = 1 + random.int(4);
    all.push(new Worker(concurrency));
    const other = new Worker(concurrency);
    twins.push(other);
    naive.order.push(other);
    group.join(all.at(-1)!.seat);
  } else if (kind < 6) {
    const job = { bytes: random.pick([1, 1000, UNFINISHED_BYTES_MAX / 2, UNFINISHED_BYTES_MAX]) };
    naive.waiting.push(job);
    group.offer(job);
  } else if (worker.jobs.length > 0) {
    const [job] = worker.jobs.splice(random.int(worker.jobs.length), 1);
    twin!.jobs.splice(twin!.jobs.indexOf(job!), 1);
    naive.moved(twin!);
    group.finish(worker.seat, job!);
  }
  naive.handOut();
}

Deno.test("Group does what a list does that is searched each time, in random operations", () => {
  for (let seed = SEED; seed < SEED + 100; seed++) {
    const random = randomOf(seed);
    const [group, naive] = [new Group<Job>(), new Naive()];
    const [all, twins]: [Worker[], Worker[]] = [[], []];
    for (let n = 0; n < 200; n++) {
      step(random, group, all, naive, twins);
      const same = all.every(({ jobs }, i) =>
        jobs.length === twins[i]!.jobs.length && jobs.every((job, at) => job === twins[i]!.jobs[at])
      );
      assert(same && group.waiting === naive.waiting.length, `seed ${seed}, step ${n}`);
    }
  }
});
