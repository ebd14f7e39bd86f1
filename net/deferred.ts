/**
 * Promises that are settled from outside.
 */

/** How something ended: with an error, or without one, as its owner wanted. */
export type Outcome = { readonly error?: unknown };

/**
 * A promise that is settled from outside. Its rejection need not be handled: whoever calls and waits
 * for it gets a promise of its own.
 */
export class Deferred {
  readonly promise: Promise<void>;
  readonly #resolve: () => void;
  readonly #reject: (reason: unknown) => void;
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
    this.settled = true;
    if ("error" in outcome) this.#reject(outcome.error);
    else this.#resolve();
  }
}

/**
 * Waits for `promise`, but not after `signal` aborts. `@std/async` has one, too, but the library
 * depends on nothing but the platform.
 */
export async function abortable(
  promise: Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (signal === undefined) return await promise;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
