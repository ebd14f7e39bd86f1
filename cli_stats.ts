/**
 * `mpubsub-broker stats`: what the broker counts, once.
 */
import { CONNECTION, withBroker } from "./cli_client.ts";
import type { Arguments, Command } from "./cli_command.ts";
import { formatJson } from "./tagged_json.ts";

/** Prints what the broker counts. */
export const stats: Command = {
  usage: ["stats [OPTIONS]"],
  about: `
Prints what the broker has counted since it was started, and its clients, as one
JSON object on one line. It takes a key with the right to subscribe to *broker.`,
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
  const timeout = args.duration("timeout") ?? TIMEOUT_MS;
  const reports = [["*broker", "stats"], ["*broker", "clients"]].map((topic) => ({
    topic,
    report: Promise.withResolvers<Record<string, unknown>>(),
  }));
  return await withBroker(args, async ({ signal }) => {
    const late = AbortSignal.timeout(timeout);
    const ended = Promise.withResolvers<never>();
    AbortSignal.any([signal, late]).addEventListener("abort", ({ target }) => {
      ended.reject(
        late.aborted
          ? new Error(`Cannot tell: no figures came within ${timeout} ms`)
          : (target as AbortSignal).reason,
      );
    });
    const [totals, clients] = await Promise.race([
      Promise.all(reports.map(({ report }) => report.promise)),
      ended.promise,
    ]);
    console.log(formatJson({ ...totals, clients: clients!.clients }));
  }, {
    prepare(bus) {
      for (const { topic, report } of reports) {
        bus.addSubscriber(topic, (_topic, message) => report.resolve(message));
      }
    },
  });
}
