/**
 * What must and what must not compile. `deno check` does the work: a line after `@ts-expect-error`
 * that compiles is an error. What would throw stands in a function that nobody calls.
 */
import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import {
  type Delivery,
  type MessageOf,
  NetPubSub,
  type Overflow,
  type PublishArgs,
  PubSub,
  type StandardSchema,
  type Subscriber,
  type Subscription,
  type Topic,
  type TopicMap,
  type TopicOf,
  type TopicPath,
  type Untyped,
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
    assertType<Same<typeof topic, TopicPath>>();
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
  assertType<Same<typeof hellos, Subscription<Hello>>>();
  using values = bus.subscribe("hello", { accepts: upper });
  assertType<Same<typeof values, Subscription<{ upper: string }>>>();
  using all = bus.subscribe(null);
  assertType<Same<typeof all, Subscription<Topics[keyof Topics]>>>();
  const _neverCalled = async () => {
    for await (const delivery of hellos) assertType<Same<typeof delivery, Delivery<Hello>>>();
    for await (const { topic, message: { upper } } of values) {
      assertType<Same<[typeof topic, typeof upper], [TopicPath, string]>>();
    }
    const last = await hellos[Symbol.asyncIterator]().return?.();
    assertType<Same<typeof last, IteratorResult<Delivery<Hello>, undefined> | undefined>>();
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
    ...rest: PublishArgs<MessageOf<T, K>>
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
    assertType<Same<typeof sizes, Subscription<{ size: number }>>>();
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
