/** Who has a place at a broker, and who gives it up: the rule alone, and what clients notice of it. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { delay } from "@std/async/delay";
import { Key } from "../broker/keys.ts";
import { type Owner, Places } from "../broker/places.ts";
import { Rights } from "../broker/rights.ts";
import {
  Broker,
  type BrokerKey,
  type BrokerOptions,
  ConnectionLostError,
  NetPubSub,
} from "../mod.ts";
import { BusyError } from "../protocol/authenticate.ts";
import { FrameType, Reason } from "../protocol/frame.ts";
import { decodeGoodbye } from "../protocol/frame_bodies.ts";
import { openOf, Peer } from "../tools/harness/peer.ts";
import { randomOf } from "../tools/harness/random.ts";
import { until } from "../tools/harness/until.ts";

/** A client, as far as places are concerned. */
interface Client {
  readonly access: Owner;
  readonly name: string;
}

/** Who comes: with a key, or as one of those who have tickets of it. */
type Comer = Key | Owner;

function ownerOf(comer: Comer): Owner {
  return comer instanceof Key ? { key: comer, holder: "" } : comer;
}

function keyOf(name: string, connections = Infinity): Key {
  return new Key(name, new Uint8Array(1), new Rights({ connections }));
}

/** Places with a clock, and clients of some keys, which go where the rule says. */
class Hall {
  time = 0;
  readonly places: Places<Client>;
  readonly here = new Map<string, Client>();
  readonly lost: string[] = [];

  constructor(limit: number) {
    this.places = new Places(limit, () => this.time);
  }

  /** A new client comes; returns why it may not. */
  come(comer: Comer, name: string): string | undefined {
    try {
      const loser = this.places.loserFor(ownerOf(comer));
      if (loser !== undefined) this.leave(loser.holder.name, true);
    } catch (error) {
      if (!(error instanceof BusyError)) throw error;
      return error.why;
    }
    const client = { access: ownerOf(comer), name };
    this.here.set(name, client);
    this.places.take(client);
  }

  leave(name: string, isLoss = false): void {
    this.places.leave(this.here.get(name)!);
    this.here.delete(name);
    if (isLoss) this.lost.push(name);
  }

  /** Clients come that are connected for so long, one after the other. */
  pass(comer: Comer, spans: Readonly<Record<string, number>>): void {
    for (const [name, ms] of Object.entries(spans)) {
      this.come(comer, name);
      this.time += ms;
      this.mark(name, false);
    }
  }

  mark(name: string, isConnected: boolean): void {
    this.places.mark(this.here.get(name)!, isConnected);
  }
}

const [ANN, BOB, CY] = ["ann", "bob", "cy"].map((name) => keyOf(name)) as [Key, Key, Key];

Deno.test("Places gives a newcomer the place of its key's detached one that was connected for the shortest time", () => {
  const hall = new Hall(4);
  hall.pass(ANN, { long: 1000, short: 10, middle: 100 });
  hall.come(ANN, "connected");
  for (const name of ["a", "b", "c"]) assertEquals(hall.come(ANN, name), undefined);
  assertEquals(hall.lost, ["short", "middle", "long"]);
  assertStringIncludes(hall.come(ANN, "d")!, "as many clients as its limit, 4");
  assertEquals([...hall.here.keys()], ["connected", "a", "b", "c"]);
});

Deno.test("Places counts all connections of a session together", () => {
  const hall = new Hall(2);
  hall.pass(ANN, { often: 60, once: 100 });
  hall.mark("often", true);
  hall.mark("often", true); // Twice is once.
  hall.time += 50;
  hall.mark("often", false);
  hall.come(ANN, "new");
  assertEquals(hall.lost, ["once"]);
});

Deno.test("Places lets a loop push out only what it left, and of the same span the oldest", () => {
  const hall = new Hall(100);
  hall.pass(ANN, { honest: 1000 });
  for (let i = 0; i < 1000; i++) hall.pass(ANN, { [`loop ${i}`]: 1 });
  assert(hall.here.has("honest"));
  assertEquals(hall.lost, Array.from({ length: 901 }, (_, i) => `loop ${i}`));
});

Deno.test("Places takes from the key that has most: detached ones, then the newcomer's, then who came last", () => {
  const hall = new Hall(10);
  hall.pass(ANN, { "detached 1": 10, "detached 2": 5 });
  for (let i = 0; i < 6; i++) {
    hall.come(ANN, `ann ${i}`);
    hall.time += 10;
  }
  hall.pass(BOB, { "bob detached": 1000 });
  hall.come(BOB, "bob 0");
  for (let i = 1; i < 6; i++) hall.come(BOB, `bob ${i}`);
  assertEquals(hall.lost, ["detached 2", "detached 1", "bob detached", "ann 5"]);
  // Both have 5: nobody pushes out the other.
  assertEquals(hall.here.size, 10);
  for (const key of [ANN, BOB]) {
    assertStringIncludes(hall.come(key, "x")!, `with the key "${key.name}"`);
  }
  // A third key gets its part, from both by turns.
  for (let i = 0; i < 9; i++) hall.come(CY, `cy ${i}`);
  const count = (key: Key) =>
    [...hall.here.values()].filter((client) => client.access.key === key).length;
  assertEquals([ANN, BOB, CY].map(count).toSorted(), [3, 3, 4]);
});

Deno.test("Places holds a key to its connections, whatever is free", () => {
  const hall = new Hall(10);
  const key = keyOf("few", 2);
  hall.pass(key, { a: 5 });
  hall.come(key, "b");
  hall.come(key, "c");
  assertEquals(hall.lost, ["a"]);
  assertEquals(
    hall.come(key, "d"),
    'the key "few" has as many clients as its limit, 2; try again later',
  );
  assertEquals(hall.places.loserOf(key), undefined);
  key.rights = new Rights({ connections: 1 });
  assertEquals(hall.places.loserOf(key)?.holder.name, "c");
});

Deno.test("Places takes nothing from those for whom other tickets of a key are while they have less than the newcomer gets", () => {
  const hall = new Hall(6);
  for (let i = 0; i < 4; i++) hall.come(BOB, `bob ${i}`);
  hall.pass({ key: ANN, holder: "~ann" }, { "away": 1 });
  const mallory = { key: ANN, holder: "~mallory" };
  hall.come(mallory, "first");
  // One more would be two of hers, and ann has one: so it is the key with most that gives up.
  hall.come(mallory, "second");
  assertEquals(hall.lost, ["bob 3"]);
  assert(hall.here.has("away"));
});

Deno.test("Places lets who comes with tickets for many push out only what they left", () => {
  const hall = new Hall(100);
  for (let i = 0; i < 20; i++) {
    hall.pass({ key: ANN, holder: `~reader ${i}` }, { [`reader ${i}`]: 1000 });
  }
  for (let i = 0; i < 1000; i++) {
    hall.pass({ key: ANN, holder: `~visitor ${i}` }, { [`visitor ${i}`]: 1 });
  }
  assertEquals(hall.lost, Array.from({ length: 920 }, (_, i) => `visitor ${i}`));
});

/** What the rule says, by looking at all. */
class Naive {
  readonly all: {
    client: Client;
    from: number;
    span: number;
    turn: number;
    isConnected: boolean;
  }[] = [];
  constructor(readonly limit: number) {}

  /** Which of these goes first, of those with or without a connection. */
  first(isOne: (access: Owner) => boolean, isConnected: boolean): string | undefined {
    return this.all.filter((one) => isOne(one.client.access) && one.isConnected === isConnected)
      .toSorted((a, b) =>
        a.span - b.span || b.from - a.from || (isConnected ? b.turn - a.turn : a.turn - b.turn)
      )[0]?.client.name;
  }

  count(isOne: (access: Owner) => boolean): number {
    return this.all.filter(({ client }) => isOne(client.access)).length;
  }

  /** Who goes for somebody who has the same key: any of these. */
  within(access: Owner): string[] {
    const { key } = access;
    const others = this.largestOf(key);
    const isLarger = this.sizeOf(key, others[0]) > this.sizeOf(key, access.holder) + 1;
    const connected = this.first(isOf(key, ...others), true);
    return or(this.detachedWithin(access), isLarger ? [connected!] : ["refused"]);
  }

  /** Who of these has no connection. */
  detachedWithin({ key, holder }: Owner): string[] {
    const own = this.first(isOf(key, holder), false);
    const size = this.sizeOf(key, holder) + 1;
    const others = this.largestOf(key);
    const most = this.sizeOf(key, others[0]);
    const first = this.first(isOf(key, ...others), false);
    const theirs = first === undefined ? [] : [first];
    const ours = own === undefined ? [] : [own];
    return most < size ? ours : most === size ? or(ours, theirs) : or(theirs, ours);
  }

  sizeOf(key: Key, holder: string | undefined): number {
    return holder === undefined ? 0 : this.count(isOf(key, holder));
  }

  /** Who has most of a key; several if they have as many. */
  largestOf(key: Key): string[] {
    const ofKey = this.all.filter(({ client }) => client.access.key === key);
    const holders = [...new Set(ofKey.map(({ client }) => client.access.holder))];
    const size = (who: string) => ofKey.filter(({ client }) => client.access.holder === who).length;
    const most = Math.max(...holders.map(size));
    return holders.filter((who) => size(who) === most);
  }

  loserFor(access: Owner, keys: readonly Key[]): readonly string[] | undefined {
    const { key } = access;
    const size = (key: Key) => this.count((other) => other.key === key);
    if (size(key) >= key.rights.connections) return this.within(access);
    if (this.all.length < this.limit) return undefined;
    const most = Math.max(...keys.map(size));
    if (most <= size(key) + 1) return this.within(access);
    const ofOwn = this.detachedWithin(access);
    // Of several that have most, it may be any.
    return keys.filter((key) => size(key) === most).flatMap((other) => {
      const largest = this.largestOf(other);
      const detached = this.first(isOf(other, ...largest), false);
      if (detached !== undefined) return [detached];
      return or(ofOwn, [this.first(isOf(other, ...largest), true)!]);
    });
  }
}

function isOf(key: Key, ...holders: readonly string[]): (access: Owner) => boolean {
  return (access) => access.key === key && holders.includes(access.holder);
}

/** The first of these that is not empty. */
function or(some: string[], others: string[]): string[] {
  return some.length > 0 ? some : others;
}

Deno.test("Places decides as one who looks at all, whatever comes and goes", () => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  const random = randomOf(seed);
  const keys = [ANN, BOB, CY, keyOf("few", 4), keyOf("some", 9)];
  const holders = ["", "", "~", "~x", "~y", "~z"];
  const hall = new Hall(30);
  const naive = new Naive(30);
  let turn = 0;
  for (let step = 0; step < 20_000; step++) {
    hall.time += random.int(3);
    const now = hall.time;
    for (const one of naive.all) {
      if (one.isConnected) one.span += now - one.from;
      one.from = now;
    }
    const one = naive.all[random.int(Math.max(1, naive.all.length))];
    const choice = random.int(8);
    if (choice < 4 || one === undefined) {
      const access = { key: random.pick(keys), holder: random.pick(holders) };
      const expected = naive.loserFor(access, keys);
      const before = hall.lost.length;
      const name = `client ${step}`;
      const isRefused = hall.come(access, name) !== undefined;
      const loser = hall.lost[before];
      assert(
        expected?.includes(isRefused ? "refused" : loser!) ?? (!isRefused && loser === undefined),
        `seed ${seed}: ${loser} and not ${expected}`,
      );
      if (isRefused) continue;
      const at = naive.all.findIndex(({ client }) => client.name === loser);
      if (at >= 0) naive.all.splice(at, 1);
      naive.all.push({
        client: hall.here.get(name)!,
        from: now,
        span: 0,
        turn: ++turn,
        isConnected: true,
      });
    } else if (choice === 4) {
      naive.all.splice(naive.all.indexOf(one), 1);
      hall.leave(one.client.name);
    } else {
      one.isConnected = !one.isConnected;
      one.turn = ++turn;
      hall.mark(one.client.name, one.isConnected);
    }
    assert(naive.all.length <= 30 && naive.all.length === hall.here.size);
  }
});

/** A broker with keys, and those who connect to it. */
class Stage implements AsyncDisposable {
  readonly broker: Broker;
  readonly events: string[] = [];
  readonly #stack = new AsyncDisposableStack();

  constructor(
    connections: number,
    options: BrokerOptions = {},
    bounds: Record<string, number> = {},
  ) {
    const keys = ["ann", "bob"].map((name): BrokerKey => ({
      name,
      key: `secret of ${name}`,
      ...(name === "ann" && { publish: ["t"], subscribe: ["t"] }),
      ...(bounds[name] !== undefined && { connections: bounds[name] }),
    }));
    this.broker = new Broker({
      keys,
      limits: { connections, ...options.limits },
      onClient: ({ type, keyName, reason }) =>
        this.events.push(`${type} ${keyName} ${reason ?? ""}`),
      onError: () => {},
      ...options,
    });
  }

  static async start(...args: ConstructorParameters<typeof Stage>): Promise<Stage> {
    const stage = new Stage(...args);
    await stage.broker.start();
    return stage;
  }

  /** An authenticated connection. */
  async dial(keyName = ""): Promise<Peer> {
    const secret = keyName === "" ? this.broker.authkey : `secret of ${keyName}`;
    return this.#stack.use(await Peer.authenticate(this.broker, secret, keyName));
  }

  /** A connection with a session. */
  async open(keyName = "", topics: string[][] = []): Promise<Peer & { session: Uint8Array }> {
    const peer = await this.dial(keyName);
    const { session } = await peer.sendOpen(topics);
    return Object.assign(peer, { session });
  }

  /** Connects, opens and closes, so many times. */
  async loop(times: number, keyName = ""): Promise<void> {
    for (let i = 0; i < times; i++) (await this.open(keyName)).conn.close();
    await until(() => this.broker.stats().connections === this.connected);
  }

  /** How many connections stay. */
  connected = 0;

  /** One that is there for so long, and then loses its connection. */
  async detached(keyName: string, topics: string[][], ms: number): Promise<Uint8Array> {
    const peer = await this.open(keyName, topics);
    await delay(ms);
    peer.conn.close();
    await until(() => this.broker.stats().detached > 0);
    return peer.session;
  }

  client(keyName: string): NetPubSub {
    return this.#stack.use(
      new NetPubSub(this.broker.address, `secret of ${keyName}`, {
        keyName,
        onState: () => {},
        onGap: () => {},
        onError: () => {},
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    await this.broker.shutdown();
  }
}

/** The reason and the text with which the broker ends a connection. */
async function goodbye(peer: Peer): Promise<{ reason: number; text: string }> {
  for (;;) {
    const frame = await peer.next();
    if (frame === undefined) throw new Error("It was closed without a word");
    if (frame.type === FrameType.GOODBYE) return decodeGoodbye(frame.body);
  }
}

Deno.test("Broker forgets no session of another key while one connects and closes more often than there are places", async () => {
  await using stage = await Stage.start(20);
  const session = await stage.detached("ann", [["t"]], 0);
  await stage.loop(41, "bob");
  assertEquals(stage.broker.stats().sessions, 20);
  const publisher = await stage.open("ann");
  await publisher.publish(["t"], Uint8Array.of(0));
  const back = await stage.dial("ann");
  const { outcome, missed } = await back.sendOpen([["t"]], { session });
  assertEquals([outcome, missed], [1, 0]);
  await back.expect(FrameType.PUBLISH);
  assertEquals(stage.events.filter((event) => event.startsWith("left ann")), []);
  assertStringIncludes(
    stage.events.find((event) => event.startsWith("left bob"))!,
    'with the key "bob"',
  );
  assertEquals(stage.broker.stats().endings.crowded, 41 - 19 + 1);
});

Deno.test("Broker lets a loop with the only key evict itself, and nobody who was connected for longer", async () => {
  await using stage = await Stage.start(20);
  const session = await stage.detached("", [["t"]], 100);
  await stage.loop(60);
  const back = await stage.dial();
  assertEquals((await back.sendOpen([["t"]], { session })).outcome, 1);
  assertEquals(stage.broker.stats().sessions, 20);
});

Deno.test("Broker has a place for another key when one has filled all with live connections", async () => {
  await using stage = await Stage.start(10);
  const greedy: Peer[] = [];
  for (let i = 0; i < 10; i++) greedy.push(await stage.open("bob"));
  const ann = stage.client("ann");
  await ann.connect();
  const { reason, text } = await goodbye(greedy.at(-1)!);
  assertEquals(reason, Reason.BUSY);
  assertStringIncludes(text, 'many of them with the key "bob"; try again later');
  // It is refused until its key has no more than others.
  const again = await stage.dial("bob");
  await again.send(FrameType.OPEN, ...openOf());
  assertEquals((await goodbye(again)).reason, Reason.BUSY);
  const { sessions, refusals, endings } = stage.broker.stats();
  assertEquals([sessions, refusals.busy, endings.crowded], [10, 1, 1]);
  const other = stage.client("bob");
  await assertRejects(() => other.connect(), ConnectionLostError, "try again later");
});

Deno.test("Broker lets a client whose place was needed come back as soon as there is one", async () => {
  await using stage = await Stage.start(2);
  await stage.open("bob");
  const bob = stage.client("bob");
  await bob.connect();
  const ann = stage.client("ann");
  await ann.connect();
  await until(() => bob.state === "reconnecting");
  await ann.disconnect();
  await until(() => bob.state === "connected");
});

Deno.test("Broker holds a key to its connections, and says so", async () => {
  await using stage = await Stage.start(10, {}, { bob: 2 });
  const first = await stage.open("bob");
  await stage.open("bob");
  const third = stage.client("bob");
  await assertRejects(
    () => third.connect(),
    ConnectionLostError,
    'the key "bob" has as many clients as its limit, 2; try again later',
  );
  // Who comes back takes no second place, although the broker has not noticed that it was gone.
  const back = await stage.dial("bob");
  assertEquals((await back.sendOpen([], { session: first.session })).outcome, 1);
  assertEquals((await goodbye(first)).reason, Reason.REPLACED);
  back.conn.close();
  await until(() => stage.broker.stats().detached === 1);
  await third.connect();
  assertEquals(stage.broker.stats().sessions, 2);
});

Deno.test("Broker.setKeys ends what a key has beyond its new connections, detached sessions first", async () => {
  await using stage = await Stage.start(10);
  await stage.detached("bob", [], 0);
  const old = await stage.open("bob");
  const young = await stage.open("bob");
  const ann = await stage.open("ann");
  const keys = (connections: number): BrokerKey[] => [
    { name: "ann", key: "secret of ann", publish: ["t"], subscribe: ["t"] },
    { name: "bob", key: "secret of bob", connections },
  ];
  stage.broker.setKeys(keys(2));
  assertEquals([stage.broker.stats().sessions, stage.broker.stats().detached], [3, 0]);
  stage.broker.setKeys(keys(1));
  const { reason, text } = await goodbye(young);
  assertEquals(reason, Reason.BUSY);
  assertStringIncludes(text, 'the key "bob" has as many clients as its limit, 1');
  for (const peer of [old, ann]) {
    await peer.send(FrameType.ASK);
    await peer.expect(FrameType.ACK);
  }
  stage.broker.setKeys(keys(2));
  await stage.open("bob");
  assertEquals(stage.broker.stats().endings.crowded, 2);
});

Deno.test("Broker bounds connections that authenticate and never open a session, and keeps nobody out for them", async () => {
  await using stage = await Stage.start(4, { limits: { connections: 4, halfOpen: 6 } });
  for (let i = 0; i < 20; i++) await stage.dial("bob");
  await until(() => stage.broker.stats().connections <= 6);
  const ann = stage.client("ann");
  await ann.connect();
  const { sessions, connections, refusals } = stage.broker.stats();
  assertEquals([sessions, refusals.busy], [1, 0]);
  assert(connections <= 4 + 2 * 6, `${connections} connections`);
  assert(refusals.crowded >= 14, `${refusals.crowded} crowded`);
});

Deno.test("Broker bounds connections that are refused, or lose their sessions, and do not close", async () => {
  await using stage = await Stage.start(2, { limits: { connections: 2, halfOpen: 6 } });
  const [session] = [(await stage.open("bob")).session, await stage.open("bob")];
  for (let i = 0; i < 12; i++) {
    await (await stage.dial("bob")).sendOpen([], { session });
    const refused = await stage.dial("bob");
    await refused.send(FrameType.OPEN, ...openOf());
    const { connections, sessions } = stage.broker.stats();
    assert(
      connections <= 2 + 2 * 6 && sessions <= 2,
      `${connections} connections, ${sessions} sessions`,
    );
  }
});

Deno.test("Broker forgets nothing for a client that only comes back to its session", async () => {
  await using stage = await Stage.start(2);
  const session = await stage.detached("bob", [], 0);
  await stage.open("bob");
  for (let i = 0; i < 5; i++) {
    const back = await stage.dial("bob");
    assertEquals((await back.sendOpen([], { session })).outcome, 1);
  }
  assertEquals([stage.broker.stats().sessions, stage.broker.stats().endings.crowded], [2, 0]);
});

Deno.test("Broker takes no place of another key for who comes and goes, beyond those that it has at a time", async () => {
  await using stage = await Stage.start(4);
  const ann = [];
  for (let i = 0; i < 4; i++) ann.push(await stage.open("ann"));
  for (let i = 0; i < 10; i++) {
    const bob = await stage.open("bob");
    await bob.send(FrameType.GOODBYE, new Uint8Array(2));
    await until(() => stage.broker.stats().sessions === 3);
    ann.push(await stage.open("ann")); // Who lost its place comes back.
  }
  // The loser is always the one that came last.
  for (const peer of ann.slice(0, 3)) {
    await peer.send(FrameType.ASK);
    await peer.expect(FrameType.ACK);
  }
});

Deno.test("Broker keeps no session of a key that onClient takes away while it gets a place", async () => {
  const held: { broker?: Broker } = {};
  await using stage = await Stage.start(2, {
    onClient: ({ type, keyName }) => {
      if (type === "left" && keyName === "bob") held.broker!.setKeys([]);
    },
  });
  const { broker } = stage;
  held.broker = broker;
  await stage.open("bob");
  await stage.open("bob");
  const ann = await stage.dial("ann");
  await ann.send(FrameType.OPEN, ...openOf());
  assertEquals((await goodbye(ann)).reason, Reason.KEY_REVOKED);
  ann.conn.close();
  await until(() => broker.stats().sessions === 0);
});
