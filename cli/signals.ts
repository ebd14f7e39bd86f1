/**
 * The signals that end the program.
 */

import { every, type Timer } from "../base/timers.ts";

/** Signals closer together count as one: under `deno task`, Ctrl-C arrives twice. */
const SAME_SIGNAL_MS = 1000;
/** How often to look whether the terminal is gone, once SIGHUP has come. */
const LOOK_MS = 500;
/** How often it looks: a terminal that goes later is not what SIGHUP told of. */
const LOOKS_MAX = 20;
/**
 * What tells whether the program is on a terminal: the output may be in a file or a pipe, and the terminal
 * is still what it was started from. The nohup of macOS leaves the input on the terminal.
 */
const STREAMS = Deno.build.os === "darwin"
  ? ["stdout", "stderr"] as const
  : ["stdin", "stdout", "stderr"] as const;

/** Listens for the signals that end the program, until it is disposed. */
export class StopSignals implements Disposable {
  /** Called when another signal comes later. */
  onAgain: () => void = () => {};
  /** Called on SIGHUP, unless it means that the terminal is gone; without it, SIGHUP on a terminal ends. */
  onHangup: (() => void) | undefined;
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

  readonly #terminals = STREAMS.filter((name) => Deno[name].isTerminal());
  #looks: Timer | undefined;

  readonly #hangup = () => {
    if (this.#terminals.length === 0) return this.onHangup?.();
    if (this.onHangup === undefined || this.#isGone()) return this.#take();
    this.onHangup();
    // When the shell of a terminal ends, SIGHUP comes before the terminal is gone.
    this.#looks?.cancel();
    let looks = 0;
    this.#looks = every(() => {
      if (this.#isGone()) this.#take();
      else if (++looks === LOOKS_MAX) this.#looks?.cancel();
    }, LOOK_MS);
  };

  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[] = Deno.build.os === "windows"
    ? [["SIGINT", this.#take], ["SIGBREAK", this.#take]]
    // Once a program listens for any signal, Deno ends it at SIGHUP, even under nohup, which ignores
    // SIGHUP; and under nohup none of STREAMS is a terminal.
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

  /** After a terminal was closed, what led to it does not lead to a terminal any more. */
  #isGone(): boolean {
    return this.#terminals.some((name) => !Deno[name].isTerminal());
  }

  [Symbol.dispose](): void {
    this.#looks?.cancel();
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}

/**
 * Keeps SIGHUP from ending the program, until it is disposed: a broker may be told to read its keys
 * before it has read them first.
 */
export class IgnoredHangups implements Disposable {
  readonly #ignore = () => {};

  constructor() {
    if (Deno.build.os !== "windows") Deno.addSignalListener("SIGHUP", this.#ignore);
  }

  [Symbol.dispose](): void {
    if (Deno.build.os !== "windows") Deno.removeSignalListener("SIGHUP", this.#ignore);
  }
}
