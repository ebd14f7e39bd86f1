/**
 * Sessions: clients that have a key do whatever comes to mind to a broker, while a pair of clients
 * exchanges numbered messages through it. The pair loses nothing, the broker tells of no mistake of
 * its own, and holds nothing in the end.
 *
 * What the hostile clients do depends on what they are answered; so a run with the same number is
 * alike, but need not be the same.
 */
import { delay } from "@std/async/delay";
import { Broker, type BrokerKey, type BrokerOptions } from "../../broker.ts";
import { NetPubSub } from "../../mod.ts";
import { randomBytes } from "../../protocol/handshake.ts";
import { type Random, randomOf } from "../harness/random.ts";
import { until } from "../harness/until.ts";
import { any, type TopicPath } from "../../topic.ts";
import type { HostileKey } from "./ears.ts";
import { type Crowd, Hostile } from "./hostile.ts";
import { checkCause, must, type Notes, type Target } from "./target.ts";

const MIB = 1024 * 1024;
const HOSTILES_MAX = 3;
const BURST_MAX = 30;
const MESSAGE_BYTES = 64 * 1024;
/** The grants of the key that has not all of them. */
const SMALL: Omit<BrokerKey, "key"> = {
  name: "small",
  publish: [["weird"]],
  subscribe: [["weird", "a"]],
  serve: [["weird"]],
  wait: true,
};
/** What may become of the keys. */
const CHANGES: readonly Partial<BrokerKey>[] = [
  {},
  { messagesPerSecond: 20 },
  { subscribe: [["weird", "a", "b"]], wait: false },
  { subscribe: [["weird", "a", any], ["weird", "a", any, "b"]], publish: [[any, "a"]] },
  { publish: [], subscribe: [] },
  { serve: [] },
  { serve: [["weird", any]] },
];

interface Rules {
  readonly options: BrokerOptions;
  /** Whether so little may be queued that the pair's messages may go, too. */
  readonly isTight: boolean;
}

function rulesOf(random: Random): Rules {
  const isTight = random.int(4) === 0;
  const [heartbeat, resumeWindow] = random.pick([[15_000, 0], [15_000, 60_000], [40, 60_000]]);
  const limits = {
    messageBytes: MESSAGE_BYTES,
    queueBytes: 2 * MIB,
    subscriptions: random.pick([4, 1024, 1024]),
    connections: random.pick([4, 10_000, 10_000, 10_000]),
  };
  return {
    isTight: isTight || limits.connections < 10,
    options: {
      limits,
      memory: isTight ? 3 * MIB : 1024 * MIB,
      heartbeat: heartbeat!,
      resumeWindow: resumeWindow!,
      maxPatience: random.pick([0, 30, 30]),
    },
  };
}

/** Two clients, of which one publishes and the other listens. */
class Pair implements AsyncDisposable {
  readonly #publisher: NetPubSub;
  readonly #subscriber: NetPubSub;
  readonly #mark = crypto.randomUUID();
  readonly #random: Random;
  #published = 0;
  #latest = 0;
  #received = 0;
  #isDisordered = false;
  #isOver = false;
  #publishing = Promise.resolve();
  readonly #problems: string[] = [];
  readonly #errors: unknown[] = [];

  constructor({ address, authkey }: Broker, random: Random) {
    this.#random = random;
    const options = (name: string) => ({
      onGap: (gap: object) => this.#problems.push(`gap of ${name}: ${JSON.stringify(gap)}`),
      onError: (error: unknown) => void this.#errors.push(error),
    });
    this.#publisher = new NetPubSub(address, authkey, options("publisher"));
    this.#subscriber = new NetPubSub(address, authkey, options("subscriber"));
    this.#subscriber.addSubscriber("pair", (_topic, { mark, n }) => {
      // The hostile clients publish, too.
      if (mark === this.#mark) this.#receive(Number(n));
    });
  }

  #receive(n: number): void {
    this.#received++;
    this.#isDisordered ||= n <= this.#latest;
    this.#latest = n;
  }

  async start(): Promise<void> {
    await Promise.all([this.#publisher.connect(), this.#subscriber.connect()]);
    this.#publishing = this.#publish();
  }

  async #publish(): Promise<void> {
    while (!this.#isOver) {
      for (let left = this.#random.int(BURST_MAX); left > 0; left--) {
        const n = ++this.#published;
        this.#publisher.publish("pair", { mark: this.#mark, n, fill: "x".repeat(n % 200) });
      }
      await delay(1);
    }
    await this.#publisher.flush();
  }

  /** Waits until all is there, unless some may be lost. */
  async finish(mayLose: boolean): Promise<void> {
    this.#isOver = true;
    await this.#publishing;
    if (!mayLose) await until(() => this.#received >= this.#published);
    for (const error of this.#errors) checkCause(error);
    const told = `${this.#published} published, ${this.#received} received`;
    must(!this.#isDisordered, `the pair's messages are out of order: ${told}`);
    if (mayLose) return;
    must(this.#received === this.#published, `the pair's messages are not all there: ${told}`);
    must(this.#problems.length === 0, this.#problems.join("\n"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await Promise.all([this.#publisher, this.#subscriber].map((bus) => bus.disconnect()));
  }
}

function keysOf(key: Uint8Array, broker: Broker): readonly HostileKey[] {
  const isGranted = ([first, second]: TopicPath) =>
    first === undefined || first === "weird" && second === "a";
  return [
    { name: "", bytes: new Uint8Array(broker.authkey), hears: () => true },
    { name: SMALL.name, bytes: new Uint8Array(key), hears: isGranted },
  ];
}

/** Changes the keys while they are used. */
async function changeKeys(broker: Broker, key: Uint8Array, random: Random, isOver: () => boolean) {
  while (!isOver()) {
    await delay(5 + random.int(50));
    const change = random.pick(CHANGES);
    broker.setKeys(random.int(6) === 0 ? [] : [{ ...SMALL, ...change, key }]);
  }
}

/** Lets hostile clients live while the pair exchanges its messages. */
async function attack(broker: Broker, key: Uint8Array, random: Random, notes: Notes) {
  const another = () => randomOf(random.int(2 ** 32));
  const crowd: Crowd = {
    broker,
    messageBytes: MESSAGE_BYTES,
    keys: keysOf(key, broker),
    sessions: [],
  };
  const hostiles = Array.from(
    { length: 1 + random.int(HOSTILES_MAX) },
    (_, i) => new Hostile(crowd, another(), notes, `client ${i}`),
  );
  let isOver = false;
  const changing = random.int(3) === 0
    ? changeKeys(broker, key, another(), () => isOver)
    : Promise.resolve();
  try {
    await Promise.all(hostiles.map((hostile) => hostile.live()));
  } finally {
    isOver = true;
    await changing;
  }
}

async function runSessions(random: Random, notes: Notes): Promise<void> {
  const { options, isTight } = rulesOf(random);
  const { limits, ...others } = options;
  notes.fed(JSON.stringify({ ...others, ...limits }));
  const key = randomBytes(16);
  const errors: unknown[] = [];
  const onError = (error: unknown) => void errors.push(error);
  const broker = new Broker({ ...options, keys: [{ ...SMALL, key }], onError });
  await broker.start();
  try {
    await using pair = new Pair(broker, randomOf(random.int(2 ** 32)));
    await pair.start();
    await attack(broker, key, random, notes);
    await pair.finish(isTight);
  } finally {
    await broker.shutdown();
  }
  for (const error of errors) noteError(notes, error);
  for (const [name, count] of Object.entries(broker.stats())) {
    if (count > 0) notes.ended(`the broker counts ${name}`);
  }
  checkEmpty(broker);
}

function noteError(notes: Notes, error: unknown): void {
  checkCause(error);
  notes.failed(error, Error);
}

function checkEmpty(broker: Broker): void {
  const { connections, sessions, detached, queuedBytes, waiting } = broker.stats();
  const held = { connections, sessions, detached, queuedBytes, waiting };
  must(Object.values(held).every((count) => count === 0), `in the end ${JSON.stringify(held)}`);
}

/** See the module. */
export const sessions: Target = { name: "sessions", run: runSessions };
