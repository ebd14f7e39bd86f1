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
  Reason,
  small,
  topic,
  topicOf,
  Type,
} from "../tools/attacks/raw_client.ts";

const KEY = { name: "", key: "secret" };
/** Grants `["a"]` to subscribe to, and nothing else. */
const READER = { name: "reader", key: "secret of the reader" };
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
    const keys = [{ ...READER, subscribe: ["a"] }];
    const broker = new Broker({ address, authkey: KEY.key, keys, onError() {}, ...options });
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

type Bytes = Uint8Array<ArrayBuffer>;

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

Deno.test("Broker takes a topic that comes twice as one, in OPEN and in SUBSCRIBE", async () => {
  await using stage = await Stage.start({ limits: { subscriptions: 2 } });
  const [a, b, c] = ["a", "b", "c"].map((name) => topic(name)) as [Bytes, Bytes, Bytes];
  const client = await stage.client();
  await client.open({ topics: [a, a, b, a] });
  await client.send(...Array(3).fill(frame(Type.SUBSCRIBE, a)));
  assertEquals(await client.flush(), true);
  // One UNSUBSCRIBE takes it back: there is room for another, and nothing of it comes.
  await client.send(frame(Type.UNSUBSCRIBE, a), frame(Type.SUBSCRIBE, c));
  assertEquals(await client.flush(), true);
  const publisher = await stage.client();
  await publisher.open();
  await publisher.send(...[a, b, c].map((block) => frame(Type.PUBLISH, block, MESSAGE)));
  const got = [await client.frameOf(Type.PUBLISH), await client.frameOf(Type.PUBLISH)];
  assertEquals(got.map((message) => topicOf(message!.body)), [["b"], ["c"]]);
  // To take back what is not wanted is nothing.
  await client.send(frame(Type.UNSUBSCRIBE, a));
  assertEquals(await client.flush(), true);
});

Deno.test("Broker denies a topic that comes twice in OPEN once, and each SUBSCRIBE", async () => {
  await using stage = await Stage.start();
  const client = await stage.client(READER);
  const { denied } = await client.open({ topics: [topic("x"), topic("a"), topic("x")] });
  assertEquals(denied, 1);
  const subscribe = frame(Type.SUBSCRIBE, topic("x"));
  await client.send(subscribe, subscribe, ASK);
  assertEquals(await typesOf(client, 3), [Type.DENIED, Type.DENIED, Type.ACK]);
});

Deno.test("Broker ends a session with more different topics than the limit", async () => {
  await using stage = await Stage.start({ limits: { subscriptions: 2 } });
  const topics = ["a", "b", "a", "c"].map((name) => topic(name));
  const client = await stage.client();
  await client.send(openFrame({ topics }));
  assertEquals(await client.goodbye(), Reason.TOO_MANY_SUBSCRIPTIONS);
});
