/**
 * The client processes of a benchmark, in whatever runtime: see `client_runtimes.ts`. This file is run
 * with a job as its argument; it prints `{ ready }`, does on command what the job says, and ends when the
 * benchmark does.
 */
import { delay } from "@std/async/delay";
import process from "node:process";
import { tell, told } from "../tools/harness/lines.ts";
import type { Client, ClientModule, Publish, Row, Topic } from "./clients/client.ts";
import {
  type AnswerTask,
  type ChangeTask,
  type Command,
  type IdleTask,
  type Job,
  type PublishTask,
  QUANTILES,
  type RequestTask,
  type SubscribeTask,
} from "./job.ts";
import { quantile } from "./statistics.ts";
import type { Target } from "./target.ts";
import { nextTurn } from "./turn.ts";

const ASK: Topic = ["ask"];
const ANSWER: Topic = ["answer"];
/** How many clients of one process connect at a time. */
const CONNECTING = 20;

const go = Promise.withResolvers<void>();
let stopped = false;
/** How many of this publisher's messages every subscriber has. */
let taken = 0;
let moreTaken = () => {};
let mark = () => {};

async function listen(): Promise<void> {
  for await (const command of told<Command>()) {
    if ("go" in command) go.resolve();
    else if ("mark" in command) mark();
    else {
      if ("stop" in command) stopped = true;
      else taken = command.taken;
      moreTaken();
    }
  }
  process.exit();
}

/** So many topics right below this one, or itself. */
function below(topic: Topic, children: number): Topic[] {
  if (children === 0) return [topic];
  return Array.from({ length: children }, (_, i) => [...topic, String(i)]);
}

/** What publishes a message to each topic in turn. */
function inTurn(publishers: readonly Publish[]): Publish {
  if (publishers.length === 1) return publishers[0]!;
  let next = 0;
  return (count) => {
    for (let i = 0; i < count; i++) {
      void publishers[next]!(1);
      next = (next + 1) % publishers.length;
    }
  };
}

async function publish(client: Client, job: PublishTask): Promise<void> {
  const { topic, children, payload, id, window, byTurns } = job;
  const batch = byTurns ? 1 : Math.min(job.batch, client.batch ?? Infinity);
  const publisher = inTurn(
    below(topic, children).map((topic) =>
      payload === "row"
        ? client.rowPublisher(topic)
        : client.bytesPublisher(topic, new Uint8Array(payload).fill(id, 0, 1))
    ),
  );
  tell({ ready: true });
  await go.promise;
  let published = 0;
  while (!stopped) {
    if (published + batch - taken > window) {
      await new Promise<void>((resolve) => moreTaken = resolve);
      continue;
    }
    const accepted = publisher(batch);
    if (accepted !== undefined) await accepted;
    published += batch;
    await (byTurns ? nextTurn() : client.drain());
  }
  tell({ published });
}

async function subscribe(
  module: ClientModule,
  target: Target,
  job: SubscribeTask,
): Promise<void> {
  const { clients, publishers } = job;
  const counts = Array.from({ length: clients }, () => new Array<number>(publishers).fill(0));
  const step = job.step * clients;
  let count = 0;
  let next = step;
  const added = (some: number) => {
    count += some;
    if (count < next) return;
    next = count + step;
    tell({ taken: counts[0]!.map((_, from) => Math.min(...counts.map((of) => of[from]!))) });
  };
  for (const of of counts) await subscribeOne(await module.connect(target), job, of, added);
  mark = () => tell({ at: performance.now(), count });
  tell({ ready: true });
}

/** Counts what one client gets, from each publisher. */
async function subscribeOne(
  client: Client,
  { topic, children, payload }: SubscribeTask,
  counts: number[],
  added: (some: number) => void,
): Promise<void> {
  const add = (from: number, some: number) => {
    counts[from]! += some;
    added(some);
  };
  const takeRow = ({ id, name }: Row) => {
    if (id >= 0 && name.length > 0) add(0, 1);
  };
  const takeBytes = (data: Uint8Array, some: number) => add(data[0]!, some);
  if (children === "all") {
    if (client.onBytesBelow === undefined) throw new TypeError("It has no such subscriptions");
    return await client.onBytesBelow(topic, takeBytes);
  }
  await Promise.all(
    below(topic, children).map((topic) =>
      payload === "row" ? client.onRows(topic, takeRow) : client.onBytes(topic, takeBytes, payload)
    ),
  );
}

async function request(client: Client, { payload, warmMs, ms }: RequestTask): Promise<void> {
  const ask = client.bytesPublisher(ASK, new Uint8Array(payload));
  let answered = () => {};
  await client.onBytes(ANSWER, () => answered(), payload);
  tell({ ready: true });
  await go.promise;
  const start = performance.now();
  const times: number[] = [];
  for (let now = start; now - start < warmMs + ms;) {
    const answer = new Promise<void>((resolve) => answered = resolve);
    const asked = performance.now();
    void ask(1);
    await answer;
    now = performance.now();
    if (asked - start >= warmMs) times.push(now - asked);
  }
  const sorted = Float64Array.from(times).sort();
  tell({ quantiles: QUANTILES.map((part) => quantile(sorted, part)) });
}

async function answer(client: Client, { payload }: AnswerTask): Promise<void> {
  const reply = client.bytesPublisher(ANSWER, new Uint8Array(payload));
  await client.onBytes(ASK, () => void reply(1), payload);
  tell({ ready: true });
}

async function idle(
  module: ClientModule,
  target: Target,
  { topic, clients, children }: IdleTask,
): Promise<void> {
  let left = clients;
  const connectSome = async () => {
    while (left > 0) {
      const own = [...topic, String(--left)];
      const client = await module.connect(target);
      const topics = children === 0 ? [] : below(own, children);
      await Promise.all(topics.map((topic) => client.onBytes(topic, () => {}, 1)));
    }
  };
  await Promise.all(Array.from({ length: CONNECTING }, connectSome));
  tell({ ready: true });
}

async function change(client: Client, { topic, children, rate }: ChangeTask): Promise<void> {
  if (client.toggler === undefined) throw new TypeError("It cannot take a subscription back");
  const togglers = below(topic, children).map((topic) => client.toggler!(topic));
  let count = 0;
  mark = () => tell({ at: performance.now(), count });
  tell({ ready: true });
  await go.promise;
  for (const began = performance.now();; await delay(1)) {
    const due = (performance.now() - began) * rate / 1000;
    while (count < due) togglers[count++ % togglers.length]!();
  }
}

async function main(job: Job): Promise<void> {
  // As a literal it would have Deno look into every module of that folder.
  const ending = import.meta.url.slice(import.meta.url.lastIndexOf("."));
  const specifier = new URL(`clients/${job.client}${ending}`, import.meta.url).href;
  const module: ClientModule = await import(specifier);
  if (job.role === "idle") return await idle(module, job.target, job);
  if (job.role === "subscriber") return await subscribe(module, job.target, job);
  const client = await module.connect(job.target);
  if (job.role === "publisher") await publish(client, job);
  else if (job.role === "changer") await change(client, job);
  else if (job.role === "requester") await request(client, job);
  else await answer(client, job);
}

const listening = listen();
try {
  await main(JSON.parse(process.argv[2]!));
} catch (error) { // Whatever it is, the benchmark has to know.
  tell({ failed: String(error) });
}
await listening;
