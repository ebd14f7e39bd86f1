/**
 * Timers that can be disposed of. They do not keep the program running, unless they are told to. No
 * other module of the library sets one, but for `turn.ts`.
 */

/**
 * Calls `callback` after `ms`, unless the timer is disposed before.
 *
 * @param keepsAlive Whether the timer keeps the program running.
 */
export function later(callback: () => void, ms: number, keepsAlive = false): Disposable {
  const timer = setTimeout(callback, ms);
  if (!keepsAlive) unref(timer);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** Calls `callback` every `ms`, until the timer is disposed; does not keep the program running. */
export function every(callback: () => void, ms: number): Disposable {
  const timer = setInterval(callback, ms);
  unref(timer);
  return { [Symbol.dispose]: () => clearInterval(timer) };
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
  const timer = setTimeout(wake, ms);
  signal.addEventListener("abort", wake);
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", wake);
}
