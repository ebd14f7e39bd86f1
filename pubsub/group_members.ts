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
import type { TopicPath } from "../topic.ts";
import type { Fit } from "./accepts.ts";
import { type Delivery, type ErrorContext, NO_INFO, type Subscriber } from "./subscriber.ts";

/** A message for one of a group. */
export interface LocalJob extends Job {
  readonly topic: TopicPath;
  readonly message: object;
}

/** The group, as a member sees it. */
export interface MembersGroup {
  /** A member has finished a job. */
  finish(member: Member, job: LocalJob): void;
  /** A member gives a job back that it has not begun. */
  giveBack(member: Member, job: LocalJob): void;
  /** A member wants no more. */
  leave(member: Member): void;
  report(error: unknown, context: ErrorContext): void;
}

/** What a member begins with. */
export interface MemberMaking {
  readonly group: MembersGroup;
  /** The number of this subscriber among all. */
  readonly birth: number;
  readonly fit: Fit | undefined;
  readonly concurrency: number;
}

/** One member. */
export abstract class Member {
  /** Its place in the group. */
  readonly seat: Seat<LocalJob>;
  /** The number of this subscriber among all. */
  readonly birth: number;
  /** Takes the listener off the signal. */
  release: (() => void) | undefined = undefined;
  protected readonly group: MembersGroup;
  readonly #fit: Fit | undefined;

  /** Makes one that is not in the group yet. */
  constructor({ group, birth, fit, concurrency }: MemberMaking) {
    this.group = group;
    this.birth = birth;
    this.#fit = fit;
    this.seat = new Seat(concurrency, (job) => this.#take(job));
  }

  #take(job: LocalJob): void {
    const { topic, message } = job;
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
    this.group.finish(this, job);
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
    const result = (this.subscriber as Subscriber<unknown>)(job.topic, value, NO_INFO);
    if (typeof (result as { then?: unknown } | null | undefined)?.then !== "function") {
      return this.group.finish(this, job);
    }
    Promise.resolve(result).then(
      () => this.group.finish(this, job),
      (error) => this.failed(job, error),
    );
  }

  end(): void {
    this.group.leave(this);
  }
}

/** A loop that is a member. */
export class LoopMember extends Member {
  readonly subscriber = undefined;
  readonly queue: Queue<Delivery<unknown>>;
  /** The jobs that the queue holds. */
  readonly #held = new Fifo<LocalJob>();
  /** What its consumer is busy with. */
  #current: LocalJob | undefined;

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
    this.#held.push(job);
    this.queue.push({ topic: job.topic, message, info: NO_INFO });
  }

  /** Its consumer asks for the next message, so it has finished the one before. */
  asks(): void {
    const current = this.#current;
    this.#current = undefined;
    if (current !== undefined) this.group.finish(this, current);
  }

  /** Its consumer gets a message. */
  gets(): void {
    this.asks(); // It may ask for several at a time.
    this.#current = this.#held.shift();
  }

  /** Its consumer wants no more, and what it has not got goes to others. */
  quit(): void {
    this.group.leave(this);
    this.asks();
    for (let job = this.#held.shift(); job !== undefined; job = this.#held.shift()) {
      this.group.giveBack(this, job);
    }
  }

  end(error?: unknown): void {
    this.group.leave(this);
    if (error !== undefined) {
      this.quit();
      this.queue.clear();
    }
    this.queue.close(error === undefined ? {} : { error });
  }
}
