/** What an uplink holds of other brokers: that it is counted, bounded and given up. */
import { assert, assertEquals } from "@std/assert";
import { ProtocolError } from "../errors.ts";
import { CoreExchange } from "../nats/core_exchange.ts";
import { RemoteWants } from "../nats/core_remote_wants.ts";
import { SentCounts } from "../nats/core_sent_counts.ts";
import { DroppedCounts } from "../nats/dropped_counts.ts";
import { HeldBytes, type Holder, kept } from "../nats/held_bytes.ts";
import { JetStreamExchange } from "../nats/jetstream_exchange.ts";
import { JetStreamSender } from "../nats/jetstream_sender.ts";
import { LANES, PACKET_BYTES_MAX, PacketFlag, readPacket } from "../nats/packet.ts";
import { RemoteMemory } from "../nats/remote_memory.ts";
import { contextOf, frameOf, Heard, PREFIX } from "./helpers/exchange.ts";

const MIB = 2 ** 20;
const QUEUE_BYTES = 16 * MIB;
/** How many times what is counted may be kept alive, or the other way round. */
const FACTOR = 1.5;

/** Keeps something, and notes that it was given up. */
class Keeper implements Holder {
  readonly broker: string;
  readonly #held: HeldBytes;
  wasGivenUp = false;

  constructor(held: HeldBytes, broker: string) {
    this.broker = broker;
    this.#held = held;
  }

  keep(bytes: number): this {
    this.#held.keeps(this, bytes);
    return this;
  }

  giveUp(): void {
    this.wasGivenUp = true;
  }
}

/** What is counted, and kept alive, in a process of its own. */
async function measured(
  name: string,
  kind: string,
): Promise<{ counted: number; kept: number; held?: number }> {
  const module = new URL(`helpers/${name}.ts`, import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-all", "--quiet", "--v8-flags=--expose-gc", module, kind],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

function assertSame({ counted, kept }: { counted: number; kept: number }): void {
  assert(kept > MIB, `${kept} bytes`);
  const sums = `${counted} bytes are counted, ${kept} kept alive`;
  assert(kept <= FACTOR * counted && counted <= FACTOR * kept, sums);
}

for (const kind of ["long", "names", "parts", "lanes"]) {
  Deno.test(`ReorderBuffer counts what ${kind} of many brokers really keep alive`, async () => {
    const figures = await measured("nats_held", kind);
    assertSame(figures);
    assert(figures.held! <= QUEUE_BYTES);
  });
}

for (const kind of ["own", "shared", "deep", "few"]) {
  Deno.test(`CoreExchange counts what ${kind} topics really take that many brokers want`, async () => {
    assertSame(await measured("nats_wanted", kind));
  });
}

Deno.test("HeldBytes gives up what is kept of the one broker that has too much", () => {
  const held = new HeldBytes(100);
  const other = new Keeper(held, "other").keep(10);
  const [first, second, third] = [1, 2, 3].map(() => new Keeper(held, "greedy").keep(20));
  assertEquals([other, first, second, third].map((one) => one!.wasGivenUp), [
    false,
    true,
    false,
    false,
  ]);
  assertEquals([held.bytes, held.brokers], [50, 2]);
});

Deno.test("HeldBytes gives up what has waited longest of all when all together have too much", () => {
  const held = new HeldBytes(100);
  const keepers = Array.from({ length: 11 }, (_, n) => new Keeper(held, `broker ${n}`).keep(10));
  keepers[1]!.keep(10); // It goes on, and is the latest now.
  const more = new Keeper(held, "more").keep(10);
  assertEquals(keepers.map((one) => one.wasGivenUp).indexOf(true), 0);
  assertEquals(keepers.filter((one) => one.wasGivenUp).length, 2);
  assertEquals([keepers[1]!.wasGivenUp, keepers[2]!.wasGivenUp], [false, true]);
  assertEquals([more.wasGivenUp, held.bytes], [false, 100]);
});

Deno.test("HeldBytes gives up what it is asked for and no more, and tells each change", () => {
  let told = 0;
  const held = new HeldBytes(1000, (change) => told += change);
  const keepers = Array.from({ length: 10 }, (_, n) => new Keeper(held, `broker ${n}`).keep(10));
  assertEquals(told, 100);
  held.free(25);
  assertEquals(keepers.filter((one) => one.wasGivenUp), keepers.slice(0, 3));
  assertEquals([told, held.bytes, held.brokers], [70, 70, 7]);
  held.free(Infinity);
  assertEquals([told, held.bytes, held.brokers], [0, 0, 0]);
  held.free(1);
  assertEquals(told, 0);
});

Deno.test("kept copies what is much less than its buffer", () => {
  const buffer = new Uint8Array(100);
  assertEquals(kept(buffer.subarray(0, 80)).buffer.byteLength, 100);
  assertEquals(kept(buffer.subarray(0, 70)).buffer.byteLength, 70);
});

const MESSAGE_BYTES = 100_000;

/** A context whose `bytes` are what its parts have told. */
function counting(options: Partial<Parameters<typeof contextOf>[1]> = {}) {
  const heard = new Heard();
  const sum = { heard, bytes: 0 };
  const context = contextOf(heard, {
    id: "1".padStart(16, "0"),
    messageBytes: MIB,
    queueBytes: QUEUE_BYTES,
    onBytes: (change) => sum.bytes += change,
    ...options,
  });
  return { sum, heard, context };
}

function message(id: number, bytes = MESSAGE_BYTES): Uint8Array {
  return frameOf({ path: ["a"], from: "p", id }, bytes);
}

Deno.test("JetStreamSender keeps few spare buffers, however many lanes were full", async () => {
  const { sum, context } = counting();
  const sender = new JetStreamSender(context);
  const confirm: (() => void)[] = [];
  sender.connected({ publish: () => new Promise<void>((resolve) => confirm.push(resolve)) });
  for (let lane = 0; lane < LANES; lane++) {
    const publisher = {};
    for (let n = 0; n < 4; n++) sender.take(message(n, 2 * MESSAGE_BYTES), publisher);
  }
  assert(sum.bytes >= QUEUE_BYTES / 2, `${sum.bytes} bytes are counted`);
  while (confirm.length > 0) {
    confirm.shift()!();
    await Promise.resolve();
    await Promise.resolve();
  }
  assertEquals(sender.queuedBytes, 0);
  assert(sum.bytes <= 16 * PACKET_BYTES_MAX, `${sum.bytes} bytes are counted`);
  sender.free(Infinity);
  assertEquals(sum.bytes, 0);
});

for (const mode of ["plain subjects", "a stream"]) {
  Deno.test(`What waits for NATS over ${mode} is counted, and given up oldest first when asked`, () => {
    const { sum, heard, context } = counting();
    const sent: Uint8Array[] = [];
    const exchange = mode === "a stream" ? new JetStreamExchange(context) : core(context);
    const wanted = sum.bytes; // What another broker wants.
    const publisher = {};
    const count = 20;
    for (let n = 0; n < count; n++) exchange.take(message(n), publisher);
    const all = sum.bytes - wanted;
    assert(all >= count * MESSAGE_BYTES && all <= FACTOR * count * MESSAGE_BYTES, `${all} bytes`);
    exchange.free(all / 2);
    const { dropped } = heard.counts;
    assert(dropped >= count / 2 && dropped <= count / 2 + 2, `${dropped} messages were dropped`);
    assert(sum.bytes - wanted <= all / 2);
    exchange.free(Infinity);
    assertEquals([heard.counts.dropped, sum.bytes - wanted, exchange.queuedBytes], [count, 0, 0]);
    if (!(exchange instanceof JetStreamExchange)) return; // The counts of later packets tell it.
    exchange.connected({
      publish: (_subject, bytes) => {
        sent.push(bytes.slice());
        return Promise.resolve();
      },
    });
    const [told] = sent.map((bytes) => readPacket(bytes).header);
    assertEquals([told?.flags, told?.messages], [PacketFlag.DROPPED, count]);
  });
}

/** Plain subjects, and another broker that wants everything. */
function core(
  context: Parameters<typeof counting>[0] & ConstructorParameters<typeof CoreExchange>[0],
) {
  const exchange = new CoreExchange(context);
  const add = [[1, []]] as const;
  const parts = { version: 1, base: null, add, remove: [], part: 0, more: false };
  exchange.hear({ type: "wants", from: "2".padStart(16, "0"), ...parts });
  return exchange;
}

Deno.test("RemoteWants lets one broker take a part of what is remembered of all, and counts it", () => {
  let told = 0;
  const memory = new RemoteMemory(400_000, (change) => told += change);
  const { context } = counting();
  const counts = new SentCounts(context.bus, PREFIX);
  const remotes = [1, 2].map((since) => new RemoteWants(counts, since, memory));
  /** How many topics it may want, asked for one after the other. */
  const most = (remote: RemoteWants, name: string) => {
    for (let n = 0;; n++) {
      const version = n + 1;
      const parts = { base: n === 0 ? null : n, remove: [], part: 0, more: false };
      const add = [[n, [name, String(n)]]] as const;
      try {
        const change = remote.take({ type: "wants", from: "a", version, add, ...parts });
        [...remote.apply(change!)];
      } catch (error) {
        if (error instanceof ProtocolError) return n;
        throw error;
      }
    }
  };
  const [first, second] = remotes.map((remote, n) => most(remote, `broker ${n}`));
  assert(first! > 100 && first! < 200, `${first} topics`);
  assertEquals(second, first);
  assertEquals(told, memory.bytes);
  for (const remote of remotes) [...remote.clear(0)];
  assertEquals([told, memory.bytes], [0, 0]);
});

Deno.test("DroppedCounts keeps few long topics apart, tells the rest to all, and forgets none", () => {
  const all = { subject: "all" };
  const counts = new DroppedCounts(all);
  const told = () => {
    const sums = new Map<object, number>();
    for (let next = counts.take(); next !== undefined; next = counts.take()) {
      sums.set(next.route, (sums.get(next.route) ?? 0) + next.messages);
    }
    return sums;
  };
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 1000; n++) counts.add({ subject: `${n}`.padEnd(4000, "x") }, 2);
    const sums = told();
    const apart = sums.size - 1;
    assert(apart >= 10 && apart <= 100, `${apart} topics`);
    assertEquals(sums.get(all), 2 * (1000 - apart));
  }
  for (let n = 0; n < 1000; n++) counts.add({ subject: `mpubsub.plant.m.topic.${n}` }, 2);
  assertEquals(told().size, 1000);
});
