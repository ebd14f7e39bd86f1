/**
 * Does what takes long step by step, in turns with everything else that there is to do.
 *
 * ```
 *  tasks   A ─▶ B ─▶ C ─▶ A ─▶ B …     one step of each, until the time slice is over;
 *                        │             then everything else has its turn
 * ```
 *
 * When nothing is under way, a task begins at once; what is short is then done when `run` returns.
 */
import { Fifo } from "./fifo.ts";
import { TimeSlice } from "./time_slice.ts";

interface Task {
  readonly steps: Iterator<unknown, unknown, undefined>;
  done(): void;
  failed(error: unknown): void;
}

/** Work in the background of one program part, in short steps. */
export class Background {
  readonly #slice: TimeSlice;
  readonly #tasks = new Fifo<Task>();
  #isWorking = false;

  /** Makes one with nothing to do; `slice` says how long one turn is. */
  constructor(slice = new TimeSlice()) {
    this.#slice = slice;
  }

  /**
   * Does the steps of a task, each a call of `next`, in turns with other tasks and everything else.
   *
   * @returns Resolves when all are done; rejects with what one of them throws.
   */
  run(steps: Iterator<unknown, unknown, undefined>): Promise<void> {
    const { promise, resolve: done, reject: failed } = Promise.withResolvers<void>();
    this.#tasks.push({ steps, done, failed });
    if (!this.#isWorking) this.#work();
    return promise;
  }

  /** Does something short, when its turn comes. */
  call(work: () => void): Promise<void> {
    return this.run([work].values().map((work) => work()));
  }

  /**
   * Something that is done again and again.
   *
   * @param begin Makes its steps.
   * @returns Runs it, unless it is still under way since the last time.
   */
  repeatedly(begin: () => Iterator<unknown, unknown, undefined>): () => void {
    let isUnderWay = false;
    return () => {
      if (isUnderWay) return;
      isUnderWay = true;
      this.run(begin()).finally(() => isUnderWay = false);
    };
  }

  /** Drops what is not done yet; nothing more comes. */
  end(): void {
    this.#tasks.clear();
    this.#slice.end();
  }

  async #work(): Promise<void> {
    this.#isWorking = true;
    this.#slice.begin();
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) {
      if (!this.#step(task)) this.#tasks.push(task);
      if (!this.#slice.isOver()) continue;
      await this.#slice.next();
      this.#slice.begin();
    }
    this.#isWorking = false;
  }

  /** Does one step; returns whether it was the last. */
  #step(task: Task): boolean {
    try {
      if (!task.steps.next().done) return false;
      task.done();
    } catch (error) { // Whatever a step throws is for whoever gave the task.
      task.failed(error);
    }
    return true;
  }
}
