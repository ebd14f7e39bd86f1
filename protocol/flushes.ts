/**
 * Those who wait until the other side has taken everything.
 *
 * ```
 *  add ──▶ waiting ── what it waits for is on its way ──▶ asked ── acknowledged, and answered ──▶ settled
 *             ▲                                             │
 *             └──────────── the connection is lost ─────────┘
 * ```
 *
 * Both sets are in the order in which they were added, so only their first ones need to be looked at.
 */

interface Flush {
  /** What has to be acknowledged, as a total of the outbox. */
  until: number;
  /** The request for an acknowledgement whose answer is waited for. */
  ask: number;
  settle(error?: unknown): void;
}

/** Those who wait for acknowledgements of one session. */
export class Flushes {
  #waiting = new Set<Flush>();
  #asked = new Set<Flush>();

  /** How many wait. */
  get size(): number {
    return this.#waiting.size + this.#asked.size;
  }

  /**
   * Waits until `until` of all that was added is acknowledged.
   *
   * @returns Rejects when `signal` aborts before.
   */
  add(until: number, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const flush: Flush = {
      until,
      ask: 0,
      settle: (error) => {
        signal?.removeEventListener("abort", onAbort);
        if (error === undefined) resolve();
        else reject(error);
      },
    };
    const onAbort = () => {
      this.#waiting.delete(flush);
      this.#asked.delete(flush);
      flush.settle(signal?.reason);
    };
    signal?.addEventListener("abort", onAbort);
    this.#waiting.add(flush);
    return promise;
  }

  /** Asks once for all whose `until` has been handed over. */
  ask(handed: number, ask: () => number): void {
    let number: number | undefined;
    for (const flush of this.#waiting) {
      if (flush.until > handed) return;
      flush.ask = number ??= ask();
      this.#waiting.delete(flush);
      this.#asked.add(flush);
    }
  }

  /** So many requests were answered, and so much is acknowledged. */
  settle(answered: number, acknowledged: number): void {
    for (const flush of this.#asked) {
      if (flush.ask > answered || flush.until > acknowledged) return;
      this.#asked.delete(flush);
      flush.settle();
    }
  }

  /** The connection is lost, and all requests with it. */
  forgetAsks(): void {
    if (this.#asked.size === 0) return;
    this.#waiting = this.#asked.union(this.#waiting);
    this.#asked = new Set();
  }

  /** All who wait now wait until `until` of all that was added is acknowledged. */
  postpone(until: number): void {
    this.forgetAsks();
    for (const flush of this.#waiting) flush.until = until;
  }

  /** Rejects for all who wait. */
  end(reason: unknown): void {
    this.forgetAsks();
    const ended = this.#waiting;
    this.#waiting = new Set();
    for (const { settle } of ended) settle(reason);
  }
}
