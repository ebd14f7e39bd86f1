/**
 * Holds what docs/protocol.md says of a broker against one, with a client that was written from that
 * page and shares no code with the library.
 */
import { assertEquals } from "@std/assert";
import { Broker, type BrokerOptions } from "../broker.ts";
import {
  frame,
  openFrame,
  payload,
  RawClient,
  small,
  topic,
  Type,
} from "../tools/attacks/raw_client.ts";

const KEY = { name: "", key: "secret" };
const ASK = frame(Type.ASK);
const MESSAGE = payload({ n: small(1) });

/** A broker on loopback, and clients that speak to it byte by byte. */
class Stage implements AsyncDisposable {
  readonly broker: Broker;
  readonly #clients: RawClient[] = [];

  private constructor(broker: Broker) {
    this.broker = broker;
  }

  static async start(options: BrokerOptions = {}): Promise<Stage> {
    const address = "tcp://127.0.0.1:0";
    const broker = new Broker({ address, authkey: KEY.key, onError() {}, ...options });
    await broker.start();
    return new Stage(broker);
  }

  /** One that has authenticated, and sent no frame. */
  async client(credentials = KEY): Promise<RawClient> {
    const { hostname, port } = new URL(this.broker.address.replace("tcp:", "http:"));
    const client = await RawClient.authenticated({ hostname, port: Number(port) }, credentials);
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.broker.shutdown();
  }
}

/** The types of the next frames. */
async function typesOf(client: RawClient, count: number): Promise<(number | undefined)[]> {
  const types: (number | undefined)[] = [];
  for (let n = 0; n < count; n++) types.push((await client.frame())?.type);
  return types;
}

Deno.test("Broker takes what is sent right behind OPEN, however many sessions open at the time", async () => {
  await using stage = await Stage.start();
  const clients: RawClient[] = [];
  for (let n = 0; n < 40; n++) clients.push(await stage.client());
  const topics = Array.from({ length: 1024 }, (_, i) => topic("fleet", `${i}`));
  const open = openFrame({ topics });
  const behind = [frame(Type.UNSUBSCRIBE, topic("x")), frame(Type.PUBLISH, topic("x"), MESSAGE)];
  await Promise.all(clients.map((client) => client.send(open, ...behind, ASK)));
  for (const client of clients) {
    assertEquals(await typesOf(client, 2), [Type.OPENED, Type.ACK]);
  }
  assertEquals(stage.broker.stats().received, 40);
});
