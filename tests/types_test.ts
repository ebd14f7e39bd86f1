/**
 * What must and what must not compile. `deno check` does the work: a line after `@ts-expect-error`
 * that compiles is an error. What would throw stands in a function that nobody calls.
 */
import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import {
  any,
  type Broker,
  type BrokerKey,
  type BrokerLimits,
  type BrokerOptions,
  type ConnectOptions,
  createTicket,
  type Deliveries,
  type Delivery,
  type ErrorDetails,
  type Handle,
  type MessageOf,
  type MessageTo,
  NetPubSub,
  type NetPubSubOptions,
  type Overflow,
  type PathOf,
  type PublishArgs,
  type PublishOptions,
  PubSub,
  type PubSubOptions,
  type RootPath,
  type StandardSchema,
  type SubscribeOptions,
  type Subscriber,
  type SubscriberOptions,
  type Subscription,
  type Topic,
  type TopicMap,
  type TopicOf,
  type TopicPath,
  type Untyped,
  type WaitOptions,
} from "../mod.ts";

interface Hello {
  message: string;
}

interface Stop {
  force?: boolean;
}

interface Topics {
  hello: Hello;
  stop: Stop;
  point: { x: number; y: number };
}

/** The topic as subscribers of `"hello"` get it. */
type HelloPath = PathOf<Topics, "hello">;

type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends (<X>() => X extends B ? 1 : 2) ? true
  : false;

/** Compiles if the type is `true`. */
function assertType<_T extends true>(): void {}

const upper: StandardSchema<{ upper: string }> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) => ({ value: { upper: String((value as Hello).message).toUpperCase() } }),
  },
};

function netPubSub<T extends TopicMap<T> = Untyped>(): NetPubSub<T> {
  return new NetPubSub<T>("tcp://127.0.0.1:1", "key");
}

for (const makeBus of [() => new PubSub<Topics>(), () => netPubSub<Topics>()]) {
  Deno.test(`${makeBus().constructor.name} with types publishes the messages of a topic`, () => {
    const bus = makeBus();
    const id: string = "7";
    bus.publish("hello", { message: "x" });
    bus.publish(["hello"], { message: "x" });
    bus.publish(["hello", "x", id], { message: "x" });
    bus.publish(["hello", "x"] as const, { message: "x" }, { local: true });
    bus.publish("point", { x: 1, y: 2 });
  });
}

Deno.test("PubSub with types refuses a message that is not the topic's", () => {
  const bus = new PubSub<Topics>();
  // @ts-expect-error a required value has another type
  bus.publish("hello", { message: 1 });
  // @ts-expect-error a required value is left out
  bus.publish("hello", {});
  // @ts-expect-error one of two required values is left out
  bus.publish("point", { x: 1 });
  // @ts-expect-error a value that the topic does not have
  bus.publish("hello", { message: "x", more: 1 });
  // @ts-expect-error the message of another topic
  bus.publish(["hello", "x"], { x: 1, y: 2 });
  // @ts-expect-error an option that there is not
  bus.publish("hello", { message: "x" }, { remote: true });
});

Deno.test("NetPubSub with types refuses a message that is not the topic's", () => {
  const bus = netPubSub<Topics>();
  // @ts-expect-error a required value has another type
  bus.publish("hello", { message: 1 });
  // @ts-expect-error a required value is left out
  bus.publish("hello", {});
  // @ts-expect-error the message of another topic
  bus.publish(["hello", "x"], { x: 1, y: 2 });
});

Deno.test("PubSub with types lets a message be left out only if it requires nothing", () => {
  const bus = new PubSub<Topics>();
  bus.publish("stop");
  bus.publish(["stop", "now"]);
  bus.publish("stop", {}, { local: true });
  bus.publish("stop", undefined, { local: true });
  bus.publish("stop", { force: true });
  // @ts-expect-error the message requires a value
  bus.publish("hello");
  // @ts-expect-error the message requires a value
  bus.publish(["hello", "x"]);
  // @ts-expect-error exactOptionalPropertyTypes: an optional value is there or left out
  bus.publish("stop", { force: undefined });
});

Deno.test("NetPubSub with types lets a message be left out only if it requires nothing", () => {
  const bus = netPubSub<Topics>();
  bus.publish("stop");
  // @ts-expect-error the message requires a value
  bus.publish("hello");
});

Deno.test("PubSub with types refuses topics that it does not know", () => {
  const bus = new PubSub<Topics>();
  const path: string[] = ["hello"];
  const word: string = "hello";
  // @ts-expect-error an unknown topic
  bus.publish("helo", { message: "x" });
  // @ts-expect-error an unknown first element
  bus.publish(["helo", "hello"], { message: "x" });
  // @ts-expect-error an array whose first element the compiler does not know
  bus.publish(path, { message: "x" });
  // @ts-expect-error a string that the compiler does not know
  bus.publish(word, { message: "x" });
  // @ts-expect-error a path that is not known, to subscribe to
  bus.addSubscriber(path, () => {});
  // @ts-expect-error a path that is not known, to unsubscribe from
  bus.removeSubscriber(path, () => {});
  // @ts-expect-error a path that is not known, to iterate over
  bus.subscribe(path);
  // @ts-expect-error an unknown topic, with a schema
  bus.addSubscriber("helo", () => {}, { accepts: upper });
});

Deno.test("NetPubSub with types refuses topics that it does not know", () => {
  const bus = netPubSub<Topics>();
  const path: string[] = ["hello"];
  // @ts-expect-error an unknown topic
  bus.publish("helo", { message: "x" });
  // @ts-expect-error an array whose first element the compiler does not know
  bus.publish(path, { message: "x" });
});

Deno.test("PubSub with types broadcasts the message of any topic", () => {
  const bus = new PubSub<Topics>();
  bus.publish(null, { message: "x" });
  bus.publish([], { x: 1, y: 2 });
  bus.publish(null);
  // @ts-expect-error the message of no topic
  bus.publish(null, { other: 1 });
  const strict = new PubSub<{ hello: Hello }>();
  // @ts-expect-error every topic requires a value
  strict.publish(null);
});

Deno.test("PubSub with types gives subscribers the message of their topic", () => {
  const bus = new PubSub<Topics>();
  bus.addSubscriber("hello", (topic, message) => {
    assertType<Same<typeof topic, readonly ["hello", ...string[]] | RootPath>>();
    assertType<Same<typeof message, Hello>>();
  });
  bus.addSubscriber(["point", "x"], (_topic, { x, y }) => {
    assertType<Same<[typeof x, typeof y], [number, number]>>();
  });
  for (const root of [null, []] as const) {
    bus.addSubscriber(root, (_topic, message) => {
      assertType<Same<typeof message, Topics[keyof Topics]>>();
    });
  }
});

Deno.test("PubSub with types takes subscribers that name what they take, or nothing", () => {
  const bus = new PubSub<Topics>();
  bus.addSubscriber("hello", (_topic, { message }: { message: string }) => message.length);
  bus.addSubscriber("hello", (_topic, { message }: Hello) => message.length);
  bus.addSubscriber("point", (_topic, { x }: { x: number }) => x);
  bus.addSubscriber("hello", (topic: TopicPath) => topic.length);
  bus.addSubscriber("hello", () => {});
  bus.addSubscriber("hello", async () => await Promise.resolve(1));
  bus.addSubscriber("hello", () => {}, { accepts: ["message"], once: true });
});

Deno.test("PubSub with types refuses subscribers of what the topic does not have", () => {
  const bus = new PubSub<Topics>();
  // @ts-expect-error the value has another type
  bus.addSubscriber("hello", (_topic, { message }: { message: number }) => message);
  // @ts-expect-error the topic has no such value
  bus.addSubscriber("hello", (_topic, { other }) => other);
  // @ts-expect-error the topic has no such value, even when its type is given
  bus.addSubscriber("hello", (_topic, { other }: { other: string }) => other);
  // @ts-expect-error the same of a subscriber to take away
  bus.removeSubscriber("hello", (_topic, { message }: { message: number }) => message);
  bus.addSubscriber("hello", (topic) => {
    // @ts-expect-error the topic cannot be changed
    topic[0] = "other";
  });
  const _neverCalled = () => {
    // @ts-expect-error no function
    bus.addSubscriber("hello", "hello");
    // @ts-expect-error names are an array
    bus.addSubscriber("hello", () => {}, { accepts: "message" });
  };
});

Deno.test("PubSub with types gives subscribers what their schema makes", () => {
  const bus = new PubSub<Topics>();
  bus.addSubscriber("hello", (_topic, value) => {
    assertType<Same<typeof value, { upper: string }>>();
  }, { accepts: upper, once: true });
  bus.addSubscriber(["hello", "x"], (_topic, { upper }) => upper.length, { accepts: upper });
  // @ts-expect-error the message has it, what the schema makes has not
  bus.addSubscriber("hello", (_topic, { message }) => message, { accepts: upper });
});

Deno.test("PubSub iterates over messages with their types", () => {
  const bus = new PubSub<Topics>();
  using hellos = bus.subscribe(["hello", "x"], { limit: 1, accepts: ["message"] });
  assertType<Same<typeof hellos, Subscription<Hello, HelloPath>>>();
  using values = bus.subscribe("hello", { accepts: upper });
  assertType<Same<typeof values, Subscription<{ upper: string }, HelloPath>>>();
  using all = bus.subscribe(null);
  assertType<Same<typeof all, Subscription<Topics[keyof Topics], PathOf<Topics, null>>>>();
  const anyPath: Subscription<Hello> = hellos;
  assertEquals(anyPath.dropped, 0);
  const _neverCalled = async () => {
    for await (const delivery of hellos) {
      assertType<Same<typeof delivery, Delivery<Hello, HelloPath>>>();
    }
    for await (const { topic, message: { upper } } of values) {
      assertType<Same<[typeof topic, typeof upper], [HelloPath, string]>>();
    }
    const last = await hellos[Symbol.asyncIterator]().return?.();
    assertType<
      Same<typeof last, IteratorResult<Delivery<Hello, HelloPath>, undefined> | undefined>
    >();
    // @ts-expect-error a policy that there is not
    bus.subscribe("hello", { overflow: "drop-newest" });
    // @ts-expect-error it counts by itself
    hellos.dropped = 0;
  };
  assertType<Same<Overflow, "drop-oldest" | "wait" | "throw">>();
});

Deno.test("PubSub takes interfaces as the map, but no map with a value that is no object", () => {
  new PubSub<Topics>();
  new PubSub<{ hello: Hello }>();
  // @ts-expect-error a message is an object
  new PubSub<{ hello: string }>();
  // @ts-expect-error one of the messages is no object
  netPubSub<{ hello: Hello; count: number }>();
});

Deno.test("PubSub without types takes any topic and any object", () => {
  const bus = new PubSub();
  const path: string[] = ["a"];
  const topic: Topic = path;
  const event: Hello = { message: "x" };
  bus.publish("a");
  bus.publish(path, { anything: [1, new Date()] });
  bus.publish(topic, event, { local: true });
  bus.publish(null, undefined, { local: true });
  bus.addSubscriber(topic, (_topic, { x, y }) => x.deep[y]);
  bus.addSubscriber(path, (_topic, { x }: { x: number }) => x);
  bus.addSubscriber("a", (_topic, { message }: Hello) => message, { accepts: ["message"] });
  bus.addSubscriber("a", (_topic, { upper }) => upper.length, { accepts: upper });
  using values = bus.subscribe("a", { accepts: upper });
  assertType<Same<typeof values, Subscription<{ upper: string }>>>();
  const _neverCalled = async () => {
    for await (const { message } of bus.subscribe(path)) message.anything.at(0);
  };
});

Deno.test("NetPubSub without types takes any topic and any object", () => {
  const bus = netPubSub();
  const topic: Topic = ["a"];
  const event: Hello = { message: "x" };
  bus.publish(topic, event, { local: true });
  bus.publish(null);
  bus.addSubscriber(topic, (_topic, { x }) => x.y);
});

Deno.test("PubSub without types refuses what is no topic, and a message that is no object", () => {
  const bus = new PubSub();
  const _neverCalled = () => {
    // @ts-expect-error a number is no topic
    bus.publish(5);
    // @ts-expect-error nor is undefined
    bus.publish(undefined);
    // @ts-expect-error nor an array of numbers
    bus.addSubscriber([1], () => {});
    // @ts-expect-error a string is no message
    bus.publish("a", "message");
    // @ts-expect-error nor is null
    bus.publish("a", null);
  };
});

Deno.test("PubSub with types cannot be used as one without, nor with other topics", () => {
  const bus = new PubSub<Topics>();
  // @ts-expect-error the untyped bus would take messages that this one must not
  const untyped: PubSub = bus;
  // @ts-expect-error its catch-all would get messages that it does not know
  const fewer: PubSub<{ hello: Hello }> = bus;
  // @ts-expect-error it would take messages that its subscribers do not know
  const more: PubSub<Topics> = new PubSub<{ hello: Hello }>();
  for (const other of [untyped, fewer, more]) assertInstanceOf(other, PubSub);
});

Deno.test("NetPubSub with types cannot be used as one without, nor with other topics", () => {
  const bus = netPubSub<Topics>();
  // @ts-expect-error as above
  const untyped: NetPubSub = bus;
  // @ts-expect-error as above
  const fewer: NetPubSub<{ hello: Hello }> = bus;
  // @ts-expect-error as above
  const more: NetPubSub<Topics> = netPubSub<{ hello: Hello }>();
  // @ts-expect-error as above
  const local: PubSub = bus;
  for (const other of [untyped, fewer, more, local]) assertInstanceOf(other, NetPubSub);
});

Deno.test("NetPubSub can be used as a PubSub with the same types, not the other way", () => {
  const bus: PubSub<Topics> = netPubSub<Topics>();
  // @ts-expect-error a PubSub cannot connect
  const net: NetPubSub<Topics> = new PubSub<Topics>();
  assertInstanceOf(bus, NetPubSub);
  assertInstanceOf(net, PubSub);
});

Deno.test("PubSub can be passed to generic helpers, with types and without", () => {
  function countAll<T extends TopicMap<T>>(bus: PubSub<T>): () => number {
    let count = 0;
    bus.addSubscriber(null, () => count++);
    return () => count;
  }
  function publishTwice<T extends TopicMap<T>, const K extends TopicOf<T>>(
    bus: PubSub<T>,
    topic: K,
    ...rest: PublishArgs<MessageTo<T, K>>
  ): void {
    bus.publish(topic, ...rest);
    bus.publish(topic, ...rest);
  }
  function listen<T extends TopicMap<T>, const K extends TopicOf<T>>(
    bus: PubSub<T>,
    topic: K,
    subscriber: Subscriber<MessageOf<T, K>>,
  ): Subscription<MessageOf<T, K>> {
    bus.addSubscriber(topic, subscriber);
    return bus.subscribe(topic);
  }
  const bus = new PubSub<Topics>();
  const count = countAll(bus);
  publishTwice(bus, ["hello", "x"], { message: "x" });
  publishTwice(bus, "stop");
  publishTwice(netPubSub<Topics>(), "hello", { message: "x" });
  publishTwice(new PubSub(), "anything", { x: 1 });
  assertEquals(count(), 4);
  using hellos = listen(bus, "hello", (_topic, { message }) => message.length);
  assertType<Same<typeof hellos, Subscription<Hello>>>();
  // @ts-expect-error a helper checks as the bus does
  publishTwice(bus, "hello");
  // @ts-expect-error a helper checks as the bus does
  publishTwice(bus, "helo", { message: "x" });
});

Deno.test("PubSub can be wrapped by methods for each of its topics", () => {
  class Wrapped {
    readonly bus = new PubSub<Topics>();
    readonly any = new PubSub();

    hear<K extends keyof Topics>(topic: K, subscriber: Subscriber<Topics[K]>): Handle {
      return this.bus.addSubscriber(topic, subscriber);
    }

    hearMessage<K extends keyof Topics>(topic: K, take: (m: MessageOf<Topics, K>) => void): Handle {
      return this.bus.addSubscriber(topic, (_topic, message) => take(message));
    }

    say<const K extends TopicOf<Topics>>(
      topic: K,
      ...rest: PublishArgs<MessageTo<Topics, K>>
    ): void {
      this.bus.publish(topic, ...rest);
    }

    sayAny<K extends string>(topic: K, message: object): void {
      this.any.addSubscriber(topic, (_topic, { anything }) => anything);
      this.any.publish(topic, message);
      this.any.publish([topic, "below"], { anything: message });
    }
  }
  const wrapped = new Wrapped();
  const heard: unknown[] = [];
  wrapped.hear("hello", (_topic, { message }) => heard.push(message.length));
  wrapped.hearMessage("point", ({ x }) => heard.push(x.toFixed()));
  wrapped.say("hello", { message: "abc" });
  wrapped.say(["point", "x"], { x: 1, y: 2 });
  wrapped.sayAny("anything", { anything: 1 });
  // @ts-expect-error it checks as the bus does
  wrapped.say("hello");
  assertEquals(heard, [3, "1"]);
});

Deno.test("NetPubSub.fromFile has the types that it is asked for", () => {
  const _neverCalled = async () => {
    const typed = await NetPubSub.fromFile<Topics>("file");
    assertType<Same<typeof typed, NetPubSub<Topics>>>();
    const untyped = await NetPubSub.fromFile(new URL("file:///file"), { keyName: "me" });
    assertType<Same<typeof untyped, NetPubSub<Untyped>>>();
    // @ts-expect-error a message is an object
    await NetPubSub.fromFile<{ hello: string }>("file");
  };
});

Deno.test("NetPubSub.from has the types that it is asked for, and takes tickets", () => {
  const _neverCalled = async () => {
    const ticket = await createTicket("key", { name: "", expireIn: 1 });
    const typed = NetPubSub.from<Topics>(() => ({ ...ticket, address: "wss://host/bus" }));
    assertType<Same<typeof typed, NetPubSub<Topics>>>();
    const untyped = NetPubSub.from(() => fetch("/ticket").then((response) => response.json()));
    assertType<Same<typeof untyped, NetPubSub<Untyped>>>();
    NetPubSub.from(async () => await Promise.resolve(ticket), { onGap: undefined });
    // @ts-expect-error it has no key
    NetPubSub.from(() => ({ address: "wss://host/bus" }));
    // @ts-expect-error a response is not what it holds
    NetPubSub.from(() => fetch("/ticket"));
  };
});

Deno.test("PubSub takes any schema of the specification's form, also a callable one", () => {
  // As in version 1.1 of the specification, where `validate` may get options.
  interface Specified<Input, Output> {
    readonly "~standard": {
      readonly version: 1;
      readonly vendor: string;
      readonly validate: (
        value: unknown,
        options?: { readonly libraryOptions?: Record<string, unknown> | undefined } | undefined,
      ) => Result<Output> | Promise<Result<Output>>;
      readonly types?: { readonly input: Input; readonly output: Output } | undefined;
    };
  }
  type Result<Output> = { readonly value: Output; readonly issues?: undefined } | {
    readonly issues: ReadonlyArray<
      {
        readonly message: string;
        readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
      }
    >;
  };
  const _neverCalled = (
    specified: Specified<Hello, { size: number }>,
    callable: Specified<Hello, { size: number }> & ((value: Hello) => void),
  ) => {
    const bus = new PubSub<Topics>();
    bus.addSubscriber("hello", (_topic, { size }) => size.toFixed(), { accepts: specified });
    const sizes = bus.subscribe("hello", { accepts: callable });
    assertType<Same<typeof sizes, Subscription<{ size: number }, HelloPath>>>();
    // @ts-expect-error no schema
    bus.subscribe("hello", { accepts: { parse: () => 1 } });
  };
});

Deno.test({
  name: "NetPubSub does no I/O when it is made, and is local until it is connected",
  permissions: "none",
  fn() {
    const bus = netPubSub<Topics>();
    const heard: string[] = [];
    bus.addSubscriber("hello", (_topic, { message }) => heard.push(message));
    bus.publish(["hello", "x"], { message: "at home" });
    assertEquals([heard, bus.state], [["at home"], "disconnected"]);
    assertThrows(() => new NetPubSub("nowhere", "key"), TypeError);
  },
});

/** Whether each option of `O` may be given as `undefined`. */
type TakesUndefined<O> = {
  [K in keyof O]: Partial<Record<never, never>> extends Pick<O, K> ? undefined : O[K];
} extends O ? true : false;

Deno.test("options may be undefined, with exactOptionalPropertyTypes, too", () => {
  assertType<TakesUndefined<PubSubOptions>>();
  assertType<TakesUndefined<SubscriberOptions>>();
  assertType<TakesUndefined<SubscribeOptions>>();
  assertType<TakesUndefined<PublishOptions>>();
  assertType<TakesUndefined<NetPubSubOptions>>();
  assertType<TakesUndefined<NonNullable<NetPubSubOptions["tls"]>>>();
  assertType<TakesUndefined<WaitOptions>>();
  assertType<TakesUndefined<ConnectOptions>>();
  assertType<TakesUndefined<BrokerOptions>>();
  assertType<TakesUndefined<BrokerLimits>>();
  assertType<TakesUndefined<BrokerKey>>();
  assertType<TakesUndefined<ErrorDetails>>();
  const bus = new PubSub<Topics>({ onError: undefined });
  const given: { signal: AbortSignal | undefined; accepts: string[] | undefined } = {
    signal: undefined,
    accepts: undefined,
  };
  let heard = 0;
  bus.addSubscriber("hello", () => heard++, given);
  bus.addSubscriber("hello", () => heard++, { once: undefined });
  bus.addSubscriber("hello", () => heard++, undefined);
  using hellos = bus.subscribe("hello", { ...given, limit: undefined, overflow: undefined });
  bus.publish("hello", { message: "x" }, { local: undefined });
  bus.publish("hello", { message: "x" }, undefined);
  assertEquals([heard, hellos.dropped], [6, 0]);
  const _neverCalled = (net: NetPubSub, signal: AbortSignal | undefined) => {
    void [
      net.connect({ signal, wait: undefined }),
      net.flush({ signal }),
      net.disconnect({ signal }),
    ];
  };
});

Deno.test("callbacks of options may say which errors they take", () => {
  new PubSub({ onError: (error: Error) => error.message });
  const _neverCalled = (broker: (options: BrokerOptions) => Broker) => {
    broker({ onError: ({ message }: Error) => message });
  };
});

Deno.test("a function of PubSub<any> takes every bus", () => {
  // deno-lint-ignore no-explicit-any
  function hear(bus: PubSub<any>): Handle {
    bus.publish(["any", "topic"], { any: "message" });
    bus.removeSubscriber(null, () => {});
    return bus.addSubscriber("any", (topic, { message }) => [topic.join(), message.length]);
  }
  class Own extends PubSub<Topics> {
    readonly own = 1;
  }
  const buses = [new PubSub(), new PubSub<Topics>(), netPubSub(), netPubSub<Topics>(), new Own()];
  hear(new PubSub<Topics>());
  hear(netPubSub<Topics>());
  hear(new Own());
  for (const bus of buses) hear(bus).remove();
  // deno-lint-ignore no-explicit-any
  function connect(bus: NetPubSub<any>): string {
    return bus.state;
  }
  assertEquals([connect(netPubSub<Topics>()), connect(netPubSub())], Array(2).fill("disconnected"));
  // @ts-expect-error a PubSub cannot connect
  assertEquals(connect(new PubSub<Topics>()), undefined);
});

Deno.test("PubSub with types takes what fits all of the topics that it may be", () => {
  const bus = new PubSub<Topics>();
  const _neverCalled = (
    some: "hello" | "point",
    path: readonly ["hello" | "point", ...string[]],
    either: "hello" | readonly ["point"],
    lax: "hello" | "stop",
    root: "hello" | null,
  ) => {
    // @ts-expect-error it may be a point
    bus.publish(some, { message: "x" });
    // @ts-expect-error the same of a path
    bus.publish(path, { message: "x" });
    // @ts-expect-error the same of one or the other
    bus.publish(either, { message: "x" });
    // @ts-expect-error one of the two requires a message
    bus.publish(lax);
    // @ts-expect-error the root may go without, "hello" not
    bus.publish(root);
    bus.publish(some, { message: "x", x: 1, y: 2 });
    bus.publish(path, { message: "x", x: 1, y: 2 });
    bus.publish(lax, { message: "x" });
    bus.publish(root, { message: "x" });
    netPubSub<Topics>().publish(lax, { message: "x", force: true });
    // @ts-expect-error the same of a NetPubSub
    netPubSub<Topics>().publish(lax);
    bus.addSubscriber(some, (_topic, message) => {
      assertType<Same<typeof message, Hello | Topics["point"]>>();
    });
  };
});

Deno.test("PubSub takes no map with a topic that may be missing, or is no string", () => {
  // @ts-expect-error a topic is there or not
  new PubSub<{ hello?: Hello }>();
  // @ts-expect-error one of several
  netPubSub<{ hello: Hello; stop?: Stop }>();
  // @ts-expect-error the first element of a topic is a string
  new PubSub<{ 1: Hello }>();
  const key: unique symbol = Symbol();
  // @ts-expect-error and no symbol
  new PubSub<{ [key]: Hello }>();
  assertEquals(typeof key, "symbol");
});

Deno.test("PubSub takes maps of names by their form, and of all names", () => {
  const rooms = new PubSub<{ [room: `room-${string}`]: Hello; lobby: Stop }>();
  rooms.publish("room-1", { message: "x" });
  rooms.publish(["room-1", "door"], { message: "x" });
  rooms.publish("lobby");
  // @ts-expect-error not of the form
  rooms.publish("hall", { message: "x" });
  // @ts-expect-error the message of another
  rooms.publish("room-1", { force: true });
  const all = new PubSub<Record<string, Hello>>();
  all.publish(["anything"] as string[], { message: "x" });
  // @ts-expect-error every topic has the same messages
  all.publish("anything", { x: 1 });
});

Deno.test("PubSub with types passes on to another bus what its subscribers get", async () => {
  const [from, to, more] = [
    new PubSub<Topics>(),
    netPubSub<Topics>(),
    new PubSub<Topics & { other: { n: number } }>(),
  ];
  const heard: unknown[] = [];
  to.addSubscriber(null, (topic, message) => heard.push([topic.join(), message]));
  from.addSubscriber("hello", (topic, message) => to.publish(topic, message));
  from.addSubscriber(["point", "x"], (topic, message) => to.publish(topic, message));
  from.addSubscriber(null, (topic, message) => more.publish(topic, message));
  more.addSubscriber(null, (topic, message) => heard.push([topic[0], message]));
  const all = from.subscribe(null);
  from.publish(["hello", "x"], { message: "m" });
  from.publish(["point", "x"], { x: 1, y: 2 });
  assertEquals(heard, [
    ["hello,x", { message: "m" }],
    ["hello", { message: "m" }],
    ["point,x", { x: 1, y: 2 }],
    ["point", { x: 1, y: 2 }],
  ]);
  from.clearSubscribers();
  for await (const { topic, message } of all) {
    to.publish(topic, message);
    // @ts-expect-error the message must be one of those that are delivered
    if (heard.length === 0) to.publish(topic, { other: 1 });
  }
  assertEquals(heard.length, 6);
  const few = new PubSub<{ hello: Hello }>();
  // @ts-expect-error the other bus has no points
  from.addSubscriber(null, (topic, message) => few.publish(topic, message));
  from.addSubscriber("hello", (topic, message) => few.publish(topic, message));
});

Deno.test("the topic that a subscriber gets is a path of strings", () => {
  const bus = new PubSub<Topics>();
  const heard: unknown[] = [];
  bus.addSubscriber("hello", (topic) => {
    const path: TopicPath = topic;
    const [first, second] = topic;
    assertType<Same<typeof first, "hello" | undefined>>();
    assertType<Same<typeof second, string | undefined>>();
    heard.push(first, second, path.at(-1), topic.includes("x"), topic.indexOf("x"), topic[2]);
    heard.push(topic.map((element) => element.length), topic.slice(1), topic.join("/"));
    for (const element of topic) heard.push(element.toUpperCase());
    if (topic.length === 0) heard.push("a broadcast");
    // @ts-expect-error it begins with the topic to which it subscribed
    if (topic[0] === "point") heard.push("never");
  });
  bus.publish(["hello", "x"], { message: "m" });
  assertEquals(heard, [
    ...["hello", "x", "x", true, 1, undefined, [5, 1], ["x"], "hello/x", "HELLO", "X"],
  ]);
});

export const Anonymous = class extends PubSub<Topics> {};

/** A bus with more methods, as a mixin makes it; its type can be written into declarations. */
export function withMore() {
  return class extends NetPubSub<Topics> {
    more(): string {
      this.publish("hello", { message: "more" });
      return this.state;
    }
  };
}

Deno.test("a class that extends PubSub can be exported, also without a name", () => {
  const More = withMore();
  const more = new More("tcp://127.0.0.1:1", "key");
  assertEquals([new Anonymous() instanceof PubSub, more.more()], [true, "disconnected"]);
});

Deno.test("PubSub.subscribe gives an iterator of messages with their types", () => {
  const bus = new PubSub<Topics>();
  const iterator = bus.subscribe("hello")[Symbol.asyncIterator]();
  assertType<Same<typeof iterator, Deliveries<Hello, HelloPath>>>();
  const _neverCalled = async () => {
    const next = await iterator.next();
    if (next.done) assertType<Same<typeof next.value, undefined>>();
    else assertType<Same<typeof next.value, Delivery<Hello, HelloPath>>>();
    for await (const { message } of iterator) assertType<Same<typeof message, Hello>>();
  };
});

Deno.test("PubSub with types gives of a topic with any the message of its first element, or the union", () => {
  const bus = new PubSub<Topics>();
  bus.addSubscriber(["hello", any], (topic, message) => {
    assertType<Same<typeof message, Hello>>();
    assertType<Same<typeof topic, PathOf<Topics, readonly ["hello", typeof any]>>>();
    assertType<Same<typeof topic, HelloPath>>();
  });
  bus.addSubscriber(["hello", any, "x", any] as const, (_topic, { message }) => message.at(0));
  bus.addSubscriber([any], (topic, message) => {
    assertType<Same<typeof message, Topics[keyof Topics]>>();
    assertType<Same<(typeof topic)[0], keyof Topics | undefined>>();
  });
  bus.addSubscriber([any, "x"], (_topic, message) => "x" in message && message.x);
  assertType<Same<MessageOf<Topics, readonly ["point", typeof any]>, Topics["point"]>>();
  assertType<Same<MessageOf<Topics, readonly [typeof any, string]>, Topics[keyof Topics]>>();
  using points = bus.subscribe(["point", any]);
  assertType<
    Same<typeof points, Subscription<Topics["point"], PathOf<Topics, readonly ["point"]>>>
  >();
  bus.removeSubscriber(["hello", any], () => {});
  // @ts-expect-error the message of another topic
  bus.addSubscriber(["hello", any], (_topic, { x }: { x: number }) => x);
  // @ts-expect-error an unknown topic
  bus.addSubscriber(["helo", any], () => {});
  const _neverCalled = () => {
    // @ts-expect-error another symbol
    bus.addSubscriber(["hello", Symbol.iterator], () => {});
  };
});

Deno.test("PubSub without types takes any in a topic to subscribe to, and a Topic to publish to", () => {
  const bus = new PubSub();
  const pattern: Topic = ["a", any];
  const topic: Topic = ["a", "b"];
  let heard = 0;
  bus.addSubscriber(pattern, (path: TopicPath, { n }) => heard += path.length + n);
  bus.addSubscriber(["a", any], () => heard++);
  bus.publish(topic, { n: 1 });
  const _neverCalled = (given: Topic) => bus.publish(given, { n: 1 });
  assertEquals(heard, 4);
});

Deno.test("PubSub.addSubscriber gives a Handle", () => {
  const bus = new PubSub<Topics>();
  let heard = 0;
  const handle = bus.addSubscriber("stop", () => heard++);
  assertType<Same<typeof handle, Handle>>();
  const disposable: Disposable = handle;
  bus.publish("stop");
  handle.remove();
  handle.remove();
  disposable[Symbol.dispose]();
  bus.publish("stop");
  assertEquals(heard, 1);
});
