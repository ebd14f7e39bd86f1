/** Several brokers that are joined through NATS, as on several machines, with clients of their own. */
import {
  Broker,
  type BrokerOptions,
  type Gap,
  NetPubSub,
  type NetPubSubOptions,
} from "../../mod.ts";
import { NatsUplink, type NatsUplinkOptions } from "../../nats.ts";
import { checkHistory, type HistoryFault, type Sighting } from "../../testing.ts";
import { until } from "../../tools/harness/until.ts";

/** A broker, and where its NATS is. */
export interface MachineOptions {
  readonly uplink: NatsUplinkOptions;
  readonly broker?: BrokerOptions;
}

/** One broker with clients. */
export class Machine implements AsyncDisposable {
  readonly broker: Broker;
  readonly events: string[] = [];
  readonly #clients: NetPubSub[] = [];

  constructor({ uplink, broker = {} }: MachineOptions) {
    const onEvent: NatsUplinkOptions["onEvent"] = ({ type, message }) =>
      this.events.push(`${type}: ${message}`);
    this.broker = new Broker({ ...broker, uplink: new NatsUplink({ ...uplink, onEvent }) });
  }

  /** What its uplink counts. */
  get uplink() {
    return this.broker.stats().uplink!;
  }

  async client(options?: NetPubSubOptions): Promise<NetPubSub> {
    const client = new NetPubSub(this.broker.address, this.broker.authkey, options);
    this.#clients.push(client);
    await client.connect();
    return client;
  }

  async disconnectClients(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.disconnect()));
  }

  async stop(): Promise<void> {
    await this.disconnectClients().catch(() => {}); // A test may have ended their broker.
    await this.broker.shutdown();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Brokers that are joined, and what their clients published, saw and were told. */
export class Machines implements AsyncDisposable {
  readonly all: readonly Machine[];
  readonly published: Record<string, number[]> = {};
  readonly seen: Record<string, Sighting[]> = {};
  readonly gaps: Record<string, Gap[]> = {};

  private constructor(all: readonly Machine[]) {
    this.all = all;
  }

  /** Starts brokers; resolves when each knows all others. */
  static async start(options: readonly MachineOptions[]): Promise<Machines> {
    const machines = new Machines(options.map((one) => new Machine(one)));
    await Promise.all(machines.all.map(({ broker }) => broker.start()));
    await machines.joined();
    return machines;
  }

  /** Resolves when all brokers are connected and know each other, and what each other wants. */
  async joined(): Promise<void> {
    const others = this.all.length - 1;
    await until(
      () =>
        this.all.every(({ uplink: { state, brokers, unaware } }) =>
          state === "connected" && brokers >= others && unaware === 0
        ),
      20_000,
    );
  }

  /** A client that notes what it sees of these topics, which are `[…, publisher]` with an `id`. */
  async subscriber(
    name: string,
    machine: number,
    topics: readonly (readonly string[] | null)[],
    options: NetPubSubOptions = {},
  ): Promise<NetPubSub> {
    const seen: Sighting[] = this.seen[name] = [];
    const gaps: Gap[] = this.gaps[name] = [];
    const client = await this.all[machine]!.client({
      ...options,
      onGap: (gap) => gaps.push(gap),
    });
    for (const topic of topics) {
      client.addSubscriber(topic, (_path, message) => {
        const { publisher, id } = message as { publisher: string; id: number };
        seen.push({ publisher, id });
      });
    }
    await client.flush();
    await this.joined();
    return client;
  }

  /** A client that publishes messages with increasing ids. */
  async publisher(
    name: string,
    machine: number,
    data = "",
  ): Promise<(topic: readonly string[] | null) => void> {
    const client = await this.all[machine]!.client();
    const ids: number[] = this.published[name] = [];
    return (topic) => {
      const id = ids.length + 1;
      client.publish(topic, { publisher: name, id, data });
      ids.push(id);
    };
  }

  /** How many messages a subscriber was told that it may have missed; `undefined`: nobody knows. */
  missed(name: string): number | undefined {
    return this.gaps[name]!.reduce<number | undefined>(
      (sum, { missed }) => sum === undefined || missed === undefined ? undefined : sum + missed,
      0,
    );
  }

  /** What is wrong with what was seen. */
  faults(subscribers = Object.keys(this.seen)): readonly HistoryFault[] {
    const seen = Object.fromEntries(subscribers.map((name) => [name, this.seen[name]!]));
    return checkHistory({ published: this.published, seen }).faults;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.map((machine) => machine.stop()));
  }
}
