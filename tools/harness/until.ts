/** Waits for a condition that nobody announces, by looking at it, for at most `ms` milliseconds. */
export async function until(condition: () => boolean, ms = 10_000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`still not so: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
