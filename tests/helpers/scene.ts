import { Broker, type BrokerOptions, NetPubSub, type NetPubSubOptions } from "../../mod.ts";

/** A broker and as many connected clients as the test asks for; all are closed at the end. */
export class Scene implements AsyncDisposable {
  readonly broker: Broker;
  readonly #own: NetPubSubOptions;
  readonly #clients: NetPubSub[] = [];

  private constructor(broker: Broker, own: NetPubSubOptions) {
    this.broker = broker;
    this.#own = own;
  }

  /** Starts a broker; its clients have the options `own` besides those of each. */
  static async start(options: BrokerOptions = {}, own: NetPubSubOptions = {}): Promise<Scene> {
    const broker = new Broker(options);
    await broker.start();
    return new Scene(broker, own);
  }

  client(options?: NetPubSubOptions): NetPubSub {
    const client = new NetPubSub(this.broker.address, this.broker.authkey, {
      ...this.#own,
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  async connected(options?: NetPubSubOptions): Promise<NetPubSub> {
    const client = this.client(options);
    await client.connect();
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.disconnect()));
    await this.broker.shutdown();
  }
}

/** The first `count` values of a source. */
export async function take<T>(source: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const item of source) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}
