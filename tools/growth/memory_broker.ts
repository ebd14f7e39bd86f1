/** A broker whose clients are in the same process, without sockets. */
import { delay } from "@std/async/delay";
import { Broker, type BrokerKey, type BrokerOptions, NetPubSub } from "../../mod.ts";
import {
  frame,
  number,
  type Opened,
  type Opening,
  payload,
  RawClient,
  type RawCredentials,
  Reason,
  small,
  topic,
  Type,
} from "../attacks/raw_client.ts";
import { MemoryNet } from "../harness/memory_net.ts";
import type { Trial } from "./operation.ts";

/** A key, or a ticket of one, that a client has. */
type Held = Pick<BrokerKey, "name" | "key">;

const KEY = "a key of a broker in memory";
/** How many connect at a time. */
const CONNECTING = 32;
const FAR_MS = 2 ** 31 - 1;

/** A client that has a session. */
export interface Member {
  readonly client: RawClient;
  readonly opened: Opened;
}

/** A broker in memory, and its clients. */
export class MemoryBroker implements AsyncDisposable {
  readonly broker: Broker;
  readonly #stack: AsyncDisposableStack;
  readonly #clients: RawClient[] = [];
  #left = 0;
  #lost = 0;
  #onEvent = () => {};

  private constructor(options: BrokerOptions, stack: AsyncDisposableStack) {
    this.#stack = stack;
    this.broker = new Broker({
      address: "tcp://127.0.0.1:0",
      authkey: KEY,
      // What happens now and then would come at one size and not at another.
      heartbeat: FAR_MS,
      ...options,
      onError() {},
      onClient: ({ type }) => {
        if (type === "left") this.#left++;
        else if (type === "lost") this.#lost++;
        this.#onEvent();
      },
    });
  }

  /** Starts one; a read of it or of its clients gets at most `readMax` bytes. */
  static async start(options: BrokerOptions = {}, readMax?: number): Promise<MemoryBroker> {
    const stack = new AsyncDisposableStack();
    stack.use(new MemoryNet(readMax).install());
    const memory = new MemoryBroker(options, stack);
    await memory.broker.start();
    stack.defer(async () => {
      for (const client of memory.#clients) client.close();
      memory.broker.shutdown(); // Waits for those who do not read,
      await memory.broker.shutdown(); // but not the second time.
    });
    return memory;
  }

  /** A connection without a word. */
  async dial(): Promise<RawClient> {
    const client = await RawClient.dial(this.#endpoint);
    this.#clients.push(client);
    return client;
  }

  /** A connection that is authenticated; by default with the key that grants everything. */
  async authenticated(key?: Held): Promise<RawClient> {
    const client = await RawClient.authenticated(this.#endpoint, credentialsOf(key));
    this.#clients.push(client);
    return client;
  }

  /** A client with a session. */
  async member(opening: Opening = {}, key?: Held): Promise<Member> {
    const client = await this.authenticated(key);
    return { client, opened: await client.open(opening) };
  }

  /** So many of them. */
  async members(
    count: number,
    openingOf: (i: number) => Opening,
    key?: Held,
  ): Promise<Member[]> {
    const members: Member[] = [];
    await inTurns(count, async (i) => {
      members[i] = await this.member(openingOf(i), key);
    });
    return members;
  }

  /** So many sessions whose clients have lost their connections. */
  async detached(
    count: number,
    openingOf: (i: number) => Opening,
    key?: Held,
  ): Promise<void> {
    const lost = this.#lost + count;
    for (const { client } of await this.members(count, openingOf, key)) client.close();
    await this.#until(() => this.#lost >= lost);
  }

  /** A client of the library, connected. */
  async bus(options: ConstructorParameters<typeof NetPubSub>[2] = {}): Promise<NetPubSub> {
    const bus = new NetPubSub(this.broker.address, KEY, options);
    await bus.connect();
    this.#stack.defer(() => bus.disconnect());
    return bus;
  }

  /** Resolves when the sessions of so many more clients are forgotten. */
  left(count: number): Promise<void> {
    const all = this.#left + count;
    return this.#until(() => this.#left >= all);
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#onEvent = () => condition() && resolve();
      this.#onEvent();
    });
  }

  get #endpoint(): { hostname: string; port: number } {
    const { hostname, port } = new URL(this.broker.address.replace("tcp:", "http:"));
    return { hostname, port: Number(port) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function credentialsOf(key?: Held): RawCredentials {
  return key === undefined ? { name: "", key: KEY } : key as RawCredentials;
}

/** Does something so many times, some at once. */
async function inTurns(count: number, action: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const some = async () => {
    while (next < count) await action(next++);
  };
  await Promise.all(Array.from({ length: Math.min(count, CONNECTING) }, some));
}

/** Polls for what nobody tells. */
export async function polled(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(1);
}

/** So many different topics. */
export function topics(count: number, ...above: readonly string[]): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => topic(...above, `t${i}`));
}

/** Something that is done with a broker in memory, which ends with it. */
export async function withBroker(
  options: BrokerOptions,
  prepare: (memory: MemoryBroker) => Trial | Promise<Trial>,
): Promise<Trial> {
  const memory = await MemoryBroker.start(options);
  return { ...await prepare(memory), end: () => memory[Symbol.asyncDispose]() };
}

/** Sends all that, and waits until the broker has taken it. */
export async function sendAll(client: RawClient, ...parts: readonly Uint8Array[]): Promise<void> {
  await client.send(...parts);
  if (!await client.flush()) throw new Error("The broker has ended a connection");
}

/** What a client says that ends its session. */
export const BYE: Uint8Array<ArrayBuffer> = frame(Type.GOODBYE, number(Reason.DONE, 1));

/** As many subscriptions as an operation wants. */
export const MANY = 2 ** 20;

/** A message that says hardly anything. */
export const MESSAGE: Uint8Array<ArrayBuffer> = payload({ n: small(1) });

/** A key that grants nothing. */
export const NOTHING: BrokerKey = { name: "nothing", key: "a key that grants nothing" };
