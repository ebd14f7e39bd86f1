/** A client in a page that is hidden, so that timers hardly fire, or frozen, so that nothing does. */
import { assert, assertEquals } from "@std/assert";
import { every } from "../base/timers.ts";
import { Broker, type BrokerOptions, NetPubSub } from "../mod.ts";
import { until } from "../tools/harness/until.ts";
import type { News, Order } from "./helpers/hidden_page.ts";

const KEY = "the key of a test";
/** Long enough for a machine that is so busy that the page computes nothing for a while. */
const HEARTBEAT_MS = 1000;
/** Longer than a silent side is waited for. */
const HEARTBEATS = 3;

/** A broker, a client of it in a page, and one beside it. */
async function setUp(options: BrokerOptions = {}) {
  const events: string[] = [];
  const broker = new Broker({
    address: "ws://127.0.0.1:0",
    authkey: KEY,
    heartbeat: HEARTBEAT_MS,
    onClient: ({ type, client }) => client === 1 && events.push(type),
    ...options,
  });
  await broker.start();
  const page = new Worker(new URL("helpers/hidden_page.ts", import.meta.url), { type: "module" });
  const tell = (order: Order) => page.postMessage(order);
  const states: string[] = [];
  const gaps: string[] = [];
  const counts = { n: 0, turns: 0, published: 0, frozen: 0 };
  page.onmessage = ({ data }: MessageEvent<News>) => {
    if (typeof data === "string") counts[data]++;
    else if ("state" in data) states.push(data.state);
    else if ("gap" in data) gaps.push(data.gap);
    else Object.assign(counts, data);
  };
  tell({ connect: broker.address as string });
  await until(() => states.at(-1) === "connected");
  const bus = new NetPubSub(broker.address, KEY);
  await bus.connect();
  const end = async () => {
    await bus.disconnect();
    await broker.shutdown();
    page.terminate();
  };
  return { events, states, gaps, counts, bus, tell, end };
}

/** Lets so many heartbeats pass, by a timer like the broker's. */
async function heartbeats(count: number): Promise<void> {
  let passed = 0;
  const ticker = every(() => passed++, HEARTBEAT_MS);
  await until(() => passed >= count);
  ticker.cancel();
}

Deno.test("NetPubSub in a hidden page stays connected although no timer fires", async () => {
  const { events, states, gaps, tell, end } = await setUp();
  await heartbeats(HEARTBEATS);
  assertEquals(events, ["joined"]);
  for (let minute = 0; minute < 2; minute++) {
    tell("minute");
    await heartbeats(1);
  }
  assertEquals([events, states, gaps], [["joined"], ["connecting", "connected"], []]);
  await end();
});

Deno.test("NetPubSub in a hidden page takes and publishes as much as in any other, without a timer", async () => {
  const { bus, counts, events, tell, end } = await setUp();
  const count = 5000;
  for (let n = 1; n <= count; n++) bus.publish("n", { n, text: "x".repeat(1000) });
  await until(() => counts.n === count);
  assert(counts.turns > 20, `there were ${counts.turns} turns`);
  const back = bus.subscribe("back");
  await bus.flush();
  tell({ publish: count });
  let n = 0;
  for await (const { message } of back) {
    assertEquals(message.n, ++n);
    if (n === count) break;
  }
  await until(() => counts.published === 1);
  assertEquals(events, ["joined"]);
  await end();
});

for (const isTold of [true, false]) {
  const how = `frozen ${isTold ? "with" : "without"} an event`;

  Deno.test(`NetPubSub in a page that was ${how} comes back to its session, and misses nothing`, async () => {
    const { bus, counts, events, states, gaps, tell, end } = await setUp({});
    const ice = new Int32Array(new SharedArrayBuffer(4));
    tell({ freeze: ice, isTold });
    await until(() => counts.frozen === 1);
    await until(() => events.includes("lost"));
    for (let n = 1; n <= 100; n++) bus.publish("n", { n });
    await bus.flush();
    ice[0] = 1;
    Atomics.notify(ice, 0);
    await until(() => counts.n === 100);
    assertEquals(events, ["joined", "lost", "resumed"]);
    assertEquals(states, ["connecting", "connected", "reconnecting", "connected"]);
    assertEquals(gaps, []);
    await end();
  });

  Deno.test(`NetPubSub in a page that was ${how} for longer than its session is kept tells of the gap`, async () => {
    const { bus, counts, events, gaps, tell, end } = await setUp({ resumeWindow: 50 });
    const ice = new Int32Array(new SharedArrayBuffer(4));
    tell({ freeze: ice, isTold });
    await until(() => counts.frozen === 1);
    await until(() => events.includes("left"));
    bus.publish("n", { n: 1, last: true });
    await bus.flush();
    ice[0] = 1;
    Atomics.notify(ice, 0);
    await until(() => gaps.length > 0);
    assertEquals(gaps, ["expired"]);
    bus.publish("n", { n: 2, last: true });
    await until(() => counts.n > 0);
    assertEquals(counts.n, 2);
    await end();
  });
}
