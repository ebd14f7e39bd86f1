/** What this project means to reach, as ratios within one run, and what it has reached. */
import { summarize } from "./statistics.ts";
import type { Findings } from "./suite.ts";

/** The findings of all suites. */
export interface AllFindings {
  readonly peers: Findings;
  readonly remote: Findings;
  readonly uplink: Findings;
  readonly inProcess: Findings;
}

/** A ratio of ours to another's, and what it should be. */
interface Goal {
  readonly title: string;
  readonly is: "at least" | "at most";
  readonly goal: number;
  readonly stretch: number;
  /** Undefined where one of them was not measured. */
  ratio(findings: AllFindings): number | undefined;
}

const [TCP, UNIX, NATS] = ["mpubsub-tcp", "mpubsub-unix", "nats"];
const OTHERS = ["redis", "ioredis", "mosquitto", "aedes", "zeromq"];

function median(
  { results }: Findings,
  scenario: string,
  system: string,
  figure: string,
): number | undefined {
  const result = results.find((one) => one.scenario === scenario && one.system === system);
  const figures = result?.rounds.map((round) => round[figure]!).filter(Number.isFinite) ?? [];
  return figures.length === 0 ? undefined : summarize(figures).median;
}

/** The ratio of one system's figure to another's. */
function ratioOf(
  findings: Findings,
  figure: string,
  [scenario, system]: readonly [string, string],
  [otherScenario, other]: readonly [string, string],
): number | undefined {
  const own = median(findings, scenario, system, figure);
  const others = median(findings, otherScenario, other, figure);
  return own === undefined || others === undefined ? undefined : own / others;
}

function toNats(
  title: string,
  scenario: string,
  [is, goal, stretch]: readonly [Goal["is"], number, number],
  { figure = "rate", system = TCP }: { figure?: string; system?: string } = {},
): Goal {
  const ratio = ({ peers }: AllFindings) =>
    ratioOf(peers, figure, [scenario, system], [scenario, NATS]);
  return { title: `${title} ÷ NATS`, is, goal, stretch, ratio };
}

/** What a message costs publisher and subscriber in another runtime than Deno. */
function inRuntime(runtime: string, title: string, system: string): Goal {
  const scenario = `${runtime}-1-1-16`;
  return {
    title: `clients' CPU in ${title} ÷ NATS there`,
    is: "at most",
    goal: 0.33,
    stretch: 0.25,
    ratio: ({ peers }) =>
      ratioOf(peers, "clientCpu", [scenario, `${runtime}-${system}`], [
        scenario,
        `${runtime}-nats`,
      ]),
  };
}

function toOthers(title: string, scenario: string, goal: number, stretch: number): Goal {
  return {
    title: `${title} ÷ the best of the others`,
    is: "at least",
    goal,
    stretch,
    ratio({ peers }) {
      const rates = OTHERS.flatMap((other) => median(peers, scenario, other, "rate") ?? []);
      const own = median(peers, scenario, TCP, "rate");
      return own === undefined || rates.length === 0 ? undefined : own / Math.max(...rates);
    },
  };
}

function unixToTcp(
  title: string,
  scenario: string,
  [is, goal, stretch]: readonly [Goal["is"], number, number],
  figure = "rate",
): Goal {
  const ratio = ({ remote }: AllFindings) =>
    ratioOf(remote, figure, [scenario, UNIX], [scenario, TCP]);
  return { title: `Unix socket ÷ our TCP, ${title}`, is, goal, stretch, ratio };
}

/** Through NATS: between brokers, or between programs at one and at another. */
function throughNats(
  title: string,
  scenario: string,
  [is, goal, stretch]: readonly [Goal["is"], number, number],
  { system = "joined", figure = "rate" } = {},
): Goal {
  const ratio = ({ uplink }: AllFindings) =>
    ratioOf(uplink, figure, [scenario, system], [scenario, NATS]);
  const from = system === "joined" ? "program to program" : "broker to broker";
  return { title: `from ${from} through NATS, ${title} ÷ NATS`, is, goal, stretch, ratio };
}

/** Within a process: `others` are the libraries of which the best counts. */
function inProcess(
  title: string,
  group: string,
  others: readonly string[],
  [goal, stretch]: readonly [number, number],
): Goal {
  return {
    title,
    is: "at most",
    goal,
    stretch,
    ratio({ inProcess }) {
      const times = others.flatMap((other) => median(inProcess, group, other, "avg") ?? []);
      const own = median(inProcess, group, "mpubsub", "avg");
      return own === undefined || times.length === 0 ? undefined : own / Math.min(...times);
    },
  };
}

const CODECS = ["msgpackr", "cbor-x"];

const GOALS: readonly Goal[] = [
  toNats("1→1, 16 B, TCP", "1-1-16", ["at least", 4, 6]),
  toNats("1→1, 128 B, TCP", "1-1-128", ["at least", 4, 6]),
  toNats("1→1, flat object, TCP", "1-1-row", ["at least", 3, 5]),
  toNats("1→10, 16 B, TCP", "1-10-16", ["at least", 3, 5]),
  toNats("1→10, 128 B, TCP", "1-10-128", ["at least", 3, 5]),
  toNats("4→1, 16 B, TCP", "4-1-16", ["at least", 4, 7]),
  toNats("1→1, 16 KiB, TCP", "1-1-16384", ["at least", 1.5, 2]),
  toOthers("1→1, 16 KiB, TCP", "1-1-16384", 1.2, 1.6),
  toNats("1→10, 16 KiB, TCP", "1-10-16384", ["at least", 1.5, 2]),
  toOthers("1→10, 16 KiB, TCP", "1-10-16384", 1.2, 1.6),
  toNats("one message a turn, 16 B, TCP", "turns", ["at least", 1.2, 1.5]),
  toNats("one message a turn, 16 B, Unix", "turns", ["at least", 2, 3], { system: UNIX }),
  unixToTcp("1→1, 16 B", "1-1-16", ["at least", 1, 1]),
  unixToTcp("1→1, 16 KiB", "1-1-16384", ["at least", 1.2, 1.2]),
  unixToTcp("request and answer, p50", "request", ["at most", 0.75, 0.6], "p50"),
  toNats("request and answer, p50, TCP", "request", ["at most", 0.85, 0.7], { figure: "p50" }),
  toNats("request and answer, p50, Unix", "request", ["at most", 0.5, 0.35], {
    figure: "p50",
    system: UNIX,
  }),
  toNats("request and answer, p99, TCP", "request", ["at most", 1, 1], { figure: "p99" }),
  toNats("request and answer, p99, Unix", "request", ["at most", 1, 1], {
    figure: "p99",
    system: UNIX,
  }),
  toNats("server's CPU, 1→1, 16 B", "1-1-16", ["at most", 0.25, 0.1], { figure: "serverCpu" }),
  toNats("server's CPU, 1→10, 16 B", "1-10-16", ["at most", 0.25, 0.1], { figure: "serverCpu" }),
  inRuntime("node", "Node, TCP", TCP),
  inRuntime("node", "Node, Unix", UNIX),
  inRuntime("bun", "Bun, TCP", TCP),
  inRuntime("bun", "Bun, Unix", UNIX),
  toNats("memory for each idle client", "memory", ["at most", 0.6, 0.4], { figure: "kib" }),
  {
    title: "a message among 1,000 clients with 10,000 topics ÷ alone, server's CPU",
    is: "at most",
    goal: 1.3,
    stretch: 1.1,
    ratio: ({ remote }) => ratioOf(remote, "serverCpu", ["cost-crowd", TCP], ["cost-alone", TCP]),
  },
  {
    title: "a message while 2,000 interests a second change elsewhere ÷ none, server's CPU",
    is: "at most",
    goal: 1.5,
    stretch: 1.2,
    ratio: ({ peers }) =>
      ratioOf(peers, "serverCpu", ["interests-2000", TCP], ["interests-0", TCP]),
  },
  {
    title: "start-up ÷ a script that calls Deno.listen",
    is: "at most",
    goal: 3,
    stretch: 1.5,
    ratio: ({ peers }) => ratioOf(peers, "ms", ["start-up", TCP], ["start-up", "listen"]),
  },
  throughNats("16 B", "1-1-16", ["at least", 0.8, 1], { system: "uplink" }),
  throughNats("128 B", "1-1-128", ["at least", 0.8, 1], { system: "uplink" }),
  throughNats("1 KiB", "1-1-1024", ["at least", 0.8, 1], { system: "uplink" }),
  throughNats("16 KiB", "1-1-16384", ["at least", 0.8, 1], { system: "uplink" }),
  throughNats("1→1, 16 B", "1-1-16", ["at least", 0.8, 1]),
  throughNats("1→1, 128 B", "1-1-128", ["at least", 0.8, 1]),
  throughNats("1→1, 1 KiB", "1-1-1024", ["at least", 0.8, 1]),
  throughNats("1→10, 16 B", "1-10-16", ["at least", 0.8, 1]),
  inProcess("local, one listener ÷ mitt", "one element, 1 listener", ["mitt"], [1, 1]),
  inProcess("local, one listener ÷ nanoevents", "one element, 1 listener", ["nanoevents"], [2, 2]),
  inProcess("local, no listener ÷ mitt", "one element, no listener", ["mitt"], [2, 2]),
  inProcess(
    "local, three elements, a listener on a parent ÷ eventemitter2 with wildcards",
    "three elements, a listener on a parent",
    ["eventemitter2, wildcards"],
    [0.25, 0.15],
  ),
  inProcess(
    "local, a listener on any name ÷ eventemitter2 with wildcards",
    "64 topics in turn, of three elements, a listener on any name in the middle",
    ["eventemitter2, wildcards"],
    [1, 0.5],
  ),
  inProcess("codec, {message} ÷ the better of two", '{ message: "foo" }, both', CODECS, [0.8, 0.6]),
  inProcess(
    "codec, flat object ÷ the better of two",
    "a flat object of 100 bytes as JSON, both",
    CODECS,
    [0.8, 0.6],
  ),
];

/** The goals and what was reached, as the rows of a table. */
export function goalRows(findings: AllFindings): string[][] {
  const rows = GOALS.map(({ title, is, goal, stretch, ratio }) => {
    const reached = ratio(findings);
    const meets = (bound: number) =>
      reached !== undefined && (is === "at least" ? reached >= bound : reached <= bound);
    const verdict = meets(stretch) ? "stretch" : meets(goal) ? "yes" : "**no**";
    const sign = is === "at least" ? "≥" : "≤";
    return [
      title,
      `${sign} ${goal}`,
      `${sign} ${stretch}`,
      reached?.toFixed(2) ?? "–",
      reached === undefined ? "not measured" : verdict,
    ];
  });
  return [["", "goal", "stretch", "reached", ""], ...rows];
}
