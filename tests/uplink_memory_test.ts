/** What an uplink holds is a part of the broker's memory, which the broker can ask back. */
import { assert, assertEquals } from "@std/assert";
import { Broker, NetPubSub } from "../mod.ts";
import type { Uplink, UplinkBus } from "../broker/uplink.ts";
import { until } from "../tools/harness/until.ts";

const MEMORY = 4 * 2 ** 20;

/** Holds what it is told to, and gives up what it is asked for. */
class Hoard implements Uplink {
  bus!: UplinkBus;
  held = 0;
  readonly asked: number[] = [];
  /** Called when it is asked to give something up, before it does. */
  onFree: () => void = () => {};

  join(bus: UplinkBus): void {
    this.bus = bus;
  }

  hold(change: number): void {
    this.held += change;
    this.bus.onBytes(change);
  }

  free(bytes: number): void {
    this.asked.push(bytes);
    this.onFree();
    this.hold(-Math.min(bytes, this.held));
  }

  wants(): void {}
  take(): void {}
  refusal(): undefined {}
  stats() {
    return {} as ReturnType<Uplink["stats"]>;
  }
  async leave(): Promise<void> {}
}

async function started(uplink: Uplink): Promise<Broker> {
  const limits = { messageBytes: 2 ** 20, queueBytes: MEMORY };
  const broker = new Broker({ address: "tcp://127.0.0.1:0", memory: MEMORY, limits, uplink });
  await broker.start();
  return broker;
}

Deno.test("Broker asks its uplink for what both hold beyond memory", async () => {
  const uplink = new Hoard();
  await using _broker = await started(uplink);
  assertEquals(uplink.bus.memory, MEMORY);
  uplink.hold(MEMORY / 2);
  assertEquals(uplink.asked, []);
  uplink.hold(MEMORY);
  await until(() => uplink.asked.length > 0);
  assert(uplink.held <= MEMORY && uplink.held >= MEMORY / 2, `${uplink.held} bytes are left`);
});

Deno.test("Broker takes nothing from a client that holds less than its uplink", async () => {
  const uplink = new Hoard();
  await using broker = await started(uplink);
  const slow = { onGap: () => gaps++ };
  let gaps = 0;
  await using subscriber = new NetPubSub(broker.address, broker.authkey, slow);
  await using publisher = new NetPubSub(broker.address, broker.authkey);
  let received = 0;
  subscriber.addSubscriber("a", () => received++);
  await Promise.all([subscriber.connect(), publisher.connect()]);
  uplink.hold(MEMORY - 1000);
  const count = 50; // Much less than the uplink holds, even if nobody reads them.
  for (let n = 0; n < count; n++) publisher.publish("a", { filling: new Uint8Array(10_000) });
  await publisher.flush();
  await until(() => received === count || gaps > 0);
  assertEquals([received, gaps], [count, 0]);
  assert(uplink.asked.length > 0);
});
