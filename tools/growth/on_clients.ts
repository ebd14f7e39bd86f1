/** What the program of a connected client can cause. */
import { NetPubSub } from "../../mod.ts";
import { MANY, MemoryBroker } from "./memory_broker.ts";
import type { Operation } from "./operation.ts";

const TOPIC = ["data"];

/** A connected client, and something that its program does. */
function connected(
  facts: Pick<Operation, "name" | "of" | "per" | "from" | "few">,
  act: (bus: Awaited<ReturnType<MemoryBroker["bus"]>>, n: number) => () => void | Promise<void>,
): Operation {
  return {
    ...facts,
    async prepare(n) {
      const memory = await MemoryBroker.start({ limits: { subscriptions: MANY } });
      const bus = await memory.bus({ onError() {} });
      return { units: n, run: act(bus, n), end: () => memory[Symbol.asyncDispose]() };
    },
  };
}

const CONNECTED: readonly Operation[] = [
  connected(
    { name: "calls of flush at once", of: "calls", per: "call", from: 1000, few: 200 },
    (bus, n) => async () => {
      bus.publish(TOPIC);
      await Promise.all(Array.from({ length: n }, () => bus.flush()));
    },
  ),
  connected(
    {
      name: "calls of flush, each after a message",
      of: "calls",
      per: "call",
      from: 1000,
      few: 200,
    },
    (bus, n) => async () => {
      await Promise.all(Array.from({ length: n }, () => {
        bus.publish(TOPIC);
        return bus.flush();
      }));
    },
  ),
  connected(
    {
      name: "a client subscribes to topics, and takes all back",
      of: "topics",
      per: "topic",
      from: 1000,
      few: 200,
    },
    (bus, n) => async () => {
      const handles = Array.from(
        { length: n },
        (_, i) => bus.addSubscriber(["own", String(i)], () => {}),
      );
      await bus.flush();
      for (const handle of handles) handle[Symbol.dispose]();
      await bus.flush();
    },
  ),
  connected(
    {
      name: "a client publishes to topics that do not come again",
      of: "topics",
      per: "topic",
      from: 4000,
      few: 400,
    },
    (bus, n) => async () => {
      for (let i = 0; i < n; i++) bus.publish(["own", `t${i}`]);
      await bus.flush();
    },
  ),
];

const CONNECTS: Operation = {
  name: "a client with many topics connects",
  of: "topics",
  per: "topic",
  from: 1000,
  few: 200,
  async prepare(n) {
    const memory = await MemoryBroker.start({ limits: { subscriptions: MANY } });
    const bus = new NetPubSub(memory.broker.address, memory.broker.authkey);
    for (let i = 0; i < n; i++) bus.addSubscriber(["own", String(i)], () => {});
    return {
      units: n,
      run: () => bus.connect(),
      async end() {
        await bus.disconnect();
        await memory[Symbol.asyncDispose]();
      },
    };
  },
};

/** All of them. */
export const ON_CLIENTS: readonly Operation[] = [...CONNECTED, CONNECTS];
