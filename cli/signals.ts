/**
 * The signals that end the program.
 */

/** Signals closer together are one: under `deno task` a Ctrl-C arrives twice. */
const SAME_SIGNAL_MS = 1000;

/** The signals that end the program, from now until it is disposed. */
export class StopSignals implements Disposable {
  /** Called by a later signal that is not the same as the first. */
  onAgain: () => void = () => {};
  /** Called by a SIGHUP that does not mean that the terminal is gone. */
  onHangup: () => void = () => {};
  readonly #controller = new AbortController();
  readonly #happened = Promise.withResolvers<void>();
  #firstAt = 0;

  readonly #take = () => {
    const now = performance.now();
    if (this.signal.aborted) {
      if (now - this.#firstAt >= SAME_SIGNAL_MS) this.onAgain();
      return;
    }
    this.#firstAt = now;
    this.#controller.abort();
    this.#happened.resolve();
  };

  readonly #isOnTerminal = Deno.stdout.isTerminal();

  /** A terminal that is closed is none any more. */
  readonly #hangup = () => {
    if (this.#isOnTerminal && !Deno.stdout.isTerminal()) this.#take();
    else this.onHangup();
  };

  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[] = Deno.build.os === "windows"
    ? [["SIGINT", this.#take], ["SIGBREAK", this.#take]]
    // Once it listens to any signal, Deno ends at SIGHUP, even where nohup has that ignored; and
    // nohup lets nothing print to a terminal.
    : [
      ["SIGINT", this.#take],
      ["SIGTERM", this.#take],
      ["SIGHUP", this.#hangup],
    ];

  constructor() {
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
  }

  /** Aborts with the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Resolves with the first signal. */
  get happened(): Promise<void> {
    return this.#happened.promise;
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}
