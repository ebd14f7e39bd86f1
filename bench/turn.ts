/** Waiting: for the next turn of the event loop, or for a time. */
import { setImmediate } from "node:timers";

/** Resolves in the next turn of the event loop, when sockets have had theirs. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Resolves after so many milliseconds. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
