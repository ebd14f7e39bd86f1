/**
 * The members of a group on one bus, which take its messages one by one.
 *
 * ```
 *  Member ◀── FunctionMember   a job is finished when what the function returns has settled
 *         ◀── LoopMember       … when its consumer asks for the next, or ends
 * ```
 */
import { Fifo } from "../base/fifo.ts";
import { Queue } from "../base/queue.ts";
import { type Job, Seat } from "../routing/group.ts";
import type { TopicPath, TopicPattern } from "../topic.ts";
import type { Fit } from "./accepts.ts";
import type { Delivery, ErrorContext, Info, Subscriber } from "./subscriber.ts";

/** Somebody elsewhere who gives jobs to members here, each with a number. */
export interface JobGiver {
  /** A job has ended: it was done, or the member has not begun it, and never will. */
  end(number: number, isDone: boolean): void;
}

/** A message for one of a group. */
export interface LocalJob extends Job {
  readonly topic: TopicPath;
  readonly message: object;
  readonly info: Info;
  /** Who is told what became of it, if it is from elsewhere, and its number there. */
  readonly giver: JobGiver | undefined;
  readonly number: number;
}

/** The group, as a member sees it. */
export interface MembersGroup {
  readonly path: TopicPattern;
  readonly name: string;
  /** A member is given a job from elsewhere. */
  give(member: Member, job: LocalJob): void;
  /** A member has finished a job. */
  finish(member: Member, job: LocalJob): void;
  /** A member gives jobs back that it has not begun. */
  giveBack(member: Member, jobs: readonly LocalJob[]): void;
  /** A member wants no more. */
  leave(member: Member): void;
  report(error: unknown, context: ErrorContext): void;
}

/** What a member begins with. */
export interface MemberMaking {
  readonly group: MembersGroup;
  /** The number by which others know it; 0: nobody does. */
  readonly number: number;
  /** The number of this subscriber among all. */
  readonly birth: number;
  readonly fit: Fit | undefined;
  readonly concurrency: number;
}

/** One member. */
export abstract class Member {
  /** Its place in the group. */
  readonly seat: Seat<LocalJob>;
  /** The number by which others know it; 0: nobody does. */
  readonly number: number;
  /** The number of this subscriber among all. */
  readonly birth: number;
  /** Takes the listener off the signal. */
  release: (() => void) | undefined = undefined;
  readonly group: MembersGroup;
  readonly #fit: Fit | undefined;
  /** How many it has begun and not finished. */
  protected running = 0;
  /** What it was given beyond what it does at a time: others do not know what it has of this bus. */
  #held = new Fifo<LocalJob>();
  #isBeginning = false;

  /** Makes one that is not in the group yet. */
  constructor({ group, number, birth, fit, concurrency }: MemberMaking) {
    this.group = group;
    this.number = number;
    this.birth = birth;
    this.#fit = fit;
    this.seat = new Seat(concurrency, (job) => this.#take(job));
  }

  /** How many jobs it does at a time. */
  get concurrency(): number {
    return this.seat.concurrency;
  }

  /** Takes a job from elsewhere. */
  work(topic: TopicPath, message: object, info: Info, giver: JobGiver, number: number): void {
    this.group.give(this, { topic, message, bytes: 0, info, giver, number });
  }

  #take(job: LocalJob): void {
    if (this.running < this.concurrency) this.#begin(job);
    else this.#held.push(job);
  }

  #begin(job: LocalJob): void {
    const { topic, message } = job;
    this.running++;
    try {
      this.begin(job, this.#fit === undefined ? message : this.#fit(topic, message));
    } catch (error) { // It does not fit, or the subscriber throws: it has had its turn.
      this.failed(job, error);
    }
  }

  /** What did not fit, or failed, is finished. */
  protected failed(job: LocalJob, error: unknown): void {
    const { topic, message } = job;
    const { subscriber } = this;
    this.group.report(
      error,
      subscriber === undefined ? { topic, message } : { topic, message, subscriber },
    );
    this.finish(job);
  }

  /** It has finished a job, and begins one that it holds. */
  protected finish(job: LocalJob): void {
    this.running--;
    this.group.finish(this, job);
    if (this.#held.length > 0) this.#beginHeld();
  }

  #beginHeld(): void {
    if (this.#isBeginning) return; // It goes on with those that are finished at once.
    this.#isBeginning = true;
    while (this.running < this.concurrency && this.#held.length > 0) {
      this.#begin(this.#held.shift()!);
    }
    this.#isBeginning = false;
  }

  /** What it has not begun, and was given from elsewhere, is given back. */
  recall(): void {
    this.giveBack(this.unbegun(({ giver }) => giver !== undefined));
  }

  /** Takes away from it what it has not begun, of those that are meant. */
  protected unbegun(isMeant: (job: LocalJob) => boolean): LocalJob[] {
    const taken: LocalJob[] = [];
    for (let left = this.#held.length; left > 0; left--) {
      const job = this.#held.shift()!;
      if (isMeant(job)) taken.push(job);
      else this.#held.push(job);
    }
    return taken;
  }

  protected giveBack(jobs: readonly LocalJob[]): void {
    this.group.giveBack(this, jobs);
  }

  /** The function, if it is one. */
  abstract readonly subscriber: Subscriber<never> | undefined;

  /** Begins a job, or keeps it until it can be begun. */
  protected abstract begin(job: LocalJob, value: unknown): void;

  /** The bus removes it, for a reason if there is an error. */
  abstract end(error?: unknown): void;
}

/** A function that is a member. */
export class FunctionMember extends Member {
  readonly subscriber: Subscriber<never>;
  readonly #isOnce: boolean;

  /** Makes one that is not in the group yet. */
  constructor(making: MemberMaking, subscriber: Subscriber<never>, isOnce: boolean) {
    super(making);
    this.subscriber = subscriber;
    this.#isOnce = isOnce;
  }

  protected begin(job: LocalJob, value: unknown): void {
    if (this.#isOnce) this.group.leave(this);
    const result = (this.subscriber as Subscriber<unknown>)(job.topic, value, job.info);
    if (typeof (result as { then?: unknown } | null | undefined)?.then !== "function") {
      return this.finish(job);
    }
    Promise.resolve(result).then(
      () => this.finish(job),
      (error) => this.failed(job, error),
    );
  }

  end(): void {
    this.group.leave(this);
    this.giveBack(this.unbegun(() => true));
  }
}

/** A loop that is a member. */
export class LoopMember extends Member {
  readonly subscriber = undefined;
  readonly queue: Queue<Delivery<unknown>>;
  /** What it has put into the queue, and its consumer has not got. */
  #queued = new Fifo<{ readonly job: LocalJob; readonly delivery: Delivery<unknown> }>();
  /** What its consumer is busy with. */
  #current: LocalJob | undefined;
  /** How many messages its consumer has asked for and not got. */
  #asked = 0;
  #isEnded = false;

  /** Makes one that is not in the group yet; `name` is what its queue is called in errors. */
  constructor(making: MemberMaking, name: string) {
    super(making);
    this.queue = new Queue({
      name,
      limit: making.concurrency,
      overflow: "wait",
      onCancel: () => this.quit(),
    });
  }

  protected begin(job: LocalJob, message: unknown): void {
    const { topic, info } = job;
    const delivery = { topic, message, info };
    this.#queued.push({ job, delivery });
    this.queue.push(delivery);
  }

  protected override unbegun(isMeant: (job: LocalJob) => boolean): LocalJob[] {
    const { queue } = this;
    const taken: LocalJob[] = [];
    const before = this.#queued;
    this.#queued = new Fifo();
    // The first may be on their way to its consumer; all are, if no more may be put into the queue.
    const left = this.#isEnded ? 0 : queue.length;
    while (before.length > left) this.#queued.push(before.shift()!);
    if (left > 0) queue.clear();
    for (let one = before.shift(); one !== undefined; one = before.shift()) {
      if (isMeant(one.job)) taken.push(one.job);
      else {
        this.#queued.push(one);
        queue.push(one.delivery);
      }
    }
    this.running -= taken.length;
    return [...taken, ...super.unbegun(isMeant)];
  }

  /** Its consumer asks for the next message, so it has finished the one before. */
  asks(): void {
    this.#asked++;
    this.#finishCurrent();
  }

  #finishCurrent(): void {
    const current = this.#current;
    this.#current = undefined;
    if (current !== undefined) this.finish(current);
  }

  /** Its consumer gets a message. */
  gets(): void {
    this.#finishCurrent();
    this.#current = this.#queued.shift()?.job;
    if (--this.#asked > 0) this.#finishCurrent(); // It has asked for the next one already.
  }

  /** Its consumer wants no more, and what it has not got goes to others. */
  quit(): void {
    this.group.leave(this);
    this.#finishCurrent();
    const queued: LocalJob[] = [];
    for (let one = this.#queued.shift(); one !== undefined; one = this.#queued.shift()) {
      queued.push(one.job);
    }
    this.running -= queued.length;
    this.giveBack([...queued, ...this.unbegun(() => true)]);
  }

  end(error?: unknown): void {
    this.group.leave(this);
    // Without an error its consumer still gets what is in the queue; nothing more gets into that.
    const all = () => true;
    this.giveBack(error === undefined ? super.unbegun(all) : this.unbegun(all));
    this.#isEnded = true;
    this.queue.close(error === undefined ? {} : { error });
  }
}
