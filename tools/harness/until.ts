import { delay } from "@std/async/delay";

const POLL_MS = 2;

/**
 * Waits for a condition that nobody announces, by looking at it, for at most `ms` milliseconds; then
 * throws an error that says what is `missing`.
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  ms = 10_000,
  missing: string | (() => string) = String(condition),
): Promise<void> {
  for (const end = performance.now() + ms; !await condition();) {
    if (performance.now() > end) {
      const what = typeof missing === "string" ? missing : missing();
      throw new Error(`After ${ms} ms still missing: ${what}`);
    }
    await delay(POLL_MS);
  }
}
