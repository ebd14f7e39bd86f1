/** `NetPubSub.from`: a function that tells where the broker is. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { toBase64 } from "../base/base64.ts";
import { parseAddress } from "../io/address.ts";
import { dial } from "../io/dial.ts";
import { UnreachableError } from "../io/dial_errors.ts";
import type { Outside } from "../io/outside.ts";
import {
  Broker,
  type BrokerOptions,
  type ConnectionFile,
  ConnectionLostError,
  createTicket,
  NetPubSub,
} from "../mod.ts";
import { BrokerFinder } from "../net/broker_finder.ts";
import { askedOf } from "../net/broker_function.ts";
import { ClientPubSub } from "../net/client_pubsub.ts";
import type { NetPubSubOptions } from "../net/options.ts";
import { until } from "../tools/harness/until.ts";
import * as web from "../web.ts";

const KEY = "a key of 20 bytes...";
const SECRET = btoa(KEY);

async function started(options: BrokerOptions = {}): Promise<Broker> {
  const broker = new Broker({
    address: "ws://127.0.0.1:0",
    authkey: KEY,
    resumeWindow: 0,
    onError() {},
    ...options,
  });
  await broker.start();
  return broker;
}

/** What a function returns for a broker. */
function fileOf({ address, authkey }: Broker): ConnectionFile {
  return { address: address as string, authkey: toBase64(authkey) };
}

for (const [door, Library] of [["./net", NetPubSub], ["./web", web.NetPubSub]] as const) {
  Deno.test(`NetPubSub.from of ${door} asks anew before each attempt to connect`, async () => {
    const first = await started();
    let asked = 0;
    let broker = first;
    await using bus = Library.from(() => {
      asked++;
      return Promise.resolve(fileOf(broker));
    }, { onState() {}, onGap() {}, onError() {} });
    assertEquals(asked, 0);
    await bus.connect();
    assertEquals(asked, 1);
    await using second = await started({ authkey: "another key of 28 bytes ...." });
    broker = second;
    await first.shutdown();
    await until(() => second.stats().connections === 1);
    await bus.flush();
    assertEquals(bus.state, "connected");
  });
}

Deno.test("NetPubSub.from connects with a ticket of its own each time", async () => {
  await using broker = await started();
  const { address } = broker;
  await using bus = NetPubSub.from(async () => ({
    version: 1,
    address: address as string,
    ...await createTicket(KEY, { name: "", for: "ann", expireIn: 60_000 }),
  }));
  await bus.connect();
  await bus.disconnect();
  await bus.connect();
  assertEquals(bus.state, "connected");
});

for (
  const [what, ask] of [
    ["throws", () => {
      throw new ReferenceError("why it failed");
    }],
    [
      "rejects, as fetch does without a network",
      () => Promise.reject(new TypeError("why it failed")),
    ],
    ["rejects with a text", () => Promise.reject("why it failed")],
    ["rejects with nothing", () => Promise.reject(null)],
    ["reads JSON that is none", () => Response.json(0).json().then(() => JSON.parse("<"))],
  ] as [string, () => Promise<never>][]
) {
  Deno.test(`NetPubSub.from takes a function that ${what} for a broker that is away`, async () => {
    let fails = true;
    await using broker = await started();
    await using bus = NetPubSub.from<never>(() => fails ? ask() : fileOf(broker), { onState() {} });
    const error = await assertRejects(() => bus.connect(), ConnectionLostError);
    assertStringIncludes(error.message, "Cannot connect: the function of NetPubSub.from failed (");
    const { cause } = error;
    const why = cause instanceof Error ? cause.message : String(cause);
    assertStringIncludes(error.message, why);
    const connected = bus.connect({ wait: true });
    fails = false;
    await connected;
  });
}

Deno.test("NetPubSub.from says as much as can be said of what is thrown and is no error", async () => {
  const failed = "Cannot connect: the function of NetPubSub.from failed (object that has no text)";
  await using away = NetPubSub.from(() => Promise.reject(Object.create(null)));
  await assertRejects(() => away.connect(), ConnectionLostError, failed);
  for (const [thrown, says] of [[null, "null"], ["a text", "a text"]]) {
    await using bus = NetPubSub.from(() => ({
      get authkey(): string {
        throw thrown;
      },
    }));
    await assertRejects(() => bus.connect(), TypeError, `returned cannot be used (${says})`);
  }
});

Deno.test("NetPubSub.from is not called in haste when a broker has shut down, as an address is tried", async () => {
  await using broker = await started();
  let dialled = 0;
  let isThere = true;
  const outside: Outside = {
    dial(endpoint, signal, caCerts) {
      if (isThere) return dial(endpoint, signal, caCerts);
      dialled++;
      throw new UnreachableError(endpoint, "no broker answers");
    },
    endpointOf: parseAddress,
  };
  const options: NetPubSubOptions = { onState() {}, onError() {} };
  const given = new BrokerFinder(options, outside);
  given.set({ address: broker.address, authkey: KEY });
  await using hasty = new (class extends ClientPubSub {
    constructor() {
      super(given, options);
    }
  })();
  let asked = 0;
  await using patient = NetPubSub.from(() => {
    asked++;
    return fileOf(broker);
  }, options);
  await Promise.all([hasty.connect(), patient.connect()]);
  const before = asked;
  isThere = false;
  await broker.shutdown();
  await until(() => dialled >= 40);
  // The pause before the eighth takes 3.2 s at least, and 40 attempts take 2 s at most.
  assert(asked - before < 10, `it was called ${asked - before} times`);
});

const MALFORMED: readonly (readonly [what: string, value: unknown, says: string])[] = [
  ["nothing", undefined, "it is not an object"],
  ["null", null, "it is not an object"],
  ["a text", JSON.stringify({ authkey: SECRET }), "it is not an object"],
  ["a list", [SECRET], "it is not an object"],
  ["a response", new Response("{}"), "it is a Response; return its content: response.json()"],
  ["what has no key", { address: "h:1" }, "it has no authkey"],
  ["an error of its server", { error: "who are you?" }, "it has no authkey"],
  ["a key in no base64", { address: "h:1", authkey: `${SECRET}!` }, "its authkey is not base64"],
  ["a key as bytes", { authkey: new Uint8Array(20) }, "its authkey is not base64"],
  ["an empty key", { authkey: "" }, "its authkey is empty"],
  ["what has no address", { authkey: SECRET }, "it has no address"],
  ["a bad address", { address: "nowhere", authkey: SECRET }, 'Cannot use address "nowhere"'],
  ["a page's address", { address: "/bus", authkey: SECRET }, 'Cannot use address "/bus"'],
  ["a number for an address", { address: 1, authkey: SECRET }, "its address is not a text"],
  ["an empty list", { addresses: [], authkey: SECRET }, "its addresses are no list"],
  ["another version", { version: 2, address: "h:1", authkey: SECRET }, "its version is 2"],
  ["a number for a name", { address: "h:1", authkey: SECRET, keyName: 1 }, "its keyName is not"],
  ["a ticket without a name", { address: "h:1", authkey: SECRET, expires: 1 }, "it has no keyName"],
  ["a text as its end", { address: "h:1", authkey: SECRET, expires: "1" }, "its expires is not"],
];

for (const [what, value, says] of MALFORMED) {
  Deno.test(`NetPubSub.from says what is wrong with ${what}, and shows no key`, async () => {
    await using bus = NetPubSub.from(() => value as ConnectionFile);
    const { message } = await assertRejects(() => bus.connect(), TypeError, says);
    assertEquals(message.includes(SECRET), false, message);
    assertEquals(bus.state, "disconnected");
  });
}

Deno.test("NetPubSub.from gives up a function that does not answer by the signal of connect()", async () => {
  const asked = Promise.withResolvers<void>();
  await using bus = NetPubSub.from(() => {
    asked.resolve();
    return new Promise<never>(() => {});
  });
  const abort = new AbortController();
  const connecting = bus.connect({ signal: abort.signal });
  await asked.promise;
  const reason = new Error("no longer");
  abort.abort(reason);
  assertEquals(await connecting.catch((error) => error), reason);
  const again = bus.connect();
  await bus.disconnect();
  await assertRejects(() => again, ConnectionLostError, "disconnect() was called meanwhile");
});

const OUTSIDE = { dial: () => Promise.reject(), endpointOf: parseAddress };
const OPTIONS = { waits: false, signal: new AbortController().signal };

Deno.test("NetPubSub.from does not wait for a function for longer than its time", async () => {
  const source = askedOf(() => new Promise<never>(() => {}), OUTSIDE, 1);
  await assertRejects(
    () => source(OPTIONS),
    ConnectionLostError,
    "the function of NetPubSub.from failed (it did not answer within 1 ms)",
  );
});

Deno.test("NetPubSub.from waits for a function no longer than its signal says", async () => {
  const abort = new AbortController();
  const asked = askedOf(() => new Promise<never>(() => {}), OUTSIDE, 1_000_000)({
    waits: false,
    signal: abort.signal,
  });
  const reason = new Error("no longer");
  abort.abort(reason);
  assertEquals(await asked.catch((error) => error), reason);
});

Deno.test("NetPubSub.from asks once more for a ticket that has expired, and then takes what it gets", async () => {
  const soon = Date.now() + 60_000;
  for (
    const [ends, taken] of [[[soon, 0], soon], [[1, soon], soon], [[1, 2, soon], 2]] as const
  ) {
    let asked = 0;
    const source = askedOf(() => {
      const expires = ends[asked++]!;
      return { address: "h:1", authkey: SECRET, keyName: `~${expires}`, expires };
    }, OUTSIDE);
    assertEquals((await source(OPTIONS)).keyName, `~${taken}`);
  }
});

Deno.test("NetPubSub.from takes all addresses, also where none is the first", async () => {
  await using broker = await started();
  const { address, authkey } = fileOf(broker);
  const away = "tcp://127.0.0.1:1";
  for (const one of [{ address: away, addresses: [away, address!] }, { addresses: [address!] }]) {
    await using bus = NetPubSub.from(() => ({ ...one, authkey }));
    await bus.connect();
    assertEquals(bus.state, "connected");
  }
});

Deno.test("NetPubSub.from checks what it is given at the call", () => {
  const anything = NetPubSub.from as unknown as (ask: unknown, options?: unknown) => NetPubSub;
  assertThrows(() => anything({ authkey: SECRET }), TypeError, "must be given a function");
  assertThrows(() => anything(() => {}, { patience: -1 }), RangeError, "patience");
  assertThrows(() => anything(() => {}, { tls: { caCerts: "x" } }), TypeError, "caCerts");
});

Deno.test("NetPubSub.setBroker takes the place of the function of from", async () => {
  await using broker = await started();
  await using bus = NetPubSub.from(() => Promise.reject(new Error("not asked")));
  bus.setBroker(broker.address, KEY);
  await bus.connect();
  assertEquals(bus.state, "connected");
});
