/**
 * How the queue of a client slows down those who feed it. It does so in two ways, until half of it is
 * empty:
 *
 * - *Holding back*, when it is over its limit, and its client has patience: whoever publishes to it
 *   gets no acknowledgements, so that its window closes. The client loses its session if it then
 *   acknowledges nothing for as long as its patience.
 * - *Room*, when it is half full: whoever can wait with more messages is asked to, for a second at
 *   most. No patience is needed for that, and nobody is held back.
 *
 * What is dropped from a full queue is decided in client_peer.ts.
 */
import { later } from "../base/timers.ts";
import type { Origin } from "../routing/peer.ts";

/** For so long whoever can wait with more messages waits for room. */
const ROOM_MS = 1000;

/** The queue, as its {@linkcode Backpressure} sees it. */
export interface BackpressureQueue {
  /** Whether at least half of what it may hold is free. */
  isHalfEmpty(): boolean;
  /** Others were held back for `patience` milliseconds, and nothing was acknowledged meanwhile. */
  onImpatience(patience: number): void;
}

/** Those who wait for room. */
interface Room extends PromiseWithResolvers<void> {
  readonly timer: Disposable;
}

/** Slows down those who feed one queue; see the module. */
export class Backpressure {
  readonly #queue: BackpressureQueue;
  #patience = 0;
  /** Those who are held back, with what ends that; nothing while nobody is. */
  #held: Map<Origin, () => void> | undefined;
  #impatience: Disposable | undefined;
  #room: Room | undefined;
  /** Whether room took too long: then nobody waits for it until half of the queue is empty. */
  #isSlow = false;

  /** Makes one without patience. */
  constructor(queue: BackpressureQueue) {
    this.#queue = queue;
  }

  /** For how many milliseconds others may be held back while nothing is acknowledged; 0: never. */
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
    this.#impatience?.[Symbol.dispose]();
    this.#impatience = later(() => this.#queue.onImpatience(this.#patience), this.#patience);
  }

  /** Something that was in the queue is acknowledged. */
  progress(): void {
    if ((this.#room !== undefined || this.#isSlow) && this.#queue.isHalfEmpty()) {
      this.#isSlow = false;
      this.#giveRoom();
    }
    if (this.#held === undefined) return;
    if (this.#queue.isHalfEmpty()) this.release();
    else this.#awaitProgress();
  }

  /** Holds nobody back any more. */
  release(): void {
    this.#impatience?.[Symbol.dispose]();
    const held = this.#held;
    this.#held = undefined;
    for (const release of held?.values() ?? []) release();
  }

  /** Resolves when there is room for more, or that takes too long; nothing when there is room. */
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
    this.#room?.timer[Symbol.dispose]();
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** The queue is no more: nobody waits for it. */
  end(): void {
    this.#giveRoom();
    this.release();
  }
}
