/**
 * Promises that are settled from outside.
 */

/** How something ended: with an error, or without one, as its owner wanted. */
export type Outcome = { readonly error?: unknown };

/** Who waits for a {@linkcode Deferred}, until a signal aborts. */
interface Waiter {
  resolve(): void;
  reject(reason: unknown): void;
}

/**
 * A promise that is settled from outside. Its rejection need not be handled: whoever calls and waits
 * for it gets a promise of its own.
 */
export class Deferred {
  readonly promise: Promise<void>;
  readonly #resolve: () => void;
  readonly #reject: (reason: unknown) => void;
  /** Nothing can be taken off a promise; so those who may give up are not at it. */
  readonly #waiters = new Set<Waiter>();
  settled = false;

  constructor() {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    promise.catch(() => {});
  }

  /** Rejects with the error of the outcome, or resolves if it has none. */
  settle(outcome: Outcome): void {
    if (this.settled) return;
    this.settled = true;
    const settle = ({ resolve, reject }: Waiter) =>
      "error" in outcome ? reject(outcome.error) : resolve();
    settle({ resolve: this.#resolve, reject: this.#reject });
    for (const waiter of this.#waiters) settle(waiter);
    this.#waiters.clear();
  }

  /**
   * Waits until it settles, but not after `signal` aborts; then nothing of the wait is left.
   *
   * @returns Rejects with the error of the outcome, or the reason of the signal.
   */
  async wait(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (signal === undefined || this.settled) return await this.promise;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { resolve, reject };
    const onAbort = () => reject(signal.reason);
    this.#waiters.add(waiter);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#waiters.delete(waiter);
    }
  }
}
