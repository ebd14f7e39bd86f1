/**
 * Breaks things on purpose while messages pass, and checks that none is lost, doubled or inverted.
 *
 * ```sh
 * deno task chaos                          # connections are cut, with a fresh seed
 * deno task chaos --seed 7 --messages 40000 --cuts 60
 * deno task chaos --web 8                  # so many of the eight clients over WebSockets, instead of four
 * deno task chaos --kill 20                # the broker is killed and started again, instead
 * ```
 *
 * Publishers and subscribers are processes of their own. The exit status is 0 when all is well.
 */
import { delay } from "@std/async/delay";
import { parseArgs } from "@std/cli/parse-args";
import { readConnectionFile } from "../../io/connection_file.ts";
import { type Gap, NetPubSub } from "../../mod.ts";
import { checkHistory, type HistoryReport, Proxy, randomPlan } from "../../testing.ts";
import { BrokerProcess, Process, tell } from "../harness/processes.ts";
import { until } from "../harness/until.ts";

const PUBLISHERS = ["P1", "P2", "P3", "P4"];
const SUBSCRIBERS = ["S1", "S2", "S3", "S4"];
/** A publisher waits when so many bytes are not acknowledged. */
const PENDING_MAX = 256 * 1024;
/** How long all may take to come, or to come back. */
const PATIENCE_MS = 60_000;
const FAULTS_SHOWN_MAX = 5;

interface Topics {
  chaos: { number: number };
  /** Publishers are to come to their end. */
  stop: object;
  /** Subscribers are; so many messages were published. */
  end: { sent: Record<string, number> };
}

type Report =
  | { ready: true }
  | { gap: Gap }
  | { sent: number }
  | { history: Pick<HistoryReport, "counts" | "seen">; faults: unknown[] };

/** Publishes so many messages; 0 is until it is to stop. */
async function publish(bus: NetPubSub<Topics>, name: string, messages: number): Promise<void> {
  let stop = false;
  bus.addSubscriber("stop", () => stop = true);
  await bus.flush();
  tell({ ready: true });
  let number = 0;
  while (messages > 0 ? number < messages : !stop) {
    bus.publish(["chaos", name], { number: ++number });
    if (bus.pending > PENDING_MAX) await bus.flush();
    else if (messages === 0 && number % 100 === 0) await delay(10);
  }
  await bus.flush();
  tell({ sent: number });
}

async function subscribe(bus: NetPubSub<Topics>, isKilled: boolean): Promise<void> {
  const seen: { publisher: string; id: number }[] = [];
  bus.addSubscriber("chaos", ([, publisher = ""], { number }) => {
    seen.push({ publisher, id: number });
  });
  const end = Promise.withResolvers<Record<string, number>>();
  bus.addSubscriber("end", (_topic, { sent }) => end.resolve(sent));
  await bus.flush();
  tell({ ready: true });
  const published = Object.fromEntries(
    Object.entries(await end.promise).map(([publisher, count]) => [
      publisher,
      Array.from({ length: count }, (_, i) => i + 1),
    ]),
  );
  const { counts, seen: sightings, faults } = checkHistory({ published, seen: { me: seen } });
  // What a killed broker lost, and what is sent again after it, is only counted.
  const shown = faults.filter(({ kind }) => !isKilled || kind === "inverted");
  tell({ history: { counts, seen: sightings }, faults: shown.slice(0, FAULTS_SHOWN_MAX) });
}

async function client(flags: Record<string, unknown>): Promise<void> {
  const { role, file, address, key } = flags;
  const options = { onGap: (gap: Gap) => tell({ gap }), backlog: 2 ** 26 };
  const bus = address === undefined
    ? await NetPubSub.fromFile<Topics>(String(file), options)
    : new NetPubSub<Topics>(
      String(address),
      Uint8Array.from(atob(String(key)), (c) => c.charCodeAt(0)),
      options,
    );
  await connect(bus);
  await (role === "publisher"
    ? publish(bus, String(flags.name), Number(flags.messages))
    : subscribe(bus, file !== undefined));
  await bus.disconnect();
}

/** The first connection may be cut, too; until there was one, connect() gives up. */
async function connect(bus: NetPubSub<Topics>): Promise<void> {
  for (let attempt = 0;; attempt++) {
    try {
      return await bus.connect();
    } catch (error) {
      if (attempt === 50) throw error;
    }
  }
}

/** What happened, added up. */
class Outcome {
  readonly gaps = new Map<string, Gap[]>();
  readonly counts = { lost: 0, repeated: 0, inverted: 0, unknown: 0 };
  readonly sent: Record<string, number> = {};
  seen = 0;
  histories = 0;

  take(name: string, report: Report): void {
    if ("gap" in report) this.gaps.set(name, [...this.gaps.get(name) ?? [], report.gap]);
    else if ("sent" in report) this.sent[name] = report.sent;
    else if ("history" in report) {
      this.histories++;
      this.seen += report.history.seen;
      for (const kind of ["lost", "repeated", "inverted", "unknown"] as const) {
        this.counts[kind] += report.history.counts[kind];
      }
      for (const fault of report.faults) console.log(name, fault);
    }
  }

  /** How many messages the clients sent a second time, as they were told. */
  get resent(): number {
    return [...this.gaps.values()].flat().reduce((sum, { resent = 0 }) => sum + resent, 0);
  }
}

interface ChaosOptions {
  readonly seed: number;
  readonly messages: number;
  readonly cuts: number;
  /** How many clients connect over a WebSocket: those with the last numbers. */
  readonly web: number;
  readonly kill: number;
}

async function chaos({ seed, messages, cuts, web, kill }: ChaosOptions): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-chaos-" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const broker = stack.use(new BrokerProcess(`${folder}/broker.json`, ...listening(folder)));
  await broker.start();
  const { addresses, authkey } = await readConnectionFile(broker.file);
  const [own, overWeb] = addresses!;

  const outcome = new Outcome();
  const ready = new Set<string>();
  const proxies: Proxy[] = [];
  const start = async (role: string, name: string) => {
    const args = [`--role=${role}`, `--name=${name}`];
    if (kill > 0) args.push(`--file=${broker.file}`, "--messages=0");
    else {
      args.push(`--messages=${messages / PUBLISHERS.length}`);
      // What passes through one connection, so that the wanted number of them break on the way.
      const bytes = Math.ceil(messages * BYTES_PER_MESSAGE * SUBSCRIBERS.length / cuts);
      const plan = randomPlan(seed * 100 + proxies.length, { bytes, kinds: ["cut"] });
      const isWeb = Number(name.slice(1)) > PUBLISHERS.length - web / 2;
      const proxy = stack.use(new Proxy({ target: isWeb ? overWeb! : own!, plan }));
      proxies.push(proxy);
      await proxy.start();
      args.push(`--address=${proxy.address}`, `--key=${btoa(String.fromCharCode(...authkey!))}`);
    }
    const process = new Process<Report>(import.meta.url, args, (report) => {
      if ("ready" in report) ready.add(name);
      outcome.take(name, report);
    });
    return stack.use(process);
  };

  const subscribers = await Promise.all(SUBSCRIBERS.map((name) => start("subscriber", name)));
  await until(() => ready.size === SUBSCRIBERS.length, PATIENCE_MS);
  const began = performance.now();
  const publishers = await Promise.all(PUBLISHERS.map((name) => start("publisher", name)));
  await until(() => ready.size === SUBSCRIBERS.length + PUBLISHERS.length, PATIENCE_MS);
  for (let killed = 1; killed <= kill; killed++) {
    await delay(500 + (seed * killed) % 300);
    await broker.kill();
    await broker.start();
    await until(
      () =>
        [...SUBSCRIBERS, ...PUBLISHERS].every((name) => outcome.gaps.get(name)?.length === killed),
      PATIENCE_MS,
    );
  }
  await using bus = await NetPubSub.fromFile<Topics>(broker.file);
  await bus.connect();
  bus.publish("stop");
  const codes = await Promise.all(publishers.map((process) => process.status()));
  bus.publish("end", { sent: outcome.sent });
  codes.push(...await Promise.all(subscribers.map((process) => process.status())));
  const seconds = (performance.now() - began) / 1000;

  const { lost, repeated, inverted, unknown } = outcome.counts;
  const gaps = [...outcome.gaps.values()].flat();
  const cut = cutOf(proxies, "");
  console.log(
    `${
      Object.values(outcome.sent).reduce((a, b) => a + b, 0)
    } messages of ${PUBLISHERS.length} publishers, ${outcome.seen} sightings by ` +
      `${SUBSCRIBERS.length} subscribers, in ${seconds.toFixed(1)} s`,
  );
  const cutText = `connections cut ${cut} times, ${cutOf(proxies, "ws:")} of them WebSockets`;
  console.log(kill > 0 ? `broker killed ${kill} times` : cutText);
  console.log(
    `${lost} lost, ${repeated} doubled, ${inverted} inverted, ${unknown} unknown; ` +
      `${gaps.length} gaps told, ${outcome.resent} messages sent again`,
  );
  if (codes.some((code) => code !== 0) || outcome.histories < SUBSCRIBERS.length) return false;
  if (kill === 0) {
    return cut >= cuts && lost + repeated + inverted + unknown + gaps.length === 0;
  }
  return inverted + unknown === 0 && repeated <= outcome.resent * SUBSCRIBERS.length;
}

/** How often connections to these addresses were cut. */
function cutOf(proxies: readonly Proxy[], begin: string): number {
  return proxies.filter(({ address }) => address.startsWith(begin))
    .reduce((sum, proxy) => sum + proxy.stats().cut, 0);
}

/** The addresses of the broker: a socket of its own, and a WebSocket. */
function listening(folder: string): string[] {
  const own = Deno.build.os === "windows" ? "tcp://127.0.0.1:0" : `unix://${folder}/bus.sock`;
  return [`--address=${own}`, "--address=ws://127.0.0.1:0/bus"];
}

/** About as many bytes as one message of this chaos takes on the wire. */
const BYTES_PER_MESSAGE = 28;

async function main(args: string[]): Promise<number> {
  const flags = parseArgs(args, {
    string: ["role", "name", "file", "address", "key", "seed", "messages", "cuts", "web", "kill"],
    default: { messages: "200000", cuts: "300", web: "4", kill: "0" },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  if (flags.role !== undefined) {
    await client(flags);
    return 0;
  }
  const seed = flags.seed === undefined ? Date.now() % 100_000 : Number(flags.seed);
  console.log(`seed ${seed}`);
  const { messages, cuts, web, kill } = flags;
  const options = { messages: Number(messages), cuts: Number(cuts), web: Number(web) };
  return await chaos({ seed, ...options, kill: Number(kill) }) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
