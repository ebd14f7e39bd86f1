/** `using` where a runtime has no symbols for it, and where a polyfill brings them later. */
import { assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);

/** What is done there: each line of `said` is what a worker says. */
const SCRIPT = `
const { PubSub } = await import("${ROOT}pubsub.ts");
const { NetPubSub } = await import("${ROOT}net.ts");
const { Broker } = await import("${ROOT}broker.ts");
const { Proxy: TestProxy } = await import("${ROOT}testing.ts");
const said = [];
const DISPOSE = REGISTERED ? Symbol.for("Symbol.dispose") : Symbol.dispose;
const ASYNC_DISPOSE = REGISTERED ? Symbol.for("Symbol.asyncDispose") : Symbol.asyncDispose;

const bus = new PubSub();
const heard = [];
const make = (name) => bus.addSubscriber("a", () => heard.push(name));
const [removed, disposed, later] = [make("removed"), make("disposed"), make("later")];
const subscriptions = [bus.subscribe("a"), bus.subscribe("a"), bus.subscribe("a")];
const net = new NetPubSub("tcp://127.0.0.1:1", "key");
const others = [net, new Broker(), new TestProxy({ target: "tcp://127.0.0.1:1" })];
const all = [removed, ...subscriptions, ...others, bus];

bus.publish("a");
removed.remove();
disposed[DISPOSE]();
subscriptions[0][DISPOSE]();
await subscriptions[1][ASYNC_DISPOSE]();
for (const other of others) await other[ASYNC_DISPOSE]();
bus.publish("a");
if (REGISTERED) {
  Symbol.dispose = Symbol("of a polyfill");
  Symbol.asyncDispose = Symbol("of a polyfill");
}
for (const object of all) {
  said.push([Symbol.dispose in object, Symbol.asyncDispose in object, "undefined" in object].join());
}
later[Symbol.dispose]();
subscriptions[2][Symbol.dispose]();
for (const other of others) await other[Symbol.asyncDispose]();
bus.publish("a");
said.push(heard.join(), net instanceof PubSub, net instanceof NetPubSub, typeof net.publish);
let held = 0;
for (const subscription of subscriptions) for await (const _ of subscription) held++;
said.push(held, "nothing" in net, net.nothing, String(removed));
self.postMessage(said.map(String));
`;

/** What it says. */
const SAID = [
  "true,false,false",
  "true,true,false",
  "true,true,false",
  "true,true,false",
  "false,true,false",
  "false,true,false",
  "false,true,false",
  "false,false,false",
  "removed,disposed,later,later",
  "true",
  "true",
  "function",
  "0",
  "false",
  "undefined",
  "[object Handle]",
];

/** What there is instead of \`Symbol\`: everything of it but the two symbols. */
const WITHOUT_SYMBOLS = `
const Real = Symbol;
globalThis.Symbol = (description) => Real(description);
for (const name of Object.getOwnPropertyNames(Real)) {
  if (/^(length|name|prototype|dispose|asyncDispose)$/.test(name)) continue;
  Symbol[name] = Real[name];
}
`;

/** What a module says that is run in a worker. */
async function said(code: string): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const url = `data:text/javascript,${encodeURIComponent(code)}`;
  const worker = new Worker(url, { type: "module" });
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(event.message));
  };
  try {
    return await promise;
  } finally {
    worker.terminate();
  }
}

Deno.test("objects can be disposed of by the symbols of the runtime", async () => {
  assertEquals(await said(`const REGISTERED = false; ${SCRIPT}`), SAID);
});

Deno.test("objects can be disposed of where there are no symbols, and by those of a later polyfill", async () => {
  assertEquals(await said(`const REGISTERED = true; ${WITHOUT_SYMBOLS} ${SCRIPT}`), SAID);
});
