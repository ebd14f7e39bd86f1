/**
 * One of a group: jobs are shared out among members, to whoever has the fewest unfinished. No I/O.
 *
 * ```
 *  offer ──▶ somebody is free? ──yes──▶ hand out, to the head of the first list with somebody
 *                 │ no
 *                 ▼                      unfinished:   0 [ a b ]   1 [ c ]   2 [ ]   3 [ d ]
 *              waiting ◀── give back                   ▲ whoever gets or finishes one moves to the
 *                 │                                      end of the next, or of the one before
 *  finish ────────┴──▶ hand out
 * ```
 *
 * So among members with as many they come in turn, and a job costs the same however many there are.
 */
import { Fifo } from "../base/fifo.ts";

/** How many bytes one member may have unfinished, unless that is one job. */
export const UNFINISHED_BYTES_MAX = 2 ** 20;

/** What is shared out. */
export interface Job {
  /** What it takes. */
  readonly bytes: number;
}

/** Members that have as many unfinished, in the order in which they came to have that. */
class Level<J extends Job> {
  unfinished = 0;
  first: Seat<J> | undefined = undefined;
  last: Seat<J> | undefined = undefined;
  below: Level<J> | undefined = undefined;
  above: Level<J> | undefined = undefined;
}

/** One member of a {@linkcode Group}. */
export class Seat<J extends Job> {
  /** How many jobs it may have unfinished. */
  readonly concurrency: number;
  /** Takes a job, which it has to finish or to give back. */
  readonly hand: (job: J) => void;
  /** How many it has unfinished. */
  unfinished = 0;
  /** How many bytes these are. */
  bytes = 0;
  /** Whether it gets jobs. */
  isOpen = false;
  /** Where it is among those that may have one more. */
  level: Level<J> | undefined = undefined;
  before: Seat<J> | undefined = undefined;
  after: Seat<J> | undefined = undefined;

  /** Makes one that is in no group. */
  constructor(concurrency: number, hand: (job: J) => void) {
    this.concurrency = concurrency;
    this.hand = hand;
  }

  /** Whether it can take one more job. */
  takes({ bytes }: Job): boolean {
    return this.unfinished === 0 || this.bytes + bytes <= UNFINISHED_BYTES_MAX;
  }
}

/** Members that share out jobs. */
export class Group<J extends Job> {
  /** The first of those that are open and have fewer unfinished than they may. */
  #lowest: Level<J> | undefined;
  #highest: Level<J> | undefined;
  /** One that is used again. */
  #spare: Level<J> | undefined;
  #waiting = new Fifo<J>();
  /** What was given back, before all that waits. */
  #returned = new Fifo<J>();
  #waitingBytes = 0;
  #size = 0;
  #isHandingOut = false;

  /** How many members it has. */
  get size(): number {
    return this.#size;
  }

  /** How many jobs wait for a member. */
  get waiting(): number {
    return this.#waiting.length + this.#returned.length;
  }

  /** How many bytes these are. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** One more member, which gets what waits. */
  join(seat: Seat<J>): void {
    seat.isOpen = true;
    this.#size++;
    this.#place(seat, this.#lowest);
    this.#handOut();
  }

  /** A member gets no more jobs; what it has it may still finish or give back. */
  leave(seat: Seat<J>): void {
    if (!seat.isOpen) return;
    seat.isOpen = false;
    this.#size--;
    this.#takeOut(seat);
  }

  /** Shares out one more job, now or when a member has finished one. */
  offer(job: J): void {
    const seat = this.waiting === 0 ? this.#freest(job) : undefined;
    if (seat === undefined) this.#wait(this.#waiting, job);
    else this.#hand(seat, job);
  }

  #wait(where: Fifo<J>, job: J): void {
    where.push(job);
    this.#waitingBytes += job.bytes;
  }

  /** Gives a job to a member, whatever that has. */
  give(seat: Seat<J>, job: J): void {
    this.#hand(seat, job);
  }

  /** A member has finished a job. */
  finish(seat: Seat<J>, job: J): void {
    this.#release(seat, job);
    this.#handOut();
  }

  /** A member gives a job back, which it has not begun; somebody else gets it before all that waits. */
  giveBack(seat: Seat<J>, job: J): void {
    this.#release(seat, job);
    this.#wait(this.#returned, job);
    this.#handOut();
  }

  /**
   * Takes away jobs that wait.
   *
   * @param isTaken Whether one is to be taken away; all are if it is not given.
   * @returns Those, in their order.
   */
  take(isTaken: (job: J) => boolean = () => true): J[] {
    const [returned, waiting] = [this.#returned, this.#waiting];
    this.#returned = new Fifo();
    this.#waiting = new Fifo();
    this.#waitingBytes = 0;
    const taken: J[] = [];
    for (const [from, to] of [[returned, this.#returned], [waiting, this.#waiting]] as const) {
      for (let job = from.shift(); job !== undefined; job = from.shift()) {
        if (isTaken(job)) taken.push(job);
        else this.#wait(to, job);
      }
    }
    return taken;
  }

  #next(): J | undefined {
    const job = this.#returned.shift() ?? this.#waiting.shift();
    if (job !== undefined) this.#waitingBytes -= job.bytes;
    return job;
  }

  #handOut(): void {
    if (this.#isHandingOut) return; // It goes on when this job is finished.
    this.#isHandingOut = true;
    try {
      for (;;) {
        const job = this.#returned.at(0) ?? this.#waiting.at(0);
        const seat = job === undefined ? undefined : this.#freest(job);
        if (seat === undefined) return;
        this.#hand(seat, this.#next()!);
      }
    } finally {
      this.#isHandingOut = false;
    }
  }

  /** The member that has the fewest unfinished of those that can take a job. */
  #freest(job: J): Seat<J> | undefined {
    for (let level = this.#lowest; level !== undefined; level = level.above) {
      for (let seat = level.first; seat !== undefined; seat = seat.after) {
        if (seat.takes(job)) return seat;
      }
    }
    return undefined;
  }

  #hand(seat: Seat<J>, job: J): void {
    const from = this.#takeOut(seat);
    seat.unfinished++;
    seat.bytes += job.bytes;
    this.#place(seat, from);
    seat.hand(job);
  }

  #release(seat: Seat<J>, { bytes }: J): void {
    const from = this.#takeOut(seat);
    seat.unfinished--;
    seat.bytes -= bytes;
    this.#place(seat, from ?? this.#highest);
  }

  /** Takes a member out of its level; returns that, or one next to it. */
  #takeOut(seat: Seat<J>): Level<J> | undefined {
    const { level, before, after } = seat;
    if (level === undefined) return undefined;
    if (before === undefined) level.first = after;
    else before.after = after;
    if (after === undefined) level.last = before;
    else after.before = before;
    seat.level = seat.before = seat.after = undefined;
    return level.first === undefined ? this.#drop(level) : level;
  }

  #drop(level: Level<J>): Level<J> | undefined {
    const { below, above } = level;
    if (below === undefined) this.#lowest = above;
    else below.above = above;
    if (above === undefined) this.#highest = below;
    else above.below = below;
    level.below = level.above = undefined;
    this.#spare = level;
    return below ?? above;
  }

  /** Puts a member to the end of those that have as many unfinished, if it may have one more. */
  #place(seat: Seat<J>, near: Level<J> | undefined): void {
    const { isOpen, unfinished, concurrency } = seat;
    if (!isOpen || unfinished >= concurrency) return;
    const level = this.#levelOf(unfinished, near ?? this.#lowest);
    const { last } = level;
    seat.level = level;
    seat.before = last;
    if (last === undefined) level.first = seat;
    else last.after = seat;
    level.last = seat;
  }

  /** The level of those that have so many unfinished, which is looked for from another one on. */
  #levelOf(unfinished: number, near: Level<J> | undefined): Level<J> {
    let below = near;
    while (below !== undefined && below.unfinished > unfinished) below = below.below;
    let above = below === undefined ? this.#lowest : below.above;
    while (above !== undefined && above.unfinished <= unfinished) {
      below = above;
      above = above.above;
    }
    if (below?.unfinished === unfinished) return below;
    const level = this.#spare ?? new Level<J>();
    this.#spare = undefined;
    level.unfinished = unfinished;
    level.below = below;
    level.above = above;
    if (below === undefined) this.#lowest = level;
    else below.above = level;
    if (above === undefined) this.#highest = level;
    else above.below = level;
    return level;
  }
}
