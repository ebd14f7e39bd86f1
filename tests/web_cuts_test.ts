/** A WebSocket that is cut at each byte of all that passes: in the head, in a frame, in the close. */
import { assert, assertEquals } from "@std/assert";
import { Broker, ConnectionLostError, NetPubSub } from "../mod.ts";
import { type Fault, Proxy, type ProxyStats } from "../testing.ts";
import { until } from "../tools/harness/until.ts";

const AUTHKEY = "a key";
const AT_ONCE = 16;

interface Topics {
  cuts: { run: string; n: number };
}

/** A client that comes, publishes, and goes, whose first connection has these faults. */
async function exchange(broker: Broker, run: string, ...faults: Fault[]): Promise<ProxyStats> {
  const plan = (connection: number) => connection === 0 ? faults : [];
  await using proxy = new Proxy({ target: broker.address!, plan });
  await proxy.start();
  const bus = new NetPubSub<Topics>(proxy.address, AUTHKEY);
  try {
    await bus.connect();
  } catch (error) { // It was cut before it was connected.
    assert(error instanceof ConnectionLostError, String(error));
    await bus.connect();
  }
  for (let n = 0; n < 3; n++) bus.publish("cuts", { run, n });
  await bus.flush();
  await bus.disconnect();
  return proxy.stats();
}

Deno.test("NetPubSub and Broker lose nothing wherever a WebSocket is cut, from the head to the close", async () => {
  await using broker = new Broker({
    address: "ws://127.0.0.1:0/bus",
    authkey: AUTHKEY,
    onError() {},
  });
  await broker.start();
  await using bus = new NetPubSub<Topics>(broker.address!, AUTHKEY);
  await bus.connect();
  const seen = new Map<string, number[]>();
  bus.addSubscriber("cuts", (_topic, { run, n }) => {
    seen.set(run, [...seen.get(run) ?? [], n]);
  });
  await bus.flush();
  const { bytes } = await exchange(broker, "whole");
  let cuts = 0;
  for (const direction of ["up", "down"] as const) {
    let after = 0;
    let isBeyond = false;
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      while (!isBeyond) {
        const at = after++;
        const { cut } = await exchange(broker, `${direction} ${at}`, {
          kind: "cut",
          direction,
          after: at,
        });
        if (cut === 0) isBeyond = true;
        cuts += cut;
      }
    }));
    await until(() => [...seen.keys()].filter((run) => run.startsWith(direction)).length === after);
  }
  for (const [run, numbers] of seen) assertEquals(numbers, [0, 1, 2], `cut at ${run}`);
  assert(cuts >= bytes, `${cuts} cuts, and ${bytes} bytes`);
});
