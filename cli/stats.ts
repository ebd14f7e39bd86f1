/**
 * `mpubsub stats`: what the broker counts, once.
 */
import { abortable } from "@std/async/abortable";
import { CONNECTION, inTime, withBroker } from "./client.ts";
import type { Arguments, Command } from "./command.ts";
import { printLine } from "./output.ts";
import { formatJson } from "./tagged_json.ts";

/** Prints what the broker counts. */
export const stats: Command = {
  usage: ["stats [OPTIONS]"],
  about: `
Prints what the broker has counted since its start, and its clients, as one JSON
object on one line. The key must have the right to subscribe to *broker.`,
  options: [
    ...CONNECTION,
    { name: "timeout", value: "TIME", about: "How long an answer may take [5s]" },
  ],
  examples: [
    ["stats | jq .dropped", ""],
    [`stats | jq '.clients[] | select(.queuedBytes > 1e6)'`, ""],
  ],
  run,
};

const TIMEOUT_MS = 5000;

async function run(args: Arguments): Promise<number> {
  args.atMost(0);
  const timeout = args.time("timeout") ?? TIMEOUT_MS;
  const reports = [["*broker", "stats"], ["*broker", "clients"]].map((topic) => ({
    topic,
    report: Promise.withResolvers<Record<string, unknown>>(),
  }));
  return await withBroker(args, async ({ signal }) => {
    const all = Promise.all(reports.map(({ report }) => report.promise));
    const [totals, clients] = await inTime(
      timeout,
      "Cannot print figures: none came",
      (late) => abortable(all, AbortSignal.any([signal, late])),
    );
    printLine(formatJson({ ...totals, clients: clients!.clients }));
  }, {
    prepare(bus) {
      for (const { topic, report } of reports) {
        bus.addSubscriber(topic, (_topic, message) => report.resolve(message));
      }
    },
  });
}
