/** How WebSockets end: what a broker says, and how long it takes, with a client that shares no code with it. */
import { assert, assertEquals } from "@std/assert";
import { Broker, NetPubSub } from "../mod.ts";
import { Proxy } from "../testing.ts";
import {
  bytesOf,
  frame,
  type Opened,
  type Opening,
  RawClient,
  Reason,
  Type,
} from "../tools/attacks/raw_client.ts";
import { Opcode, PATH, RawWeb, upgradeHead, webFrame } from "../tools/attacks/raw_web.ts";
import { until } from "../tools/harness/until.ts";
import { SIGNED } from "./helpers/tls.ts";

const KEY = "a key of some bytes";

class Scene implements AsyncDisposable {
  readonly broker: Broker;
  readonly #webs: RawWeb[] = [];

  private constructor(broker: Broker) {
    this.broker = broker;
  }

  static async start(options: ConstructorParameters<typeof Broker>[0] = {}): Promise<Scene> {
    const keys = [{ name: "ann", key: KEY }];
    const broker = new Broker({
      address: `ws://127.0.0.1:0${PATH}`,
      authkey: KEY,
      keys,
      onError() {},
      ...options,
    });
    await broker.start();
    return new Scene(broker);
  }

  get endpoint() {
    const { hostname, port } = new URL(this.broker.address);
    return { hostname, port: Number(port) };
  }

  async opened(opening: Opening = {}): Promise<Opened & { web: RawWeb; client: RawClient }> {
    const web = await RawWeb.upgraded(this.endpoint);
    this.#webs.push(web);
    const client = RawClient.over(web);
    await client.authenticate({ name: "ann", key: KEY });
    return { web, client, ...await client.open(opening) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const web of this.#webs) web.close();
    await this.broker.shutdown();
  }
}

type End = (scene: Scene, client: RawClient, session: Opened["session"]) => unknown;

const ENDS: readonly (readonly [what: string, code: number, end: End])[] = [
  ["the broker shuts down", 1001, ({ broker }) => void broker.shutdown()],
  ["its key is revoked", 1008, ({ broker }) => broker.setKeys([])],
  ["it sends a frame that is none", 1008, (_, client) => client.send(frame(99))],
  ["its session goes on elsewhere", 1000, (scene, _, session) => scene.opened({ session })],
  [
    "it says GOODBYE",
    1000,
    (_, client) => client.send(frame(Type.GOODBYE, Uint8Array.of(Reason.DONE))),
  ],
];

for (const [what, code, end] of ENDS) {
  Deno.test(`Broker closes a WebSocket with ${code} when ${what}`, async () => {
    await using scene = await Scene.start();
    const { web, client, session } = await scene.opened();
    await end(scene, client, session);
    assertEquals(await web.closeCode(), code);
    assertEquals(await web.frame(), undefined);
  });
}

Deno.test("Broker closes a WebSocket with 1013 when it has no place", async () => {
  await using scene = await Scene.start({ limits: { connections: 1 } });
  await scene.opened();
  using web = await RawWeb.upgraded(scene.endpoint);
  const client = RawClient.over(web);
  await client.authenticate({ name: "ann", key: KEY });
  await client.open().catch(() => {}); // GOODBYE comes in place of OPENED.
  assertEquals(await web.closeCode(), 1013);
});

Deno.test("NetPubSub closes its WebSocket when it has read GOODBYE", async () => {
  await using scene = await Scene.start();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const sent: number[] = [];
  const relay = async (from: Deno.TcpConn, to: Deno.TcpConn, all: number[] = []) => {
    const into = new Uint8Array(4096);
    for (;;) {
      const count = await from.read(into).catch(() => null); // Reset.
      if (count === null) break;
      all.push(...into.subarray(0, count));
      await to.write(into.subarray(0, count)).catch(() => {}); // Whoever closes first.
    }
    await to.closeWrite().catch(() => {});
  };
  const relaying = (async () => {
    using client = await listener.accept();
    using broker = await Deno.connect(scene.endpoint);
    await Promise.all([relay(broker, client), relay(client, broker, sent)]);
  })();
  const address = `ws://127.0.0.1:${listener.addr.port}${PATH}`;
  const bus = new NetPubSub(address, KEY, { onState() {} });
  await bus.connect();
  await scene.broker.shutdown();
  await until(() => bus.state !== "connected");
  await relaying;
  const close = sent.slice(-8);
  assertEquals(close.slice(0, 2), [0x88, 0x82]);
  const code = (close[6]! ^ close[2]!) << 8 | close[7]! ^ close[3]!;
  // The broker's own, if its close came in the same read.
  assert(code === 1000 || code === 1001, `${code}`);
  await bus.disconnect().catch(() => {});
});

const HALVES: readonly (readonly [what: string, begin: (web: RawWeb) => unknown])[] = [
  ["says nothing", () => {}],
  ["stops in its head", (web) => web.send(upgradeHead().subarray(0, 40))],
  ["upgrades and says no more", (web) => web.send(upgradeHead())],
  [
    "stops in a frame",
    async (web) => {
      await web.send(upgradeHead());
      await web.head();
      await web.send(webFrame(Opcode.BINARY, bytesOf("mpubsub")).subarray(0, 9));
    },
  ],
  ["is refused and stays", (web) => web.send(bytesOf("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))],
];

for (const [what, begin] of HALVES) {
  Deno.test(`Broker.shutdown waits for no WebSocket whose client ${what}`, async () => {
    // None of these would be closed by time.
    await using scene = await Scene.start({ authTimeout: 60_000 });
    using web = await RawWeb.dial(scene.endpoint);
    await begin(web);
    await until(() => scene.broker.stats().connections === 1);
    await scene.broker.shutdown();
    await web.ended();
  });
}

Deno.test("Broker.shutdown ends after 10 s with WebSockets whose clients read nothing", async () => {
  const secured = {
    address: `wss://127.0.0.1:0${PATH}`,
    tls: { cert: SIGNED.cert, key: SIGNED.key },
  };
  const began = performance.now();
  await Promise.all([{}, secured].map(async (options) => {
    await using scene = await Scene.start(options);
    const { broker } = scene;
    const tls = { caCerts: [SIGNED.ca] };
    await using proxy = new Proxy({ target: broker.address });
    await proxy.start();
    await using ann = new NetPubSub(broker.address, KEY, { tls, onState() {} });
    const bob = new NetPubSub(proxy.address, KEY, { tls, onState() {}, onError() {} });
    await Promise.all([ann.connect(), bob.connect()]);
    bob.addSubscriber("t", () => {});
    await bob.flush();
    proxy.freeze(60_000);
    for (let i = 0; i < 100; i++) ann.publish("t", { data: new Uint8Array(100_000) });
    await ann.flush();
    await broker.shutdown();
    assertEquals(broker.stats().connections, 0);
    await bob.disconnect({ signal: AbortSignal.abort(new Error("over")) }).catch(() => {});
  }));
  assert(performance.now() - began < 20_000);
});
