import { delay } from "@std/async/delay";

/** Resolves when nothing is left to do: these streams need turns only, and a timer comes after them. */
export async function quiet(): Promise<void> {
  // On a busy machine a link may give others their turn, and go on after it.
  for (let turn = 0; turn < 4; turn++) await delay(0);
}
