/**
 * What the exchange of each mode keeps, over a simulation of NATS of its own: who wants messages gets
 * them once and in their order, or is told how many it missed, and no more waits than may.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProtocolError } from "../../errors.ts";
import type { Exchange } from "../../nats/mode.ts";
import { Packer } from "../../nats/packer.ts";
import { sealPacket } from "../../nats/packet.ts";
import { subjectOf } from "../../nats/subject.ts";
import type { TopicPath } from "../../topic.ts";
import { frameOf, type Heard, type Message, PREFIX } from "../helpers/exchange.ts";

/** A broker with an exchange of the mode. */
export interface SimulatedBroker extends Heard {
  readonly exchange: Exchange;
  connect(): void;
  /** Loses the connection, and what is on its way over it. */
  disconnect(): void;
  wants(path: TopicPath, wants: boolean): void;
  /** Takes a message of a client, with a payload of at least so many bytes. */
  take(message: Message, bytes?: number, publisher?: object): void;
  /** Takes what comes from NATS. */
  hear(subject: string, bytes: Uint8Array): void;
}

/** Brokers over one NATS; nothing is on its way for longer than until `settle` resolves. */
export interface Joined {
  readonly brokers: readonly SimulatedBroker[];
  /** Moves all that is on its way. */
  settle(): Promise<void>;
}

/** A mode, over a simulation of NATS. */
export interface Simulation {
  /** The name of its exchange. */
  readonly name: string;
  /** The lane of a packet of a broker in this mode; 0: it is not for a stream. */
  readonly lane: 0 | 1;
  /** Makes brokers that are not connected. */
  join(count: number, queueBytes: number, messageBytes: number): Joined;
}

const MESSAGE_BYTES = 2 ** 21;

/** Registers the tests that each mode has to pass. */
export function testExchange({ name, lane, join }: Simulation): void {
  /** Brokers that want these topics, are connected and know of each other. */
  async function start(
    wants: readonly (readonly TopicPath[])[],
    queueBytes = 2 ** 20,
  ): Promise<Joined> {
    const joined = join(wants.length, queueBytes, MESSAGE_BYTES);
    for (const [i, broker] of joined.brokers.entries()) {
      broker.connect();
      for (const path of wants[i]!) broker.wants(path, true);
    }
    await joined.settle();
    return joined;
  }

  Deno.test(`${name} passes each message once and in order to whoever wants it`, async () => {
    const { brokers, settle } = await start([[], [["a", "b"], ["z"]], [[]]]);
    const [sender, some, all] = brokers;
    const topics: readonly TopicPath[] = [["a"], ["a", "b"], ["z", "y"], ["a", "b", "c"], []];
    for (let id = 0; id < 100; id++) {
      sender!.take({ path: topics[id % 5]!, from: "p", id });
      if (id % 10 === 9) await settle();
    }
    const ids = Array.from({ length: 100 }, (_, id) => id);
    assertEquals(all!.delivered.map(({ id }) => id), ids);
    assertEquals(some!.delivered.map(({ id }) => id), ids.filter((id) => id % 5 > 0));
    assertEquals(brokers.flatMap(({ lost }) => lost), []);
    assertEquals(sender!.delivered, []);
    assertEquals(brokers.map(({ counts }) => [counts.sent, counts.received]), [
      ...[[100, 0], [0, 80], [0, 100]],
    ]);
  });

  Deno.test(`${name} passes on nothing that is wanted no more`, async () => {
    const { brokers: [sender, reader], settle } = await start([[], [["a"]]]);
    sender!.take({ path: ["a"], from: "p", id: 1 });
    await settle();
    assertEquals(reader!.exchange.subscriptions > 0, true);
    reader!.wants(["a"], false);
    await settle();
    assertEquals(reader!.exchange.subscriptions, 0);
    reader!.wants(["b"], true);
    await settle();
    sender!.take({ path: ["b"], from: "p", id: 2 });
    await settle();
    assertEquals(reader!.delivered.map(({ id }) => id), [1, 2]);
    assertEquals(reader!.lost, []);
  });

  Deno.test(`${name} sends again over a new connection what was not confirmed, and doubles nothing`, async () => {
    const { brokers: [sender, reader], settle } = await start([[], [["a"]]]);
    for (let id = 0; id < 50; id++) {
      sender!.take({ path: ["a", String(id % 3)], from: "p", id }, 10_000);
      if (id % 10 !== 5) continue;
      sender!.disconnect();
      assert(sender!.exchange.queuedBytes > 0);
      if (id % 20 === 5) await settle();
      sender!.connect();
    }
    await settle();
    assertEquals(sender!.exchange.queuedBytes, 0);
    assertEquals(reader!.delivered.map(({ id }) => id), Array.from({ length: 50 }, (_, id) => id));
    assertEquals(reader!.lost, []);
  });

  Deno.test(`${name} tells for which topics how many messages it dropped`, async () => {
    const { brokers: [sender, reader], settle } = await start([[], [["a"]], [["b"]]]);
    sender!.take({ path: ["a"], from: "p", id: -1 });
    await settle();
    sender!.disconnect();
    const before = performance.now();
    const total = 40;
    for (let id = 0; id < total; id++) {
      sender!.take({ path: [id % 2 === 0 ? "a" : "b"], from: "p", id }, 60_000);
    }
    const { dropped } = sender!.counts;
    assert(dropped > 10);
    assert(sender!.exchange.waitingSince! >= before);
    sender!.connect();
    await settle();
    assertEquals(sender!.exchange.waitingSince, undefined);
    const told = reader!.missed;
    const taken = reader!.delivered.filter(({ id }) => id >= 0);
    assert(taken.every(({ path }) => path[0] === "a"));
    assert(told > 0 && told < dropped);
    assertEquals(taken.length + told, total / 2);
    assertEquals(reader!.counts.lost, told);
  });

  Deno.test(`${name} drops a message of several packets whole, and tells of it once`, async () => {
    const { brokers: [sender, reader], settle } = await start([[], [["a"]]], 2 ** 21);
    sender!.disconnect();
    for (let id = 0; id < 2; id++) sender!.take({ path: ["a"], from: "p", id }, 1_200_000);
    assertEquals(sender!.counts.dropped, 1);
    sender!.connect();
    await settle();
    assertEquals(reader!.delivered.map(({ id }) => id), [1]);
    assertEquals(reader!.lost, [{ path: ["a"], messages: 1 }]);
  });

  Deno.test(`${name} holds no more than it may while many publishers wait for NATS`, async () => {
    const queueBytes = 2 ** 20;
    const { brokers: [sender, reader], settle } = await start([[], [[]]], queueBytes);
    const publishers = Array.from({ length: 100 }, () => ({}));
    for (let id = 0; id < 1000; id++) {
      const message = { path: [`${id % 7}`], from: `p${id % 100}`, id };
      sender!.take(message, 20_000, publishers[id % 100]!);
      assert(sender!.exchange.queuedBytes <= queueBytes);
    }
    await settle();
    assertEquals(sender!.exchange.queuedBytes, 0);
    const told = reader!.missed;
    assert(told > 0);
    assertEquals(told, sender!.counts.dropped);
    assertEquals(reader!.delivered.length + told, 1000);
  });

  Deno.test(`${name}.drained resolves when nothing waits, and when its signal aborts`, async () => {
    const { brokers: [sender], settle } = await start([[], [["a"]]]);
    const never = new AbortController();
    await sender!.exchange.drained(never.signal);
    sender!.take({ path: ["a"], from: "p", id: 1 });
    let isDrained = false;
    const drained = sender!.exchange.drained(never.signal).then(() => isDrained = true);
    await Promise.resolve();
    assertEquals(isDrained, false);
    await settle();
    await drained;
    sender!.disconnect();
    sender!.take({ path: ["a"], from: "p", id: 2 });
    const aborting = new AbortController();
    const aborted = sender!.exchange.drained(aborting.signal);
    aborting.abort();
    await aborted;
    assert(sender!.exchange.queuedBytes > 0);
    await sender!.exchange.drained(aborting.signal);
  });

  /** The packet with that number of a broker that is not simulated. */
  function packetOf(number: number, lane: number): { subject: string; bytes: Uint8Array } {
    const packer = new Packer<{ subject: string }>();
    const subject = subjectOf(PREFIX, ["a"]);
    packer.addAll(frameOf({ path: ["a"], from: "p", id: number }), () => ({ subject }));
    const bytes = sealPacket(packer.next(true)!, { broker: "f".repeat(16), number, lane });
    return { subject, bytes };
  }

  Deno.test(`${name} takes a packet once that comes twice`, async () => {
    const { brokers: [reader] } = await start([[["a"]]]);
    for (const number of [1, 2, 2, 1, 3, 3]) {
      const { subject, bytes } = packetOf(number, lane);
      reader!.hear(subject, bytes);
    }
    assertEquals(reader!.delivered.map(({ id }) => id), [1, 2, 3]);
    assertEquals(reader!.counts.received, 3);
    assertEquals(reader!.lost, []);
  });

  Deno.test(`${name} takes no packet of a broker in the other mode`, async () => {
    const { brokers: [reader] } = await start([[["a"]]]);
    const { subject, bytes } = packetOf(1, 1 - lane);
    assertThrows(() => reader!.hear(subject, bytes), ProtocolError, "Cannot take a packet");
    assertEquals(reader!.delivered, []);
  });
}
