/**
 * The life of a page in which a client runs. It may be hidden, frozen, kept for going back to it, and go;
 * elsewhere nothing of that happens.
 *
 * ```
 *  wake   it is seen, or there is a network again ─▶ is the connection still there? or connect, at once
 *  sleep  nothing in it will run for a while ──────▶ lets go of the connection; the session stays
 *  leave  it will not run again ───────────────────▶ sends what it may, and GOODBYE
 * ```
 *
 * After `sleep` nothing is dialled until `wake`: an open connection would keep a page from being kept. If
 * a page wakes after `leave`, against expectation, it is connected again as well.
 */
import { Laps } from "../base/laps.ts";
import { later, type Timer } from "../base/timers.ts";
import { ConnectionLostError } from "../errors.ts";
import type { Outside } from "../io/outside.ts";
import type { PageListener } from "../io/page_events.ts";
import type { Link } from "../protocol/link.ts";
import { Deferred } from "./deferred.ts";

/** How long the broker may take to answer when the page is looked at. */
const CHECK_MS = 3000;
/** After a timer that is so late it asks again: what came while the page was busy may not be read yet. */
const LATE_MS = 250;

/** Follows the life of one page for one client. */
export class PageLife implements PageListener {
  readonly #watch: Outside["watchPage"];
  readonly #checkMs: number;
  /** Stops to follow it. */
  #stop: (() => void) | undefined;
  /** Settles when it wakes; there while it sleeps. */
  #asleep: Deferred | undefined;
  /** Settles when the pause between two attempts is over. */
  #pause: Deferred | undefined;
  /** Whether it has woken since the last pause, or since there is a connection. */
  #hasWoken = false;
  /** Ends the attempt under way. */
  #attempt: AbortController | undefined;
  #link: Link | undefined;
  #check: Timer | undefined;

  /**
   * Follows nothing yet.
   *
   * @param checkMs How long the broker may take to answer when the page is looked at.
   */
  constructor({ watchPage }: Pick<Outside, "watchPage">, checkMs = CHECK_MS) {
    this.#watch = watchPage;
    this.#checkMs = checkMs;
  }

  /** Follows it from now on, until `end`: while it does, the page keeps it in memory. */
  begin(): void {
    this.#stop ??= this.#watch?.(this);
  }

  /** Follows it no longer. */
  end(): void {
    this.#stop?.();
    this.#stop = this.#asleep = undefined;
    this.#dropCheck();
  }

  /** This is the connection now, until it ends. */
  connected(link: Link): void {
    this.#link = link;
    this.#hasWoken = false;
    this.#dropCheck();
    link.finished.then(() => {
      if (this.#link === link) this.#link = undefined;
    });
  }

  /**
   * Waits before another attempt, for so long, but not if the page has woken since the one before, or
   * wakes meanwhile.
   *
   * @returns Whether it has: then what failed before says little. Rejects when the signal aborts.
   */
  async pause(ms: number, signal: AbortSignal, keepsAlive: boolean): Promise<boolean> {
    const due = this.#pause = new Deferred();
    if (this.#hasWoken) due.settle({});
    const timer = later(() => due.settle({}), ms, keepsAlive);
    try {
      await due.wait(signal);
    } finally {
      timer.cancel();
    }
    const hasWoken = this.#hasWoken;
    this.#hasWoken = false;
    return hasWoken;
  }

  /**
   * Makes an attempt, once the page is awake, and again if it fell asleep meanwhile.
   *
   * @param make Makes it, until the signal aborts.
   */
  async attempt<T>(signal: AbortSignal, make: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#watch === undefined) return await make(signal);
    for (;;) {
      await this.#asleep?.wait(signal);
      const attempt = this.#attempt = new AbortController();
      try {
        return await make(AbortSignal.any([signal, attempt.signal]));
      } catch (error) { // Whatever it fails with is for the caller, unless the page fell asleep.
        if (signal.aborted || !attempt.signal.aborted) throw error;
      }
    }
  }

  wake(): void {
    this.#hasWoken = true;
    this.#asleep?.settle({});
    this.#asleep = undefined;
    this.#pause?.settle({});
    if (this.#link !== undefined && this.#check === undefined) this.#checkIfThere(this.#link);
  }

  #checkIfThere(link: Link): void {
    link.ask();
    const laps = new Laps();
    this.#check = later(() => {
      this.#check = undefined;
      if (!link.isDoubted) return;
      if (laps.next() > this.#checkMs + LATE_MS) this.#checkIfThere(link);
      else link.lose(new Error(`no answer within ${this.#checkMs} ms`));
    }, this.#checkMs);
  }

  sleep(): void {
    this.#fallAsleep("The page was suspended", (link, why) => link.close(why));
  }

  leave(): void {
    this.#fallAsleep("The page was closed", (link, why) => link.leave(why));
  }

  #fallAsleep(why: string, letGo: (link: Link, error: Error) => void): void {
    this.#asleep ??= new Deferred();
    const error = new ConnectionLostError(why);
    this.#attempt?.abort(error);
    this.#dropCheck();
    if (this.#link !== undefined) letGo(this.#link, error);
  }

  #dropCheck(): void {
    this.#check?.cancel();
    this.#check = undefined;
  }
}
