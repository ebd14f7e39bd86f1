import { delay } from "@std/async/delay";

/** What somebody who was held up makes up for. */
const OWED_MAX_MS = 50;

/** How many times something is due, told about each millisecond, to be done `rate` times a second. */
export async function* duePer(rate: number): AsyncGenerator<number> {
  let owed = 0;
  for (let last = performance.now();;) {
    await delay(1);
    const now = performance.now();
    owed += Math.min(now - last, OWED_MAX_MS) * rate / 1000;
    last = now;
    const count = Math.floor(owed);
    owed -= count;
    yield count;
  }
}
