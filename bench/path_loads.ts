/**
 * What `path.ts` measures. Each load publishes messages, and waits until all subscribers have them.
 *
 * As `tools/harness/memory_net.ts`, this is imported once for each side: a call of `publish` that has met the
 * objects of one is slower for the other. So it imports types, and what does not touch them.
 */
import type { NetPubSub, PubSub, Topic } from "../mod.ts";
import { nextTurn } from "./turn.ts";

/** What `mod.ts` of a side has. */
export type Library = typeof import("../mod.ts");

/** A load whose objects are made. */
export interface Running extends AsyncDisposable {
  /** Publishes so many messages; resolves when all have arrived. */
  publish(count: number): Promise<void>;
}

/** A load that can be started. */
export interface Load {
  /** The name on the command line. */
  readonly name: string;
  /** The name for readers. */
  readonly title: string;
  start(library: Library): Promise<Running>;
}

/** What may be on its way at once; much less than what a broker holds for a client. */
const WINDOW_MESSAGES = 500;
const WINDOW_BYTES = 1024 * 1024;
const TOPICS = 64;
const KEY = "the key of a benchmark, in memory";

/** Counts what arrives, and tells when all has. */
class Arrivals {
  #left = 0;
  #done = Promise.withResolvers<void>();

  /** Resolves when so many have arrived as of now. */
  expect(count: number): Promise<void> {
    this.#left += count;
    this.#done = Promise.withResolvers<void>();
    return this.#done.promise;
  }

  arrived(): void {
    if (--this.#left === 0) this.#done.resolve();
  }

  fail(error: Error): void {
    this.#done.reject(error);
  }
}

/** A broker, and clients of it that are connected. */
class Bus implements AsyncDisposable {
  readonly arrivals = new Arrivals();
  readonly #stack = new AsyncDisposableStack();
  readonly #library: Library;
  #address = "";

  constructor(library: Library) {
    this.#library = library;
  }

  static async start(library: Library): Promise<Bus> {
    const bus = new Bus(library);
    const broker = new library.Broker({ address: "tcp://127.0.0.1:0", authkey: KEY });
    await broker.start();
    bus.#stack.defer(() => broker.shutdown());
    bus.#address = broker.address as string;
    return bus;
  }

  async client(): Promise<NetPubSub> {
    const fail = (what: string) => this.arrivals.fail(new Error(what));
    const client = new this.#library.NetPubSub(this.#address, KEY, {
      onGap: ({ reason, missed }) => fail(`${missed} messages were missed: ${reason}`),
      onError: (error) => fail(String(error)),
    });
    await client.connect();
    this.#stack.defer(() => client.disconnect());
    return client;
  }

  async subscriber(topics: readonly Topic[]): Promise<void> {
    const client = await this.client();
    for (const topic of topics) client.addSubscriber(topic, () => this.arrivals.arrived());
    await client.flush();
  }

  /** One that takes them in a loop, with `subscribe`. */
  async loop(topic: Topic): Promise<void> {
    const client = await this.client();
    const subscription = client.subscribe(topic);
    const done = (async () => {
      for await (const _ of subscription) this.arrivals.arrived();
    })();
    this.#stack.defer(() => {
      client.clearSubscribers();
      return done;
    });
    await client.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Messages of so many bytes to these topics in turn, each to so many subscribers. */
function flow(bytes: number, subscribers: number, topics: readonly Topic[] = ["data"]) {
  const window = Math.min(WINDOW_MESSAGES, Math.floor(WINDOW_BYTES / bytes));
  return async (library: Library): Promise<Running> => {
    const bus = await Bus.start(library);
    for (let i = 0; i < subscribers; i++) await bus.subscriber(topics);
    const publisher = await bus.client();
    const data = new Uint8Array(bytes).fill(7);
    let next = 0;
    return {
      async publish(count) {
        for (let left = count; left > 0; left -= window) {
          const now = Math.min(left, window);
          const arrived = bus.arrivals.expect(now * subscribers);
          for (let i = 0; i < now; i++) {
            publisher.publish(topics[next++ % topics.length]!, { data });
          }
          await arrived;
        }
      },
      [Symbol.asyncDispose]: () => bus[Symbol.asyncDispose](),
    };
  };
}

/** Messages of some values, for a loop over a subscription. */
async function loop(library: Library): Promise<Running> {
  const bus = await Bus.start(library);
  await bus.loop("data");
  const publisher = await bus.client();
  return {
    async publish(count) {
      for (let left = count; left > 0; left -= WINDOW_MESSAGES) {
        const now = Math.min(left, WINDOW_MESSAGES);
        const arrived = bus.arrivals.expect(now);
        for (let i = 0; i < now; i++) {
          publisher.publish("data", { id: i, celsius: 21.5, room: "kitchen", ok: true });
        }
        await arrived;
      }
    },
    [Symbol.asyncDispose]: () => bus[Symbol.asyncDispose](),
  };
}

/** One message for each turn of the event loop, so that none goes out with another. */
async function byTurns(library: Library): Promise<Running> {
  const bus = await Bus.start(library);
  await bus.subscriber(["data"]);
  const publisher = await bus.client();
  const data = new Uint8Array(16);
  return {
    async publish(count) {
      const arrived = bus.arrivals.expect(count);
      for (let i = 0; i < count; i++) {
        publisher.publish("data", { data });
        await nextTurn();
      }
      await arrived;
    },
    [Symbol.asyncDispose]: () => bus[Symbol.asyncDispose](),
  };
}

/** A question, and the next one when its answer has come. */
async function request(library: Library): Promise<Running> {
  const bus = await Bus.start(library);
  await bus.subscriber(["answer"]);
  const responder = await bus.client();
  responder.addSubscriber("question", (_topic, { data }) => responder.publish("answer", { data }));
  await responder.flush();
  const asker = await bus.client();
  const data = new Uint8Array(16);
  return {
    async publish(count) {
      for (let i = 0; i < count; i++) {
        const answered = bus.arrivals.expect(1);
        asker.publish("question", { data });
        await answered;
      }
    },
    [Symbol.asyncDispose]: () => bus[Symbol.asyncDispose](),
  };
}

/** A `PubSub` alone. */
function local(subscribers: number) {
  return ({ PubSub }: Library): Promise<Running> => {
    const bus: PubSub = new PubSub();
    let sum = 0;
    for (let i = 0; i < subscribers; i++) {
      bus.addSubscriber(["data", "one"], (_topic, { n }) => void (sum += n as number));
    }
    const topic = ["data", "one"];
    return Promise.resolve({
      publish(count) {
        sum = 0;
        for (let n = 0; n < count; n++) bus.publish(topic, { n });
        if (sum === subscribers * count * (count - 1) / 2) return Promise.resolve();
        return Promise.reject(new Error("Some messages have not arrived"));
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  };
}

const MANY = Array.from({ length: TOPICS }, (_, i) => ["data", `topic ${i}`]);

/** All of them. */
export const LOADS: readonly Load[] = [
  { name: "1-1-16", title: "1 to 1, 16 B", start: flow(16, 1) },
  { name: "1-1-1k", title: "1 to 1, 1 KiB", start: flow(1024, 1) },
  { name: "1-1-16k", title: "1 to 1, 16 KiB", start: flow(16 * 1024, 1) },
  { name: "1-10-16", title: "1 to 10, 16 B", start: flow(16, 10) },
  { name: "topics", title: `1 to 1, 16 B, ${TOPICS} topics`, start: flow(16, 1, MANY) },
  { name: "loop", title: "1 to 1, four values, subscribe()", start: loop },
  { name: "turns", title: "1 to 1, 16 B, one a turn", start: byTurns },
  { name: "request", title: "question and answer, 16 B", start: request },
  { name: "local-1", title: "PubSub alone, 1 subscriber", start: local(1) },
  { name: "local-10", title: "PubSub alone, 10 subscribers", start: local(10) },
];
