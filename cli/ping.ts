/**
 * `mpubsub ping`: how long a round trip to the broker takes.
 */
import { delay } from "@std/async/delay";
import { CONNECTION, inTime, withBroker } from "./client.ts";
import type { Arguments, Command } from "./command.ts";
import { formatMs, quantile } from "./format.ts";
import { printLine } from "./output.ts";

/** Pings. */
export const ping: Command = {
  usage: ["ping [OPTIONS]"],
  about: `
Measures round trips: how long the broker takes to acknowledge something. Exits
with 1 if the broker does not answer in time, so it is also a health check.`,
  options: [
    ...CONNECTION,
    { name: "count", value: "N", about: "How many round trips [5]" },
    { name: "interval", value: "TIME", about: "Time from one to the next [200ms]" },
    { name: "timeout", value: "TIME", about: "How long an answer may take [5s]" },
    { name: "json", about: "Print only the result, as JSON, in milliseconds" },
    { name: "quiet", about: "Print only what goes wrong" },
  ],
  examples: [
    ["ping -c x.json", ""],
    ["ping --count 1 --quiet && echo alive", "a health check"],
  ],
  run,
};

const COUNT = 5;
const INTERVAL_MS = 200;
const TIMEOUT_MS = 5000;

async function run(args: Arguments): Promise<number> {
  args.atMost(0);
  const count = args.whole("count", 1) ?? COUNT;
  const interval = args.time("interval") ?? INTERVAL_MS;
  const timeout = args.time("timeout") ?? TIMEOUT_MS;
  const isQuiet = args.has("quiet");
  const isJson = args.has("json");
  return await withBroker(args, async ({ bus, signal }) => {
    const trips: number[] = [];
    try {
      for (let number = 1; number <= count; number++) {
        if (number > 1) await delay(interval, { signal });
        const before = performance.now();
        await inTime(
          timeout,
          "No answer",
          (late) => bus.flush({ signal: AbortSignal.any([signal, late]) }),
        );
        const trip = performance.now() - before;
        trips.push(trip);
        if (!isQuiet && !isJson) await printLine(`${number}: ${formatMs(trip)}`);
      }
    } catch (error) { // Interrupted: what was measured is shown.
      if (error !== signal.reason || trips.length === 0) throw error;
    }
    const [min, median, p99] = [0, 0.5, 0.99].map((part) => quantile(trips, part));
    const done = trips.length;
    if (isJson) await printLine(JSON.stringify({ count: done, min, median, p99 }));
    else if (!isQuiet) {
      await printLine(
        `min ${formatMs(min!)}, median ${formatMs(median!)}, p99 ${formatMs(p99!)} of ${done}`,
      );
    }
  }, { patience: timeout });
}
