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
  /** Those that are open and have fewer unfinished than they may, by how many these are. */
  readonly #free: Set<Seat<J>>[] = [];
  readonly #waiting = new Fifo<J>();
  /** What was given back, before all that waits. */
  readonly #returned = new Fifo<J>();
  #size = 0;
  /** Fewer unfinished has nobody in the lists. */
  #least = 0;
  #isHandingOut = false;

  /** How many members it has. */
  get size(): number {
    return this.#size;
  }

  /** How many jobs wait for a member. */
  get waiting(): number {
    return this.#waiting.length + this.#returned.length;
  }

  /** One more member, which gets what waits. */
  join(seat: Seat<J>): void {
    seat.isOpen = true;
    this.#size++;
    this.#place(seat);
    this.#handOut();
  }

  /** A member gets no more jobs; what it has it may still finish or give back. */
  leave(seat: Seat<J>): void {
    if (!seat.isOpen) return;
    seat.isOpen = false;
    this.#size--;
    this.#free[seat.unfinished]?.delete(seat);
  }

  /** Shares out one more job, now or when a member has finished one. */
  offer(job: J): void {
    const seat = this.waiting === 0 ? this.#freest(job) : undefined;
    if (seat === undefined) this.#waiting.push(job);
    else this.#hand(seat, job);
  }

  /** A member has finished a job. */
  finish(seat: Seat<J>, job: J): void {
    this.#release(seat, job);
    this.#handOut();
  }

  /** A member gives a job back, which it has not begun; somebody else gets it before all that waits. */
  giveBack(seat: Seat<J>, job: J): void {
    this.#release(seat, job);
    this.#returned.push(job);
    this.#handOut();
  }

  /** Takes away all that waits. */
  *drain(): Generator<J, void, undefined> {
    for (let job = this.#next(); job !== undefined; job = this.#next()) yield job;
  }

  #next(): J | undefined {
    return this.#returned.shift() ?? this.#waiting.shift();
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
    const free = this.#free;
    while (this.#least < free.length && !free[this.#least]?.size) this.#least++;
    for (let unfinished = this.#least; unfinished < free.length; unfinished++) {
      for (const seat of free[unfinished] ?? []) if (seat.takes(job)) return seat;
    }
    return undefined;
  }

  #hand(seat: Seat<J>, job: J): void {
    this.#free[seat.unfinished]!.delete(seat);
    seat.unfinished++;
    seat.bytes += job.bytes;
    this.#place(seat);
    seat.hand(job);
  }

  #release(seat: Seat<J>, { bytes }: J): void {
    this.#free[seat.unfinished]?.delete(seat);
    seat.unfinished--;
    seat.bytes -= bytes;
    this.#place(seat);
  }

  /** Puts a member to the end of those that have as many unfinished, if it may have one more. */
  #place(seat: Seat<J>): void {
    const { isOpen, unfinished, concurrency } = seat;
    if (!isOpen || unfinished >= concurrency) return;
    (this.#free[unfinished] ??= new Set()).add(seat);
    this.#least = Math.min(this.#least, unfinished);
  }
}
