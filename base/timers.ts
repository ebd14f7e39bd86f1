/**
 * Timers that can be disposed of, and that let the program end meanwhile.
 */

/**
 * Calls `callback` after `ms`, unless that is disposed before.
 *
 * @param keepsAlive Whether the program may not end meanwhile.
 */
export function later(callback: () => void, ms: number, keepsAlive = false): Disposable {
  const timer = setTimeout(callback, ms);
  if (!keepsAlive) Deno.unrefTimer(timer);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** Calls `callback` every `ms`, until that is disposed; lets the program end meanwhile. */
export function every(callback: () => void, ms: number): Disposable {
  const timer = setInterval(callback, ms);
  Deno.unrefTimer(timer);
  return { [Symbol.dispose]: () => clearInterval(timer) };
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
