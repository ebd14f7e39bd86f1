import { delay } from "@std/async/delay";

/** How soon it looks again: at first, and at most after this share of the time that it has waited. */
const POLL_MS = 2;
const POLL_SHARE = 0.05;

/**
 * Waits for a condition that nobody announces, by looking at it, for at most `ms` milliseconds; then
 * throws an error that says what is `missing`.
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  ms = 10_000,
  missing: string | (() => string) = String(condition),
): Promise<void> {
  const start = performance.now();
  while (!await condition()) {
    const waited = performance.now() - start;
    if (waited > ms) {
      const what = typeof missing === "string" ? missing : missing();
      throw new Error(`After ${ms} ms still missing: ${what}`);
    }
    // To look costs something, most of all to ask another process.
    await delay(Math.max(POLL_MS, waited * POLL_SHARE));
  }
}
