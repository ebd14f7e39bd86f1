import { writeConnectionFile } from "../../io/connection_file.ts";
import { Broker, type BrokerOptions, NetPubSub, type NetPubSubOptions } from "../../mod.ts";
import { TempFolder } from "./folder.ts";

/** A broker in this process that programs reach by its connection file; the file goes with it. */
export class Bus implements AsyncDisposable {
  readonly broker: Broker;
  readonly folder: string;
  /** The connection file. */
  readonly file: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(broker: Broker, folder: string, file: string, stack: AsyncDisposableStack) {
    this.broker = broker;
    this.folder = folder;
    this.file = file;
    this.#stack = stack;
  }

  /** @param access The key in the file, where it is not the one without a name. */
  static async start(
    options: BrokerOptions = {},
    access?: { readonly authkey: Uint8Array; readonly keyName: string },
  ): Promise<Bus> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await TempFolder.make());
    const broker = stack.use(new Broker(options));
    await broker.start();
    const file = `${path}/x.json`;
    const { address, authkey } = broker;
    const content = { address, authkey, ...access };
    stack.defer(await writeConnectionFile(file, content, { replace: false }));
    return new Bus(broker, path, file, stack.move());
  }

  /** A connected client; it goes with the bus. */
  async client(options?: NetPubSubOptions): Promise<NetPubSub> {
    const { address, authkey } = this.broker;
    const client = this.#stack.use(new NetPubSub(address, authkey, options));
    await client.connect();
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
