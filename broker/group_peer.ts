/**
 * One group at a broker: among those who subscribe to its topic it is one peer, and shares out what it
 * takes among its members.
 *
 * ```
 *  Router ─▶ GroupPeer ─▶ Group: who is free? ─▶ Membership ─▶ JOB ─▶ FINISHED: done
 *                │                                   └── RETURNED, or its session ends: who is free?
 *                └── too much waits: publishers are held back, then it is refused
 * ```
 *
 * - Members in one process are several, and one that publishes to its own group is not held back: who waits
 *   for a job may be who does it.
 * - What waits when no member is left is kept for a while: one may come.
 */
import type { Lease } from "../base/lease.ts";
import { later, type Timer } from "../base/timers.ts";
import { Group } from "../routing/group.ts";
import { encodeFrame, FrameType } from "../protocol/frame.ts";
import type { Origin, Peer } from "../routing/peer.ts";
import { any, formatTopic, type TopicPattern } from "../topic.ts";
import { Backpressure } from "./backpressure.ts";
import {
  frameEnd,
  GroupJob,
  JOB_BYTES,
  JobRun,
  RUN_BYTES_MAX,
  topicOf,
  UnfinishedJobs,
} from "./group_jobs.ts";
import type { GroupsContext, JobCounts } from "./groups.ts";
import type { Membership } from "./memberships.ts";
import type { GroupStats } from "./stats.ts";
import type { GroupName, TellLost } from "./uplink.ts";

/** How many members may lose a message: one that kills whoever takes it must not kill all. */
const LOSSES_MAX = 3;
/** How many times as much may wait as where publishers are held back. */
const HARD_LIMIT = 2;
/** How many jobs are told of in one step. */
const STEP_JOBS = 256;

/** One group of a broker. */
export class GroupPeer implements Peer {
  readonly isOfThisBroker = true;
  readonly path: TopicPattern;
  readonly name: string;
  readonly #members = new Set<Membership>();
  /** How many members are behind each of those who may publish to it. */
  readonly #origins = new Map<Origin, number>();
  /** The other brokers that have members of it; the first is the next to get something. */
  readonly #brokers = new Set<string>();
  readonly #context: GroupsContext;
  readonly #onUnused: () => void;
  readonly #jobs = new Group<GroupJob>();
  readonly #unfinished = new UnfinishedJobs();
  /** How many were given up while members have them. */
  #gone = 0;
  readonly #backpressure: Backpressure;
  /** Waits for a member when none is left. */
  #deserted: Timer | undefined;
  /** Whether nobody has got anything for as long as publishers are held back. */
  #isStuck = false;
  /** How many bytes are being handed over to other brokers. */
  #handing = 0;
  #hasHandedOut = false;
  readonly #counts: JobCounts = { redelivered: 0, abandoned: 0, refused: 0 };

  /** Makes one without members; calls `onUnused` when nothing is left of it. */
  constructor(path: TopicPattern, name: string, context: GroupsContext, onUnused: () => void) {
    this.path = path;
    this.name = name;
    this.#context = context;
    this.#onUnused = onUnused;
    this.#backpressure = new Backpressure({
      isHalfEmpty: () => this.#isHalfEmpty,
      onImpatience: () => this.#refuseExcess(),
    });
    this.#backpressure.patience = context.maxPatience;
  }

  /** What is kept of those that wait. */
  get #waitingBytes(): number {
    return this.#jobs.waitingBytes + JOB_BYTES * this.#jobs.waiting;
  }

  get #isHalfEmpty(): boolean {
    return this.#waitingBytes <= this.#context.limits.queueBytes / 2;
  }

  /** What is published about it. */
  stats(now: number): GroupStats {
    const { oldest } = this.#unfinished;
    return {
      group: this.name,
      topic: this.#named.topic,
      members: this.#members.size,
      waiting: this.#jobs.waiting,
      waitingBytes: this.#waitingBytes,
      unfinished: this.#unfinished.size,
      oldest: oldest === undefined ? 0 : now - oldest.handedAt,
      ...this.#counts,
    };
  }

  #count(what: keyof JobCounts): void {
    this.#counts[what]++;
    this.#context.counts[what]++;
  }

  /** Whether it has members here. */
  get hasMembers(): boolean {
    return this.#members.size > 0;
  }

  /** Whether there is nothing of it but members at other brokers. */
  get isElsewhereOnly(): boolean {
    return this.#members.size + this.#jobs.waiting + this.#unfinished.size + this.#gone === 0;
  }

  /** What other brokers know it by. */
  get #named(): GroupName {
    return {
      group: this.name,
      topic: this.path.map((element) => element === any ? null : element),
    };
  }

  /** Another broker has members of it. */
  comes(broker: string): void {
    this.#brokers.add(broker);
    this.#context.router.add(this, this.path);
    if (this.#deserted === undefined) return;
    this.#deserted.cancel();
    this.#deserted = undefined;
    this.#handOverWaiting();
  }

  /** No member is left here: what waits goes to other brokers. */
  #handOverWaiting(): void {
    for (const job of this.#jobs.take()) {
      this.#handOver(encodeFrame(FrameType.PUBLISH, job.body), job.run.origin);
      job.run.release();
    }
  }

  /** Another broker has no members of it any more. */
  goes(broker: string): void {
    this.#brokers.delete(broker);
    this.#checkUse();
  }

  /** One more member. */
  join(member: Membership): void {
    if (this.#members.size === 0) {
      this.#context.router.add(this, this.path);
      this.#context.elsewhere?.group(this.#named, true);
    }
    this.#deserted?.cancel();
    this.#deserted = undefined;
    this.#members.add(member);
    this.#origins.set(member.origin, (this.#origins.get(member.origin) ?? 0) + 1);
  }

  /** A member leaves; what it has it may still finish. */
  leave(member: Membership): void {
    this.#members.delete(member);
    const others = this.#origins.get(member.origin)! - 1;
    if (others === 0) this.#origins.delete(member.origin);
    else this.#origins.set(member.origin, others);
    this.pause(member);
    if (this.#members.size > 0) return;
    this.#context.elsewhere?.group(this.#named, false);
    this.#checkUse();
  }

  /** A member gets jobs from now on. */
  resume({ seat }: Membership): void {
    this.#context.look();
    this.#jobs.join(seat);
    this.#freed();
  }

  /** A member gets no more jobs. */
  pause({ seat }: Membership): void {
    this.#jobs.leave(seat);
  }

  /** If no member is left, what waits is given up after a while. */
  #checkUse(): void {
    if (this.#members.size > 0) return;
    if (this.#brokers.size === 0) this.#context.router.remove(this, this.path);
    if (this.isElsewhereOnly && this.#brokers.size === 0) return this.#onUnused();
    if (this.#jobs.waiting === 0 || this.#deserted !== undefined) return;
    if (this.#brokers.size > 0) return this.#handOverWaiting();
    const { resumeWindow } = this.#context;
    this.#deserted = later(() => {
      this.#deserted = undefined;
      this.abandonWaiting("no member is left");
    }, resumeWindow);
  }

  take(frames: Uint8Array, messages: number, from: Origin, lease: Lease | undefined): void {
    if (this.#members.size === 0) return void this.#handOver(frames.slice(), from);
    const { limits: { queueBytes }, maxPatience } = this.#context;
    const isMember = this.#origins.has(from);
    const mayWait = isMember || maxPatience > 0 && !this.#isStuck;
    const most = mayWait ? HARD_LIMIT * queueBytes : queueBytes;
    this.#context.look();
    for (let at = 0; at < frames.length;) {
      let [end, jobs] = [frameEnd(frames, at), 1];
      while (end < frames.length) {
        const next = frameEnd(frames, end);
        if (next - at > RUN_BYTES_MAX) break;
        end = next;
        jobs++;
      }
      const isAlone = messages === 1;
      this.#takeRun(frames.subarray(at, end), jobs, from, isAlone ? lease : undefined, most);
      at = end;
    }
    this.#freed();
    this.#context.flush();
    if (isMember || !mayWait || this.#waitingBytes <= queueBytes) return;
    this.#backpressure.holdBack(from, messages, frames.length);
  }

  /** Hands messages over to one of the other brokers that have members, in turn. */
  async #handOver(frames: Uint8Array, from: Origin): Promise<void> {
    const tellLost: TellLost = (...what) => from.tellLost?.(...what);
    this.#handing += frames.length;
    this.#context.account.add(frames.length);
    const why = await this.#whyNotTaken(frames, tellLost);
    this.#handing -= frames.length;
    this.#context.account.add(-frames.length);
    for (let at = 0; why !== undefined && at < frames.length;) {
      const end = frameEnd(frames, at);
      this.#count("abandoned");
      tellLost("abandoned", topicOf(frames, at, end), `Nobody finishes it: ${why}`);
      at = end;
    }
  }

  /** Offers messages to the brokers that have members; returns why it ends without one that takes them. */
  async #whyNotTaken(frames: Uint8Array, tellLost: TellLost): Promise<string | undefined> {
    if (this.#handing > this.#context.limits.queueBytes) {
      return `too much waits to be handed over to members of ${this.#shown}`;
    }
    const brokers = [...this.#brokers];
    const [first] = brokers;
    if (first !== undefined) { // The next message goes to another one.
      this.#brokers.delete(first);
      this.#brokers.add(first);
    }
    for (const broker of brokers) {
      const outcome = await this.#context.elsewhere!.handOver(
        broker,
        this.#named,
        frames,
        tellLost,
      );
      if (outcome === "taken") return undefined;
      if (outcome === "unknown") {
        return `the broker that has members of ${this.#shown} does not answer`;
      }
    }
    return `no member of ${this.#shown} is left`;
  }

  #takeRun(
    frames: Uint8Array,
    jobs: number,
    from: Origin,
    lease: Lease | undefined,
    most: number,
  ): void {
    const run = new JobRun(frames, jobs, from, this.#context, lease);
    const { buffer } = run;
    for (let at = 0; at < buffer.length;) {
      const end = frameEnd(buffer, at);
      const job = new GroupJob(run, at, end);
      const excess = this.#waitingBytes + job.bytes + JOB_BYTES - most;
      if (excess > 0 && this.#jobs.waiting > 0) this.#refuse(job);
      else this.#jobs.offer(job);
      at = end;
    }
  }

  /** A member has got a job. */
  handed(job: GroupJob, member: Membership): void {
    job.member = member;
    job.handedAt = this.#context.time;
    this.#unfinished.add(job);
    this.#hasHandedOut = true;
  }

  /** Something may have been handed out: whoever waits for that goes on. */
  #freed(): void {
    if (!this.#hasHandedOut) return;
    this.#isStuck = this.#hasHandedOut = false;
    if (this.#isHalfEmpty) this.#backpressure.progress();
  }

  /** A member has finished a job. */
  finished(job: GroupJob): void {
    const { seat, jobs } = this.#taken(job);
    if (job.isGone) jobs.keepsGone(-1);
    else job.run.release();
    this.#jobs.finish(seat, job);
    this.#checkUse();
  }

  /** A member gives a job back. */
  returned(job: GroupJob): void {
    if (job.isGone) return this.finished(job);
    const { seat } = this.#taken(job);
    this.#jobs.giveBack(seat, job);
    this.#checkUse();
  }

  /** A member is lost that had a job. */
  lost(job: GroupJob): void {
    if (!job.isGone && ++job.lost === LOSSES_MAX) {
      this.#giveUp(job, "three members were lost that had it");
    } else if (!job.isGone) this.#count("redelivered");
    this.returned(job);
  }

  /** What members have given back or finished has led on: whoever got something is to hear of it. */
  settle(): void {
    this.#freed();
    this.#context.flush();
  }

  #taken(job: GroupJob): Membership {
    const member = job.member!;
    job.member = undefined;
    if (job.isGone) this.#gone--;
    else this.#unfinished.delete(job);
    return member;
  }

  #refuseExcess(): void {
    const { queueBytes } = this.#context.limits;
    this.#isStuck = true;
    let bytes = 0;
    const excess = this.#jobs.take((job) => (bytes += job.bytes + JOB_BYTES) > queueBytes);
    this.#tell(excess, (job) => this.#refuse(job));
    this.#backpressure.release();
  }

  /** Gives up all that waits. */
  abandonWaiting(why: string): void {
    this.#tell(this.#jobs.take(), (job) => this.#abandon(job, why));
    this.#backpressure.progress();
    this.#checkUse();
  }

  /** Gives up all that waits, and all that members have not finished. */
  abandonAll(why: string): void {
    for (const job of this.#jobs.take()) this.#abandon(job, why);
    for (const job of this.#unfinished) if (!job.isGone) this.#giveUp(job, why);
  }

  /**
   * Gives up jobs, those first that came first, until they have so many bytes.
   *
   * @param which Those that wait, or those that members have not finished.
   * @param isMeant Whether it may be this one.
   * @returns How many bytes those jobs have.
   */
  free(
    which: "waiting" | "unfinished",
    isMeant: (job: GroupJob) => boolean,
    bytes: number,
    why: string,
  ): number {
    let freed = 0;
    const goes = (job: GroupJob) => {
      if (freed >= bytes || job.isGone || !isMeant(job)) return false;
      freed += job.bytes;
      return true;
    };
    if (which === "waiting") {
      for (const job of this.#jobs.take(goes)) this.#abandon(job, why);
      if (this.#isHalfEmpty) this.#backpressure.progress();
      this.#checkUse();
    } else {
      for (const job of this.#unfinished) if (goes(job)) this.#giveUp(job, why);
    }
    return freed;
  }

  /**
   * Gives up a job that a member has: that may finish it all the same. Until then what is left of it counts
   * for the member.
   */
  #giveUp(job: GroupJob, why: string): void {
    job.isGone = true;
    this.#gone++;
    this.#unfinished.delete(job);
    job.member!.jobs.keepsGone(1);
    this.#abandon(job, why);
  }

  /** Tells of jobs, in steps. */
  #tell(jobs: readonly GroupJob[], tell: (job: GroupJob) => void): void {
    this.#context.background.run(toldInSteps(jobs, tell));
  }

  #refuse(job: GroupJob): void {
    this.#count("refused");
    job.run.origin.tellLost?.("full", job.topic, `No member of ${this.#shown} is free`);
    job.run.release();
  }

  #abandon(job: GroupJob, why: string): void {
    this.#count("abandoned");
    job.run.origin.tellLost?.(
      "abandoned",
      job.topic,
      `Nobody of ${this.#shown} finishes it: ${why}`,
    );
    job.run.release(); // Who has heard of each hears that nothing of it is kept any more.
  }

  get #shown(): string {
    return `the group ${JSON.stringify(this.name)} of ${formatTopic(this.path)}`;
  }

  lose(): void {}

  room(): Promise<void> | undefined {
    return this.#backpressure.room();
  }

  /** Ends it: nobody is held back any more, and the router forgets it. */
  end(): void {
    this.#deserted?.cancel();
    this.#backpressure.end();
    for (const _step of this.#context.router.clear(this));
  }
}

function* toldInSteps(
  jobs: readonly GroupJob[],
  tell: (job: GroupJob) => void,
): Generator<void, void, undefined> {
  let count = 0;
  for (const job of jobs) {
    tell(job);
    if (++count % STEP_JOBS === 0) yield;
  }
}
