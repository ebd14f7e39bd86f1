/**
 * Messages for one of a group, as a broker keeps them: from their arrival until a member has finished them.
 *
 * ```
 *  frames of one read ──▶ JobRun: a copy, at most 16 KiB ◀── GroupJob, GroupJob, …   each a part of it
 *                            └──▶ JobShare: what is kept for those who have one key
 * ```
 */
import type { Account } from "../base/account.ts";
import { type Lease, lent } from "../base/lease.ts";
import { LONG, LONG_BYTES, readLong } from "../base/size_prefix.ts";
import { topicEnd } from "../protocol/topic_block.ts";
import type { Origin } from "../routing/peer.ts";
import type { Job } from "../routing/group.ts";
import type { Membership } from "./memberships.ts";

/** Up to how many bytes small messages are kept together: all of them until the last is finished. */
export const RUN_BYTES_MAX = 16 * 1024;
/** What a job takes besides its bytes, as measured. */
export const JOB_BYTES = 200;

/** The bytes of jobs that are all done. */
const NOTHING = new Uint8Array();

/** What is kept of the jobs of those who publish with one key, and are the same holder of it. */
export interface JobShare {
  readonly owner: object;
  readonly of: string | undefined;
  bytes: number;
}

/** Where what is kept of jobs counts. */
export interface JobKeeper {
  readonly account: Account;
  /** For whom what an origin publishes is kept. */
  readonly shareOf: (origin: Origin) => JobShare;
}

/** Jobs whose bytes are kept together. */
export class JobRun {
  buffer: Uint8Array;
  readonly share: JobShare;
  /** Who published them. */
  readonly origin: Origin;
  readonly #account: Account;
  #lease: Lease | undefined;
  readonly #bytes: number;
  /** How many of its jobs are not done. */
  #left: number;

  /** Keeps so many frames, with a lease of their bytes or in a copy. */
  constructor(
    frames: Uint8Array,
    jobs: number,
    origin: Origin,
    { account, shareOf }: JobKeeper,
    lease: Lease | undefined,
  ) {
    this.buffer = lease === undefined ? frames.slice() : frames;
    const held = this.#lease = lease ?? lent(this.buffer, account);
    held.holders++;
    this.#account = account;
    const share = this.share = shareOf(origin);
    this.origin = origin;
    this.#left = jobs;
    this.#bytes = jobs * JOB_BYTES;
    account.add(this.#bytes);
    share.bytes += this.#bytes + frames.length;
    origin.keeps?.(1);
  }

  /** One of its jobs is done. */
  release(): void {
    if (--this.#left > 0) return;
    this.#lease?.release();
    this.#account.add(-this.#bytes);
    this.share.bytes -= this.#bytes + this.buffer.length;
    // A member may have a job for long that was given up, but not its bytes.
    this.#lease = undefined;
    this.buffer = NOTHING;
    this.origin.keeps?.(-1);
  }
}

/** A message for one member of a group. */
export class GroupJob implements Job {
  readonly bytes: number;
  readonly run: JobRun;
  /** Where its topic block begins in the bytes of its run, and where its payload ends. */
  readonly start: number;
  readonly end: number;
  /** How many members had it and were lost. */
  lost = 0;
  /** Which member has it, under which number of its session. */
  member: Membership | undefined = undefined;
  number = 0;
  /** Whether it was given up, while a member has it. */
  isGone = false;
  /** When that got it, as the clock of the broker tells the time. */
  handedAt = 0;
  /** Those that members have and got before it, and after. */
  before: GroupJob | undefined = undefined;
  after: GroupJob | undefined = undefined;

  /** Makes the one whose PUBLISH is from `start` to before `end` in the bytes of its run. */
  constructor(run: JobRun, start: number, end: number) {
    this.run = run;
    this.start = start + (run.buffer[start] === LONG ? LONG_BYTES : 1) + 1;
    this.end = end;
    this.bytes = end - start;
  }

  /** Topic block and payload. */
  get body(): Uint8Array {
    return this.run.buffer.subarray(this.start, this.end);
  }

  /** The topic, as a block. */
  get topic(): Uint8Array {
    const { buffer } = this.run;
    return buffer.slice(this.start, topicEnd(buffer, this.start, this.end));
  }
}

/** The topic block of the PUBLISH from `at` to before `end`. */
export function topicOf(frames: Uint8Array, at: number, end: number): Uint8Array {
  const start = at + (frames[at] === LONG ? LONG_BYTES : 1) + 1;
  return frames.slice(start, topicEnd(frames, start, end));
}

/** Where the frame that begins at `at` ends; for frames that were checked. */
export function frameEnd(bytes: Uint8Array, at: number): number {
  const size = bytes[at]!;
  return at + (size === LONG ? LONG_BYTES + readLong(bytes, at) : 1 + size);
}

/** The jobs that members have, in the order in which they got them. */
export class UnfinishedJobs {
  #first: GroupJob | undefined;
  #last: GroupJob | undefined;
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** The one that a member has had longest. */
  get oldest(): GroupJob | undefined {
    return this.#first;
  }

  /** A member gets one. */
  add(job: GroupJob): void {
    const last = this.#last;
    job.before = last;
    if (last === undefined) this.#first = job;
    else last.after = job;
    this.#last = job;
    this.#size++;
  }

  /** A member no longer has one. */
  delete(job: GroupJob): void {
    const { before, after } = job;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    job.before = job.after = undefined;
    this.#size--;
  }

  /** All, those first that members have had longest. */
  *[Symbol.iterator](): Generator<GroupJob, void, undefined> {
    for (let job = this.#first; job !== undefined;) {
      const { after } = job; // It may leave the list meanwhile.
      yield job;
      job = after;
    }
  }
}
