/** What a broker bears of who comes over a WebSocket, with a client that shares no code with it. */
import { assertEquals } from "@std/assert";
import { Broker } from "../mod.ts";
import { bytesOf, hello, RawClient, Refusal } from "../tools/attacks/raw_client.ts";
import { SIGNED } from "./helpers/tls.ts";
import { Opcode, PATH, RawWeb, statusOf, upgradeHead, webFrame } from "../tools/attacks/raw_web.ts";

const AUTHKEY = "a key of some bytes";

/** A broker, and where it listens. */
async function start(options: ConstructorParameters<typeof Broker>[0] = {}) {
  const address = `ws://127.0.0.1:0${PATH}`;
  const errors: Error[] = [];
  const onError = (error: Error) => errors.push(error);
  const broker = new Broker({ address, authkey: AUTHKEY, onError, ...options });
  await broker.start();
  const { hostname, port } = new URL(broker.address as string);
  return { broker, errors, endpoint: { hostname, port: Number(port) } };
}

const EMPTY_FRAMES = [
  ["pings", webFrame(Opcode.PING)],
  ["pongs", webFrame(Opcode.PONG, bytesOf("here"))],
  ["empty messages", webFrame(Opcode.BINARY)],
] as const;

for (const [what, frame] of EMPTY_FRAMES) {
  Deno.test(`Broker refuses who sends 4 KiB of ${what} and no handshake`, async () => {
    const { broker, errors, endpoint } = await start();
    await using _broker = broker;
    using web = await RawWeb.upgraded(endpoint);
    await web.send(webFrame(Opcode.BINARY, hello().subarray(0, 20)));
    for (let sent = 0; sent < 8192; sent += frame.length) if (!await web.send(frame)) break;
    await web.ended();
    assertEquals(broker.stats().refusals.protocol, 1);
    assertEquals(errors.map(({ message }) => message.replace(/\d+/, "#")), [
      "Cannot read a WebSocket: # bytes brought no handshake",
    ]);
  });

  Deno.test(`Broker takes any number of ${what} of who is authenticated`, async () => {
    const { broker, endpoint } = await start();
    await using _broker = broker;
    using web = await RawWeb.upgraded(endpoint);
    const client = RawClient.over(web);
    assertEquals((await client.authenticate({ name: "", key: AUTHKEY })).code, Refusal.NONE);
    await client.open({ name: bytesOf("x".repeat(64)) });
    for (let sent = 0; sent < 100_000; sent += frame.length) await web.send(frame);
    assertEquals(await client.flush(), true);
  });
}

/** The head of an upgrade whose host cannot be read. */
function withoutHost(...lines: readonly string[]): Uint8Array {
  return bytesOf(new TextDecoder().decode(upgradeHead(...lines)).replace("localhost", "["));
}

const HEADS: readonly (readonly [what: string, status: number, head: Uint8Array])[] = [
  ["a head of more than 16 KiB", 431, upgradeHead(`Cookie: ${"x".repeat(20_000)}`)],
  ["a head of more than 100 fields", 431, upgradeHead(...Array(100).fill("A: b"))],
  ["another path", 404, bytesOf("GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n")],
  ["a page", 426, bytesOf("GET /bus HTTP/1.1\r\nHost: localhost\r\n\r\n")],
  ["a WebSocket of a page from elsewhere", 403, upgradeHead("Origin: https://example.org")],
  ["a WebSocket whose host is none", 400, withoutHost("Origin: [")],
  ["HTTP/1.0", 505, bytesOf("GET /bus HTTP/1.0\r\n\r\n")],
];

for (const [what, status, head] of HEADS) {
  Deno.test(`Broker answers ${status} to ${what}, closes, and counts that`, async () => {
    const { broker, endpoint } = await start();
    await using _broker = broker;
    const web = await RawWeb.dial(endpoint);
    await web.send(head);
    const answer = await web.head();
    assertEquals(statusOf(answer), status);
    assertEquals(/^connection: close$/im.test(answer), true);
    await web.ended();
    web.close();
    while (broker.stats().connections > 0) await new Promise((resolve) => setTimeout(resolve, 1));
    assertEquals(broker.stats().refusals.protocol, 1);
  });
}

Deno.test("Broker takes a head of 16 KiB, as browsers send with all cookies of localhost", async () => {
  const { broker, endpoint } = await start();
  await using _broker = broker;
  using web = await RawWeb.dial(endpoint);
  const bare = upgradeHead("Cookie: ").length;
  await web.send(upgradeHead(`Cookie: ${"x".repeat(16 * 1024 - bare)}`));
  assertEquals(statusOf(await web.head()), 101);
});

Deno.test("Broker closes who stops in a head or behind it after authTimeout", async () => {
  const { broker, endpoint } = await start({ authTimeout: 50 });
  await using _broker = broker;
  const words = [bytesOf(""), upgradeHead().subarray(0, -1), upgradeHead()];
  for (const word of words) {
    using web = await RawWeb.dial(endpoint);
    await web.send(word);
    await web.ended();
  }
  while (broker.stats().connections > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(broker.stats().refusals.timeout, words.length);
});

Deno.test("Broker closes who stops in TLS, in a head or behind it at wss:// after authTimeout", async () => {
  const { broker, endpoint } = await start({
    address: `wss://127.0.0.1:0${PATH}`,
    tls: SIGNED,
    authTimeout: 300,
  });
  await using _broker = broker;
  for (const bytes of [[], [22, 3, 1, 2, 0, 1]]) {
    using web = await RawWeb.dial(endpoint);
    await web.send(Uint8Array.from(bytes));
    await web.ended();
  }
  for (const word of [bytesOf(""), upgradeHead().subarray(0, -1), upgradeHead()]) {
    using conn = await Deno.connectTls({ ...endpoint, caCerts: [SIGNED.ca] });
    await conn.handshake();
    if (word.length > 0) await conn.write(word);
    const room = new Uint8Array(1024);
    // Without an alert that says so, as who is too late gets none.
    while (await conn.read(room).catch(() => null) !== null);
  }
  while (broker.stats().connections > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(broker.stats().refusals.timeout, 5);
});
