/** What brokers that may not be brokers make another one do, in steps, topics told and things kept. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProtocolError } from "../errors.ts";
import type { ControlMessage } from "../nats/control_message.ts";
import { CoreExchange } from "../nats/core_exchange.ts";
import { KnownVersions } from "../nats/core_known_versions.ts";
import { LossDetector } from "../nats/core_losses.ts";
import { Interests } from "../nats/core_own_wants.ts";
import { RemoteWants } from "../nats/core_remote_wants.ts";
import { SentCounts } from "../nats/core_sent_counts.ts";
import { HeldBytes } from "../nats/held_bytes.ts";
import type { PacketHeader } from "../nats/packet.ts";
import { Reassembly } from "../nats/reassembly.ts";
import { RemoteMemory } from "../nats/remote_memory.ts";
import { TURN_STEPS, Turns } from "../nats/turns.ts";
import { randomOf } from "../tools/harness/random.ts";
import type { TopicPath } from "../topic.ts";
import { contextOf, frameOf, Heard, PREFIX } from "./helpers/exchange.ts";

const SEED = 20261126;

/** A broker, alone with others that the test plays; its rests end when the test says so. */
class Victim extends Heard {
  readonly exchange: CoreExchange;
  readonly said: { readonly message: ControlMessage; readonly to: string | undefined }[] = [];
  /** How often the router of its broker was told of a topic that others want. */
  changes = 0;
  readonly wanted = new Set<string>();
  readonly noted: string[] = [];
  /** How often it subscribed. */
  subscribed = 0;
  #rests: (() => void)[] = [];

  constructor() {
    super();
    this.exchange = new CoreExchange(contextOf(this, {
      id: "me",
      messageBytes: 1000,
      want: (path, wanted) => {
        this.changes++;
        if (wanted) this.wanted.add(path.join());
        else this.wanted.delete(path.join());
      },
      say: (message, to) => this.said.push({ message, to }),
      heard: (id) => this.noted.push(id),
      later: (callback, ms) => {
        if (ms < 1000) this.#rests.push(callback);
        return { cancel() {} };
      },
    }));
    this.exchange.connected({
      publish() {},
      subscribe: () => {
        this.subscribed++;
        return undefined;
      },
      flush: async () => {},
    });
    this.said.length = 0;
  }

  /** Ends the rests that have begun; whether there were any. */
  rest(): boolean {
    const rests = this.#rests.splice(0);
    for (const end of rests) end();
    return rests.length > 0;
  }

  /** Does all that is to be done. */
  finish(): void {
    while (this.rest());
  }

  beat(from: string): void {
    this.exchange.hear({ type: "beat", from, stream: null, sent: 0, wants: 0 });
  }

  ask(from: string, got: number): void {
    this.exchange.hear({ type: "ask", from, got });
  }

  /** A broker wants these topics, and no others; in parts. */
  wants(from: string, ids: readonly number[], version = 1, base: number | null = null): void {
    const part = 1000;
    for (let at = 0; at === 0 || at < ids.length; at += part) {
      this.exchange.hear({
        type: "wants",
        from,
        version,
        base,
        add: ids.slice(at, at + part).map((id) => [id, [`${from}-${id}`]]),
        remove: [],
        part: at / part,
        more: at + part < ids.length,
      });
    }
  }

  /** How many topics and counts it told others. */
  get told(): number {
    return this.said.reduce(
      (sum, { message }) =>
        sum + (message.type === "wants" ? message.add.length + message.remove.length : 0) +
        (message.type === "counts" ? message.counts.length : 0),
      0,
    );
  }
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}

Deno.test("CoreExchange takes what a broker wants in pieces, and forgets it in pieces", () => {
  const victim = new Victim();
  const inPieces = (what: string) => {
    let before = victim.changes;
    for (let turns = 0;; turns++) {
      assert(
        victim.changes - before <= TURN_STEPS,
        `${what}: ${victim.changes - before} in a turn`,
      );
      before = victim.changes;
      if (!victim.rest()) return assert(turns > 10, `${what}: ${turns} turns`);
    }
  };
  for (const from of ["a", "b"]) victim.wants(from, upTo(5000));
  assert(victim.changes <= TURN_STEPS);
  inPieces("taking");
  assertEquals(victim.wanted.size, 10_000);
  victim.changes = 0;
  victim.exchange.gone("a", true);
  victim.exchange.gone("b", false);
  assert(victim.changes <= TURN_STEPS);
  inPieces("forgetting");
  assertEquals(victim.wanted.size, 0);
});

Deno.test("CoreExchange begins anew with a broker that comes back while it is forgotten", () => {
  const victim = new Victim();
  victim.wants("a", upTo(2000));
  victim.finish();
  victim.exchange.gone("a", false);
  victim.wants("a", upTo(3000));
  victim.exchange.gone("a", false);
  victim.wants("a", upTo(1000));
  victim.finish();
  assertEquals(victim.wanted.size, 1000);
  const last = victim.said.at(-1)!.message as ControlMessage & { type: "counts" };
  assertEquals([last.type, last.version], ["counts", 1]);
  victim.wants("b", upTo(3000));
  victim.exchange.gone("b", true);
  victim.finish();
  assertEquals(victim.wanted.size, 1000, "what it wanted is not taken any further");
});

Deno.test("CoreExchange takes changes in their order while there is much to do", () => {
  const victim = new Victim();
  victim.wants("a", upTo(3000));
  victim.wants("b", [7]);
  for (let version = 2; version < 20; version++) {
    victim.exchange.hear({
      ...{ type: "wants", from: "a", version, base: version - 1, part: 0, more: false },
      add: [[3000 + version, ["more", String(version)]]],
      remove: [version],
    });
  }
  victim.finish();
  assertEquals(victim.wanted.size, 3001);
  assert(!victim.wanted.has("a-5") && victim.wanted.has("more,19"));
  const answers = victim.said.filter(({ to }) => to === "a").map(({ message }) => message);
  const last = answers.at(-1) as ControlMessage & { type: "counts" };
  assertEquals([last.type, last.version, last.more], ["counts", 19, false]);
});

Deno.test("CoreExchange tells a broker each count once while it wants one topic after the other", () => {
  const victim = new Victim();
  const count = 2000;
  for (let version = 1; version <= count; version++) {
    victim.wants("a", [version], version, version - 1);
    victim.finish();
  }
  assertEquals(victim.wanted.size, count);
  assertEquals(victim.told, count);
});

Deno.test("CoreExchange tells a broker that asks without end few full answers between two beats", () => {
  const victim = new Victim();
  const count = 10_000;
  victim.wants("a", upTo(count));
  victim.finish();
  victim.said.length = 0;
  for (let n = 0; n < 1000; n++) victim.ask("a", 0);
  victim.finish();
  assert(victim.told <= 2 * count, `${victim.told} counts told`);
  victim.said.length = 0;
  for (let beat = 0; beat < 3; beat++) {
    victim.exchange.tick();
    victim.finish();
  }
  assertEquals(victim.told, count, "what is due is told with the next beat, and once");
});

Deno.test("CoreExchange answers who asks for little as often as it asks", () => {
  const victim = new Victim();
  victim.wants("a", [1, 2, 3]);
  victim.finish();
  victim.said.length = 0;
  for (let n = 0; n < 50; n++) victim.ask("a", 0);
  victim.finish();
  assertEquals(victim.said.map(({ message }) => message.type), Array(50).fill("counts"));
});

Deno.test("CoreExchange tells everything to few brokers between two beats, and then to all at once", async () => {
  const victim = new Victim();
  const count = 5000;
  for (let n = 0; n < count; n++) victim.exchange.wants(["own", String(n)], true);
  await Promise.resolve();
  victim.finish();
  victim.said.length = 0;
  for (let n = 0; n < 4000; n++) victim.beat(`broker ${n}`);
  victim.finish();
  assert(victim.told <= 3 * count, `${victim.told} topics told`);
  victim.said.length = 0;
  for (let beat = 0; beat < 4; beat++) {
    victim.exchange.tick(); // All are late, for nobody answers.
    victim.finish();
  }
  assert(victim.told <= 4 * 4 * count, `${victim.told} topics told`);
  assert(victim.said.some(({ to }) => to === undefined));
});

Deno.test("CoreExchange replaces its own topics in pieces when one is wanted that covers them", async () => {
  const victim = new Victim();
  const count = 5000;
  for (let n = 0; n < count; n++) victim.exchange.wants(["own", String(n)], true);
  victim.finish();
  await Promise.resolve();
  victim.finish();
  assertEquals(victim.exchange.subscriptions, count + 1); // And broadcasts.
  victim.subscribed = 0;
  victim.beat("silent"); // It never says that it knows what is wanted.
  victim.exchange.wants(["own"], true);
  victim.exchange.wants(["own"], false);
  victim.exchange.tick();
  let turns = 0;
  for (; victim.rest(); turns++) await Promise.resolve();
  assert(turns >= 2 * count / TURN_STEPS, `${turns} turns`);
  assertEquals([victim.subscribed, victim.exchange.subscriptions], [1, count + 2]);
  for (let beat = 0; beat < 40; beat++) {
    victim.exchange.tick();
    victim.finish();
  }
  assertEquals(victim.exchange.subscriptions, count + 1, "it left all the same, after a minute");
});

Deno.test("CoreExchange asks who may send packets, and remembers nobody who may not", () => {
  const victim = new Victim();
  const header: PacketHeader = {
    ...{ flags: 0, broker: "stranger", lane: 0, number: 1, messages: 1, counts: [], before: [] },
  };
  const body = frameOf({ path: ["a"], from: "p", id: 1 });
  victim.exchange.packet(header, body);
  victim.exchange.packet({ ...header, number: 2 }, body);
  assertEquals(victim.noted, ["stranger"]);
  assertEquals(victim.delivered.length, 2);
});

Deno.test("CoreExchange believes nobody who knows what it has not said yet", () => {
  const victim = new Victim();
  victim.beat("a");
  const counts = { type: "counts", from: "a", since: 1, answer: 1, sent: 0, counts: [] } as const;
  const rest = { isFull: true, part: 0, more: false } as const;
  assertThrows(
    () => victim.exchange.hear({ ...counts, ...rest, version: Number.MAX_SAFE_INTEGER }),
    ProtocolError,
  );
  assertEquals(victim.exchange.unaware, 1);
});

Deno.test("RemoteWants gives back all that it took, whatever becomes of it", () => {
  const random = randomOf(SEED);
  const heard = new Heard();
  const { bus } = contextOf(heard, { id: "me", messageBytes: 1000 });
  const memory = new RemoteMemory(40_000);
  const counts = new SentCounts(bus, PREFIX);
  const wants = new RemoteWants(counts, 1, memory);
  const other = new RemoteWants(counts, 1, memory); // It wants some of the same.
  let refused = 0;
  for (let n = 0; n < 3000; n++) {
    const add = upTo(random.int(40)).map(() => {
      const id = random.int(500);
      return [id, ["x".repeat(id % 200 + 1), String(id)]] as const;
    });
    const [base, more] = [random.pick([null, wants.version]), random.int(3) === 0];
    const version = random.int(4) + 1;
    try {
      const one = random.pick([wants, wants, other]);
      const change = one.take({
        ...{ type: "wants", from: "a", version, base, add, part: random.int(2), more },
        remove: upTo(random.int(10)),
      });
      if (change === undefined) continue;
      const work = one.apply(change);
      for (let steps = random.int(60); steps > 0 && !work.next().done;) steps--;
      if (random.int(3) === 0) [...one.clear(n + 2)];
      [...work];
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      refused++;
    }
  }
  assert(refused > 0);
  for (const one of [wants, other]) [...one.clear(0)];
  assertEquals(memory.bytes, 0);
});

Deno.test("RemoteWants notes in steps what a broker got, and tells it only the rest", () => {
  const { bus } = contextOf(new Heard(), { id: "me", messageBytes: 1000 });
  const wants = new RemoteWants(new SentCounts(bus, PREFIX), 1, new RemoteMemory(2 ** 30));
  const count = 5000;
  const change = wants.take({
    ...{ type: "wants", from: "a", version: 1, base: null, remove: [], part: 0, more: false },
    add: upTo(count).map((id) => [id, [String(id)]]),
  });
  [...wants.apply(change!)];
  const answer = () => {
    const number = wants.beginAnswer();
    return { number, told: [...wants.countsFor(number, true)].filter((one) => one).length };
  };
  const { number } = answer();
  const noting = wants.commit(number)!;
  const few = 10;
  for (let steps = 0; steps < few; steps++) assert(!noting.next().done);
  const { told } = answer();
  assert(told >= count - 64 * few && told < count, `${told} told of ${count}`);
  assert([...noting].length > count / 64);
  assertEquals(answer().told, 0);
  assertEquals(wants.commit(number), undefined, "it is noted once");
  assertEquals(wants.commit(0), undefined);
  assertEquals(answer().told, count, "it has forgotten everything");
});

Deno.test("CoreExchange notes what a broker got before it answers that one again", () => {
  const victim = new Victim();
  const count = 5000;
  victim.wants("a", upTo(count));
  victim.finish();
  victim.said.length = 0;
  victim.ask("a", 0);
  victim.finish();
  const { answer } = victim.said.at(-1)!.message as ControlMessage & { type: "counts" };
  assertEquals(victim.told, count);
  victim.said.length = 0;
  victim.exchange.tick();
  victim.ask("a", answer);
  victim.finish();
  assertEquals([victim.said.length, victim.told], [1, 0]);
});

Deno.test("KnownVersions tells what all know, as a look at each of them would", () => {
  const random = randomOf(SEED);
  const known = new KnownVersions();
  const naive = new Map<string, number>();
  for (let n = 0; n < 20_000; n++) {
    const id = String(random.int(10));
    const version = random.int(6);
    if (random.int(5) === 0) {
      known.delete(id);
      naive.delete(id);
    } else {
      known.set(id, version);
      naive.set(id, version);
    }
    const goal = random.int(6);
    assertEquals(known.reach(goal), [...naive.values()].every((version) => version >= goal));
  }
});

Deno.test("LossDetector keeps counts of what is wanted, and few of what was", () => {
  const heard = new Heard();
  const context = contextOf(heard, { id: "me", messageBytes: 1000 });
  const rests: (() => void)[] = [];
  const turns = new Turns((callback) => {
    rests.push(callback);
    return { cancel() {} };
  });
  const interests = new Interests(context, new KnownVersions(), turns);
  const memory = new RemoteMemory(2 ** 30);
  const losses = new LossDetector({
    interests,
    memory,
    reassembly: new Reassembly("f", 1000, new HeldBytes(1000)),
    lost() {},
  });
  const topic = (n: number): TopicPath => [String(n)];
  for (let n = 0; n < 10_000; n++) {
    interests.wants(topic(n), true);
    rests.shift()?.();
    // Of each topic, and of broadcasts.
    const counts = upTo(2).map((k) => [Math.max(0, n + 1 - k), n] as const);
    losses.take({
      ...{ type: "counts", from: "a", version: 1, since: 1, answer: n + 1, sent: n, counts },
      ...{ isFull: true, part: 0, more: false },
    });
    if (n >= 5) interests.wants(topic(n - 5), false);
    assert(memory.bytes <= 48 * 100, `${memory.bytes} bytes`);
  }
  losses.end();
  assertEquals(memory.bytes, 0);
});
