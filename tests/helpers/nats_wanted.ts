/**
 * Lets many brokers want topics, of the kind that is named, and prints how many bytes are counted, and how
 * many are kept alive, both without what there was before. Run it with `--expose-gc`.
 */
import { Account } from "../../base/account.ts";
import { CoreExchange } from "../../nats/core_exchange.ts";
import type { Peer } from "../../routing/peer.ts";
import { Router } from "../../routing/router.ts";
import { contextOf, Heard } from "./exchange.ts";

/** How many brokers there are, how many topics each wants, and what these are. */
const kinds: Record<string, readonly [number, number, (broker: number, n: number) => string[]]> = {
  own: [20, 1000, (broker, n) => ["topic", `${broker}.${n}`]],
  shared: [20, 1000, (_broker, n) => ["topic", `${n}`]],
  deep: [10, 200, (broker, n) => Array.from({ length: 16 }, (_, at) => `${at}.${broker}.${n}`)],
  few: [2000, 1, (broker) => [`${broker}`]],
};
const [brokers, topics, topicOf] = kinds[Deno.args[0]!]!;
const PART = 500;

const { gc } = globalThis as unknown as { gc(): void };
const account = new Account();
const router = new Router<Peer>({ account });
const peer: Peer = { take: () => {}, lose: () => {}, room: () => undefined };
let counted = 0;
let due: (() => void)[] = [];
const exchange = new CoreExchange(contextOf(new Heard(), {
  id: "me",
  messageBytes: 2 ** 20,
  onBytes: (change) => counted += change,
  want: (path, wanted) => wanted ? router.add(peer, path) : router.remove(peer, path),
  later: (callback) => {
    due.push(callback);
    return { cancel() {} };
  },
}));

function rest(): void {
  while (due.length > 0) {
    const callbacks = due;
    due = [];
    for (const callback of callbacks) callback();
  }
}

function wants(broker: number): void {
  const from = broker.toString(16).padStart(16, "0");
  for (let at = 0; at < topics; at += PART) {
    const length = Math.min(PART, topics - at);
    const add = Array.from({ length }, (_, n) => [at + n, topicOf(broker, at + n)]);
    const more = at + length < topics;
    const parts = { version: 1, base: null, remove: [], part: at / PART, more };
    // As it is read: none of its texts is another one's.
    exchange.hear(JSON.parse(JSON.stringify({ type: "wants", from, add, ...parts })));
  }
  rest();
  exchange.hear({ type: "ask", from, got: 0 }); // It is told its counts, which are remembered.
  rest();
}

function keptBytes(): number {
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

exchange.connected({
  publish: () => {},
  subscribe: () => ({ unsubscribe() {} }),
  flush: () => new Promise(() => {}),
});
rest();
const before = keptBytes();
for (let broker = 0; broker < brokers; broker++) wants(broker);
const kept = keptBytes() - before;
console.log(JSON.stringify({ counted: counted + account.bytes, kept, unaware: exchange.unaware }));
