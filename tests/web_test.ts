/** The client for pages: its addresses, and what it says when it cannot connect. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Broker } from "../broker.ts";
import { formatEndpoint } from "../io/address.ts";
import { webEndpointOf } from "../io/web_address.ts";
import { ConnectionLostError, NetPubSub } from "../web.ts";
import { FakePage } from "./helpers/fake_page.ts";

const KEY = "a key of some bytes";

async function brokerAt(address: string | string[]): Promise<Broker> {
  const broker = new Broker({ address, authkey: KEY, onError() {} });
  await broker.start();
  return broker;
}

Deno.test("NetPubSub of ./web exchanges messages over the platform's WebSocket", async () => {
  await using broker = await brokerAt("ws://127.0.0.1:0/bus");
  await using here = new NetPubSub(broker.address, KEY);
  await using there = new NetPubSub(broker.address, KEY);
  const got = there.subscribe("hello");
  await Promise.all([here.connect(), there.connect()]);
  here.publish("hello", { text: "x".repeat(500_000) });
  for await (const { message } of got) {
    assertEquals((message.text as string).length, 500_000);
    break;
  }
});

const HTTP = "http://app.example:8000/a/page";
const HTTPS = "https://app.example/a/page";
const DISK = "file:///home/ann/page.html";

const ADDRESSES:
  readonly (readonly [page: string | undefined, address: string, RegExp | string])[] = [
    [undefined, "ws://bus.example/bus", "ws://bus.example:80/bus"],
    [undefined, "wss://[::1]:7411", "wss://[::1]:7411"],
    [HTTP, "/", "ws://app.example:8000"],
    [HTTP, "/bus", "ws://app.example:8000/bus"],
    [HTTP, "//other.example/bus", "ws://app.example:8000//other.example/bus"],
    [HTTPS, "/bus", "wss://app.example:443/bus"],
    ["http://[::1]:80/", "/bus", "ws://[::1]:80/bus"],
    [HTTP, "ws://bus.example", "ws://bus.example:80"],
    [HTTPS, "wss://bus.example", "wss://bus.example:443"],
    [HTTPS, "ws://localhost:7411", "ws://localhost:7411"],
    [
      HTTPS,
      "ws://bus.example",
      /^ws:\/\/bus\.example:80: a page .* https:\/\/ may use wss:\/\/ only$/,
    ],
    [HTTP, "tcp://127.0.0.1:7411", /^tcp:\/\/127\.0\.0\.1:7411: .* ws:\/\/ or wss:\/\//],
    [HTTP, "tls://bus.example:7411", /^tls:.*let the broker listen at one, too$/],
    [HTTP, "unix:///run/bus.sock", /^unix:\/\/\/run\/bus\.sock: .* ws:\/\/ or wss:\/\//],
  ];

for (const [page, address, expected] of ADDRESSES) {
  const where = page === undefined ? "without a page" : `in a page at ${page}`;
  Deno.test(`NetPubSub of ./web takes ${address} ${where} for ${expected}`, () => {
    using _page = new FakePage(page === undefined ? {} : { href: page });
    const found = webEndpointOf(address);
    if (typeof expected !== "string") assertMatch(found as string, expected);
    else if (typeof found === "string") assertEquals(found, expected);
    else assertEquals(formatEndpoint(found), expected);
  });
}

for (
  const [page, why] of [
    [undefined, "this is not a page"],
    [DISK, "this page has no host (file:)"],
    ["blob:https://app.example/2a", "this page has no host (blob:)"],
    ["about:srcdoc", "this page has no host (about:)"],
  ] as const
) {
  Deno.test(`NetPubSub of ./web refuses an address without a host in ${page}`, async () => {
    using _page = new FakePage(page === undefined ? {} : { href: page });
    const problem = `Cannot use address /bus: ${why}; write the whole address`;
    assertThrows(() => new NetPubSub("/bus", KEY), TypeError, problem);
    await using bus = NetPubSub.from(() => ({ authkey: btoa(KEY) }));
    await assertRejects(() => bus.connect(), TypeError, `Cannot use address /: ${why}`);
  });
}

Deno.test("NetPubSub of ./web reaches a broker at a path of the page's own host", async () => {
  await using broker = await brokerAt([]);
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => broker.upgrade(request),
  );
  using _page = new FakePage({ href: `http://127.0.0.1:${server.addr.port}/page.html` });
  await using bus = new NetPubSub("/bus", KEY);
  await using ticketed = NetPubSub.from(() => ({ authkey: btoa(KEY) }));
  await Promise.all([bus.connect(), ticketed.connect()]);
  assertEquals(broker.stats().connections, 2);
  await broker.shutdown();
});

Deno.test("NetPubSub of ./web leaves out the addresses that it cannot use", async () => {
  await using broker = await brokerAt(["tcp://127.0.0.1:0", "ws://127.0.0.1:0/bus"]);
  await using bus = new NetPubSub(broker.addresses, KEY);
  await bus.connect();
  assertEquals(broker.stats().connections, 1);
});

Deno.test("NetPubSub of ./web says of all addresses why it does not connect there", async () => {
  assertThrows(
    () => new NetPubSub(["tcp://127.0.0.1:7411", "unix:///run/bus.sock"], KEY),
    TypeError,
    "Cannot use the address: tcp://127.0.0.1:7411: a WebSocket needs an address that begins with " +
      "ws:// or wss://; let the broker listen at one, too; unix:///run/bus.sock: ",
  );
  await using bus = new NetPubSub(["tcp://127.0.0.1:7411", "ws://127.0.0.1:1"], KEY);
  const { message } = await assertRejects(() => bus.connect(), ConnectionLostError);
  assertMatch(
    message,
    /^Cannot connect to any of 2 addresses: ws:\/\/127\.0\.0\.1:1: no broker.*; tcp:\/\/127.*needs/,
  );
});

/** A `WebSocket` of a page that does not open. */
class Closed extends EventTarget {
  static readonly OPEN = 1;
  readonly readyState = 0;
  onerror: ((event: Event) => void) | undefined;
  onclose: ((event: { code: number }) => void) | undefined;

  constructor(address: string) {
    super();
    if (address.includes("forbidden")) throw new DOMException("not here", "SecurityError");
    setTimeout(() => {
      this.onerror?.(new Event("error"));
      if (!address.includes("policy")) this.onclose?.({ code: 1006 });
    });
  }

  close(): void {}
}

const HINTS: readonly (readonly [what: string, page: string, address: string, RegExp])[] = [
  [
    "its origin",
    HTTP,
    "ws://127.0.0.1:7411",
    /^Cannot connect to ws:\/\/127\.0\.0\.1:7411: no broker answers \(the WebSocket is closed: close code 1006\); a page is not told why: see that a broker listens there, that its option origins, or --origin, lists http:\/\/app\.example:8000, that connect-src of/,
  ],
  [
    "where it comes from",
    DISK,
    "ws://app.example",
    /that this page has an origin: those from disk/,
  ],
  [
    "whether only this machine reaches the broker",
    DISK,
    "ws://127.0.0.1:7411",
    /there, that it listens on loopback only, as pages from disk, and in a sandbox, need it, that conn/,
  ],
  [
    "nothing of origins on one machine",
    "http://127.0.0.1:8000/",
    "/bus",
    /there, that connect-src/,
  ],
  [
    "its policy, where no close follows an error",
    HTTPS,
    "wss://policy.example",
    /no broker answers \(the WebSocket is closed\); a page is not told why: .* connect-src of/,
  ],
  ["nothing of origins at its own host", HTTP, "/bus", /listens there, that connect-src/],
  [
    "the certificate",
    HTTPS,
    "/bus",
    /listens there, that this browser trusts its certificate, that/,
  ],
];

for (const [what, href, address, expected] of HINTS) {
  Deno.test(`NetPubSub of ./web that cannot connect tells a page to look at ${what}`, async () => {
    using _page = new FakePage({ href, WebSocket: Closed });
    await using bus = new NetPubSub(address, KEY, { onError() {} });
    const { message } = await assertRejects(() => bus.connect(), ConnectionLostError);
    assertMatch(message, expected);
  });
}

Deno.test("NetPubSub of ./web that cannot connect says what a runtime knows, and nothing of pages", async () => {
  await using bus = new NetPubSub("ws://127.0.0.1:1", KEY);
  const { message } = await assertRejects(() => bus.connect(), ConnectionLostError);
  assertMatch(message, /\(the WebSocket is closed: NetworkError: .+\)$/);
  assert(!message.includes("page"), message);
});

Deno.test("NetPubSub of ./web goes on to the next address where WebSocket throws", async () => {
  using _page = new FakePage({ href: HTTP, WebSocket: Closed });
  const addresses = ["wss://forbidden.example", "wss://bus.example"];
  await using bus = new NetPubSub(addresses, KEY);
  const { message } = await assertRejects(() => bus.connect(), ConnectionLostError);
  assertStringIncludes(message, "it cannot be used here (SecurityError: not here); wss://bus");
  assertStringIncludes(message, "close code 1006");
});

Deno.test("NetPubSub of ./web rejects with NotSupportedError where there is no WebSocket", async () => {
  using _page = new FakePage({ WebSocket: undefined });
  await using bus = new NetPubSub("ws://127.0.0.1:1", KEY);
  const error = await bus.connect({ wait: true }).catch((error) => error);
  assertInstanceOf(error, DOMException);
  assertEquals(error.name, "NotSupportedError");
});

Deno.test("NetPubSub of ./web warns of an address at which others can read", async () => {
  using _page = new FakePage({ href: HTTP, WebSocket: Closed });
  const told: unknown[] = [];
  const onError = (error: unknown) => void told.push(error);
  for (const address of ["ws://bus.example", "/bus", "wss://bus.example", "ws://127.0.0.1:1"]) {
    await using bus = new NetPubSub(address, KEY, { onError });
    await assertRejects(() => bus.connect(), ConnectionLostError);
  }
  assertEquals(told.map((error) => (error as Error).message.slice(0, 50)), [
    "Connecting to ws://bus.example:80 without TLS: mes",
    "Connecting to ws://app.example:8000/bus without TL",
  ]);
});

Deno.test("NetPubSub of ./web closes a WebSocket that is opening when its signal aborts", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using bus = new NetPubSub(`ws://127.0.0.1:${listener.addr.port}`, KEY);
  const abort = new AbortController();
  const connecting = bus.connect({ signal: abort.signal });
  using conn = await listener.accept();
  const reason = new Error("no longer");
  abort.abort(reason);
  assertEquals(await connecting.catch((error) => error), reason);
  const rest = new Response(conn.readable);
  await rest.text().catch(() => {}); // Ends, or is reset; else the test would wait for ever.
});
