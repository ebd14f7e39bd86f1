/**
 * A broker on loopback, and clients that speak to it byte by byte: they were written from
 * docs/protocol.md and share no code with the library.
 */
import { Broker, type BrokerOptions } from "../../broker.ts";
import {
  type Endpoint,
  frame,
  number,
  type Opening,
  payload,
  RawClient,
  type RawFrame,
  small,
  topic,
  Type,
} from "../../tools/attacks/raw_client.ts";

/** The key of the broker, which grants everything. */
export const KEY = { name: "", key: "secret" };
/** Grants `["a"]` to subscribe to, and nothing else. */
export const READER = { name: "reader", key: "secret of the reader" };
export const ASK = frame(Type.ASK);
/** A payload that can be read. */
export const MESSAGE = payload({ n: small(1) });

type Bytes = Uint8Array<ArrayBuffer>;

export class RawStage implements AsyncDisposable {
  readonly broker: Broker;
  readonly endpoint: Endpoint;
  readonly #clients: RawClient[] = [];

  private constructor(broker: Broker) {
    const { hostname, port } = new URL(broker.address.replace("tcp:", "http:"));
    this.broker = broker;
    this.endpoint = { hostname, port: Number(port) };
  }

  static async start(options: BrokerOptions = {}): Promise<RawStage> {
    const keys = [{ ...READER, subscribe: ["a"] }];
    const address = "tcp://127.0.0.1:0";
    const broker = new Broker({ address, authkey: KEY.key, keys, onError() {}, ...options });
    await broker.start();
    return new RawStage(broker);
  }

  #keep(client: RawClient): RawClient {
    this.#clients.push(client);
    return client;
  }

  /** One that has sent nothing. */
  async dialled(): Promise<RawClient> {
    return this.#keep(await RawClient.dial(this.endpoint));
  }

  /** One that has authenticated, and sent no frame. */
  async client(credentials = KEY): Promise<RawClient> {
    return this.#keep(await RawClient.authenticated(this.endpoint, credentials));
  }

  /** One that has opened a session. */
  async opened(opening: Opening = {}): Promise<RawClient> {
    return this.#keep(await RawClient.opened(this.endpoint, KEY, opening));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.broker.shutdown();
  }
}

/** A PUBLISH. */
export function message(name: string, bytes: Uint8Array = MESSAGE): Bytes {
  return frame(Type.PUBLISH, topic(name), bytes);
}

/** A PUBLISH to `["t"]` that is so many bytes in all, from 264 on. */
export function messageOf(length: number): Bytes {
  const sizes = 5 + 1 + topic("t").length;
  return message("t", new Uint8Array(length - sizes));
}

/** A GOODBYE. */
export function goodbye(reason: number): Bytes {
  return frame(Type.GOODBYE, number(reason, 1));
}

/** The types of the next frames. */
export async function typesOf(client: RawClient, count: number): Promise<(number | undefined)[]> {
  const types: (number | undefined)[] = [];
  for (let n = 0; n < count; n++) types.push((await client.frame())?.type);
  return types;
}

/** What the next ACK says. */
export async function nextAck(client: RawClient): Promise<{ count: number; requests: number }> {
  return ackOf((await client.frameOf(Type.ACK))!);
}

/** What an ACK says. */
export function ackOf({ body }: RawFrame): { count: number; requests: number } {
  const view = new DataView(body.buffer);
  return { count: Number(view.getBigUint64(0, true)), requests: view.getUint32(16, true) };
}
