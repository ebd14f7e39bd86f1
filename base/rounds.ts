/**
 * What several tasks may spend together before everything else has its turn.
 *
 * A task waits when its round is spent, or when it has had its share while others wait, too. They go
 * on by turns, a share each; those that had little lately come first.
 *
 * ```
 *  one round of the event loop
 *  ├─ timer: who waits, by turns ─ A B C D A … ─ until TURN_MS is spent
 *  ├─ what is read now: of a light task, until LIGHT_MS more is spent
 *  │                    of another one, it waits
 *  └─ timer: the next round
 * ```
 *
 * So however many tasks have much to do, a round takes about as long, and who has little to do waits
 * for one of them.
 *
 * - The timer is set early enough to be due at the end of the turn, so to wait for it costs one turn of
 *   the event loop only. If a turn comes anyway, nobody has waited.
 */
import { clock } from "./clock.ts";
import { Fifo } from "./fifo.ts";
import { inNextTurn } from "./turn.ts";

/** How long one turn may take, for all tasks together. */
const TURN_MS = 5;
/** How much longer those may take that had little to do in this round and the one before. */
const LIGHT_MS = 2;
/** The share of one task while others wait. */
const SHARE_MS = 0.5;
/** When the timer is set. */
const ARM_MS = 1;
/** What a read takes, about, that brings too little to do anything with. */
const IN_VAIN_MS = 0.01;
/** The same if it brings less than this: it may have been much that had to be unpacked for nothing. */
const LITTLE_BYTES = 1024;
const LITTLE_MS = 0.05;

/** Shared by all, because there may be many. */
function read(): number {
  return clock.now();
}

/** What a task has of its rounds. */
export class Share {
  /** Which round it is in. */
  round = 0;
  /** What it has spent of that, since it went on last. */
  spent = 0;
  /** The latest round in which it has had a whole share, or waited. */
  heavyIn = -2;
  /** Goes on, if it waits. */
  goOn: (() => void) | undefined;
}

/** The rounds of tasks that take their turns together. */
export class Rounds {
  /** A monotonic time in milliseconds. */
  readonly now: () => number;
  /** How far the tasks are trusted to know by themselves how much work something is. */
  readonly trust: number;
  /** How many there have been. */
  #number = 0;
  /** What all tasks have spent of this one. */
  #spent = 0;
  /** Who waits: those that had little lately, and all others. */
  readonly #light = new Fifo<Share>();
  readonly #heavy = new Fifo<Share>();
  #isWaitedFor = false;
  /** Whose turn it is among them. */
  #current: Share | undefined;
  /** Cancels the turn in which the next round begins. */
  #cancel: (() => void) | undefined;
  /** How many tasks there are. */
  #tasks = 0;

  /**
   * Begins with nothing spent.
   *
   * @param now A monotonic time in milliseconds.
   * @param trust The clock is looked at after so many times as much work, and where there is less at a
   * time, for one of so many times. More than 1 is for tasks that know how much work something is.
   */
  constructor(now: () => number = read, trust = 1) {
    this.now = now;
    this.trust = trust;
  }

  /** One more task. */
  enter(): Share {
    this.#tasks++;
    return new Share();
  }

  /** A task is over: lets go of whoever waits for its turn. */
  leave(share: Share): void {
    const { goOn } = share;
    share.goOn = undefined;
    goOn?.();
    this.rest(share);
    if (--this.#tasks > 0) return;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#spent = 0;
  }

  /** Notes that a task has read so much in vain, which takes longer than to see that; it counts for all. */
  readInVain(bytes: number): void {
    this.#spent += bytes < LITTLE_BYTES ? LITTLE_MS : IN_VAIN_MS;
  }

  /** Notes that a task has spent some time; returns whether it must let others have their turn. */
  spend(share: Share, ms: number): boolean {
    this.#enterRound(share);
    this.#spent += ms;
    share.spent += ms;
    const isWhole = share.spent > SHARE_MS;
    if (isWhole) share.heavyIn = this.#number;
    if (this.#spent > ARM_MS) this.#arm();
    return isWhole && this.#isWaitedFor || this.#spent > TURN_MS && this.#isSpent(share);
  }

  /** Whether a task that has something new to do must wait before it begins. */
  mustWait(share: Share): boolean {
    if (this.#spent <= TURN_MS && !this.#isWaitedFor || share === this.#current) return false;
    this.#enterRound(share);
    return this.#isWaitedFor && !this.#isLight(share) ||
      this.#spent > TURN_MS && this.#isSpent(share);
  }

  /** Whether a round in which `TURN_MS` are spent is over for a task. */
  #isSpent(share: Share): boolean {
    return this.#spent > TURN_MS + LIGHT_MS || !this.#isLight(share);
  }

  #isLight({ heavyIn }: Share): boolean {
    return heavyIn < this.#number - 1;
  }

  #enterRound(share: Share): void {
    if (share.round === this.#number) return;
    share.round = this.#number;
    share.spent = 0;
  }

  /** Resolves when it is the turn of a task; once it does no more, it must wait again, or rest. */
  async wait(share: Share): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const queue = this.#isLight(share) ? this.#light : this.#heavy;
    share.heavyIn = this.#number;
    share.goOn = resolve;
    queue.push(share);
    this.#isWaitedFor = true;
    this.#arm();
    this.rest(share);
    await promise;
  }

  /** A task has nothing more to do for now; the next has its turn. */
  rest(share: Share): void {
    if (share !== this.#current) return;
    this.#current = undefined;
    if (this.#spent <= TURN_MS) this.#grant();
  }

  /** Lets the next go on. */
  #grant(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const { goOn } = next;
      if (goOn === undefined) continue; // It is over.
      next.goOn = undefined;
      next.spent = 0;
      this.#current = next;
      goOn();
      return;
    }
  }

  #next(): Share | undefined {
    const next = this.#light.shift() ?? this.#heavy.shift();
    this.#isWaitedFor = this.#light.length + this.#heavy.length > 0;
    return next;
  }

  #arm(): void {
    this.#cancel ??= inNextTurn(() => this.#begin());
  }

  /** Begins a round. */
  #begin(): void {
    this.#cancel = undefined;
    this.#number++;
    this.#spent = 0;
    this.#current = undefined;
    this.#grant();
    if (this.#isWaitedFor) this.#arm();
  }
}
