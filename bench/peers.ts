/**
 * This project beside others: NATS, Redis, Mosquitto, aedes, ZeroMQ, each if it is installed.
 *
 * ```sh
 * deno run --allow-all bench/peers.ts
 * deno run --allow-all bench/peers.ts --scenario 1-1-16 --system mpubsub-tcp --system nats
 * deno run --allow-all bench/peers.ts --seconds 3 --rounds 5 --json peers.json
 * ```
 *
 * `--quick` runs everything for a moment, to see that it runs. Messages are named values,
 * `{ data }`, for this project, and the bare bytes for the others; the rows go as JSON there.
 */
import { latency, type Load, memory, startUp, throughput } from "./measure.ts";
import { runSuite, type Scenario } from "./suite.ts";
import { LISTEN, MPUBSUB, PEERS } from "./systems.ts";

const REQUEST_BYTES = 16;

function flow(name: string, title: string, load: Load | "fan", bytes = 0): Scenario {
  return {
    name,
    title,
    kind: "throughput",
    fits: ({ client }) => client !== undefined,
    run: (system, span) =>
      throughput(system, load === "fan" ? { payload: bytes, subscribers: span.fan } : load, span),
  };
}

const SCENARIOS: readonly Scenario[] = [
  { ...flow("1-1-16", "1→1, 16 B", { payload: 16 }), essential: true },
  flow("1-1-128", "1→1, 128 B", { payload: 128 }),
  flow("1-1-1024", "1→1, 1 KiB", { payload: 1024 }),
  flow("1-1-16384", "1→1, 16 KiB", { payload: 16_384 }),
  { ...flow("1-1-row", "1→1, flat object of 100 B", { payload: "row" }), essential: true },
  flow("1-10-16", "1→10, 16 B, deliveries", "fan", 16),
  flow("1-10-128", "1→10, 128 B, deliveries", "fan", 128),
  flow("1-10-16384", "1→10, 16 KiB, deliveries", "fan", 16_384),
  flow("4-1-16", "4→1, 16 B", { payload: 16, publishers: 4 }),
  flow("turns", "1→1, 16 B, one message a turn of the event loop", { payload: 16, byTurns: true }),
  {
    name: "request",
    title: "request and answer, 16 B",
    kind: "latency",
    essential: true,
    fits: ({ client }) => client !== undefined,
    run: (system, span) => latency(system, REQUEST_BYTES, span),
  },
  {
    name: "memory",
    title: "server's memory for an idle client",
    kind: "memory",
    fits: ({ client }) => client !== undefined,
    run: (system, { crowd, signal }) => memory(system, crowd / 2, signal),
  },
  {
    name: "start-up",
    title: "from the start to the first connection",
    kind: "start-up",
    baseline: "listen",
    run: (system, { signal }) => startUp(system, signal),
  },
];

if (import.meta.main) {
  const suite = {
    name: "peers",
    scenarios: SCENARIOS,
    systems: [...MPUBSUB, ...PEERS, LISTEN],
    baseline: "nats",
  };
  Deno.exit(await runSuite(suite, Deno.args));
}
