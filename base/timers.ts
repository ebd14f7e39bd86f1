/**
 * Timers that can be cancelled. They do not keep the program running, unless they are told to. No other
 * module of the library sets one, but for `turn.ts`.
 */

// Those that were there at the beginning: where a program fakes its own, ours go on.
const setPlatformTimeout = setTimeout;
const clearPlatformTimeout = clearTimeout;
const setPlatformInterval = setInterval;
const clearPlatformInterval = clearInterval;

/** A timer. */
export interface Timer {
  /** Ends it; twice is once. */
  cancel(): void;
}

/**
 * Calls `callback` after `ms`, unless the timer is cancelled before.
 *
 * @param keepsAlive Whether the timer keeps the program running.
 */
export function later(callback: () => void, ms: number, keepsAlive = false): Timer {
  const timer = setPlatformTimeout(callback, ms);
  if (!keepsAlive) unref(timer);
  return { cancel: () => clearPlatformTimeout(timer) };
}

/** Calls `callback` every `ms`, until the timer is cancelled; does not keep the program running. */
export function every(callback: () => void, ms: number): Timer {
  const timer = setPlatformInterval(callback, ms);
  unref(timer);
  return { cancel: () => clearPlatformInterval(timer) };
}

/** Lets the program end before a timer does. It is an object in Node and Bun, and a number elsewhere. */
function unref(timer: number | { unref?(): void }): void {
  if (typeof timer === "object") timer.unref?.();
  else if (typeof Deno !== "undefined") Deno.unrefTimer(timer);
}

/** Waits for `ms`, or until `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = () => resolve();
  const timer = setPlatformTimeout(wake, ms);
  signal.addEventListener("abort", wake);
  await promise;
  clearPlatformTimeout(timer);
  signal.removeEventListener("abort", wake);
}
