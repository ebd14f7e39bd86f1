/**
 * Breaks things on purpose while messages pass, and checks that none is lost, doubled or inverted.
 *
 * ```sh
 * deno task chaos                          # connections are cut, with a fresh seed
 * deno task chaos --seed 7 --messages 40000 --cuts 60
 * deno task chaos --web 8                  # so many of the eight clients over WebSockets, instead of four
 * deno task chaos --pages 2                # so many of these in a page of Chromium
 * deno task chaos --kill 20                # the broker is killed and started again, instead
 * ```
 *
 * Publishers and subscribers are processes of their own. The exit status is 0 when all is well.
 */
import { delay } from "@std/async/delay";
import { parseArgs } from "@std/cli/parse-args";
import { fromBase64, toBase64 } from "../../base/base64.ts";
import { readConnectionFile } from "../../io/connection_file.ts";
import { type Gap, NetPubSub } from "../../mod.ts";
import { Proxy, randomPlan } from "../../testing.ts";
import { findChromium } from "../harness/chromium.ts";
import { BrokerProcess, Process, tell } from "../harness/processes.ts";
import { until } from "../harness/until.ts";
import { optionsOf, type Report, runClient, type Topics } from "./chaos_client.ts";
import { PageClients, type Remote } from "./page_clients.ts";

const PUBLISHERS = ["P1", "P2", "P3", "P4"];
const SUBSCRIBERS = ["S1", "S2", "S3", "S4"];
/** How long all may take to come, or to come back. */
const PATIENCE_MS = 60_000;

async function client(flags: Record<string, unknown>): Promise<void> {
  const { role, name, file, address, key } = flags;
  const options = optionsOf(tell);
  const bus = address === undefined
    ? await NetPubSub.fromFile<Topics>(String(file), options)
    : new NetPubSub<Topics>(String(address), fromBase64(String(key)), options);
  const task = { role: String(role), name: String(name), messages: Number(flags.messages) };
  await runClient(bus, { ...task, isKilled: file !== undefined }, tell);
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
  /** How many of these are in a page of Chromium: those with the last numbers. */
  readonly pages: number;
  readonly kill: number;
}

async function chaos(
  { seed, messages, cuts, web, pages, kill }: ChaosOptions,
): Promise<boolean> {
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
  const onReport = (name: string, report: Report) => {
    if ("ready" in report) ready.add(name);
    outcome.take(name, report);
  };
  const chromium = pages > 0 ? await findChromium() : undefined;
  if (pages > 0 && chromium === undefined) console.log("Skipped: there is no Chromium here");
  const inPage = chromium === undefined
    ? undefined
    : stack.use(new PageClients(chromium, onReport));
  const start = async (role: string, name: string): Promise<Remote> => {
    const args = [`--role=${role}`, `--name=${name}`];
    if (kill > 0) args.push(`--file=${broker.file}`, "--messages=0");
    else {
      args.push(`--messages=${messages / PUBLISHERS.length}`);
      // What passes through one connection, so that the wanted number of them break on the way.
      const bytes = Math.ceil(messages * BYTES_PER_MESSAGE * SUBSCRIBERS.length / cuts);
      const plan = randomPlan(seed * 100 + proxies.length, { bytes, kinds: ["cut"] });
      const isAmong = (count: number) => Number(name.slice(1)) > PUBLISHERS.length - count / 2;
      const isWeb = isAmong(web) || isAmong(pages);
      const proxy = stack.use(new Proxy({ target: isWeb ? overWeb! : own!, plan }));
      proxies.push(proxy);
      await proxy.start();
      const key = toBase64(authkey!);
      const address = String(proxy.address);
      if (inPage !== undefined && isAmong(pages)) {
        const each = messages / PUBLISHERS.length;
        return inPage.start({ role, name, messages: each, isKilled: false, address, key });
      }
      args.push(`--address=${address}`, `--key=${key}`);
    }
    const tell = (report: Report) => onReport(name, report);
    return stack.use(new Process<Report>(import.meta.url, args, tell));
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
  if (inPage !== undefined) console.log(`${pages} of the clients in ${inPage.version}`);
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
    string: [
      ...["role", "name", "file", "address", "key"],
      ...["seed", "messages", "cuts", "web", "pages", "kill"],
    ],
    default: { messages: "200000", cuts: "300", web: "4", pages: "0", kill: "0" },
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
  const { messages, cuts, web, pages, kill } = flags;
  const options = { messages: Number(messages), cuts: Number(cuts), web: Number(web) };
  const more = { pages: Number(pages), kill: Number(kill) };
  if (more.pages > 0 && more.kill > 0) {
    throw new TypeError("Cannot use --pages with --kill: a page has no connection file");
  }
  return await chaos({ seed, ...options, ...more }) ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
