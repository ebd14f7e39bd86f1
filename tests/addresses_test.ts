/** Several addresses: at which a broker listens, and which of them a client tries. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type Address,
  AuthError,
  Broker,
  type BrokerOptions,
  ConnectionLostError,
  NetPubSub,
  ProtocolError,
} from "../mod.ts";
import { writeConnectionFile } from "../io/connection_file.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";
import { SELF_SIGNED, SIGNED } from "./helpers/tls.ts";

const TLS = { cert: SIGNED.cert, key: SIGNED.key };
const TRUSTING = { tls: { caCerts: [SIGNED.ca] } };
/** Nobody listens there. */
const NOBODY = "ws://127.0.0.1:1/bus";
const KEY = "secret";

async function started(options: BrokerOptions): Promise<Broker> {
  const broker = new Broker({ authkey: KEY, ...options });
  await broker.start();
  return broker;
}

function urlOf(address: unknown): URL {
  return new URL(String(address).replace(/^\w+:/, "http:"));
}

function portOf(address: unknown): number {
  return Number(urlOf(address).port);
}

Deno.test("Broker.start gets all addresses or none, whichever cannot be had, and can be tried again", async () => {
  for (const at of [0, 1, 2]) {
    await using folder = await TempFolder.make();
    const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = free.addr;
    free.close();
    const address = [`unix://${folder.path}/s`, `ws://127.0.0.1:${port}/bus`];
    address.splice(at, 0, `tcp://127.0.0.1:${taken.addr.port}`);
    await using broker = new Broker({ address });
    await assertRejects(() => broker.start(), Deno.errors.AddrInUse, address[at]);
    assertEquals(folder.names, []);
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    taken.close();
    await broker.start();
    assertEquals(broker.addresses, address);
    assertEquals(broker.address, address[0]);
  }
});

Deno.test("Broker refuses addresses of one port with TLS and without", () => {
  for (const [one, two] of [["ws", "wss"], ["tcp", "wss"], ["tls", "ws"]]) {
    const address = [`${one}://127.0.0.1:7411`, `${two}://127.0.0.1:7411`];
    assertThrows(() => new Broker({ address, tls: TLS }), TypeError, "take two ports");
  }
});

Deno.test("Broker listens at free ports with and without TLS at once", async () => {
  const address = ["ws://127.0.0.1:0/a", "wss://127.0.0.1:0/b", "tls://127.0.0.1:0"];
  await using broker = await started({ address, tls: TLS });
  const [plain, secured, tls] = broker.addresses.map(portOf);
  assert(plain !== secured);
  assertEquals(tls, secured);
  for (const one of broker.addresses) {
    await using bus = new NetPubSub(one, KEY, TRUSTING);
    await bus.connect();
  }
});

Deno.test("Broker takes an array whose second element is a number for one address, alone or in a list", async () => {
  const pair: Address = ["127.0.0.1", 0];
  for (const address of [pair, [pair], [pair, "ws://127.0.0.1:0/bus"] as const]) {
    await using broker = await started({ address });
    assert(broker.address.startsWith("tcp://127.0.0.1:"));
    await using bus = new NetPubSub(["127.0.0.1", portOf(broker.address)], KEY);
    await bus.connect();
  }
});

Deno.test("Broker without an address takes no connection, has no address, and says so in its report", async () => {
  let told = 0;
  const { listen } = Deno;
  Object.assign(Deno, { listen: () => assert(false, "it listens") });
  const broker = new Broker({ address: [], authkey: KEY, onListen: () => told++ });
  try {
    await broker.start();
  } finally {
    Object.assign(Deno, { listen });
  }
  assertEquals([broker.addresses, told], [[], 0]);
  assertThrows(() => broker.address, Error, "listens nowhere");
  const serve = (request: Request) => broker.upgrade(request);
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, serve);
  await using bus = new NetPubSub(`ws://127.0.0.1:${server.addr.port}`, KEY);
  using reports = bus.subscribe(["*broker", "stats"]);
  await bus.connect();
  for await (const { message } of reports) {
    assertEquals(message.address, null);
    break;
  }
  await bus.disconnect();
  await broker.shutdown();
  await server.shutdown();
});

Deno.test("NetPubSub takes all addresses of a connection file, and the only one of an old file", async () => {
  await using folder = await TempFolder.make();
  await using broker = await started({ address: "ws://127.0.0.1:0/bus" });
  const { address } = broker;
  const authkey = new TextEncoder().encode(KEY);
  for (const content of [{ address }, { address: NOBODY, addresses: [NOBODY, address] }]) {
    const file = `${folder.path}/x.json`;
    await writeConnectionFile(file, { ...content, authkey }, { replace: true });
    await using bus = await NetPubSub.fromFile(file);
    await bus.connect();
  }
});

Deno.test("NetPubSub tries the first address first at each attempt", async () => {
  await using folder = await TempFolder.make();
  const first = `unix://${folder.path}/s`;
  const second = await started({ address: "ws://127.0.0.1:0/bus" });
  const heard: string[] = [];
  await using bus = new NetPubSub([first, second.address], KEY, {
    onState: (state) => heard.push(state),
    onGap() {},
  });
  await bus.connect();
  await using broker = await started({ address: first });
  await second.shutdown();
  await until(() => broker.stats().sessions === 1);
  await until(() => bus.state === "connected");
  assertEquals(heard, ["connecting", "connected", "reconnecting", "connected"]);
});

/** Something that takes connections, and does this with each. */
function taking(serve: (conn: Deno.Conn) => Promise<void>) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for await (const conn of listener) {
      await serve(conn).catch(() => {}); // The client has gone.
      conn.close();
    }
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

/** Answers a request over HTTP. */
function answering(status: string): (conn: Deno.Conn) => Promise<void> {
  return async (conn) => {
    await conn.read(new Uint8Array(4096));
    await conn.write(new TextEncoder().encode(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\n\r\n`));
  };
}

// deno-lint-ignore no-explicit-any
type Kind = new (...args: any[]) => Error;

/** Somebody is at the first address, of whom a client must not go on to the next. */
const SOMEBODY: readonly (readonly [
  what: string,
  scheme: string,
  kind: Kind,
  serve: (conn: Deno.Conn) => Promise<void>,
])[] = [
  ["closes at once", "tcp", ConnectionLostError, () => Promise.resolve()],
  ["closes at once", "ws", ConnectionLostError, () => Promise.resolve()],
  ["is no broker", "tcp", ProtocolError, answering("200 OK")],
  ["has no bus", "ws", ProtocolError, answering("404 Not Found")],
  ["refuses", "ws", ProtocolError, answering("403 Forbidden")],
];

for (const [what, scheme, kind, serve] of SOMEBODY) {
  Deno.test(`NetPubSub does not go on to the next address where somebody ${what}, over ${scheme}://`, async () => {
    await using broker = await started({ address: "tcp://127.0.0.1:0" });
    await using other = taking(serve);
    const addresses = [`${scheme}://127.0.0.1:${other.port}`, broker.address];
    await using bus = new NetPubSub(addresses, KEY);
    const error = await assertRejects(() => bus.connect());
    assert(error instanceof kind, String(error));
    assertEquals(broker.stats().refused + broker.stats().sessions, 0);
  });
}

Deno.test("NetPubSub does not go on to the next address after a key or a certificate that is refused", async () => {
  await using broker = await started({ address: "ws://127.0.0.1:0/bus" });
  const address = ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/bus", "wss://127.0.0.1:0/bus"];
  const tls = { cert: SELF_SIGNED.cert, key: SELF_SIGNED.key };
  await using other = await started({ address, tls, authkey: "another", onError() {} });
  for (const first of other.addresses) {
    await using bus = new NetPubSub([first, broker.address], KEY);
    await assertRejects(() => bus.connect(), AuthError);
  }
  assertEquals(broker.stats().refused + broker.stats().sessions, 0);
});

Deno.test("NetPubSub goes on to the next address where a server says that its broker is away", async () => {
  await using broker = await started({ address: "tcp://127.0.0.1:0" });
  await using proxy = taking(answering("502 Bad Gateway"));
  await using bus = new NetPubSub([`ws://127.0.0.1:${proxy.port}/bus`, broker.address], KEY);
  await bus.connect();
});

/** So many addresses that each has a fortieth of the time of an attempt. */
const MANY = 40;

Deno.test("NetPubSub tries no other of many addresses after a broker that refuses its key, which takes time", async () => {
  await using broker = await started({ address: "tcp://127.0.0.1:0" });
  await using other = await started({
    address: "ws://127.0.0.1:0",
    authkey: "another",
    onError() {},
  });
  const addresses = [other.address, ...Array<string>(MANY - 1).fill(broker.address)];
  await using bus = new NetPubSub(addresses, KEY);
  await assertRejects(() => bus.connect(), AuthError);
  assertEquals(broker.stats().refused + broker.stats().sessions, 0);
});

Deno.test("NetPubSub goes on to the next address where nobody answers in time", async () => {
  await using broker = await started({ address: "tcp://127.0.0.1:0" });
  // It connects, and nobody accepts.
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  for (const scheme of ["tcp", "tls", "ws", "wss"]) {
    const first = `${scheme}://127.0.0.1:${silent.addr.port}`;
    const addresses = [first, ...Array<string>(MANY - 1).fill(broker.address)];
    await using bus = new NetPubSub(addresses, KEY);
    await bus.connect();
  }
});

Deno.test("NetPubSub goes on to the next address where not even a connection comes", async () => {
  await using broker = await started({ address: "ws://127.0.0.1:0/bus" });
  const addresses = ["tcp://192.0.2.1:7411", ...Array<string>(MANY - 1).fill(broker.address)];
  const { connect } = Deno;
  const tried: string[] = [];
  // As a network does that drops what is sent there.
  const dropping = (options: Deno.ConnectOptions) => {
    tried.push(options.hostname!);
    if (options.hostname === "127.0.0.1") return connect(options);
    const { promise, reject } = Promise.withResolvers<never>();
    options.signal!.addEventListener("abort", () => reject(options.signal!.reason));
    return promise;
  };
  Object.assign(Deno, { connect: dropping });
  try {
    await using bus = new NetPubSub(addresses, KEY, { onError() {} });
    await bus.connect();
  } finally {
    Object.assign(Deno, { connect });
  }
  assertEquals(tried, ["192.0.2.1", "127.0.0.1"]);
});

Deno.test("NetPubSub never connects without TLS beyond the machine after it tried with TLS", async () => {
  const { connect } = Deno;
  const tried: string[] = [];
  const refusing = ({ hostname, port }: Deno.ConnectOptions) => {
    tried.push(`${hostname}:${port}`);
    return Promise.reject(new Deno.errors.ConnectionRefused("Connection refused"));
  };
  const addresses = [
    "tcp://a:1",
    "wss://b:2",
    "ws://c:3",
    "tcp://d:4",
    "tls://e:5",
    "ws://[::1]:6",
  ];
  await using folder = await TempFolder.make();
  const file = `${folder.path}/x.json`;
  const authkey = new TextEncoder().encode(KEY);
  await writeConnectionFile(file, { address: addresses[0]!, addresses, authkey }, {
    replace: false,
  });
  Object.assign(Deno, { connect: refusing });
  try {
    const options = { onError() {} };
    for (
      const make of [
        () => new NetPubSub(addresses, KEY, options),
        () => NetPubSub.fromFile(file, options),
      ]
    ) {
      tried.length = 0;
      await using bus = await make();
      const { message } = await assertRejects(() => bus.connect(), ConnectionLostError);
      assertEquals(tried, ["a:1", "b:2", "e:5", "::1:6"]);
      for (const address of addresses) assertStringIncludes(message, `${address}: `);
      assertStringIncludes(message, "ws://c:3: not tried without TLS");
      assertStringIncludes(message, "tcp://d:4: not tried without TLS");
    }
  } finally {
    Object.assign(Deno, { connect });
  }
});

/** What a client is told that speaks one way where a broker speaks another. */
const ADVICE: Readonly<Record<string, Readonly<Record<string, RegExp>>>> = {
  tcp: {
    tls: /before TLS began; if it is a broker without TLS, use tcp:/,
    ws: /^Cannot open a WebSocket at 127.0.0.1:\d+\/: .* it may be a broker without WebSockets$/,
    wss: /before TLS began; if it is a broker without TLS, use ws:/,
  },
  tls: {
    tcp: /speaks TLS; use an address that begins with tls:/,
    ws: /TLS came; use an address that begins with wss:/,
    wss: /^Cannot open a WebSocket at 127.0.0.1:\d+\/: .* it may be a broker without WebSockets$/,
  },
  ws: {
    tcp: /speaks HTTP; use an address that begins with ws:/,
    tls: /does not speak TLS .* if it is a broker, use tcp:/,
    wss: /does not speak TLS .* if it is a broker, use ws:/,
  },
  wss: {
    tcp: /speaks TLS; use an address that begins with tls:/,
    tls: /speaks HTTP; .* or wss:/,
    ws: /TLS came; use an address that begins with wss:/,
  },
};

for (const [scheme, told] of Object.entries(ADVICE)) {
  Deno.test(`NetPubSub that speaks otherwise is told at once what to use for a broker at ${scheme}://`, async () => {
    const tls = scheme === "tls" || scheme === "wss" ? { tls: TLS } : {};
    await using broker = await started({
      address: `${scheme}://127.0.0.1:0`,
      onError() {},
      ...tls,
      authTimeout: 60_000,
    });
    for (const [other, says] of Object.entries(told)) {
      const address = `${other}://127.0.0.1:${portOf(broker.address)}`;
      await using bus = new NetPubSub(address, KEY, TRUSTING);
      const { message } = await assertRejects(() => bus.connect());
      assertMatch(message, says);
    }
  });
}
