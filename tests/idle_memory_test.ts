/** What a broker holds of V8's heap for a client that does nothing. */
import { assert } from "@std/assert";
import { Peer } from "../tools/harness/peer.ts";
import { type BrokerFigures, MeasuredBroker } from "../tools/harness/processes.ts";

const CLIENTS = 1500;
/** Those before the first look, so that the code has run. */
const FIRST = 500;
/** So many connect at a time. */
const TOGETHER = 20;

const ROWS: readonly (readonly [transport: string, address: string, kibMax: number])[] = [
  ["TCP", "tcp://127.0.0.1:0", 8.7],
  ["a WebSocket", "ws://127.0.0.1:0/bus", 10],
];

for (const [transport, address, kibMax] of ROWS) {
  Deno.test(`Broker holds at most ${kibMax} KiB for an idle client over ${transport}`, async () => {
    let latest = Promise.withResolvers<BrokerFigures>();
    const module = new URL("helpers/measured_broker.ts", import.meta.url).href;
    const { broker, ...reachable } = await MeasuredBroker.start(module, { address }, {
      onFigures(figures) {
        latest.resolve(figures);
        latest = Promise.withResolvers();
      },
      flags: ["--v8-flags=--expose-gc"],
    });
    await using _broker = broker;
    await using peers = new AsyncDisposableStack();
    const connect = async (count: number) => {
      for (let n = 0; n < count; n += TOGETHER) {
        const some = Array.from({ length: TOGETHER }, () => Peer.open(reachable));
        for (const peer of await Promise.all(some)) peers.use(peer);
      }
    };
    const heap = async () => {
      let least = Infinity;
      // What is resolved only after the first is collected with the next.
      for (let round = 0; round < 3; round++) {
        broker.collect();
        await latest.promise;
        least = Math.min(least, (await latest.promise).heap);
      }
      return least;
    };
    await latest.promise; // It listens to signals now.
    await connect(FIRST);
    const before = await heap();
    await connect(CLIENTS);
    const kib = (await heap() - before) / CLIENTS / 1024;
    assert(kib <= kibMax, `${kib.toFixed(2)} KiB`);
    assert(kib > 1, `${kib.toFixed(2)} KiB, so little cannot be`);
  });
}
