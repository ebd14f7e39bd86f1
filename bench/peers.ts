/**
 * This project beside others: NATS, Redis, Mosquitto, aedes, ZeroMQ, and by WebSockets socket.io and
 * Bun, each if it is installed; and its client in Node and Bun beside that of NATS there.
 *
 * ```sh
 * deno run --allow-all bench/peers.ts
 * deno run --allow-all bench/peers.ts --scenario 1-1-16 --system mpubsub-tcp --system nats
 * deno run --allow-all bench/peers.ts --seconds 3 --rounds 5 --json peers.json
 * ```
 *
 * `--quick` runs everything for a moment, to see that it runs. Messages are named values,
 * `{ data }`, for this project, and the bare bytes for the others; rows go as JSON there.
 */
import { memory } from "./measure.ts";
import {
  BY_WEBSOCKETS,
  fanOut,
  flow,
  IN_RUNTIMES,
  INTERESTS,
  isMeasured,
  REQUEST,
  START_UP,
} from "./scenarios.ts";
import { runSuite, type Scenario } from "./suite.ts";
import { ELSEWHERE, LISTEN, MPUBSUB, PEERS, WEB } from "./systems.ts";

const SCENARIOS: readonly Scenario[] = [
  flow("1-1-16", "1→1, 16 B", { payload: 16 }),
  flow("1-1-128", "1→1, 128 B", { payload: 128 }),
  flow("1-1-1024", "1→1, 1 KiB", { payload: 1024 }),
  flow("1-1-16384", "1→1, 16 KiB", { payload: 16_384 }),
  { ...flow("1-1-row", "1→1, flat object of 100 B", { payload: "row" }), essential: true },
  fanOut("1-10-16", "1→10, 16 B, deliveries", 16),
  fanOut("1-10-128", "1→10, 128 B, deliveries", 128),
  fanOut("1-10-16384", "1→10, 16 KiB, deliveries", 16_384),
  flow("4-1-16", "4→1, 16 B", { payload: 16, publishers: 4 }),
  flow("turns", "1→1, 16 B, one message a turn of the event loop", { payload: 16, byTurns: true }),
  REQUEST,
  {
    name: "memory",
    title: "server's memory for each idle authenticated client",
    kind: "memory",
    fits: isMeasured,
    run: (system, span) => memory(system, span.crowd / 2, span),
  },
  ...INTERESTS,
  START_UP,
  ...BY_WEBSOCKETS,
  ...IN_RUNTIMES,
];

if (import.meta.main) {
  const suite = {
    name: "peers",
    scenarios: SCENARIOS,
    systems: [...MPUBSUB, ...PEERS, ...WEB, ...ELSEWHERE, LISTEN],
    baseline: "nats",
  };
  Deno.exit(await runSuite(suite, Deno.args));
}
