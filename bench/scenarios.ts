/** Scenarios that both benchmarks run, each with systems of its own. */
import { latency, type Load, startUp, throughput } from "./measure.ts";
import type { Scenario } from "./suite.ts";
import type { System } from "./systems.ts";

const REQUEST_BYTES = 16;
/** So that one in a thousand is more than a few. */
const REQUEST_FACTOR = 2;

/** Whether a system has clients. */
export function hasClients({ client }: System): boolean {
  return client !== undefined;
}

/** Messages delivered a second. */
export function flow(name: string, title: string, load: Load): Scenario {
  return {
    name,
    title,
    kind: "throughput",
    fits: hasClients,
    run: (system, span) => throughput(system, load, span),
  };
}

/** The same with many subscribers. */
export function fanOut(name: string, title: string, payload: number): Scenario {
  return {
    ...flow(name, title, { payload }),
    run: (system, span) => throughput(system, { payload, subscribers: span.fan }, span),
  };
}

/** Topics in traffic, while interests elsewhere change. */
export const TRAFFIC_TOPICS = 5000;

/** How often a second interests change that have nothing to do with what is published. */
export const CHANGES = [0, 200, 2000] as const;

/** What a message costs the server while interests change. */
export const INTERESTS: readonly Scenario[] = CHANGES.map((changes) => ({
  name: `interests-${changes}`,
  title: `cost of a message to ${TRAFFIC_TOPICS.toLocaleString("en")} topics in turn, ` +
    (changes === 0
      ? "no interest changes"
      : `${changes.toLocaleString("en")} changes of interests`),
  kind: "cost",
  ...(changes > 0 && { comparedWith: "interests-0" }),
  fits: ({ client }) => client === "mpubsub" || client === "nats",
  run: (system, span) =>
    throughput(system, { payload: 16, changing: { topics: TRAFFIC_TOPICS, changes } }, span),
}));

/** How long it takes from a question to its answer. */
export const REQUEST: Scenario = {
  name: "request",
  title: "request and answer, 16 B, one at a time",
  kind: "latency",
  essential: true,
  fits: hasClients,
  run: (system, span) => latency(system, REQUEST_BYTES, { ...span, ms: span.ms * REQUEST_FACTOR }),
};

/** How long it takes from the start to the first connection. */
export const START_UP: Scenario = {
  name: "start-up",
  title: "start-up: from the start of the server to its first connection",
  kind: "start-up",
  baseline: "listen",
  run: (system, { signal }) => startUp(system, signal),
};
