/**
 * Lets clients join and leave for ten minutes, and checks that the broker keeps nothing of those who
 * are gone.
 *
 * ```sh
 * deno task soak                           # ten minutes, with a fresh seed
 * deno task soak --minutes 1.5 --seed 7
 * ```
 *
 * Clients leave in order, lose their connection and come back, lose it and stay away, or are cut in
 * their handshake. The broker's memory is measured without its garbage. The exit status is 0 when all
 * is well.
 */
import { delay } from "@std/async/delay";
import { parseArgs } from "@std/cli/parse-args";
import { NetPubSub } from "../../mod.ts";
import { Proxy } from "../../testing.ts";
import { type Random, randomOf } from "../harness/random.ts";
import {
  type BrokerFigures,
  endWithParent,
  isRight,
  MeasuredBroker,
  mib,
  Process,
  serveMeasured,
  tell,
} from "../harness/processes.ts";
import { until } from "../harness/until.ts";

const CHURNS = 2;
/** Pairs of clients that come and go at the same time, in one process. */
const PAIRS = 8;
const MESSAGES_MAX = 200;
const RESUME_WINDOW_MS = 2000;
const HEARTBEAT_MS = 1000;
/** How much the resident memory of the last third may be above that of the second. */
const GROWTH_MAX = 1.05;
const PATIENCE_MS = 20_000;

interface Topics {
  soak: { n: number };
}

/** What clients did. */
interface Counts {
  clients: number;
  messages: number;
  /** How clients went; those that returned left afterwards. */
  left: number;
  returned: number;
  vanished: number;
  strangers: number;
  /** Should not happen. */
  lost: number;
  gaps: number;
}

function noCounts(): Counts {
  return {
    clients: 0,
    messages: 0,
    left: 0,
    returned: 0,
    vanished: 0,
    strangers: 0,
    lost: 0,
    gaps: 0,
  };
}

/** Clients of one process that come and go. */
class Churn {
  readonly #address: string;
  readonly #key: string;
  readonly #random: Random;
  readonly #counts: Counts = noCounts();

  constructor(address: string, key: string, seed: number) {
    this.#address = address;
    this.#key = key;
    this.#random = randomOf(seed);
  }

  async run(ms: number): Promise<Counts> {
    const end = performance.now() + ms;
    const live = async () => {
      while (performance.now() < end) {
        if (this.#random.int(10) === 0) await this.#stranger();
        else await this.#pair();
      }
    };
    await Promise.all(Array.from({ length: PAIRS }, live));
    return this.#counts;
  }

  #client(address = this.#address): NetPubSub<Topics> {
    this.#counts.clients++;
    return new NetPubSub<Topics>(address, this.#key, { onGap: () => this.#counts.gaps++ });
  }

  /** One subscribes, the other publishes to it; then both go. */
  async #pair(): Promise<void> {
    const counts = this.#counts;
    await using proxy = new Proxy({ target: this.#address });
    await proxy.start();
    const from = this.#client();
    const to = this.#client(proxy.address);
    const messages = 1 + this.#random.int(MESSAGES_MAX);
    const returns = this.#random.int(3) === 0;
    const vanishes = this.#random.int(3) === 0;
    const topic = ["soak", crypto.randomUUID()] as const;
    let latest = 0;
    const all = Promise.withResolvers<void>();
    to.addSubscriber(topic, (_topic, { n }) => {
      if (n !== ++latest) counts.lost++;
      if (n === messages) all.resolve();
    });
    await Promise.all([from.connect(), to.connect()]);
    for (let n = 1; n <= messages; n++) {
      from.publish(topic, { n });
      if (returns && n === messages >> 1) {
        await from.flush();
        proxy.cut();
        counts.returned++;
      }
    }
    counts.messages += messages;
    await Promise.all([from.flush(), all.promise]);
    if (vanishes) {
      await this.#vanish(to, proxy);
      // What nobody takes any more.
      for (let n = 1; n <= messages; n++) from.publish(topic, { n });
    } else {
      await to.disconnect();
      counts.left++;
    }
    await from.disconnect();
    counts.left++;
  }

  /** Goes so that the broker does not hear of it. */
  async #vanish(client: NetPubSub<Topics>, proxy: Proxy): Promise<void> {
    proxy.refuse(PATIENCE_MS);
    proxy.cut();
    await until(() => client.state !== "connected", PATIENCE_MS);
    await client.disconnect();
    this.#counts.vanished++;
  }

  /** Comes no further than somewhere in its handshake. */
  async #stranger(): Promise<void> {
    const after = this.#random.int(150);
    await using proxy = new Proxy({
      target: this.#address,
      plan: () => [{ kind: "cut", direction: "up", after }],
    });
    await proxy.start();
    const client = this.#client(proxy.address);
    // It may get as far as to be connected; either way it is cut.
    await client.connect().catch(() => {});
    if (client.state !== "disconnected") await this.#vanish(client, proxy);
    else this.#counts.strangers++;
  }
}

async function soak(minutes: number, seed: number): Promise<boolean> {
  console.log(`seed ${seed}`);
  await using stack = new AsyncDisposableStack();
  const samples: { at: number; rss: number }[] = [];
  const ms = minutes * 60_000;
  let began = performance.now();
  const options = { resumeWindow: RESUME_WINDOW_MS, heartbeat: HEARTBEAT_MS };
  const { broker, address, authkey } = await MeasuredBroker.start(import.meta.url, options, {
    flags: ["--v8-flags=--expose-gc"],
    onFigures: ({ rss }) => samples.push({ at: performance.now() - began, rss }),
  });
  stack.use(broker);
  await until(() => samples.length > 0, PATIENCE_MS);
  const { files } = broker.figures;
  began = performance.now();

  const counts = noCounts();
  const churns = Array.from({ length: CHURNS }, (_, i) => {
    const args = [`--role=churn`, `--address=${address}`, `--key=${authkey}`, `--ms=${ms}`];
    const process = new Process<Counts>(
      import.meta.url,
      [...args, `--seed=${seed + i}`],
      (report) => {
        for (const name of Object.keys(counts) as (keyof Counts)[]) counts[name] += report[name];
      },
    );
    return stack.use(process);
  });
  const codes = await Promise.all(churns.map((churn) => churn.status()));

  const isEmpty = ({ stats, files: now }: BrokerFigures) =>
    stats.sessions + stats.connections + stats.detached + stats.queuedBytes === 0 && now <= files;
  const ended = performance.now();
  while (!isEmpty(broker.figures) && performance.now() - ended < PATIENCE_MS) await delay(100);

  const third = (n: number) => {
    const within = samples.filter(({ at }) => at >= ms * (n - 1) / 3 && at < ms * n / 3);
    return within.reduce((sum, { rss }) => sum + rss, 0) / within.length;
  };
  const growth = third(3) / third(2);
  const { stats, sessionsMax, rssMax, files: filesLeft } = broker.figures;
  const { clients, messages, left, returned, vanished, strangers, lost, gaps } = counts;
  console.log(
    `${clients} clients: ${left} left, ${returned} came back after a cut, ${vanished} vanished, ` +
      `${strangers} got no further than their handshake\n` +
      `${messages} messages: ${lost} lost or out of order, ${gaps} gaps told; ` +
      `the broker received ${stats.received}, resumed ${stats.resumed} sessions, ` +
      `refused ${stats.refused} connections\n` +
      `resident without garbage, mean of each third: ${
        [1, 2, 3].map((n) => mib(third(n))).join(", ")
      }` +
      `; the last is ${growth.toFixed(3)} of the second; at most ${mib(rssMax)}\n` +
      `at the end: ${stats.sessions} sessions (at most ${sessionsMax}), ` +
      `${stats.connections} connections, ${stats.detached} detached, ` +
      `${stats.queuedBytes} bytes queued, ${filesLeft} files open (${files} before)`,
  );
  const criteria: Record<string, boolean> = {
    "a client failed": codes.every((code) => code === 0),
    "something was lost": lost + gaps === 0,
    "the memory grew": growth <= GROWTH_MAX,
    "the broker keeps something of those who are gone": isEmpty(broker.figures),
  };
  return isRight(Object.keys(criteria).filter((fault) => !criteria[fault]));
}

async function main(args: string[]): Promise<number> {
  const flags = parseArgs(args, {
    string: ["role", "options", "address", "key", "ms", "minutes", "seed"],
    default: { minutes: "10", seed: String(Date.now() % 100_000) },
    unknown: (arg) => {
      throw new TypeError(`Unknown argument ${arg}`);
    },
  });
  const { role, options, address, key, ms, minutes, seed } = flags;
  if (role === undefined) return await soak(Number(minutes), Number(seed)) ? 0 : 1;
  if (role === "broker") await serveMeasured(JSON.parse(String(options)));
  else {
    endWithParent();
    tell(await new Churn(String(address), String(key), Number(seed)).run(Number(ms)));
  }
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
