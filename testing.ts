/**
 * Tools to test programs that use mpubsub, and mpubsub itself: a proxy that breaks connections as
 * planned, and a checker that finds messages that were lost, repeated or out of order.
 *
 * ```ts
 * import { Broker, NetPubSub } from "@mpubsub/mpubsub";
 * import { checkHistory, Proxy } from "@mpubsub/mpubsub/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await using broker = new Broker();
 * await broker.start();
 * // The first connection breaks after 500 bytes from the broker, perhaps in the middle of a message.
 * const plan = (connection: number) =>
 *   connection === 0 ? [{ kind: "cut", direction: "down", after: 500 } as const] : [];
 * await using proxy = new Proxy({ target: broker.address, plan });
 * await proxy.start();
 *
 * await using alice = new NetPubSub(broker.address, broker.authkey);
 * await using bob = new NetPubSub(proxy.address, broker.authkey);
 * const seen: { publisher: string; id: number }[] = [];
 * const all = Promise.withResolvers<void>();
 * bob.addSubscriber("count", (_topic, { id }) => {
 *   seen.push({ publisher: "alice", id });
 *   if (id === 99) all.resolve();
 * });
 * await Promise.all([alice.connect(), bob.connect()]);
 *
 * const ids = Array.from({ length: 100 }, (_, id) => id);
 * for (const id of ids) alice.publish("count", { id });
 * await all.promise;
 *
 * assertEquals(proxy.stats().cut, 1);
 * const { faults } = checkHistory({ published: { alice: ids }, seen: { bob: seen } });
 * assertEquals(faults, []);
 * ```
 *
 * @module
 */
export type { Address } from "./io/address.ts";
export { type Fault, type Plan, randomPlan, type RandomPlanOptions } from "./testing/fault.ts";
export {
  checkHistory,
  type History,
  type HistoryFault,
  type HistoryReport,
  type Sighting,
} from "./testing/history.ts";
export { Proxy, type ProxyOptions, type ProxyStats } from "./testing/proxy.ts";
