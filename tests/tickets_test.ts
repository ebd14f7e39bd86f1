/** What a broker lets those do who have a ticket, until it ends, and what they share. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import {
  AuthError,
  Broker,
  type BrokerKey,
  type BrokerOptions,
  type ClientEvent,
  type ClientStats,
  createTicket,
  ForbiddenError,
  NetPubSub,
  type NetPubSubOptions,
  type Ticket,
  type TicketOptions,
} from "../mod.ts";
import { FrameType, Reason } from "../protocol/frame.ts";
import { decodeGoodbye, Resumption } from "../protocol/frame_bodies.ts";
import { sealed } from "../protocol/create_ticket.ts";
import { TICKET_SKEW_MS } from "../protocol/ticket.ts";
import {
  bytesOf as utf8,
  type Endpoint,
  hello,
  hmac,
  join,
  proofOf,
  RawClient,
  Refusal,
  ticketOf,
} from "../tools/attacks/raw_client.ts";
import { Peer } from "../tools/harness/peer.ts";
import { until } from "../tools/harness/until.ts";

const PAGE = "a key of 16 bytes";
const OTHER = "another of 16 bytes";
const KEY: BrokerKey = { name: "page", key: PAGE, publish: ["in"], subscribe: ["out", "in"] };
const HOUR_MS = 3_600_000;

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/** A ticket of the key "page", for an hour unless something else is said. */
function ticket(options: Partial<TicketOptions> = {}, key = PAGE): Promise<Ticket> {
  return createTicket(key, { name: "page", expireIn: HOUR_MS, ...options });
}

/** One that a broker takes for so many milliseconds from now on. */
function ending(ms: number, who?: string): Promise<Ticket> {
  const expires = Date.now() - TICKET_SKEW_MS + ms;
  return sealed(PAGE, { name: "page", expires, for: who, narrow: {} });
}

function endpointOf(address: string): Endpoint {
  const { hostname, port } = new URL(address);
  return { hostname, port: Number(port) };
}

/** A broker, and clients that have tickets. */
class Stage implements AsyncDisposable {
  readonly broker: Broker;
  readonly events: ClientEvent[] = [];
  readonly errors: unknown[] = [];
  readonly #stack = new AsyncDisposableStack();

  private constructor(options: BrokerOptions) {
    this.broker = new Broker({
      address: "tcp://127.0.0.1:0",
      keys: [KEY],
      onClient: (event) => this.events.push(event),
      onError: (error) => this.errors.push(error),
      ...options,
    });
  }

  static async start(options: BrokerOptions = {}): Promise<Stage> {
    const stage = new Stage(options);
    await stage.broker.start();
    return stage;
  }

  client({ keyName, authkey }: Ticket, options: NetPubSubOptions = {}): NetPubSub {
    const bus = new NetPubSub(this.broker.address, bytesOf(authkey), { keyName, ...options });
    this.#stack.use(bus);
    return bus;
  }

  async connected(ticket: Ticket, options?: NetPubSubOptions): Promise<NetPubSub> {
    const bus = this.client(ticket, options);
    await bus.connect();
    return bus;
  }

  /** One that may do everything. */
  async root(): Promise<NetPubSub> {
    const bus = new NetPubSub(this.broker.address, this.broker.authkey);
    this.#stack.use(bus);
    await bus.connect();
    return bus;
  }

  async peer({ keyName, authkey }: Ticket): Promise<Peer> {
    const peer = await Peer.authenticate(this.broker, bytesOf(authkey), keyName);
    this.#stack.use(peer);
    return peer;
  }

  /** What the broker answers to who names this ticket and proves this key. */
  async answer(keyName: string, authkey: string): Promise<number | undefined> {
    using client = await RawClient.dial(endpointOf(this.broker.address));
    return (await client.authenticate({ name: keyName, key: bytesOf(authkey) })).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    await this.broker.shutdown();
  }
}

async function goodbye(peer: Peer): Promise<number> {
  let frame = await peer.next();
  while (frame !== undefined && frame.type !== FrameType.GOODBYE) frame = await peer.next();
  assert(frame !== undefined, "it closed without a word");
  return decodeGoodbye(frame.body).reason;
}

Deno.test("Broker lets who has a ticket do what key and ticket grant, and nothing else", async () => {
  await using stage = await Stage.start();
  const narrow = { publish: [["in", "7"], "out"], subscribe: [["out", "7"], "secret"] };
  const refused: string[] = [];
  const page = await stage.connected(await ticket({ narrow }), {
    onError(error) {
      assert(error instanceof ForbiddenError, String(error));
      refused.push(error.topic.join("/"));
      assertStringIncludes(error.message, 'the ticket of the key "page" does not grant that');
    },
  });
  const root = await stage.root();
  const [heard, got]: string[][] = [[], []];
  root.addSubscriber(null, (topic) => heard!.push(topic.join("/")));
  page.addSubscriber(null, (topic) => got!.push(topic.join("/")));
  await Promise.all([root.flush(), page.flush()]);
  for (const topic of [["in", "7"], ["in", "7", "x"], "in", ["in", "8"], "out", "secret", null]) {
    page.publish(topic as string, {});
  }
  await page.flush();
  got!.length = 0; // Its own subscribers heard what it said.
  for (const topic of [["out", "7"], ["out", "7", "x"], "out", ["out", "8"], "in", "secret"]) {
    root.publish(topic as string, {});
  }
  root.publish(["out", "7"], {});
  await until(() => got!.length === 3 && refused.length === 5);
  assertEquals(heard!.slice(0, 2), ["in/7", "in/7/x"]);
  assertEquals(stage.broker.stats().received, 2 + 7);
  assertEquals(got, ["out/7", "out/7/x", "out/7"]);
  assertEquals(refused, ["in", "in/8", "out", "secret", ""]);
  page.addSubscriber("in", () => {});
  await assertRejects(() => page.flush(), ForbiddenError);
});

Deno.test("Broker gives a ticket the rights of its key where it says nothing, and nothing where it says so", async () => {
  await using stage = await Stage.start();
  const all = await stage.connected(await ticket());
  all.publish("in", {});
  all.addSubscriber("out", () => {});
  await all.flush();
  assertEquals(stage.broker.stats().forbidden, 0);
  const none = await stage.connected(await ticket({ narrow: { publish: [], subscribe: [] } }), {
    onError() {},
  });
  none.publish("in", {});
  await none.flush();
  assertEquals(stage.broker.stats().forbidden, 1);
  none.addSubscriber("out", () => {});
  await assertRejects(() => none.flush(), ForbiddenError);
});

Deno.test("Broker lets who has a ticket be a member where key and ticket say so, until the key does not", async () => {
  await using stage = await Stage.start();
  const serving = { ...KEY, serve: ["out"] };
  stage.broker.setKeys([serving]);
  const got: string[] = [];
  const errors: unknown[] = [];
  const page = await stage.connected(await ticket({ narrow: { serve: [["out", "7"]] } }), {
    onError: (error) => errors.push(error),
  });
  const join = async (topic: string[]) => {
    page.addSubscriber(topic, () => got.push("page"), { group: "workers" });
    await page.flush();
  };
  await join(["out", "7"]);
  for (const topic of [["out", "8"], ["out"], ["in"]]) {
    const error = await assertRejects(() => join(topic), ForbiddenError);
    assertEquals(error.topic, topic);
  }
  const root = await stage.root();
  const say = async (count: number) => {
    for (let n = 0; n < count; n++) root.publish(["out", "7"], {});
    await root.flush();
    await until(() => got.length === count);
    return got.splice(0);
  };
  assertEquals(await say(2), ["page", "page"]);
  stage.broker.setKeys([{ ...serving, serve: ["in"] }]);
  await until(() => errors.length === 4);
  assertEquals(stage.broker.stats().jobs.members, 0);
  root.addSubscriber(["out", "7"], () => got.push("root"), { group: "workers" });
  await root.flush();
  assertEquals(await say(2), ["root", "root"]);
});

Deno.test("Broker.setKeys changes the rights of tickets with those of their key, and never beyond them", async () => {
  await using stage = await Stage.start();
  const errors: unknown[] = [];
  const page = await stage.connected(await ticket({ narrow: { subscribe: ["out"] } }), {
    onError: (error) => errors.push(error),
  });
  const got: string[] = [];
  page.addSubscriber(null, (topic) => got.push(topic.join("/")));
  await page.flush();
  const root = await stage.root();
  const say = async () => {
    for (const topic of ["out", "in", "more"]) root.publish(topic, {});
    await root.flush();
    await page.flush();
    return got.splice(0);
  };
  assertEquals(await say(), ["out"]);
  stage.broker.setKeys([{ ...KEY, subscribe: [null] }]);
  assertEquals(await say(), ["out"]);
  stage.broker.setKeys([{ ...KEY, subscribe: ["in"] }]);
  await until(() => errors.length === 1);
  await assertRejects(() => page.flush(), ForbiddenError);
  assertEquals(await say(), []);
  stage.broker.setKeys([KEY]);
  await until(async () => (await say()).length > 0);
  assertEquals(page.state, "connected");
});

for (
  const [what, keys] of [
    ["changed", [{ ...KEY, key: OTHER }]],
    ["is gone", []],
  ] as const
) {
  Deno.test(`Broker.setKeys ends all with tickets of a key that ${what}, connected or not, and takes none of them again`, async () => {
    await using stage = await Stage.start();
    const tickets = [await ticket({ for: "ann" }), await ticket({ for: "bob" }), await ticket()];
    const peers = await Promise.all(tickets.map((each) => stage.peer(each)));
    await Promise.all(peers.slice(0, 2).map((peer) => peer.sendOpen()));
    peers[0]!.conn.close();
    await until(() => stage.broker.stats().detached === 1);
    stage.broker.setKeys(keys);
    assertEquals(stage.broker.stats().sessions, 0);
    for (const peer of peers.slice(1)) assertEquals(await goodbye(peer), Reason.KEY_REVOKED);
    const { keyName, authkey } = tickets[0]!;
    assertEquals(await stage.answer(keyName, authkey), Refusal.AUTH);
    assertEquals(stage.broker.stats().refusals.key, 1);
  });
}

Deno.test("Broker takes no ticket of a key of 15 bytes, whoever made it", async () => {
  const short = "15 bytes of key";
  await using stage = await Stage.start({ keys: [{ ...KEY, key: short }] });
  const says = { name: "page", expires: Date.now() + HOUR_MS };
  const made = await ticketOf({ name: "page", key: short }, says);
  using client = await RawClient.dial(endpointOf(stage.broker.address));
  assertEquals((await client.authenticate(made)).code, Refusal.AUTH);
  using holder = await RawClient.dial(endpointOf(stage.broker.address));
  assertEquals((await holder.authenticate({ name: "page", key: short })).code, Refusal.NONE);
});

Deno.test("Broker refuses the recorded handshake of a ticket that is played again", async () => {
  await using stage = await Stage.start();
  const { keyName, authkey } = await ticket();
  const endpoint = endpointOf(stage.broker.address);
  using client = await RawClient.dial(endpoint);
  const record = await client.authenticate({ name: keyName, key: bytesOf(authkey) });
  assertEquals(record.code, Refusal.NONE);
  using thief = await RawClient.dial(endpoint);
  await thief.send(record.hello);
  await thief.challenge();
  await thief.send(record.proof);
  assertEquals((await thief.answer()).code, Refusal.AUTH);
});

Deno.test("Broker takes a ticket that was made after docs/protocol.md alone", async () => {
  await using stage = await Stage.start();
  const says = { name: "page", expires: Date.now() + HOUR_MS, for: "ann" };
  const made = await ticketOf({ name: "page", key: PAGE }, says);
  using client = await RawClient.opened(endpointOf(stage.broker.address), made);
  await client.send();
  assertEquals(stage.events.map((event) => event.for), ["ann"]);
});

Deno.test("Broker takes a ticket any number of times until it ends", async () => {
  await using stage = await Stage.start();
  const { keyName, authkey } = await ticket();
  for (let n = 0; n < 3; n++) assertEquals(await stage.answer(keyName, authkey), Refusal.NONE);
});

/** What the holder of a ticket may try to make of it. */
const FORGERIES: Readonly<Record<string, (name: string) => string>> = {
  "more topics": (name) => name.replace('["in","7"]', '"in"'),
  "no narrowing": (name) => name.replace(/,"publish":.*(?=})/, ""),
  "a later end": (name) => name.replace(/"expires":1/, '"expires":2'),
  "another for": (name) => name.replace('"ann"', '"bob"'),
  "the single key": (name) => name.replace('"page"', '""'),
  "another key": (name) => name.replace('"page"', '"root"'),
  "the name of its key": () => "page",
  "half of it": (name) => name.slice(0, name.length >> 1),
};

Deno.test("Broker refuses whatever its holder makes of a ticket, with its key and with one made of that", async () => {
  await using stage = await Stage.start({
    authkey: PAGE,
    keys: [KEY, { name: "root", key: PAGE, publish: [null] }],
  });
  const { keyName, authkey } = await ticket({ for: "ann", narrow: { publish: [["in", "7"]] } });
  await Promise.all(
    Object.entries(FORGERIES).flatMap(([what, change]) => {
      const changed = change(keyName);
      assert(changed !== keyName, what);
      return [
        async () => assertEquals(await stage.answer(changed, authkey), Refusal.AUTH, what),
        async () => {
          const key = await hmac(bytesOf(authkey), utf8("mpubsub ticket\0"), utf8(changed));
          using client = await RawClient.dial(endpointOf(stage.broker.address));
          const { code } = await client.authenticate({ name: changed, key });
          assertEquals(code, Refusal.AUTH, `a key made for ${what}`);
        },
      ].map((attempt) => attempt());
    }),
  );
  assertEquals(await stage.answer(keyName, authkey), Refusal.NONE);
  assertEquals(stage.broker.stats().refusals.key, 2 * Object.keys(FORGERIES).length);
});

Deno.test("Broker reads no name of more than 1 KiB, and holds up to it for who has proved nothing", async () => {
  await using stage = await Stage.start();
  const endpoint = endpointOf(stage.broker.address);
  using long = await RawClient.dial(endpoint);
  await long.send(hello({ name: utf8("~".repeat(1025)) }).subarray(0, 44));
  assertEquals((await long.challenge()).bytes.length, 0, "closed before the name came");
  using longest = await RawClient.dial(endpoint);
  const ours = hello({ name: utf8("~".repeat(1024)) });
  await longest.send(ours);
  const { bytes } = await longest.challenge();
  assertEquals(bytes.length, 58);
  await longest.send(join(await proofOf("x", ours, bytes)));
  assertEquals((await longest.answer()).code, Refusal.AUTH);
  assertEquals(stage.broker.stats().refusals, {
    ...stage.broker.stats().refusals,
    protocol: 1,
    key: 1,
  });
});

Deno.test("Broker takes a ticket for a minute longer, and then tells who proves it, and nobody else, that it is over", async () => {
  await using stage = await Stage.start();
  const late = await ending(TICKET_SKEW_MS - 1000);
  assertEquals(await stage.answer(late.keyName, late.authkey), Refusal.NONE);
  const over = await ending(0);
  assertEquals(await stage.answer(over.keyName, over.authkey), Refusal.EXPIRED);
  assertEquals(await stage.answer(over.keyName, late.authkey), Refusal.AUTH);
  const { expired, key } = stage.broker.stats().refusals;
  assertEquals([expired, key], [1, 1]);
  assert(stage.errors.some((error) => error instanceof AuthError && error.expired));
  const error = await assertRejects(() => stage.client(over).connect(), AuthError);
  assertEquals([error.expired, error.keyName], [true, "page"]);
  assertEquals(
    error.message,
    'Cannot connect: the ticket of the key named "page" has expired; get a new one',
  );
});

Deno.test("Broker names no key where it speaks of a ticket of the single key", async () => {
  await using stage = await Stage.start();
  const content = { name: "", for: undefined, narrow: { publish: [] } };
  const lasting = { ...content, expires: Date.now() + HOUR_MS };
  const refused = Promise.withResolvers<string>();
  const page = await stage.connected(await sealed(stage.broker.authkey, lasting), {
    onError: (error) => refused.resolve((error as Error).message),
  });
  page.publish("secret");
  assertStringIncludes(await refused.promise, ": the ticket does not grant that");

  const over = { ...content, expires: Date.now() - TICKET_SKEW_MS + 300 };
  const lost = Promise.withResolvers<string>();
  await stage.connected(await sealed(stage.broker.authkey, over), {
    onState: (_state, reason) => reason && lost.resolve(reason.message),
  });
  assertStringIncludes(await lost.promise, ": The ticket has expired");
});

Deno.test("Broker ends a connection with its ticket, with a reason of its own, and keeps the session", async () => {
  await using stage = await Stage.start();
  const states: string[] = [];
  const reasons: (Error | undefined)[] = [];
  const page = await stage.connected(await ending(300, "ann"), {
    onState(state, reason) {
      states.push(state);
      reasons.push(reason);
    },
  });
  await until(() => page.state === "reconnecting");
  await until(() => stage.broker.stats().refusals.expired === 1);
  const error = reasons.at(-1);
  assert(error instanceof AuthError && error.expired, String(error));
  assertEquals(error.keyName, "page");
  assertStringIncludes(error.message, 'The ticket of the key "page" has expired');
  assertEquals(states, ["connecting", "connected", "reconnecting"]);
  const { expired, detached, endings } = stage.broker.stats();
  assertEquals([expired, detached, Object.values(endings).some((n) => n > 0)], [1, 1, false]);
  const lost = stage.events.at(-1)!;
  assertEquals([lost.type, lost.for], ["lost", "ann"]);
  assertStringIncludes(lost.reason!, "has expired");
});

Deno.test("Broker ends a connection whose ticket ends before it has opened a session", async () => {
  await using stage = await Stage.start();
  const peer = await stage.peer(await ending(200));
  assertEquals(await goodbye(peer), Reason.EXPIRED);
  await until(() => stage.broker.stats().connections === 0);
});

Deno.test("Broker ends a connection of which the other side does not read that its ticket is over", async () => {
  await using stage = await Stage.start();
  const peer = await stage.peer(await ending(200));
  await peer.sendOpen([["out"]]);
  await until(() => stage.broker.stats().expired === 1);
  const root = await stage.root();
  root.publish("in", {});
  await root.flush();
  await peer.publish(["in"], Uint8Array.of(0)).catch(() => {}); // It may be closed by now.
  await until(() => stage.broker.stats().detached === 1);
  assertEquals(stage.broker.stats().received, 1, "nothing is taken of it any more");
});

Deno.test("Broker lets a session go on under a later ticket for the same, with the rights of that", async () => {
  await using stage = await Stage.start();
  const first = await stage.peer(await ending(500, "ann"));
  const { session } = await first.sendOpen([["out"], ["in"]]);
  assertEquals(await goodbye(first), Reason.EXPIRED);
  const root = await stage.root();
  root.publish("out", { n: 1 });
  await root.flush();
  const narrow = { publish: [], subscribe: ["out"] };
  const second = await stage.peer(await ticket({ for: "ann", narrow }));
  await second.send(FrameType.OPEN, openBody(session, 2), topicBlock("out"), topicBlock("in"));
  await second.expect(FrameType.DENIED);
  const opened = await second.expect(FrameType.OPENED);
  assertEquals(opened[0], Resumption.RESUMED);
  await second.expect(FrameType.PUBLISH);
  await second.publish(["in"], Uint8Array.of(0));
  await second.expect(FrameType.REFUSED);
  assertEquals(stage.broker.stats().forbidden, 1);
  assertEquals(stage.broker.stats().sessions, 2);
});

for (
  const [what, options] of [
    ["another", { for: "bob" }],
    ["nobody by name", {}],
  ] as const
) {
  Deno.test(`Broker begins a new session for a ticket for ${what}, whatever it knows of the other, and says so`, async () => {
    await using stage = await Stage.start();
    const first = await stage.peer(await ticket({ for: "ann" }));
    const { session } = await first.sendOpen([["out"]]);
    const second = await stage.peer(await ticket(options));
    const opened = await second.sendOpen([["out"]], { session });
    assertEquals(opened.outcome, Resumption.NEW);
    assert(opened.session.some((byte, at) => byte !== session[at]));
    const root = await stage.root();
    root.publish("out", {});
    await first.expect(FrameType.PUBLISH);
    await second.expect(FrameType.PUBLISH);
  });
}

Deno.test("Broker lets no ticket go on with a session of the key itself, nor the key with one of a ticket", async () => {
  await using stage = await Stage.start();
  const own = await Peer.authenticate(stage.broker, PAGE, "page");
  const { session } = await own.sendOpen();
  const page = await stage.peer(await ticket());
  const opened = await page.sendOpen([], { session });
  assertEquals(opened.outcome, Resumption.NEW);
  const again = await Peer.authenticate(stage.broker, PAGE, "page");
  assertEquals((await again.sendOpen([], { session: opened.session })).outcome, Resumption.NEW);
  const both = await stage.peer(await ticket());
  assertEquals((await both.sendOpen([], { session: opened.session })).outcome, Resumption.RESUMED);
  own.conn.close();
  again.conn.close();
});

Deno.test("NetPubSub tells that messages may be missing when it comes back with a ticket for another", async () => {
  await using stage = await Stage.start();
  // A connection file's client asks for its ticket anew; here it is changed in between.
  const file = await Deno.makeTempFile();
  const write = async ({ keyName, authkey }: Ticket) => {
    const { address } = stage.broker;
    await Deno.writeTextFile(file, JSON.stringify({ version: 1, address, keyName, authkey }));
    await Deno.chmod(file, 0o600);
  };
  try {
    const gaps: string[] = [];
    const states: string[] = [];
    await write(await ending(400, "ann"));
    await using bus = await NetPubSub.fromFile(file, {
      onGap: ({ reason }) => gaps.push(reason),
      onState: (state) => states.push(state),
    });
    await bus.connect();
    await write(await ending(800, "ann"));
    await until(() => stage.broker.stats().resumed === 1);
    assertEquals([gaps, stage.broker.stats().sessions], [[], 1]);
    await write(await ticket({ for: "bob" }));
    await until(() => gaps.length === 1);
    assertEquals([gaps, stage.broker.stats().sessions], [["expired"], 2]);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("Broker says for whom a ticket is, in events and of each client", async () => {
  await using stage = await Stage.start();
  const root = await stage.root();
  const reports = root.subscribe(["*broker", "clients"]);
  await stage.connected(await ticket({ for: "ann \x1b[31m" }));
  await stage.connected(await ticket());
  for await (const { message } of reports) {
    const { clients } = message as { clients: readonly ClientStats[] };
    if (clients.length < 3) continue;
    const told = clients.toSorted((a, b) => a.client - b.client);
    assertEquals(told.map((each) => each.for), [null, "ann \x1b[31m", null]);
    assertEquals(told.map(({ keyName }) => keyName), ["", "page", "page"]);
    break;
  }
  const joined = stage.events.filter(({ type }) => type === "joined");
  assertEquals(joined.map((event) => [event.keyName, event.for]), [
    ["", undefined],
    ["page", "ann \x1b[31m"],
    ["page", undefined],
  ]);
  assert(!("for" in joined[2]!));
});

Deno.test("Broker counts tickets among the connections of their key", async () => {
  await using stage = await Stage.start({ keys: [{ ...KEY, connections: 2 }] });
  await stage.connected(await ticket());
  await using own = new NetPubSub(stage.broker.address, PAGE, { keyName: "page" });
  await own.connect();
  const third = await stage.peer(await ticket());
  await third.send(FrameType.OPEN, openBody(new Uint8Array(16)));
  assertEquals(await goodbye(third), Reason.BUSY);
});

Deno.test("Broker takes places of a key from whom has most of its tickets, and nothing from others", async () => {
  await using stage = await Stage.start({ keys: [{ ...KEY, connections: 6 }] });
  const mallory = await ticket({ for: "mallory" });
  const ann = await stage.peer(await ticket({ for: "ann" }));
  await ann.sendOpen();
  const hers = await Promise.all(Array.from({ length: 5 }, () => stage.peer(mallory)));
  for (const peer of hers) await peer.sendOpen();
  const more = await stage.peer(mallory);
  await more.send(FrameType.OPEN, openBody(new Uint8Array(16)));
  assertEquals(await goodbye(more), Reason.BUSY, "who has most gets no more");
  for (const name of ["bob", "cy"]) {
    const peer = await stage.peer(await ticket({ for: name }));
    await peer.sendOpen();
    assertEquals(await goodbye(hers.pop()!), Reason.BUSY, `a place for ${name}`);
  }
  const left = stage.events.filter(({ type }) => type === "left");
  assertEquals(left.map((event) => event.for), ["mallory", "mallory"]);
  await ann.send(FrameType.ASK);
  await ann.expect(FrameType.ACK);
});

Deno.test("Broker takes memory of a key from whom has most of its tickets, and nothing from others", async () => {
  const memory = 16 * 2 ** 20;
  await using stage = await Stage.start({ memory });
  const root = await stage.root();
  const ann = await stage.peer(
    await ticket({ for: "ann", narrow: { subscribe: [["out", "ann"]] } }),
  );
  await ann.sendOpen([["out", "ann"]]);
  const mallory = await ticket({ for: "mallory", narrow: { subscribe: [["out", "m"]] } });
  // Each holds less than ann; together they hold more.
  const many = await Promise.all(Array.from({ length: 20 }, () => stage.peer(mallory)));
  for (const [at, peer] of many.entries()) await peer.sendOpen([["out", "m", `${at}`]]);
  const data = new Uint8Array(2 ** 18);
  for (let n = 0; n < 12; n++) root.publish(["out", "ann"], { data });
  await root.flush();
  for (let n = 0; n < 8; n++) {
    for (const at of many.keys()) root.publish(["out", "m", `${at}`], { data });
    await root.flush();
  }
  assert(stage.broker.stats().memoryBytes <= memory);
  assert(stage.broker.stats().dropped > 0);
  const { clients } = await report(root);
  assertEquals(clients.filter((each) => each.for === "ann").map((each) => each.dropped), [0]);
});

async function report(bus: NetPubSub): Promise<{ clients: readonly ClientStats[] }> {
  using reports = bus.subscribe(["*broker", "clients"]);
  for await (const { message } of reports) {
    return message as unknown as { clients: readonly ClientStats[] };
  }
  throw new Error("no report came");
}

Deno.test("Broker ends 100 connections in a second, one by one, when their tickets end, and no other", async () => {
  await using stage = await Stage.start();
  const stays = await stage.peer(await ticket());
  await stays.sendOpen();
  const peers = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => await stage.peer(await ending(1500 + 10 * n))),
  );
  await Promise.all(peers.map((peer) => peer.sendOpen()));
  const reasons = await Promise.all(peers.map(goodbye));
  assertEquals(reasons, new Array(100).fill(Reason.EXPIRED));
  await until(() => stage.broker.stats().detached === 100);
  assertEquals(stage.broker.stats().expired, 100);
  await stays.send(FrameType.ASK);
  await stays.expect(FrameType.ACK);
});

Deno.test("NetPubSub with a ticket works over WebSockets, whose bounds hold the longest name", async () => {
  await using stage = await Stage.start({ address: "ws://127.0.0.1:0/bus" });
  const elements = [..."abcdef"].map((each) => each.repeat(155));
  const longest = await ticket({ narrow: { publish: [elements] } });
  assert(longest.keyName.length > 1000, `${longest.keyName.length}`);
  await stage.connected(longest);
});

function openBody(session: Uint8Array, topics = 0): Uint8Array {
  return join(session, new Uint8Array(8 + 8 + 1 + 4 + 1), Uint8Array.of(topics, 0, 0, 0));
}

function topicBlock(name: string): Uint8Array {
  const bytes = utf8(name);
  return join(Uint8Array.of(bytes.length + 1, bytes.length), bytes);
}
