/** A broker behind a server that is not its own, with clients that share no code with it. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Broker, type BrokerOptions, NetPubSub } from "../mod.ts";
import { bytesOf, type Endpoint, RawClient, topic } from "../tools/attacks/raw_client.ts";
import { Opcode, RawWeb, statusOf, upgradeHead, webFrame } from "../tools/attacks/raw_web.ts";
import { until } from "../tools/harness/until.ts";

const KEY = "a key of some bytes";

/** A broker, and a server that gives it all requests. */
class Scene implements AsyncDisposable {
  readonly broker: Broker;
  readonly endpoint: Endpoint;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  private constructor(broker: Broker) {
    this.broker = broker;
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      (request) => broker.upgrade(request),
    );
    const { hostname, port } = this.#server.addr;
    this.endpoint = { hostname, port };
  }

  static async start(options: BrokerOptions = {}): Promise<Scene> {
    const broker = new Broker({ address: [], authkey: KEY, onError() {}, ...options });
    await broker.start();
    return new Scene(broker);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.broker.shutdown();
    await this.#server.shutdown();
  }
}

/** The head of an upgrade, with something replaced. */
const head = (from: string | RegExp, to: string) =>
  new TextDecoder().decode(upgradeHead()).replace(from, to);

const ANSWERS: readonly (readonly [what: string, status: number, head: string, says: RegExp])[] = [
  ["what RFC 6455 has", 101, head("", ""), /sec-websocket-accept/i],
  ["a page of the same host", 101, head("Host", "Origin: http://localhost:9\r\nHost"), /upgrade/i],
  ["a page of another", 403, head("Host", "Origin: http://a.example\r\nHost"), /may not connect/],
  ["a page that is listed", 101, head("Host", "Origin: https://b.example\r\nHost"), /upgrade/i],
  ["no upgrade", 426, head("Upgrade: websocket\r\n", ""), /upgrade: websocket/i],
  ["another version", 426, head("Version: 13", "Version: 8"), /sec-websocket-version: 13/i],
  ["another method", 405, head("GET", "POST"), /allow: GET/i],
  ["no key", 400, head(/Sec-WebSocket-Key.*\r\n/, ""), /Cannot open a WebSocket/],
];

/** The head of an answer, and its body if it has one. */
async function answerTo({ endpoint }: Scene, text: string): Promise<string> {
  using conn = await Deno.connect(endpoint);
  await conn.write(bytesOf(text));
  const into = new Uint8Array(4096);
  let all = "";
  for (;;) {
    const count = await conn.read(into);
    if (count === null) return all;
    all += new TextDecoder().decode(into.subarray(0, count));
    const [, fields, body] = /^(.*?)\r\n\r\n(.*)$/s.exec(all) ?? [];
    const length = Number(/^content-length: (\d+)/im.exec(fields ?? "")?.[1] ?? 0);
    if (body !== undefined && body.length >= length) return all;
  }
}

for (const [what, status, text, says] of ANSWERS) {
  Deno.test(`Broker.upgrade answers ${status} to ${what}`, async () => {
    await using scene = await Scene.start({ origins: ["https://b.example"] });
    const answer = await answerTo(scene, text);
    assertEquals(statusOf(answer), status);
    assertMatch(answer, says);
  });
}

Deno.test("Broker keeps the origins that it was given, whatever becomes of the array", async () => {
  const origins = ["https://b.example"];
  await using scene = await Scene.start({ origins });
  origins.push("http://a.example");
  const answer = await answerTo(scene, head("Host", "Origin: http://a.example\r\nHost"));
  assertEquals(statusOf(answer), 403);
});

Deno.test("Broker.upgrade closes a client that proves no key after authTimeout", async () => {
  await using scene = await Scene.start({ authTimeout: 50 });
  using web = await RawWeb.upgraded(scene.endpoint);
  assertEquals(await web.closeCode(), 1000);
  assertEquals(scene.broker.stats().refusals.timeout, 1);
});

Deno.test("Broker.upgrade closes a client that sends a text", async () => {
  await using scene = await Scene.start();
  using web = await RawWeb.upgraded(scene.endpoint);
  await web.send(webFrame(Opcode.TEXT, bytesOf("hi")));
  assertEquals(await web.closeCode(), 3000);
});

Deno.test("Broker.shutdown ends clients of another server, which goes on and answers 503", async () => {
  await using scene = await Scene.start({ authTimeout: 60_000 });
  const { broker, endpoint } = scene;
  using silent = await RawWeb.upgraded(endpoint);
  using web = await RawWeb.upgraded(endpoint);
  const client = RawClient.over(web);
  await client.authenticate({ name: "", key: KEY });
  await client.open();
  using early = await RawWeb.dial(endpoint);
  await early.send(upgradeHead().subarray(0, 40));
  await until(() => broker.stats().connections === 2);
  const going = broker.shutdown();
  assertEquals([await silent.closeCode(), await web.closeCode()], [1000, 1000]);
  await going;
  assertEquals(broker.stats().connections, 0);
  assertEquals(statusOf(await answerTo(scene, head("", ""))), 503);
});

Deno.test("Broker.upgrade bounds what waits for a client that reads nothing, as over TCP", async () => {
  await using scene = await Scene.start({ limits: { queueBytes: 2 ** 21 } });
  const { broker, endpoint } = scene;
  using deaf = await RawWeb.upgraded(endpoint);
  const client = RawClient.over(deaf);
  await client.authenticate({ name: "", key: KEY });
  await client.open({ topics: [topic("t")] });
  const address = `ws://${endpoint.hostname}:${endpoint.port}`;
  await using bus = new NetPubSub(address, KEY, { onState() {} });
  await bus.connect();
  for (let i = 0; i < 100; i++) {
    bus.publish("t", { data: new Uint8Array(100_000) });
    await bus.flush();
    assert(broker.stats().queuedBytes <= 2 ** 21, `${broker.stats().queuedBytes} bytes`);
  }
  assert(broker.stats().dropped > 50);
});
