import { setImmediate } from "node:timers";

/** Resolves in the next turn of the event loop, when sockets have had theirs. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
