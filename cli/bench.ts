/**
 * `mpubsub bench`: how many messages pass through a broker, and how fast.
 *
 * The clients run in workers, so that they use more than one core and do not wait for what is shown
 * here; see `bench_worker.ts`.
 */
import { abortable } from "@std/async/abortable";
import { Progress, type Result, resultOf, tableOf } from "./bench_report.ts";
import {
  Counts,
  type Load,
  type Order,
  type Report,
  SILENCE_MS,
  STOPPED_SILENCE_MS,
  WORKER_NAME,
} from "./bench_worker.ts";
import { accessOf, type BrokerAccess, CONNECTION, interruptible } from "./client.ts";
import { type Arguments, type Command, timeText, UsageError } from "./command.ts";
import { Histogram } from "./histogram.ts";
import { complain, printLines } from "./output.ts";
import { topicOf } from "./topics.ts";

/** Measures. */
export const bench: Command = {
  usage: ["bench [OPTIONS]"],
  about: `
Measures how many messages pass through the broker, and how fast. Publishers go
as fast as the slowest subscriber; with --rate they do not wait for it. Ctrl-C
ends it early, with what was measured.`,
  options: [
    ...CONNECTION,
    { name: "publishers", value: "N", about: "How many clients publish [1]" },
    { name: "subscribers", value: "N", about: "How many clients get all messages [1]" },
    { name: "size", value: "BYTES", about: "Bytes of data in each message [128]" },
    { name: "seconds", value: "N", about: "How long to publish [5]" },
    {
      name: "messages",
      value: "N",
      about: "Instead of --seconds: how many messages in all",
      both: "For how long [5], or how many messages in all",
    },
    { name: "rate", value: "N", about: "Messages per second in all, to measure latency" },
    { name: "topic", value: "TOPIC", about: "Publish below this topic [bench]" },
    { name: "json", about: "Print the raw figures as JSON, times in ms" },
  ],
  examples: [
    ["bench -c x.json --subscribers 4", "throughput"],
    ["bench -c x.json --rate 1000", "latency"],
  ],
  run,
};

const SIZE = 128;
const SIZE_MAX = 2 ** 30;
const SECONDS = 5;
const CLIENTS_MAX = 1000;
/** At least two, so that publishers and subscribers do not wait for each other, even on one core. */
const WORKERS_MIN = 2;

async function run(args: Arguments): Promise<number> {
  args.atMost(0);
  const load = loadOf(args);
  const isJson = args.has("json");
  const isShown = !isJson && Deno.stderr.isTerminal();
  return await interruptible(async (signal) => {
    const broker = await accessOf(args, signal);
    const times = new Histogram();
    const result = await measure(load, broker, times, isShown, signal);
    await printLines(isJson ? JSON.stringify(result) : tableOf(result, times));
    if (result.lost === 0) return 0;
    const silence = timeText(signal.aborted ? STOPPED_SILENCE_MS : SILENCE_MS);
    complain(`Lost ${result.lost} messages: nothing came for ${silence}`);
    return 1;
  });
}

/** What the arguments say is to be measured. */
function loadOf(args: Arguments): Load {
  const publishers = args.whole("publishers", 1) ?? 1;
  const subscribers = args.whole("subscribers") ?? 1;
  const size = args.whole("size") ?? SIZE;
  const messages = args.whole("messages", 1);
  const seconds = args.whole("seconds", 1);
  if (messages !== undefined && seconds !== undefined) {
    throw new UsageError("Cannot use both --seconds and --messages");
  }
  if (publishers + subscribers > CLIENTS_MAX) {
    throw new UsageError(
      `Cannot run ${publishers + subscribers} clients: the limit is ${CLIENTS_MAX}`,
    );
  }
  if (size > SIZE_MAX) {
    throw new UsageError(`Option --size needs at most ${SIZE_MAX} bytes, not ${size}`);
  }
  return {
    // Of its own, so that runs and other programs do not disturb each other.
    topic: [...topicOf(args.text("topic") ?? "bench"), crypto.randomUUID()],
    publishers,
    subscribers,
    size,
    messages,
    seconds: seconds ?? SECONDS,
    rate: args.whole("rate", 1),
  };
}

/** Runs it; `times` takes the latencies. */
async function measure(
  load: Load,
  broker: BrokerAccess,
  times: Histogram,
  isShown: boolean,
  signal: AbortSignal,
): Promise<Result> {
  using crew = new Crew(load, broker);
  await abortable(crew.open(), signal);
  // From now on there is something to show, also when it is interrupted.
  signal.addEventListener("abort", () => crew.counts.stop());
  if (signal.aborted) crew.counts.stop();
  using _progress = isShown ? new Progress(load, crew.counts) : undefined;
  const publishers = (await crew.ask({ type: "publish" }, "published"))
    .flatMap((report) => report.publishers);
  const messages = publishers.reduce((sum, publisher) => sum + publisher.messages, 0);
  const reports = await crew.ask({ type: "expect", messages }, "received");
  for (const { latency } of reports) times.merge(latency);
  return resultOf(load, publishers, reports.flatMap(({ subscribers }) => subscribers), times);
}

type Waiting = (report: Report) => void;

/** The workers, until it is disposed. */
class Crew implements Disposable {
  /** How far their clients are. */
  readonly counts: Counts;
  readonly #load: Load;
  readonly #broker: BrokerAccess;
  readonly #workers: readonly Worker[];
  /** Who waits for the next report of each worker. */
  readonly #waiting: Waiting[] = [];
  /** Rejects when a worker fails. */
  readonly #failed = Promise.withResolvers<never>();
  /** The complaints that were printed; several workers may have the same. */
  readonly #complaints = new Set<string>();

  constructor(load: Load, broker: BrokerAccess) {
    this.#load = load;
    this.#broker = broker;
    this.counts = new Counts(load);
    this.#failed.promise.catch(() => {}); // Perhaps nobody waits for it then.
    const clients = load.publishers + load.subscribers;
    const most = Math.max(WORKERS_MIN, navigator.hardwareConcurrency);
    this.#workers = Array.from(
      { length: Math.min(clients, most) },
      (_, index) => this.#start(index),
    );
  }

  #start(index: number): Worker {
    const module = new URL("./bench_worker.ts", import.meta.url);
    const worker = new Worker(module, { type: "module", name: WORKER_NAME });
    worker.onmessage = ({ data }: MessageEvent<Report>) => this.#take(index, data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#failed.reject(new Error(event.message));
    };
    return worker;
  }

  #take(index: number, report: Report): void {
    if (report.type === "failed") this.#failed.reject(new Error(report.text));
    else if (report.type !== "complaint") this.#waiting[index]!(report);
    else if (!this.#complaints.has(report.text)) {
      this.#complaints.add(report.text);
      complain(report.text);
    }
  }

  /** Connects all clients; when it resolves, their subscriptions are in force. */
  async open(): Promise<void> {
    const { publishers, subscribers } = this.#load;
    const clients = Array.from({ length: subscribers + publishers }, (_, client) => client);
    const orders = this.#workers.map((_, index): Order => {
      const own = clients.filter((client) => client % this.#workers.length === index);
      return {
        type: "open",
        broker: this.#broker,
        load: this.#load,
        counts: this.counts.buffer,
        subscribers: own.filter((client) => client < subscribers),
        publishers: own.filter((client) => client >= subscribers)
          .map((client) => client - subscribers),
      };
    });
    await this.#tell(orders);
  }

  /** Tells all workers the same, and waits for what each answers. */
  async ask<T extends Report["type"]>(
    order: Order,
    type: T,
  ): Promise<Extract<Report, { type: T }>[]> {
    const reports = await this.#tell(this.#workers.map(() => order));
    return reports.filter((report): report is Extract<Report, { type: T }> => report.type === type);
  }

  async #tell(orders: readonly Order[]): Promise<Report[]> {
    const reports = this.#workers.map((worker, index) =>
      new Promise<Report>((resolve) => {
        this.#waiting[index] = resolve;
        worker.postMessage(orders[index]);
      })
    );
    return await Promise.race([Promise.all(reports), this.#failed.promise]);
  }

  [Symbol.dispose](): void {
    for (const worker of this.#workers) worker.terminate();
  }
}
