/**
 * Two brokers that NATS joins, beside two clients of NATS alone: what is published at one broker is
 * subscribed to at the other. And what joins them by itself, without brokers and programs.
 *
 * ```sh
 * deno run --allow-all bench/uplink.ts
 * deno run --allow-all bench/uplink.ts --scenario 1-1-16 --rounds 9
 * deno run --allow-all bench/uplink.ts --json uplink.json
 * ```
 *
 * `--quick` runs everything for a moment, to see that it runs. The same again through JetStream,
 * which keeps the messages in a file. A run in which messages are lost fails.
 */
import { fanOut, flow, REQUEST } from "./scenarios.ts";
import { runSuite, type Scenario } from "./suite.ts";
import { JOINED } from "./systems.ts";

const STREAMS = ["joined-stream", "jetstream"];
/** What joins the brokers, without them: it has no more than one subscriber. */
const ALONE = "uplink";

/** A scenario in which nothing may be lost. */
function lossless(scenario: Scenario): Scenario {
  return {
    ...scenario,
    fits: ({ name }) =>
      !STREAMS.includes(name) && (name !== ALONE || scenario.name.startsWith("1-1-")),
    async run(system, span) {
      const figures = await scenario.run(system, span);
      if (figures.lost) throw new Error(`${figures.lost} messages were lost`);
      return figures;
    },
  };
}

/** The same through a stream. */
function kept(scenario: Scenario): Scenario {
  return {
    ...scenario,
    name: `stream-${scenario.name}`,
    title: `${scenario.title}, kept by a stream`,
    baseline: "jetstream",
    fits: ({ name }) => STREAMS.includes(name),
  };
}

const [SMALL, MEDIUM, LARGE] = [
  flow("1-1-16", "1→1, 16 B", { payload: 16 }),
  flow("1-1-1024", "1→1, 1 KiB", { payload: 1024 }),
  flow("1-1-16384", "1→1, 16 KiB", { payload: 16_384 }),
].map(lossless) as [Scenario, Scenario, Scenario];
const ASKING = lossless({ ...REQUEST, essential: false });

const SCENARIOS: readonly Scenario[] = [
  SMALL,
  lossless(flow("1-1-128", "1→1, 128 B", { payload: 128 })),
  MEDIUM,
  LARGE,
  lossless(fanOut("1-10-16", "1→10, 16 B, deliveries", 16)),
  lossless(fanOut("1-10-1024", "1→10, 1 KiB, deliveries", 1024)),
  ASKING,
  ...[{ ...SMALL, essential: true }, MEDIUM, LARGE, ASKING].map(kept),
];

if (import.meta.main) {
  const suite = { name: "uplink", scenarios: SCENARIOS, systems: JOINED, baseline: "nats" };
  Deno.exit(await runSuite(suite, Deno.args));
}
