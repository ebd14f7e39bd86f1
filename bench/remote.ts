/**
 * What this project does on one machine, beside relays that do the least that a broker can.
 *
 * ```sh
 * deno run --allow-all bench/remote.ts
 * deno run --allow-all bench/remote.ts --scenario request --seconds 5
 * deno run --allow-all bench/remote.ts --rounds 5 --json remote.json
 * ```
 *
 * `--quick` runs everything for a moment, to see that it runs. A relay's clients push and count
 * prepared bytes: no program of this runtime can be faster with these sockets.
 */
import { type Crowd, throughput } from "./measure.ts";
import { fanOut, flow, REQUEST, START_UP } from "./scenarios.ts";
import { runSuite, type Scenario } from "./suite.ts";
import { LISTEN, MPUBSUB, RELAYS } from "./systems.ts";

const SIZES = [
  [16, "16 B"],
  [128, "128 B"],
  [1024, "1 KiB"],
  [4096, "4 KiB"],
  [16_384, "16 KiB"],
  [65_536, "64 KiB"],
] as const;

const TOPICS_EACH = 10;

/** What a message costs to a client that is one of many, and to one that is alone. */
function cost(name: string, title: string, among?: (clients: number) => Crowd): Scenario {
  return {
    name,
    title: `cost of a message: ${title}`,
    kind: "cost",
    comparedWith: "cost-alone",
    fits: ({ client }) => client === "mpubsub",
    run: (system, span) =>
      throughput(system, { payload: 16, ...(among && { crowd: among(span.crowd) }) }, span),
  };
}

const SCENARIOS: readonly Scenario[] = [
  ...SIZES.map(([bytes, size]) => ({
    ...flow(`1-1-${bytes}`, `1→1, ${size}`, { payload: bytes }),
    essential: bytes === 16,
  })),
  fanOut("1-10-16", "1→10, 16 B, deliveries", 16),
  fanOut("1-10-16384", "1→10, 16 KiB, deliveries", 16_384),
  REQUEST,
  cost("cost-alone", "one client, one topic"),
  cost("cost-crowd", "1,000 clients with 10 topics each, published to one topic", (clients) => ({
    clients,
    topicsEach: TOPICS_EACH,
  })),
  cost("cost-topics", "the same, published to 10 topics of one client in turn", (clients) => ({
    clients,
    topicsEach: TOPICS_EACH,
    published: TOPICS_EACH,
  })),
  cost("cost-subtopics", "the same, published to 10,000 topics below one in turn", (clients) => ({
    clients,
    topicsEach: TOPICS_EACH,
    published: clients * TOPICS_EACH,
  })),
  START_UP,
];

if (import.meta.main) {
  const suite = {
    name: "remote",
    scenarios: SCENARIOS,
    systems: [...MPUBSUB, ...RELAYS, LISTEN],
    baseline: "mpubsub-tcp",
  };
  Deno.exit(await runSuite(suite, Deno.args));
}
