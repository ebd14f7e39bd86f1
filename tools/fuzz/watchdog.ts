/**
 * Tells which run does not end when that keeps this process busy for ever, and ends the process.
 *
 * It lives in a worker, and sees numbers that the runs leave in shared memory.
 */

/** How often it looks. */
const LOOK_MS = 500;

/** What the worker is told once. */
export interface WatchOrder {
  /** The index of the target that runs, the number of the run, and whether one is under way. */
  readonly state: SharedArrayBuffer;
  /** How long a run may take. */
  readonly limit: number;
  /** What to print for each target before the number of the run. */
  readonly commands: readonly string[];
}

/** Watches the runs of this process. */
export class Watchdog implements Disposable {
  readonly #worker: Worker;
  readonly #state = new Int32Array(new SharedArrayBuffer(12));

  /** Begins to watch, with the fields of {@linkcode WatchOrder}. */
  constructor(order: Omit<WatchOrder, "state">) {
    this.#worker = new Worker(import.meta.resolve("./watchdog_worker.ts"), { type: "module" });
    this.#worker.postMessage({ ...order, state: this.#state.buffer });
  }

  /** A run of the target at this index begins. */
  began(target: number, run: number): void {
    Atomics.store(this.#state, 0, target);
    Atomics.store(this.#state, 1, run);
    Atomics.store(this.#state, 2, 1);
  }

  /** It has ended. */
  ended(): void {
    Atomics.store(this.#state, 2, 0);
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/** Looks at the state now and then; kills the process when a run goes on for too long. */
export function watch({ state, limit, commands }: WatchOrder): void {
  const numbers = new Int32Array(state);
  let seen = "";
  let since = performance.now();
  setInterval(() => {
    const now = numbers.join();
    if (now !== seen || numbers[2] === 0) since = performance.now();
    seen = now;
    if (performance.now() - since < limit) return;
    console.error(`FOUND a run that does not end: ${commands[numbers[0]!]} --run ${numbers[1]}`);
    Deno.kill(Deno.pid, "SIGKILL");
  }, LOOK_MS);
}
