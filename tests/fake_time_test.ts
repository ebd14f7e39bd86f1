/** A program that fakes its own time, as tests do, stops neither connections nor the turns of others. */
import { assertEquals } from "@std/assert";
import { Broker, NetPubSub, PubSub } from "../mod.ts";

/** What fake timers replace, each by what does nothing until the program says so. */
const FAKES = {
  setTimeout: () => 1,
  clearTimeout: () => {},
  setInterval: () => 1,
  clearInterval: () => {},
  setImmediate: () => 1,
  queueMicrotask: () => {},
};

/** Replaces timers, and with `isStill` the clock, too, until it is disposed of. */
function fakeTime(isStill: boolean): Disposable {
  const names = Object.keys(FAKES) as (keyof typeof FAKES)[];
  const real = Object.fromEntries(names.map((name) => [name, globalThis[name as "setTimeout"]]));
  const [RealDate, realNow] = [Date, performance.now];
  Object.assign(globalThis, FAKES);
  globalThis.Date = class extends Date {} as DateConstructor;
  Date.now = () => 0;
  if (isStill) performance.now = () => 0;
  return {
    [Symbol.dispose]() {
      Object.assign(globalThis, real);
      globalThis.Date = RealDate;
      performance.now = realNow;
    },
  };
}

/** A broker and clients of it, all of which are connected while time is fake. */
async function scene(clients: number) {
  const broker = new Broker({ address: "tcp://127.0.0.1:0" });
  await broker.start();
  const buses: NetPubSub[] = [];
  for (let i = 0; i < clients; i++) {
    const bus = new NetPubSub(broker.address, broker.authkey);
    buses.push(bus);
    await bus.connect();
  }
  const end = async () => {
    for (const bus of buses) await bus.disconnect();
    await broker.shutdown();
  };
  return { buses, end };
}

Deno.test("a broker takes more than 32 connections while time is fake", async () => {
  using _time = fakeTime(true);
  const { buses, end } = await scene(40);
  assertEquals(buses.map(({ state }) => state), Array(40).fill("connected"));
  await end();
});

Deno.test("a burst of messages arrives while time is fake, with dates in them", async () => {
  using _time = fakeTime(false); // So it is seen that the burst takes long.
  const { buses: [from, to], end } = await scene(2);
  const count = 20_000;
  const { promise, resolve } = Promise.withResolvers<void>();
  let [arrived, at] = [0, 0];
  to!.addSubscriber("burst", (_topic, { date }) => {
    at += date.getTime();
    if (++arrived === count) resolve();
  });
  await to!.flush();
  for (let i = 0; i < count; i++) {
    from!.publish("burst", { i, date: new Date(1), text: "x".repeat(100) });
  }
  await promise;
  await from!.flush();
  assertEquals([arrived, at], [count, count]);
  await end();
});

Deno.test("a loop over a subscription goes on while time is fake", async () => {
  using _time = fakeTime(false);
  const bus = new PubSub();
  const numbers = bus.subscribe("n");
  for (let n = 0; n < 20_000; n++) bus.publish("n", { n });
  bus.clearSubscribers();
  let sum = 0;
  for await (const { message: { n } } of numbers) sum += Math.sqrt(n) >= 0 ? n : 0;
  assertEquals(sum, 20_000 * 19_999 / 2);
});

Deno.test("NetPubSub.connect waits for a broker, and gives up, while time is fake", async () => {
  using _time = fakeTime(true);
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const failed = Promise.withResolvers<unknown>();
  const bus = new NetPubSub(["127.0.0.1", port], "key", {
    onState: (_state, reason) => reason && failed.resolve(reason),
  });
  const connected = bus.connect({ wait: true });
  await failed.promise;
  const broker = new Broker({ address: ["127.0.0.1", port], authkey: "key" });
  await broker.start();
  await connected;
  assertEquals(bus.state, "connected");
  await bus.disconnect();
  await broker.shutdown();
});
