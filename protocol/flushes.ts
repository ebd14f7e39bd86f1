/**
 * Those who wait until the other side has everything: each for all that was added before it came, and
 * for the answer to a request that was sent after that.
 *
 * What they wait for comes in the order in which they came. So they wait in a list, from whose start
 * they are asked for and let go, and each costs the same however many there are.
 */
import { Fifo } from "../base/fifo.ts";

interface Flush {
  /** What has to be acknowledged, as totals of the outboxes. */
  until: number;
  readonly untilCalls: number;
  /** The request on this connection whose answer is waited for. */
  ask: number;
  /** Whether it waits no longer. */
  isOver: boolean;
  settle(error?: unknown): void;
}

/** The flushes of one session. */
export class Flushes {
  #list = new Fifo<Flush>();
  /** How many of the first were asked for. */
  #asked = 0;
  /** How many in the list wait no longer. */
  #over = 0;

  /** Whether nobody waits. */
  get isEmpty(): boolean {
    return this.#list.length === this.#over;
  }

  /**
   * Waits until the other side has acknowledged messages up to `until`, and calls up to `untilCalls`;
   * both are no less than before.
   *
   * @returns Rejects with the reason of {@linkcode Flushes.end}, or when `signal` aborts.
   */
  add(until: number, signal?: AbortSignal, untilCalls = 0): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const flush: Flush = {
      until,
      untilCalls,
      ask: 0,
      isOver: false,
      settle(error) {
        flush.isOver = true;
        signal?.removeEventListener("abort", onAbort);
        if (error === undefined) resolve();
        else reject(error);
      },
    };
    const onAbort = () => {
      flush.settle(signal?.reason);
      this.#over++;
      this.#compact();
    };
    signal?.addEventListener("abort", onAbort);
    this.#list.push(flush);
    return promise;
  }

  /** Drops those that wait no longer, once they are more than the others. */
  #compact(): void {
    if (2 * this.#over <= this.#list.length) return;
    const list = new Fifo<Flush>();
    let asked = 0;
    for (let i = 0; i < this.#list.length; i++) {
      const flush = this.#list.at(i)!;
      if (flush.isOver) continue;
      list.push(flush);
      if (i < this.#asked) asked++;
    }
    this.#list = list;
    this.#asked = asked;
    this.#over = 0;
  }

  /** There is another connection: nothing was asked for over it. */
  reconnect(): void {
    this.#asked = 0;
  }

  /** All who wait now wait until `until` of all messages that were added are acknowledged. */
  postpone(until: number): void {
    this.reconnect();
    for (let i = 0; i < this.#list.length; i++) this.#list.at(i)!.until = until;
  }

  /**
   * Asks for those whose wait needs nothing that was not handed over yet.
   *
   * @param handed How far messages were handed over.
   * @param ask Sends a request, and returns its number.
   * @param handedCalls How far calls were handed over.
   */
  askFor(handed: number, ask: () => number, handedCalls = 0): void {
    let number = 0;
    let next = this.#list.at(this.#asked);
    while (next !== undefined && next.until <= handed && next.untilCalls <= handedCalls) {
      if (!next.isOver) next.ask = number ||= ask();
      next = this.#list.at(++this.#asked);
    }
  }

  /** Lets go of those whose request is answered, and for whom enough is acknowledged. */
  settle(answered: number, acknowledged: number, acknowledgedCalls = 0): void {
    for (let first = this.#list.at(0); this.#asked > 0 && first !== undefined;) {
      if (!first.isOver) {
        if (first.ask > answered || first.until > acknowledged) return;
        if (first.untilCalls > acknowledgedCalls) return;
        first.settle();
      } else this.#over--;
      this.#list.shift();
      this.#asked--;
      first = this.#list.at(0);
    }
  }

  /** Rejects for all who wait. */
  end(reason: unknown): void {
    for (let flush = this.#list.shift(); flush !== undefined; flush = this.#list.shift()) {
      if (!flush.isOver) flush.settle(reason);
    }
    this.#asked = this.#over = 0;
  }
}
