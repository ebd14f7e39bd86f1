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
Prints what the broker has counted since its start, its clients and groups, as
one JSON object on one line. The key has to grant to subscribe to *broker.`,
  options: [
    ...CONNECTION,
    { name: "topics", about: "Also the topics of the next second, the busiest first" },
    { name: "timeout", value: "TIME", about: "How long an answer may take [5s]" },
  ],
  examples: [
    ["stats | jq .dropped", ""],
    [`stats | jq '.clients[] | select(.queuedBytes > 1e6)'`, ""],
    ["stats --topics | jq '.topics[0]'", ""],
  ],
  run,
};

const TIMEOUT_MS = 5000;
/** What is shorter is no period of its own: the broker has just begun to count. */
const PERIOD_MS_MIN = 500;

type Report = Readonly<Record<string, unknown>>;

/** What the broker publishes, by the last element of its topic, and what is printed of it. */
const REPORTS: Readonly<Record<string, (report: Report) => Report | undefined>> = {
  stats: (report) => report,
  clients: ({ clients }) => ({ clients }),
  groups: ({ groups }) => ({ groups }),
  topics({ topics, other, period }) {
    if ((period as number) < PERIOD_MS_MIN) return undefined;
    return { topics, otherTopics: other, topicsPeriod: period };
  },
};

async function run(args: Arguments): Promise<number> {
  args.atMost(0);
  const timeout = args.time("timeout") ?? TIMEOUT_MS;
  const kinds = Object.keys(REPORTS).filter((kind) => kind !== "topics" || args.has("topics"));
  /** The latest of each kind. */
  const reports = new Map<string, Report>();
  const { promise: complete, resolve } = Promise.withResolvers<void>();
  return await withBroker(args, async ({ signal }) => {
    await inTime(
      timeout,
      "Cannot print figures: none came",
      (late) => abortable(complete, AbortSignal.any([signal, late])),
    );
    await printLine(formatJson(Object.assign({}, ...kinds.map((kind) => reports.get(kind)))));
  }, {
    patience: timeout,
    prepare(bus) {
      for (const kind of kinds) {
        bus.addSubscriber(["*broker", kind], (_topic, message) => {
          const report = REPORTS[kind]!(message);
          if (report !== undefined) reports.set(kind, report);
          if (reports.size === kinds.length) resolve();
        });
      }
    },
  });
}
