/** What a broker answers over HTTP, and where it listens; clients that try several addresses. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  Broker,
  type BrokerOptions,
  ConnectionLostError,
  NetPubSub,
  ProtocolError,
} from "../mod.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";

async function started(options: BrokerOptions): Promise<Broker> {
  const broker = new Broker(options);
  await broker.start();
  return broker;
}

function portOf(address: string): number {
  return Number(new URL(address.replace(/^\w+:/, "http:")).port);
}

/** All that is answered to these pieces, each sent in a write of its own. */
async function answerTo(broker: Broker, ...pieces: readonly string[]): Promise<string> {
  using conn = await Deno.connect({ port: portOf(broker.address), hostname: "127.0.0.1" });
  for (const piece of pieces) {
    await conn.write(new TextEncoder().encode(piece));
    await new Promise((resolve) => setTimeout(resolve));
  }
  let text = "";
  const into = new Uint8Array(4096);
  for (let count; (count = await conn.read(into)) !== null;) {
    text += new TextDecoder().decode(into.subarray(0, count));
    if (text.startsWith("HTTP/1.1 101")) break;
  }
  return text;
}

const UPGRADE = {
  host: "127.0.0.1:80",
  upgrade: "h2c, WebSocket",
  connection: "keep-alive, Upgrade",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  "sec-websocket-version": "13",
};

function asking(fields: object = {}, start = "GET /bus?x HTTP/1.1"): string {
  const all = Object.entries({ ...UPGRADE, ...fields }).filter(([, value]) => value !== undefined);
  return [start, ...all.map(([name, value]) => `${name}: ${value}`), "", ""].join("\r\n");
}

const ANSWERS: readonly (readonly [what: string, text: string, status: number, says: string])[] = [
  ["an empty line before", `\r\n${asking()}`, 101, "upgrade"],
  ["names in large letters", asking({ HOST: "a", host: undefined }), 101, "upgrade"],
  ["two hosts", asking({ Host: "127.0.0.1" }), 400, "one host"],
  ["an extension named like the host", asking({ host: "abc", origin: "x-y://abc" }), 403, "x-y"],
  ["its own page, of another case", asking({ host: "A.b", origin: "https://a.B" }), 101, "upgrade"],
  ["its own page, at IPv6", asking({ host: "[0::1]:1", origin: "http://[::1]" }), 101, "upgrade"],
  ["a page of another, at IPv6", asking({ host: "[::1]", origin: "http://[::2]" }), 403, "::2"],
  ["a page below its host", asking({ host: "a.b", origin: "http://c.a.b" }), 403, "c.a.b"],
  ["a page of whom its host begins", asking({ host: "a.b", origin: "http://a.b.c" }), 403, "a.b.c"],
  ["two versions", asking({ "Sec-WebSocket-Version": "8" }), 426, "sec-websocket-version: 13"],
  ["two requests", asking({}, "GET / HTTP/1.1") + asking(), 404, "the bus is at /bus"],
  ["what RFC 6455 has", asking(), 101, "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
  ["another path", asking({}, "GET /other HTTP/1.1"), 404, "the bus is at /bus"],
  ["no upgrade", asking({ upgrade: undefined }), 426, "connect a WebSocket"],
  ["another upgrade", asking({ upgrade: "h2c" }), 426, "upgrade: websocket"],
  ["another version", asking({ "sec-websocket-version": "8" }), 426, "sec-websocket-version: 13"],
  ["no connection", asking({ connection: "close" }), 400, "Connection is not upgrade"],
  ["no key", asking({ "sec-websocket-key": undefined }), 400, "Sec-WebSocket-Key"],
  ["a short key", asking({ "sec-websocket-key": "AAAA" }), 400, "16 bytes"],
  ["another method", asking({}, "POST /bus HTTP/1.1"), 405, "allow: GET"],
  ["a body", asking({ "content-length": "5" }), 400, "without a body"],
  ["a coded body", asking({ "transfer-encoding": "chunked" }), 400, "without a body"],
  ["no host", asking({ host: undefined }), 400, "one host"],
  ["another HTTP", asking({}, "GET /bus HTTP/1.0"), 505, "HTTP/1.0"],
  ["its own page", asking({ origin: "http://127.0.0.1:9999" }), 101, "upgrade"],
  ["a page of another", asking({ origin: "http://evil.example" }), 403, "http://evil.example"],
  ["a page that is listed", asking({ origin: "https://app.example" }), 101, "upgrade"],
  ["a listed name at another port", asking({ origin: "https://app.example:1" }), 403, "may not"],
  ["a file", asking({ origin: "null" }), 101, "upgrade"],
  ["a file, at ::1", asking({ origin: "null", host: "[::1]:80" }), 101, "upgrade"],
  ["no origin, by a proxy", asking({ origin: "null", host: "bus.example" }), 403, "connect: null"],
  ["what is no origin, for no host", asking({ origin: "x", host: "" }), 403, "may not connect"],
  ["what a terminal may obey", asking({ origin: "\u009b1m" }), 403, "may not connect"],
  ["17 KiB", asking({ cookie: "x".repeat(17 * 1024) }), 431, "16384 bytes"],
  ["a client without HTTP", "mpubsub\0", 400, "connect a WebSocket"],
];

Deno.test("Broker answers HTTP by the letter, however it is split, and closes", async (t) => {
  await using broker = await started({
    address: "ws://127.0.0.1:0/bus",
    origins: ["https://app.example"],
    onError() {},
  });
  for (const [what, text, status, says] of ANSWERS) {
    await t.step(what, async () => {
      for (const split of [text.length, 1, text.length - 3]) {
        const answer = await answerTo(broker, text.slice(0, split), text.slice(split));
        assertStringIncludes(answer, `HTTP/1.1 ${status} `);
        assertStringIncludes(answer, says);
        assertEquals(answer.includes("connection: close"), status !== 101);
        if (status === 426) {
          assertStringIncludes(answer, "upgrade: websocket\r\nconnection: upgrade");
        }
      }
    });
  }
});

Deno.test("Broker answers HEAD without a body", async () => {
  await using broker = await started({ address: "ws://127.0.0.1:0/bus", onError() {} });
  const answer = await answerTo(broker, asking({}, "HEAD / HTTP/1.1"));
  assert(/^HTTP\/1.1 404 Not Found\r\n.*content-length: [1-9].*\r\n\r\n$/s.test(answer), answer);
});

Deno.test("Broker takes clients with and without WebSockets at one port", async () => {
  const address = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/a", "ws://127.0.0.1:0"];
  await using broker = await started({ address });
  const port = portOf(broker.address);
  const [tcp, a, root] = [
    `tcp://127.0.0.1:${port}`,
    `ws://127.0.0.1:${port}/a`,
    `ws://127.0.0.1:${port}`,
  ];
  assertEquals(broker.addresses, [tcp, a, root]);
  await using one = new NetPubSub(tcp, broker.authkey);
  await using two = new NetPubSub(a, broker.authkey);
  await using three = new NetPubSub(root, broker.authkey);
  await Promise.all([one, two, three].map((bus) => bus.connect()));
  let heard = 0;
  for (const bus of [two, three]) bus.addSubscriber("t", () => heard++);
  await Promise.all([two.flush(), three.flush()]);
  one.publish("t");
  await until(() => heard === 2);
});

Deno.test("Broker.start listens at all addresses or none, and leaves no socket", async () => {
  await using folder = await TempFolder.make();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = [`unix://${folder.path}/s`, `ws://127.0.0.1:${taken.addr.port}`];
  const broker = new Broker({ address });
  await assertRejects(() => broker.start(), Deno.errors.AddrInUse, address[1]);
  assertEquals(folder.names, []);
  await broker.shutdown();
});

Deno.test("NetPubSub tries addresses in their order, and goes on where nobody answers", async () => {
  await using broker = await started({ address: "ws://127.0.0.1:0/bus" });
  await using bus = new NetPubSub(["tcp://127.0.0.1:1", broker.address], broker.authkey);
  await bus.connect();
  await using lost = new NetPubSub(["tcp://127.0.0.1:1", "ws://127.0.0.1:1/x"], "k");
  const { message } = await assertRejects(() => lost.connect(), ConnectionLostError);
  assertStringIncludes(message, "tcp://127.0.0.1:1: ");
  assertStringIncludes(message, "ws://127.0.0.1:1/x: ");
});

Deno.test("NetPubSub that speaks without HTTP is told of a WebSocket at once", async () => {
  await using broker = await started({ address: "ws://127.0.0.1:0/bus", onError() {} });
  const address = `tcp://127.0.0.1:${portOf(broker.address)}`;
  await using bus = new NetPubSub(address, broker.authkey);
  await assertRejects(() => bus.connect(), ProtocolError, "begins with ws://");
});

Deno.test("Broker.upgrade takes clients of a server, and says no in words", async () => {
  await using broker = new Broker({ address: [] });
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request) => broker.upgrade(request),
  );
  const { port } = server.addr;
  const status = async (init: RequestInit = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}/`, init);
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await status(), 503);
  await broker.start();
  assertEquals(await status(), 426);
  await using one = new NetPubSub(`ws://127.0.0.1:${port}`, broker.authkey);
  await using two = new NetPubSub(`ws://127.0.0.1:${port}`, broker.authkey);
  using subscription = two.subscribe("t");
  await Promise.all([one.connect(), two.connect()]);
  one.publish("t", { data: new Uint8Array(500_000) });
  for await (const { message } of subscription) {
    assertEquals((message.data as Uint8Array).length, 500_000);
    break;
  }
  await Promise.all([one.disconnect(), two.disconnect()]);
  await broker.shutdown();
  assertEquals(await status(), 503);
  await server.shutdown();
});
