/**
 * How the queue of a client slows down those who feed it. It does so in two ways, until half of it is
 * empty:
 *
 * - *Holding back*, when the queue is over its limit and its client has patience: its publishers get no
 *   acknowledgements, so that their windows close. The client loses its session if it then acknowledges
 *   nothing for as long as its patience.
 * - *Room*, when the queue is half full: those who can wait before they send more are asked to, for a
 *   second at most. This needs no patience, and nobody is held back.
 *
 * client_peer.ts decides what is dropped from a full queue.
 */
import { later, type Timer } from "../base/timers.ts";
import type { Origin } from "../routing/peer.ts";

/** How long those who can wait before they send more wait for room. */
const ROOM_MS = 1000;

/** The queue, as its {@linkcode Backpressure} sees it. */
export interface BackpressureQueue {
  /** Whether at least half of what it may hold is free. */
  isHalfEmpty(): boolean;
  /** Publishers were held back for `patience` milliseconds, and nothing was acknowledged meanwhile. */
  onImpatience(patience: number): void;
}

/** Those who wait for room. */
interface Room extends PromiseWithResolvers<void> {
  readonly timer: Timer;
}

/** Slows down those who feed one queue. */
export class Backpressure {
  readonly #queue: BackpressureQueue;
  #patience = 0;
  /** Those who are held back, each with what releases it; `undefined` while nobody is. */
  #held: Map<Origin, () => void> | undefined;
  #impatience: Timer | undefined;
  #room: Room | undefined;
  /** Whether room took too long; nobody waits for it then until half of the queue is empty. */
  #isSlow = false;

  /** Makes one without patience. */
  constructor(queue: BackpressureQueue) {
    this.#queue = queue;
  }

  /** How many milliseconds publishers may be held back while nothing is acknowledged; 0: never. */
  get patience(): number {
    return this.#patience;
  }

  set patience(ms: number) {
    this.#patience = ms;
    if (ms === 0 || this.#queue.isHalfEmpty()) this.release();
  }

  /** Whether somebody is held back. */
  get isActive(): boolean {
    return this.#held !== undefined;
  }

  /** Holds back an origin, whose latest `messages` are so many bytes. */
  holdBack(origin: Origin, messages: number, bytes: number): void {
    if (this.#held === undefined) {
      this.#held = new Map();
      this.#awaitProgress();
    }
    if (!this.#held.has(origin)) this.#held.set(origin, origin.withhold(messages, bytes));
  }

  #awaitProgress(): void {
    this.#impatience?.cancel();
    this.#impatience = later(() => this.#queue.onImpatience(this.#patience), this.#patience);
  }

  /** Something from the queue was acknowledged. */
  progress(): void {
    if ((this.#room !== undefined || this.#isSlow) && this.#queue.isHalfEmpty()) {
      this.#isSlow = false;
      this.#giveRoom();
    }
    if (this.#held === undefined) return;
    if (this.#queue.isHalfEmpty()) this.release();
    else this.#awaitProgress();
  }

  /** Releases all who are held back. */
  release(): void {
    this.#impatience?.cancel();
    const held = this.#held;
    this.#held = undefined;
    for (const release of held?.values() ?? []) release();
  }

  /** Resolves when there is room for more, or that takes too long; `undefined` if there is room. */
  room(): Promise<void> | undefined {
    if (this.#isSlow || this.#queue.isHalfEmpty()) return undefined;
    this.#room ??= {
      ...Promise.withResolvers<void>(),
      timer: later(() => {
        this.#isSlow = true;
        this.#giveRoom();
      }, ROOM_MS),
    };
    return this.#room.promise;
  }

  #giveRoom(): void {
    this.#room?.timer.cancel();
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** The queue is gone: releases all who are held back or wait. */
  end(): void {
    this.#giveRoom();
    this.release();
  }
}
