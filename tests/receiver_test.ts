/** A bus that others hold: behind a proxy, or of which they only have a method. */
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { Broker, NetPubSub, PubSub } from "../mod.ts";

/** An object as Vue keeps it: it makes proxies of what says that it is an object, and of no class. */
function reactive<T extends object>(value: T): T {
  return new Proxy(value, {
    get(target, key, receiver) {
      const member = Reflect.get(target, key, receiver);
      const isObserved = /^\[object (Object|Array|Map|Set)\]$/.test(String(toTag(member)));
      return isObserved ? reactive(member as object) : member;
    },
  });
}

function toTag(value: unknown): string {
  return Object.prototype.toString.call(value);
}

Deno.test("buses, handles and subscriptions work within what Vue observes", () => {
  const heard: unknown[] = [];
  const state = reactive({
    bus: new PubSub(),
    net: new NetPubSub("tcp://127.0.0.1:1", "key"),
    broker: new Broker(),
    own: new (class extends PubSub {})(),
  });
  for (const bus of [state.bus, state.net, state.own]) {
    const kept = reactive({
      handle: bus.addSubscriber("a", (_topic, { n }) => heard.push(n)),
      subscription: bus.subscribe("a", { limit: 1, overflow: "wait" }),
    });
    bus.publish("a", { n: 1 });
    kept.handle.remove();
    kept.subscription[Symbol.dispose]();
    bus.publish("a", { n: 2 });
  }
  assertEquals(heard, [1, 1, 1]);
  assertEquals([state.net.state, state.broker.stats().connections], ["disconnected", 0]);
  assertEquals([state.bus, state.own, state.net, state.broker].map(toTag), [
    "[object PubSub]",
    "[object PubSub]",
    "[object NetPubSub]",
    "[object Broker]",
  ]);
});

/** All that can be asked of a bus. */
const CALLS: Readonly<Record<string, (bus: PubSub) => unknown>> = {
  publish: (bus) => bus.publish("a"),
  addSubscriber: (bus) => bus.addSubscriber("a", () => {}),
  removeSubscriber: (bus) => bus.removeSubscriber("a", () => {}),
  clearSubscribers: (bus) => bus.clearSubscribers(),
  subscribe: (bus) => bus.subscribe("a"),
};
const NET_CALLS: Readonly<Record<string, (bus: NetPubSub) => unknown>> = {
  publish: (bus) => bus.publish("a"),
  connect: (bus) => bus.connect(),
  disconnect: (bus) => bus.disconnect(),
  flush: (bus) => bus.flush(),
  setBroker: (bus) => bus.setBroker("tcp://127.0.0.1:2", "key"),
  ref: (bus) => bus.ref(),
  unref: (bus) => bus.unref(),
  state: (bus) => bus.state,
  pending: (bus) => bus.pending,
  closed: (bus) => bus.closed,
};

for (const [name, call] of Object.entries(CALLS)) {
  Deno.test(`PubSub.${name} through a proxy says that it is one, and what to do`, () => {
    const proxy = new Proxy(new PubSub(), {});
    const { message } = assertThrows(() => call(proxy), TypeError);
    assertMatch(message, /^Cannot use a PubSub through a proxy: .*shallowRef\(\) or markRaw\(\)/);
  });

  Deno.test(`PubSub.${name} without its bus says so`, () => {
    const method = PubSub.prototype[name as "clearSubscribers"] as (...args: unknown[]) => void;
    for (const receiver of [undefined, null, 5, {}]) {
      const { message } = assertThrows(() => method.call(receiver, "a", () => {}), TypeError);
      assertMatch(
        message,
        /^Cannot use a PubSub: its method was called (without one|on something)/,
      );
    }
  });
}

for (const [name, call] of Object.entries(NET_CALLS)) {
  Deno.test(`NetPubSub.${name} through a proxy says that it is one, and what to do`, () => {
    const proxy = new Proxy(new NetPubSub("tcp://127.0.0.1:1", "key"), {});
    const { message } = assertThrows(() => call(proxy), TypeError);
    assertMatch(
      message,
      /^Cannot use a NetPubSub through a proxy: .*shallowRef\(\) or markRaw\(\)/,
    );
  });
}

Deno.test("NetPubSub says that it was not there where only its method is called", async () => {
  const { publish, connect, setBroker, ref, unref } = new NetPubSub("tcp://127.0.0.1:1", "key");
  const says = /^Cannot use a NetPubSub: its method was called without one; write bus\.publish/;
  const calls = [() => publish("a"), () => setBroker("tcp://127.0.0.1:2", "key"), ref, unref];
  for (const call of calls) assertMatch(assertThrows(() => call(), TypeError).message, says);
  const call = async () => await connect();
  assertMatch((await assertRejects(call, TypeError)).message, says);
});

Deno.test("Handle.remove works without its handle, and through a proxy", () => {
  const bus = new PubSub();
  let heard = 0;
  const { remove } = bus.addSubscriber("a", () => heard++);
  const proxy = new Proxy(bus.addSubscriber("a", () => heard++), {});
  bus.publish("a");
  remove();
  proxy.remove();
  bus.publish("a");
  assertEquals(heard, 2);
});

Deno.test("Subscription through a proxy says that it is one, and what to do", () => {
  const proxy = new Proxy(new PubSub().subscribe("a"), {});
  const calls = [
    () => proxy.dropped,
    () => proxy[Symbol.asyncIterator](),
    () => proxy[Symbol.dispose](),
    () => proxy[Symbol.asyncDispose](),
  ];
  for (const call of calls) {
    const { message } = assertThrows(call, TypeError);
    assertMatch(message, /^Cannot use a Subscription through a proxy: .*shallowRef\(\) or markRaw/);
  }
});
