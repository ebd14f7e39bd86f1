import { writeConnectionFile } from "../../io/connection_file.ts";
import type { Broker, BrokerOptions, NetPubSub, NetPubSubOptions } from "../../mod.ts";
import { TempFolder } from "./folder.ts";
import { Scene } from "./scene.ts";

/** A broker in this process that programs reach by its connection file; the file goes with it. */
export class Bus implements AsyncDisposable {
  readonly folder: string;
  /** The connection file. */
  readonly file: string;
  readonly #scene: Scene;
  readonly #stack: AsyncDisposableStack;

  private constructor(folder: string, file: string, scene: Scene, stack: AsyncDisposableStack) {
    this.folder = folder;
    this.file = file;
    this.#scene = scene;
    this.#stack = stack;
  }

  /** @param access The key in the file, where it is not the one without a name. */
  static async start(
    options: BrokerOptions = {},
    access?: { readonly authkey: Uint8Array; readonly keyName: string },
  ): Promise<Bus> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await TempFolder.make());
    const scene = stack.use(await Scene.start(options));
    const file = `${path}/x.json`;
    const { address, authkey } = scene.broker;
    const content = { address, authkey, ...access };
    stack.defer(await writeConnectionFile(file, content, { replace: false }));
    return new Bus(path, file, scene, stack.move());
  }

  get broker(): Broker {
    return this.#scene.broker;
  }

  /** A connected client; it goes with the bus. */
  client(options?: NetPubSubOptions): Promise<NetPubSub> {
    return this.#scene.connected(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
