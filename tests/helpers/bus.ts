/** A broker in this process that programs reach by its connection file. */
import { writeConnectionFile } from "../../io/connection_file.ts";
import { Broker, type BrokerOptions, NetPubSub, type NetPubSubOptions } from "../../mod.ts";
import { withFolder } from "./folder.ts";

/** What a test does with it. */
export interface Bus {
  readonly broker: Broker;
  readonly folder: string;
  /** The connection file. */
  readonly file: string;
  /** A connected client; it goes with the bus. */
  client(options?: NetPubSubOptions): Promise<NetPubSub>;
}

/**
 * Runs `body` with a broker and its file; both are gone afterwards.
 *
 * @param access The key in the file, where it is not the one without a name.
 */
export function withBus(
  body: (bus: Bus) => Promise<void>,
  options: BrokerOptions = {},
  access?: { readonly authkey: Uint8Array; readonly keyName: string },
): Promise<void> {
  return withFolder(async (folder) => {
    await using broker = new Broker(options);
    await broker.start();
    const file = `${folder}/x.json`;
    const { address, authkey } = broker;
    const remove = await writeConnectionFile(file, { address, authkey, ...access }, {
      replace: false,
    });
    await using clients = new AsyncDisposableStack();
    await body({
      broker,
      folder,
      file,
      async client(options) {
        const bus = clients.use(new NetPubSub(address, authkey, options));
        await bus.connect();
        return bus;
      },
    });
    await remove();
  });
}
