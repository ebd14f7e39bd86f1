/** Scenarios that both benchmarks run, each with systems of its own. */
import { latency, type Load, memory, startUp, throughput } from "./measure.ts";
import { CLIENT_RUNTIMES } from "./client_runtimes.ts";
import type { Scenario, SuiteSpan } from "./suite.ts";
import type { System } from "./systems.ts";

const REQUEST_BYTES = 16;
/** So that one in a thousand is more than a few. */
const REQUEST_FACTOR = 2;

/** Whether a system has clients. */
function hasClients({ client }: System): boolean {
  return client !== undefined;
}

/** Whether a system has clients in Deno, and more than WebSockets. */
export function isMeasured(system: System): boolean {
  return hasClients(system) && system.isWeb !== true && system.runtime === undefined;
}

/** Messages delivered a second. */
export function flow(name: string, title: string, load: Load): Scenario {
  return {
    name,
    title,
    kind: "throughput",
    fits: isMeasured,
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
  fits: (system) => isMeasured(system) && /^(mpubsub|nats)$/.test(system.client!),
  run: (system, span) =>
    throughput(system, { payload: 16, changing: { topics: TRAFFIC_TOPICS, changes } }, span),
}));

/** How long it takes from a question to its answer. */
export const REQUEST: Scenario = {
  name: "request",
  title: "request and answer, 16 B, one at a time",
  kind: "latency",
  essential: true,
  fits: isMeasured,
  run: (system, span) => latency(system, REQUEST_BYTES, { ...span, ms: span.ms * REQUEST_FACTOR }),
};

/** How long it takes from the start to the first connection. */
export const START_UP: Scenario = {
  name: "start-up",
  title: "start-up: from the start of the server to its first connection",
  kind: "start-up",
  baseline: "listen",
  fits: ({ isWeb, runtime }) => isWeb !== true && runtime === undefined,
  run: (system, { signal }) => startUp(system, signal),
};

/** The client processes of a fan-out by WebSockets. */
const WEB_FAN_PROCESSES = 2;
/** What is on its way to a hundred clients waits a hundred times in a server. */
const WEB_WINDOW_PART = 25;

/** The same by WebSockets, beside our TCP. */
export const BY_WEBSOCKETS: readonly Scenario[] = [
  ...[16, 1024].flatMap((payload) => {
    const size = payload === 1024 ? "1 KiB" : `${payload} B`;
    return [
      flow(`ws-1-1-${payload}`, `WebSockets, 1→1, ${size}`, { payload }),
      {
        ...flow(`ws-1-100-${payload}`, `WebSockets, 1→100, ${size}, deliveries`, { payload }),
        run: (system: System, span: SuiteSpan) => {
          const clientsEach = 10 * span.fan / WEB_FAN_PROCESSES;
          const load = { payload, subscribers: WEB_FAN_PROCESSES, clientsEach };
          return throughput(system, load, { ...span, window: span.window / WEB_WINDOW_PART });
        },
      },
    ];
  }),
  { ...REQUEST, name: "ws-request", title: `WebSockets, ${REQUEST.title}` },
  {
    name: "ws-memory",
    title: "WebSockets, server's memory for each idle client",
    kind: "memory" as const,
    run: (system: System, span: SuiteSpan) => memory(system, 2 * span.crowd, span),
  },
].map((scenario) => ({
  ...scenario,
  baseline: "nats-ws",
  essential: false,
  fits: ({ isWeb, name }) => isWeb === true || name === "mpubsub-tcp",
}));

/** What a message costs clients in other runtimes than Deno, publisher and subscriber together. */
export const IN_RUNTIMES: readonly Scenario[] = CLIENT_RUNTIMES.map(({ name, title }) => ({
  name: `${name}-1-1-16`,
  title: `${title}, 1→1, 16 B, cost of a message to publisher and subscriber`,
  kind: "clients" as const,
  baseline: `${name}-nats`,
  fits: ({ runtime }: System) => runtime?.name === name,
  run: (system: System, span: SuiteSpan) => throughput(system, { payload: 16 }, span),
}));
