/** What is kept of a client at the broker, and when it is forgotten. */
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { Background } from "../base/background.ts";
import { Rounds } from "../base/rounds.ts";
import { TimeSlice } from "../base/time_slice.ts";
import { Callbacks } from "../broker/callbacks.ts";
import { Access } from "../broker/access.ts";
import type { ClientPeer } from "../broker/client_peer.ts";
import { Counters } from "../broker/counters.ts";
import { Groups } from "../broker/groups.ts";
import { type BrokerKey, Keyring } from "../broker/keys.ts";
import { Memory } from "../broker/memory.ts";
import { type BrokerOptions, checkedOptions } from "../broker/options.ts";
import { Sessions } from "../broker/sessions.ts";
import { TopicCounts } from "../broker/topic_counts.ts";
import { ProtocolError } from "../errors.ts";
import { encodeFrame, FrameType, Reason } from "../protocol/frame.ts";
import { decodeOpened, type Opening, Resumption } from "../protocol/frame_bodies.ts";
import { BusyError } from "../protocol/authenticate.ts";
import { Link, type LinkEnd } from "../protocol/link.ts";
import { decodeTopic, encodeTopic } from "../protocol/topic_block.ts";
import type { Peer } from "../routing/peer.ts";
import { Router } from "../routing/router.ts";
import type { TopicPath } from "../topic.ts";
import { streamPair } from "../tools/harness/memory_streams.ts";
import { concat } from "../tools/harness/bytes.ts";
import { until } from "../tools/harness/until.ts";
import { FramePeer, type LoneFrame } from "./helpers/frame_peer.ts";
import { quiet } from "./helpers/quiet.ts";

const MIB = 1024 * 1024;
const KEYS: BrokerKey[] = [
  { name: "ann", key: "1", subscribe: ["a"], wait: true },
  { name: "bob", key: "2", subscribe: ["a"] },
];
const NOBODY = { withhold: () => () => {} };

/** A client's connection, and its session. */
interface Connected {
  readonly peer: ClientPeer;
  readonly link: Link;
  readonly client: FramePeer;
}

/** The sessions of a broker that has no connections but those that a test makes. */
class Stage implements Disposable {
  /** What clients are said to have done: `"joined 1"`. */
  readonly events: string[] = [];
  readonly counters = new Counters();
  readonly keyring = new Keyring(undefined, KEYS);
  readonly sessions: Sessions;
  readonly memory: Memory;
  /** How often a topic was wanted once more. */
  wanted = 0;
  readonly router = new Router<Peer>({
    onInterest: (_peer, _path, wants) => {
      if (wants) this.wanted++;
    },
  });
  isStopping = false;
  /** What the sessions' clock says. */
  time = 0;
  /** The connections that lost their sessions. */
  readonly unplaced: Link[] = [];
  readonly #links = new Set<Link>();
  readonly #background: Background;

  constructor(options: BrokerOptions = {}, background = new Background()) {
    this.#background = background;
    const checked = checkedOptions({
      onClient: ({ type, client }) => this.events.push(`${type} ${client}`),
      ...options,
    });
    const { limits, maxPatience } = checked;
    this.memory = new Memory(checked.memory, () => this.sessions.holders());
    const { router, memory: { account } } = this;
    this.sessions = new Sessions({
      options: checked,
      limits,
      maxPatience,
      memory: this.memory,
      groups: new Groups({
        router,
        background,
        account,
        limits,
        maxPatience,
        resumeWindow: checked.resumeWindow,
        now: () => this.time,
      }),
      callbacks: new Callbacks(checked),
      counters: this.counters,
      router: this.router,
      background,
      topicCounts: new TopicCounts(),
      decodeTopic: (bytes, start, end) => decodeTopic(bytes, start, end, limits),
      now: () => this.time,
      onUnplaced: (link) => this.unplaced.push(link),
      isStopping: () => this.isStopping,
      onWatch: () => {},
    });
  }

  /** A connection without a session. */
  connect(): { link: Link; client: FramePeer } {
    const [here, there] = streamPair();
    const link = new Link(here, new Array(256).fill(MIB));
    this.#links.add(link);
    return { link, client: new FramePeer(there) };
  }

  open(
    opening: Partial<Opening> = {},
    keyName = "ann",
    topics: readonly TopicPath[] = [["a"]],
  ): Connected {
    const { link, client } = this.connect();
    const opened = this.opening(link, opening, keyName, topics);
    let step = opened.next();
    while (!step.done) step = opened.next();
    return { peer: step.value!, link, client };
  }

  /** The steps in which a session is opened over a link. */
  opening(
    link: Link,
    opening: Partial<Opening>,
    keyName: string,
    topics: readonly TopicPath[],
  ): Generator<void, ClientPeer | undefined, undefined> {
    return this.sessions.open(link, {
      access: new Access(this.keyring.get(keyName)!),
      opening: {
        session: undefined,
        taken: 0,
        calls: 0,
        wait: false,
        patience: 0,
        name: "",
        ...opening,
      },
      topics,
      members: [],
      address: undefined,
    });
  }

  /** The connection has ended. */
  end({ peer, link }: Connected, end: LinkEnd = { error: new Error("lost") }): void {
    this.#links.delete(link);
    this.sessions.connectionEnded(peer, link, end);
  }

  numbers(): number[] {
    return [...this.sessions.clients()].map(({ client }) => client);
  }

  [Symbol.dispose](): void {
    this.sessions.close("the test is over");
    for (const link of this.#links) link.close();
    this.#background.end();
  }
}

/** Queues a message of so many bytes for a client. */
function feed(peer: ClientPeer, bytes: number, path: TopicPath = ["a"]): void {
  peer.take(
    encodeFrame(FrameType.PUBLISH, encodeTopic(path), new Uint8Array(bytes)),
    1,
    NOBODY,
    undefined,
  );
}

Deno.test("Sessions go on with a session whose connection was lost, and count that", async () => {
  using stage = new Stage();
  const before = stage.open();
  stage.end(before);
  assertEquals([stage.sessions.size, stage.sessions.away], [1, 1]);
  const after = stage.open({ session: before.peer.id });
  assertStrictEquals(after.peer, before.peer);
  assertEquals([stage.sessions.size, stage.sessions.away], [1, 0]);
  assertEquals(stage.events, ["joined 1", "lost 1", "resumed 1"]);
  assertEquals(stage.counters.resumed, 1);
  const { outcome, session } = decodeOpened(await after.client.expect(FrameType.OPENED));
  assertEquals([outcome, session], [Resumption.RESUMED, before.peer.id]);
});

Deno.test("Sessions ignore the end of a connection whose session goes on over another", async () => {
  using stage = new Stage();
  const before = stage.open();
  const after = stage.open({ session: before.peer.id });
  await before.client.expect(FrameType.OPENED);
  assertEquals((await before.client.goodbye()).reason, Reason.REPLACED);
  stage.end(before);
  assertStrictEquals(after.peer.session.link, after.link);
  assertEquals([stage.sessions.size, stage.sessions.away], [1, 0]);
  assertEquals(stage.events, ["joined 1", "resumed 1"]);
});

Deno.test("Sessions forget at once a client that said why it goes", () => {
  using stage = new Stage();
  stage.end(stage.open(), { reason: Reason.DONE });
  assertEquals(stage.sessions.size, 0);
  assertEquals(stage.events, ["joined 1", "left 1"]);
});

Deno.test("Sessions forget many interests in turns with everything else, and their client takes no more", async () => {
  let time = 0;
  // Each look at the clock finds that the turn is over.
  using stage = new Stage({}, new Background(new TimeSlice(new Rounds(() => time += 10))));
  const topics = Array.from({ length: 320 }, (_, i) => ["a", `${i}`]);
  const [fleet, other] = [stage.open({}, "ann", topics), stage.open({}, "bob", topics)];
  stage.end(fleet, { reason: Reason.DONE });
  assertEquals(stage.sessions.size, 1);
  const isLeft = () => stage.router.interestsOf(fleet.peer) > 0;
  assert(isLeft(), "all at once");
  for (const peer of stage.router.peersOf(topics.at(-1)!)) feed(peer as ClientPeer, 100);
  assertEquals([fleet.peer.bytes, other.peer.bytes > 100], [0, true]);
  await until(() => !isLeft());
  for (const path of topics) assertEquals(stage.router.peersOf(path), [other.peer]);
});

/** Each look at its clock finds that the turn is over. */
function slowBackground(): Background {
  let time = 0;
  return new Background(new TimeSlice(new Rounds(() => time += 10)));
}

/** So many topics, of which each few are a step. */
function manyTopics(count: number, first = "a"): TopicPath[] {
  return Array.from({ length: count }, (_, i) => [first, `${i}`]);
}

Deno.test("Sessions open one with many topics in steps, and queue meanwhile what its client wants", async () => {
  using stage = new Stage();
  const topics = manyTopics(320);
  const before = stage.open({}, "ann", topics.slice(0, 300));
  const { link, client } = stage.connect();
  const steps = stage.opening(link, { session: before.peer.id }, "ann", topics.slice(20));
  let count = 0;
  for (let step = steps.next(); !step.done; step = steps.next()) {
    const [peer] = stage.router.peersOf(topics[100]!);
    feed(peer as ClientPeer, 100);
    count++;
  }
  assert(count >= 10, `${count} steps`);
  await client.expect(FrameType.OPENED);
  for (let i = 0; i < count; i++) await client.expect(FrameType.PUBLISH);
  assertEquals(stage.router.interestsOf(before.peer), 300);
  assertEquals(stage.events, ["joined 1", "resumed 1"]);
});

Deno.test("Sessions that are opened over another connection meanwhile go on over that, with its topics", async () => {
  using stage = new Stage();
  const { peer } = stage.open({}, "ann");
  const [first, second] = [stage.connect(), stage.connect()];
  const opening = { session: peer.id };
  const begun = stage.opening(first.link, opening, "ann", manyTopics(320));
  begun.next();
  begun.next();
  const other = stage.opening(second.link, opening, "ann", [["a", "other"]]);
  other.next();
  assertEquals(begun.next(), { done: true, value: undefined });
  let step = other.next();
  while (!step.done) step = other.next();
  assertStrictEquals(step.value, peer);
  assertEquals((await first.client.goodbye()).reason, Reason.REPLACED);
  await second.client.expect(FrameType.OPENED);
  assertEquals([stage.router.interestsOf(peer), stage.router.peersOf(["a", "0"])], [1, []]);
  assertEquals(stage.events, ["joined 1", "resumed 1"]);
});

Deno.test("Sessions that are forgotten while they are opened leave nothing behind, and were never there", () => {
  using stage = new Stage();
  const { link } = stage.connect();
  const steps = stage.opening(link, {}, "ann", manyTopics(320));
  steps.next();
  steps.next();
  const [peer] = stage.router.peersOf(["a", "0"]);
  assert(stage.router.interestsOf(peer!) > 0);
  stage.sessions.applyKeys(stage.keyring, stage.keyring.replace([]));
  assertEquals(steps.next(), { done: true, value: undefined });
  assertEquals([stage.sessions.size, stage.router.interestsOf(peer!)], [0, 0]);
  assertEquals([stage.router.peersOf(["a", "0"]), stage.events], [[], []]);
});

Deno.test("Sessions that are cut off while they are opened are opened, and then end for that", async () => {
  using stage = new Stage({ maxPatience: 1000 });
  const { peer } = stage.open({}, "ann");
  const { link, client } = stage.connect();
  const steps = stage.opening(link, { session: peer.id }, "ann", manyTopics(320));
  steps.next();
  feed(peer, 100);
  peer.cutOff("no memory");
  while (!steps.next().done);
  await client.expect(FrameType.OPENED);
  assertEquals(await client.goodbye(), { reason: Reason.CUT_OFF, text: "no memory" });
});

Deno.test("Sessions take rights away at once, and apply them to many interests in turns with everything else", async () => {
  using stage = new Stage({}, slowBackground());
  const topics = [...manyTopics(320, "a"), ...manyTopics(320, "b")];
  const rights = (...subscribe: string[]) => [{ ...KEYS[0]!, subscribe }, KEYS[1]!];
  stage.keyring.replace(rights("a", "b"));
  const { peer, client } = stage.open({}, "ann", [...topics, ["c"]]);
  await client.expect(FrameType.DENIED);
  await client.expect(FrameType.OPENED);
  const change = stage.keyring.replace(rights("b", "c"));
  stage.sessions.applyKeys(stage.keyring, change);
  const routed = () => topics.filter((path) => stage.router.peersOf(path).includes(peer)).length;
  assert(routed() > 320, "all at once");
  for (const path of [["a", "319"], ["b", "319"], ["a", "0"], []]) feed(peer, 100, path);
  const frames: (LoneFrame | undefined)[] = [];
  for (let i = 0; i < 322; i++) frames.push(await client.next());
  const got = frames.filter((frame) => frame!.type === FrameType.PUBLISH);
  const blocks = [["b", "319"], []].map((path) => encodeTopic(path));
  assertEquals(got.map((frame, i) => frame!.body.slice(0, blocks[i]!.length)), blocks);
  assertEquals(frames.filter((frame) => frame!.type === FrameType.DENIED).length, 320);
  await until(() => routed() === 320);
  await until(() => stage.router.peersOf(["c"]).includes(peer));
  // Once all is applied, a message is not looked at any more.
  const { bytes } = peer;
  await until(() => {
    feed(peer, 100, ["a", "1"]);
    return peer.bytes > bytes;
  });
});

Deno.test("Sessions hold back those who feed them with messages of which they get only some", () => {
  using stage = new Stage({ limits: { queueBytes: 2 * MIB }, maxPatience: 1000 }, slowBackground());
  const waiting = { wait: true, patience: 1000 };
  const { peer } = stage.open(waiting, "ann", manyTopics(320));
  stage.sessions.applyKeys(
    stage.keyring,
    stage.keyring.replace([{ ...KEYS[0]!, subscribe: [["a", "1"]] }]),
  );
  const withheld: number[][] = [];
  const from = {
    withhold(...what: number[]) {
      withheld.push(what);
      return () => {};
    },
  };
  const frames = [["a", "1"], ["a", "2"]].map((path) =>
    encodeFrame(FrameType.PUBLISH, encodeTopic(path), new Uint8Array(2 * MIB))
  );
  peer.take(concat(...frames), 2, from, undefined);
  assertEquals(withheld, [[2, 2 * frames[0]!.length]]);
  assert(!peer.isCutOff && peer.bytes < 3 * MIB);
  peer.cutOff("the test is over");
});

Deno.test("Sessions answer nothing behind a SUBSCRIBE before all that is granted of it is there", async () => {
  using stage = new Stage({}, slowBackground());
  const granted = manyTopics(320);
  stage.keyring.replace([{ ...KEYS[0]!, subscribe: granted }]);
  const { peer, client } = stage.open({}, "ann", []);
  await client.expect(FrameType.OPENED);
  await client.send(FrameType.SUBSCRIBE, encodeTopic([]));
  await client.send(FrameType.ASK);
  await client.expect(FrameType.ACK);
  for (const path of granted) assertEquals(stage.router.peersOf(path), [peer]);
});

Deno.test("Sessions that are resumed meanwhile do not get what was subscribed to before", async () => {
  using stage = new Stage({}, slowBackground());
  stage.keyring.replace([{ ...KEYS[0]!, subscribe: manyTopics(320) }]);
  const before = stage.open({}, "ann", []);
  await before.client.expect(FrameType.OPENED);
  await before.client.send(FrameType.SUBSCRIBE, encodeTopic([]));
  await until(() => stage.wanted > 0);
  const { peer } = stage.open({ session: before.peer.id }, "ann", [["a", "0"]]);
  assert(stage.wanted < 320, "all at once");
  await until(() => stage.wanted > 320);
  await quiet();
  assertEquals([stage.router.interestsOf(peer), stage.router.peersOf(["a", "1"])], [1, []]);
});

Deno.test("Sessions forget a client that does not come back in time", async () => {
  using stage = new Stage({ resumeWindow: 20 });
  const before = stage.open();
  stage.end(before);
  await until(() => stage.sessions.size === 0);
  assertEquals(stage.events, ["joined 1", "lost 1", "left 1"]);
  assert(stage.open({ session: before.peer.id }).peer !== before.peer);
});

Deno.test("Sessions forget no client that came back in time", async () => {
  using stage = new Stage({ resumeWindow: 20 });
  const before = stage.open();
  stage.end(before);
  stage.open({ session: before.peer.id });
  stage.end(stage.open()); // Forgotten when the first would have been, or later.
  await until(() => stage.events.includes("left 2"));
  assertEquals(stage.numbers(), [1]);
});

Deno.test("Sessions give none to who has another key", () => {
  using stage = new Stage();
  const before = stage.open({}, "ann");
  assert(stage.open({ session: before.peer.id }, "bob").peer !== before.peer);
  assertEquals(stage.numbers(), [1, 2]);
});

Deno.test("Sessions forget those who were connected for the shortest time when there are too many clients", () => {
  using stage = new Stage({ limits: { connections: 3 } });
  const connected = [stage.open(), stage.open(), stage.open()];
  stage.time += 100;
  stage.end(connected[1]!);
  const again = stage.open({ session: connected[1]!.peer.id });
  stage.time += 10;
  stage.end(connected[0]!);
  stage.time += 10;
  stage.end(again);
  assertEquals(stage.numbers(), [1, 2, 3]);
  stage.open();
  assertEquals(stage.numbers(), [2, 3, 4]);
  stage.open();
  assertEquals(stage.numbers(), [3, 4, 5]);
  assertThrows(() => stage.open(), BusyError, "as many clients as its limit, 3");
  assertEquals(stage.counters.endings.crowded, 2);
});

Deno.test("Sessions forget nobody while a session is opened over one connection after the other", () => {
  using stage = new Stage({ limits: { connections: 2 } });
  const lost = stage.open();
  stage.end(lost);
  const { peer } = stage.open();
  for (let i = 0; i < 3; i++) stage.open({ session: peer.id });
  stage.opening(stage.connect().link, { session: peer.id }, "ann", manyTopics(320)).next();
  stage.open({ session: peer.id });
  assertEquals(stage.numbers(), [1, 2]);
});

Deno.test("Sessions take the place of one that is being opened, and leave nothing of it", async () => {
  using stage = new Stage({ limits: { connections: 2 } });
  stage.open({}, "ann");
  const { link, client } = stage.connect();
  const steps = stage.opening(link, {}, "ann", manyTopics(320));
  steps.next();
  steps.next();
  const [begun] = stage.router.peersOf(["a", "0"]);
  const bob = stage.open({}, "bob", [["b"]]);
  assertEquals(steps.next(), { done: true, value: undefined });
  assertEquals((await client.goodbye()).reason, Reason.BUSY);
  assertEquals([stage.unplaced, stage.router.interestsOf(begun!)], [[link], 0]);
  assertEquals(stage.numbers(), [1, bob.peer.number]);
  assertEquals(stage.events, ["joined 1", "joined 3"]);
});

Deno.test("Sessions that were cut off give their place to the client that comes back, at the limit", () => {
  using stage = new Stage({ limits: { connections: 1 } });
  const { peer } = stage.open();
  peer.cutOff("no memory");
  const back = stage.open({ session: peer.id });
  assert(back.peer !== peer);
  assertEquals(stage.numbers(), [2]);
});

Deno.test("Sessions of 1000 places forget no other key's while a client comes and vanishes 1001 times", () => {
  using stage = new Stage({ limits: { connections: 1000 } });
  const ann = stage.open({}, "ann");
  stage.end(ann);
  for (let i = 0; i <= 1000; i++) {
    const bob = stage.open({}, "bob", []);
    stage.end(bob);
    bob.link.close();
  }
  assertEquals([stage.sessions.size, stage.counters.endings.crowded], [1000, 2]);
  assertStrictEquals(stage.open({ session: ann.peer.id }, "ann").peer, ann.peer);
});

Deno.test("Sessions forget one whose client claims to have taken what was never sent", () => {
  using stage = new Stage();
  const before = stage.open();
  assertThrows(() => stage.open({ session: before.peer.id, taken: 1 }), ProtocolError);
  assertEquals(stage.sessions.size, 0);
});

Deno.test("Sessions free memory: who holds most loses first, who may wait is cut off", async () => {
  using stage = new Stage({ memory: 2 * MIB, maxPatience: 1000 });
  const [ann, bob] = [stage.open({ wait: true, patience: 1000 }, "ann"), stage.open({}, "bob")];
  for (let n = 0; n < 8; n++) feed(bob.peer, MIB / 8);
  for (let n = 0; n < 6; n++) feed(ann.peer, MIB / 8);
  assertEquals(stage.counters.dropped, 0);
  for (let n = 0; n < 2; n++) feed(bob.peer, MIB / 8);
  assert(stage.counters.dropped > 0 && !ann.peer.isCutOff);
  assert(stage.sessions.queuedBytes <= 2 * MIB);
  for (let n = 0; n < 8; n++) feed(ann.peer, MIB / 8);
  assert(ann.peer.isCutOff && !bob.peer.isCutOff);
  ann.client.stream.close();
  await ann.link.finished;
  stage.end(ann, { reason: Reason.CUT_OFF });
  assertEquals(stage.sessions.away, 1, "it may ask what it missed");
  const { peer, client } = stage.open({ session: ann.peer.id });
  assert(peer !== ann.peer);
  const { outcome, missed } = decodeOpened(await client.expect(FrameType.OPENED));
  assertEquals([outcome, missed], [Resumption.CUT_OFF, 14]);
});

Deno.test("Sessions.applyKeys forgets the sessions of keys that are gone", () => {
  using stage = new Stage();
  stage.open({}, "ann");
  stage.end(stage.open({}, "ann"));
  stage.open({}, "bob");
  stage.sessions.applyKeys(stage.keyring, stage.keyring.replace([KEYS[1]!]));
  assertEquals(stage.numbers(), [3]);
});

Deno.test("Sessions forget at once a client that is lost while the broker stops", () => {
  using stage = new Stage();
  const lost = stage.open();
  stage.isStopping = true;
  stage.end(lost);
  assertEquals(stage.events, ["joined 1", "left 1"]);
});

Deno.test("Sessions.close forgets who is away, and ends who is connected", async () => {
  using stage = new Stage();
  stage.end(stage.open());
  const { client } = stage.open();
  stage.sessions.close("that is all");
  await client.expect(FrameType.OPENED);
  await client.expect(FrameType.ACK);
  assertEquals(await client.goodbye(), { reason: Reason.SHUTDOWN, text: "that is all" });
  assertEquals(stage.numbers(), [2]);
});
