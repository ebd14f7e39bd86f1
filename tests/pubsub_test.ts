import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { getEventListeners } from "node:events";
import { BacklogError, ForbiddenError, MessageError } from "../errors.ts";
import { PubSub, type StandardSchema, type Topic, type TopicPath } from "../pubsub.ts";
import { Dispatcher } from "../pubsub/dispatcher.ts";
import type { ErrorContext } from "../pubsub/subscriber.ts";
import { topicPath } from "../topic.ts";
import { randomOf } from "../tools/harness/random.ts";
import { Warnings } from "./helpers/warnings.ts";

const SEED = 20261124;

/** A bus, its dispatcher, and what its `onError` was told. */
function makeBus() {
  const errors: { error: unknown; context: ErrorContext }[] = [];
  const dispatcher = new Dispatcher({
    onError: (error, context) => errors.push({ error, context }),
  });
  return { bus: new PubSub(dispatcher), dispatcher, errors };
}

/** A subscriber that writes down its name at each call. */
function writer(log: string[], name: string): () => void {
  return () => log.push(name);
}

/** What is left of a signal's listeners and a bus's subscribers. */
function leftovers(dispatcher: Dispatcher, signal?: AbortSignal): unknown[] {
  return [...dispatcher.interests(), ...(signal ? getEventListeners(signal, "abort") : [])];
}

function schemaOf<Out>(
  validate: StandardSchema<Out>["~standard"]["validate"],
): StandardSchema<Out> {
  return { "~standard": { version: 1, vendor: "test", validate } };
}

const upper = schemaOf((value) => {
  const { message } = value as { message?: unknown };
  return typeof message === "string"
    ? { value: { upper: message.toUpperCase() } }
    : { issues: [{ message: "must be a string", path: ["message"] }] };
});

// ---- Who gets a message, and in which order

Deno.test("PubSub delivers to the subscribers of the topic, of each parent, and of the root", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const topics: Topic[] = [null, "a", ["a", "b", "c"], ["a", "b"], ["a", "x"], "b", [
    "a",
    "b",
    "x",
  ]];
  for (const topic of topics) bus.addSubscriber(topic, writer(log, String(topic)));
  bus.publish(["a", "b", "c"]);
  assertEquals(log, ["a,b,c", "a,b", "a", "null"]);
});

Deno.test("PubSub delivers within one topic in the order of subscription", () => {
  const bus = new PubSub();
  const log: string[] = [];
  for (const name of ["1", "2", "3"]) bus.addSubscriber("a", writer(log, name));
  for (const name of ["4", "5"]) bus.addSubscriber([], writer(log, name));
  bus.publish("a");
  assertEquals(log, ["1", "2", "3", "4", "5"]);
});

Deno.test("PubSub calls a function as often as it subscribed", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const subscriber = writer(log, "x");
  bus.addSubscriber("a", subscriber);
  bus.addSubscriber(["a"], subscriber);
  bus.addSubscriber(null, subscriber);
  bus.publish("a");
  assertEquals(log, ["x", "x", "x"]);
});

Deno.test("PubSub broadcasts once per subscription, in the order of subscription", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const twice = writer(log, "twice");
  bus.addSubscriber(["a", "b"], twice);
  bus.addSubscriber(null, writer(log, "root"));
  bus.addSubscriber("c", writer(log, "c"));
  bus.addSubscriber("a", writer(log, "a"));
  bus.addSubscriber(["c", "*local"], writer(log, "local"));
  bus.addSubscriber(["a", "b"], twice);
  const expected = ["twice", "root", "c", "a", "local", "twice"];
  bus.publish(null);
  assertEquals(log.splice(0), expected);
  bus.publish([]);
  assertEquals(log, expected);
});

Deno.test("PubSub gives the subscribers of a broadcast the root as its topic", () => {
  const bus = new PubSub();
  const topics: TopicPath[] = [];
  bus.addSubscriber(["a", "b"], (topic) => topics.push(topic));
  bus.publish(null);
  assertEquals(topics, [[]]);
  assert(Object.isFrozen(topics[0]));
});

Deno.test("PubSub never splits a string", () => {
  const bus = new PubSub();
  const log: string[] = [];
  for (const topic of ["a", ["a", "b"], "a.b", ["a.b"], "a/b", "b"]) {
    bus.addSubscriber(topic, writer(log, JSON.stringify(topic)));
  }
  bus.publish("a.b");
  assertEquals(log, ['"a.b"', '["a.b"]']);
});

Deno.test("PubSub gives subscribers the topic as a frozen array of its own", () => {
  const bus = new PubSub();
  const heard: TopicPath[] = [];
  bus.addSubscriber(null, (topic) => heard.push(topic));
  const topic = ["a", "b"];
  bus.publish(topic);
  topic[1] = "changed";
  bus.publish(topic);
  bus.publish("a");
  assertEquals(heard, [["a", "b"], ["a", "changed"], ["a"]]);
  assertEquals(heard.map(Object.isFrozen), [true, true, true]);
  assert(!Object.isFrozen(topic), "the caller's array is left alone");
});

Deno.test("PubSub keeps to the topic to which was subscribed, when its array is changed", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const topic = ["a", "b"];
  bus.addSubscriber(topic, writer(log, "x"));
  topic[0] = "changed";
  bus.publish(topic);
  assertEquals(log, []);
  bus.publish(["a", "b"]);
  assertEquals(log, ["x"]);
});

Deno.test('PubSub delivers a topic that ends in "*local" as any other', () => {
  const bus = new PubSub();
  const log: unknown[] = [];
  for (const topic of [null, "a", ["a", "*local"]]) {
    bus.addSubscriber(topic, (path, message) => log.push([topic, path, message]));
  }
  bus.publish(["a", "*local"], { n: 1 });
  const got = [["a", "*local"], { n: 1 }];
  assertEquals(log, [[["a", "*local"], ...got], ["a", ...got], [null, ...got]]);
});

for (const topic of ["*broker", ["*broker"], ["*broker", "a"], ["*broker", "*local"]]) {
  Deno.test(`PubSub refuses to publish to ${JSON.stringify(topic)}`, () => {
    const bus = new PubSub();
    const log: string[] = [];
    for (const subscribed of [null, topic]) bus.addSubscriber(subscribed, writer(log, "heard"));
    for (const options of [{}, { local: true }]) {
      const error = assertThrows(() => bus.publish(topic, {}, options), ForbiddenError, "*broker");
      assertEquals([error.name, error.topic], ["ForbiddenError", [topic].flat()]);
    }
    assertEquals(log, []);
  });
}

Deno.test('PubSub takes "*broker" as any other element behind the first', () => {
  const bus = new PubSub();
  const log: string[] = [];
  bus.addSubscriber(["a", "*broker"], writer(log, "a"));
  bus.addSubscriber(null, writer(log, "root"));
  bus.publish(["a", "*broker"]);
  assertEquals(log, ["a", "root"]);
});

Deno.test("Dispatcher counts the paths that have a subscriber, whoever comes, goes or is refused", () => {
  const random = randomOf(SEED);
  let isRefusing = false;
  const told = new Set<string>();
  const dispatcher = new Dispatcher({
    onInterest(path, wanted) {
      if (wanted && isRefusing) throw new RangeError("one too many");
      if (wanted) told.add(path.join());
      else told.delete(path.join());
    },
  });
  const subscriber = () => {};
  for (let n = 0; n < 1000; n++) {
    const path = topicPath(random.pick([null, "a", "b", ["a", "b"], ["a", "*local"]]));
    const kind = random.int(40);
    isRefusing = kind < 5;
    try {
      if (kind < 25) dispatcher.add(path, subscriber);
      else if (kind < 39) dispatcher.remove(path, subscriber);
      else dispatcher.clear();
    } catch (error) {
      assertInstanceOf(error, RangeError);
    }
    const paths = Array.from(dispatcher.interests(), (path) => path.join());
    assertEquals([dispatcher.interestCount, new Set(paths)], [paths.length, told]);
  }
});

Deno.test('Dispatcher delivers "*broker" to its subscribers, and not to the catch-all', () => {
  const { bus, dispatcher } = makeBus();
  const log: string[] = [];
  bus.addSubscriber(null, writer(log, "root"));
  bus.addSubscriber("*broker", writer(log, "broker"));
  bus.addSubscriber(["*broker", "a"], writer(log, "broker a"));
  dispatcher.deliver(dispatcher.routeOf(["*broker", "a"]), {});
  assertEquals(log.splice(0), ["broker a", "broker"]);
  dispatcher.deliver(dispatcher.routeOf(["*broker", "b", "c"]), {});
  assertEquals(log, ["broker"]);
});

Deno.test('PubSub leaves the subscribers of "*broker" out of broadcasts', () => {
  const bus = new PubSub();
  const log: string[] = [];
  for (const topic of ["*broker", "a", ["*broker", "a"], null]) {
    bus.addSubscriber(topic, writer(log, String(topic)));
  }
  bus.publish(null);
  assertEquals(log, ["a", "null"]);
});

// ---- Publishing from within subscribers

Deno.test("PubSub delivers before publish returns", () => {
  const bus = new PubSub();
  const log: string[] = [];
  bus.addSubscriber("a", writer(log, "delivered"));
  bus.publish("a");
  log.push("returned");
  assertEquals(log, ["delivered", "returned"]);
});

Deno.test("PubSub delivers what subscribers publish after the delivery under way, in order", () => {
  const bus = new PubSub();
  const log: string[] = [];
  bus.addSubscriber("first", () => {
    log.push("1 begins");
    bus.publish("second", { by: 1 });
    bus.publish(null, { by: 1 });
    log.push("1 ends");
  }, { once: true });
  bus.addSubscriber("first", () => {
    log.push("2 begins");
    bus.publish("second", { by: 2 });
    log.push("2 ends");
  }, { once: true });
  bus.addSubscriber("second", (topic, { by }) => log.push(`${topic} by ${by}`));
  bus.publish("first");
  log.push("returned");
  assertEquals(log, [
    ...["1 begins", "1 ends", "2 begins", "2 ends"],
    ...["second by 1", " by 1", "second by 2", "returned"],
  ]);
});

Deno.test("PubSub goes on after a subscriber that publishes and throws", () => {
  const { bus, errors } = makeBus();
  const log: string[] = [];
  bus.addSubscriber("a", () => {
    bus.publish("b");
    throw new Error("failed");
  });
  bus.addSubscriber(null, (topic) => log.push(topic.join()));
  bus.publish("a");
  assertEquals([log, errors.length], [["a", "b"], 1]);
});

Deno.test("PubSub checks at the call what a subscriber publishes", () => {
  const { bus, errors } = makeBus();
  bus.addSubscriber("a", () => bus.publish("*broker"));
  bus.publish("a");
  assertInstanceOf(errors[0]?.error, ForbiddenError);
});

Deno.test("PubSub throws BacklogError when too many messages wait for the delivery under way", () => {
  const { bus, dispatcher, errors } = makeBus();
  let delivered = 0;
  bus.addSubscriber("b", () => delivered++);
  bus.addSubscriber("a", () => {
    for (let n = 0; n < 2 ** 20; n++) bus.publish("b");
    for (const publish of [() => bus.publish("b"), () => dispatcher.checkPublish("b", {})]) {
      const error = assertThrows(publish, BacklogError, '["b"]: 1048576 messages');
      assertEquals(error.limit, 2 ** 20);
    }
  });
  bus.publish("a");
  assertEquals([delivered, errors], [2 ** 20, []]);
});

// ---- Coming and going during a delivery

for (const added of [["a", "b"], ["a"], null, ["a", "b", "c"]]) {
  for (const published of [["a", "b", "c"], null]) {
    const [to, of] = [published, added].map((topic) => JSON.stringify(topic));
    Deno.test(`PubSub does not give a message to ${to} to who subscribes to ${of} meanwhile`, () => {
      const bus = new PubSub();
      const log: unknown[] = [];
      bus.addSubscriber(["a", "b", "c"], () => {
        bus.addSubscriber(added, (_topic, { n }) => log.push(n));
      }, { once: true });
      bus.publish(published, { n: 1 });
      assertEquals(log, []);
      bus.publish(published, { n: 2 });
      assertEquals(log, [2]);
    });
  }
}

Deno.test("PubSub decides who gets a message when its delivery begins", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const early = bus.addSubscriber("b", writer(log, "early"));
  bus.addSubscriber("a", () => {
    bus.publish("b");
    early[Symbol.dispose]();
    bus.addSubscriber("b", writer(log, "late"));
  });
  bus.publish("a");
  assertEquals(log, ["late"]);
});

interface Removable {
  subscriber: () => void;
  disposable: Disposable;
  controller: AbortController;
}
const REMOVALS: [name: string, remove: (bus: PubSub, what: Removable) => void][] = [
  ["removeSubscriber", (bus, { subscriber }) => assert(bus.removeSubscriber("a", subscriber))],
  ["clearSubscribers", (bus) => bus.clearSubscribers()],
  ["disposing", (_bus, { disposable }) => disposable[Symbol.dispose]()],
  ["its signal", (_bus, { controller }) => controller.abort()],
];
for (const [name, remove] of REMOVALS) {
  Deno.test(`PubSub does not call a subscriber that ${name} took away before its turn`, () => {
    for (const topic of [["a"], ["a", "b"], null]) {
      const bus = new PubSub();
      const log: string[] = [];
      bus.addSubscriber(topic, () => remove(bus, { subscriber, disposable, controller }));
      const subscriber = writer(log, "called");
      const controller = new AbortController();
      const disposable = bus.addSubscriber("a", subscriber, { signal: controller.signal });
      bus.publish(topic);
      assertEquals(log, [], `published to ${JSON.stringify(topic)}`);
    }
  });

  Deno.test(`PubSub keeps no subscriber and no listener after ${name}`, () => {
    const { bus, dispatcher } = makeBus();
    const subscriber = () => {};
    const controller = new AbortController();
    const { signal } = controller;
    const disposable = bus.addSubscriber("a", subscriber, { signal });
    assertEquals(leftovers(dispatcher, signal).length, 2);
    remove(bus, { subscriber, disposable, controller });
    assertEquals(leftovers(dispatcher, signal), []);
  });
}

Deno.test("PubSub misses and repeats nobody when a subscriber takes itself away", () => {
  const bus = new PubSub();
  const log: string[] = [];
  bus.addSubscriber("a", writer(log, "1"));
  const self = bus.addSubscriber("a", () => {
    log.push("2");
    self[Symbol.dispose]();
  });
  bus.addSubscriber("a", writer(log, "3"));
  bus.addSubscriber(null, writer(log, "4"));
  bus.publish(["a", "b"]);
  bus.publish("a");
  assertEquals(log, ["1", "2", "3", "4", "1", "3", "4"]);
});

// ---- Coming and going between messages of one topic

for (const published of ["a", ["a", "b", "c"], null]) {
  const path = topicPath(published);
  const places = published === null
    ? [null, "a", ["a", "b"]]
    : [null, ...path.map((_, depth) => path.slice(0, depth + 1))];
  for (const place of places) {
    const [of, to] = [place, published].map((topic) => JSON.stringify(topic));
    Deno.test(`PubSub heeds who comes and goes at ${of} between messages to ${to}`, () => {
      const { bus, dispatcher } = makeBus();
      const log: string[] = [];
      const route = dispatcher.routeOf(path);
      const hears = () => {
        const wanted = dispatcher.wants(route);
        bus.publish(published);
        dispatcher.deliver(route, {});
        assertEquals(wanted, log.length > 0);
        return log.splice(0).join();
      };
      assertEquals(hears(), "");
      for (let times = 0; times < 3; times++) {
        const first = bus.addSubscriber(place, writer(log, "1"));
        assertEquals(hears(), "1,1");
        const second = bus.addSubscriber(place, writer(log, "2"));
        assertEquals(hears(), "1,2,1,2");
        first[Symbol.dispose]();
        assertEquals(hears(), "2,2");
        second[Symbol.dispose]();
        assertEquals(hears(), "");
        bus.addSubscriber(place, writer(log, "once"), { once: true });
        assertEquals(hears(), "once");
        const controller = new AbortController();
        bus.addSubscriber(place, writer(log, "3"), { signal: controller.signal });
        assertEquals(hears(), "3,3");
        controller.abort();
        assertEquals(hears(), "");
        bus.addSubscriber(place, writer(log, "4"));
        assertEquals(hears(), "4,4");
        bus.clearSubscribers();
        assertEquals(hears(), "");
      }
    });
  }
}

Deno.test("PubSub heeds who comes and goes also when thousands of topics are published", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const topics = Array.from({ length: 3000 }, (_, index) => ["x", `${index}`]);
  for (let index = 1; index < topics.length; index++) {
    const [topic, earlier] = [topics[index]!, topics[index >> 1]!];
    using _own = bus.addSubscriber(topic, writer(log, "own"));
    for (const published of [topic, earlier]) bus.publish(published);
    assertEquals(log.splice(0), ["own"]);
    using _parent = bus.addSubscriber("x", writer(log, "parent"));
    for (const published of [topic, earlier]) bus.publish(published);
    assertEquals(log.splice(0), ["own", "parent", "parent"]);
  }
});

/** As plain as the documentation: one list, searched for each message. */
class NaiveBus {
  #subscribers: { topic: string; once: boolean; subscriber(topic: string[], m: object): void }[] =
    [];
  readonly #published: { path: string[]; message: object }[] = [];

  addSubscriber(
    topic: string[],
    subscriber: (topic: TopicPath, message: { n: number }) => void,
    { once }: { once: boolean },
  ): Disposable {
    const one = { topic: topic.join(), once, subscriber };
    this.#subscribers.push(one);
    return { [Symbol.dispose]: () => void this.#remove(one) };
  }

  removeSubscriber(topic: string[], subscriber: unknown): boolean {
    return this.#remove(
      this.#subscribers.find((s) => s.topic === topic.join() && s.subscriber === subscriber),
    );
  }

  clearSubscribers(): void {
    this.#subscribers = [];
  }

  publish(topic: string[], message: object): void {
    if (this.#published.push({ path: topic, message }) > 1) return;
    for (; this.#published.length > 0; this.#published.shift()) {
      const { path, message } = this.#published[0]!;
      const parents = path.map((_, index) => path.slice(0, index + 1).join()).reverse();
      const takers = path.length === 0
        ? this.#subscribers
        : [...parents, ""].flatMap((topic) => this.#subscribers.filter((s) => s.topic === topic));
      for (const taker of [...takers]) {
        if (!this.#subscribers.includes(taker)) continue;
        if (taker.once) this.#remove(taker);
        taker.subscriber(path, message);
      }
    }
  }

  #remove(one: unknown): boolean {
    const { length } = this.#subscribers;
    this.#subscribers = this.#subscribers.filter((s) => s !== one);
    return this.#subscribers.length < length;
  }
}

/** What happens on a bus in random operations, also from within its subscribers. */
function story(bus: PubSub | NaiveBus, seed: number): string[] {
  const random = randomOf(seed);
  const log: string[] = [];
  const disposables: Disposable[] = [];
  let published = 0;
  let nested = 0;
  const subscribers = Array.from({ length: 4 }, (_, id) => (topic: TopicPath, m: { n: number }) => {
    log.push(`${id} hears ${m.n} at ${topic}`);
    if (nested > 0 && random.int(2) === 0) {
      nested--;
      act();
    }
  });
  function act(): void {
    const topic = Array.from({ length: random.int(4) }, () => random.pick(["a", "b"]));
    const subscriber = random.pick(subscribers);
    const kind = random.int(100);
    if (kind < 35) {
      disposables.push(bus.addSubscriber(topic, subscriber, { once: random.int(4) === 0 }));
    } else if (kind < 55) log.push(`removed: ${bus.removeSubscriber(topic, subscriber)}`);
    else if (kind < 65 && disposables.length > 0) random.pick(disposables)[Symbol.dispose]();
    else if (kind < 66) bus.clearSubscribers();
    else {
      const n = published++;
      bus.publish(topic, { n });
      log.push(`published ${n}`);
    }
  }
  for (let step = 0; step < 200; step++) {
    nested = 4;
    act();
  }
  return log;
}

Deno.test("PubSub does what a plain list does, in random operations", () => {
  for (let seed = SEED; seed < SEED + 100; seed++) {
    const { bus, errors } = makeBus();
    assertEquals(story(bus, seed), story(new NaiveBus(), seed), `seed ${seed}`);
    assertEquals(errors, [], `seed ${seed}`);
  }
});

// ---- Subscribers

Deno.test("PubSub.removeSubscriber takes the earliest subscription of exactly this topic", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const [x, y] = [writer(log, "x"), writer(log, "y")];
  for (const subscriber of [x, y, x]) bus.addSubscriber(["a", "b"], subscriber);
  bus.addSubscriber("a", x);
  assertEquals(bus.removeSubscriber(["a", "b"], x), true);
  bus.publish(["a", "b"]);
  assertEquals(log, ["y", "x", "x"]);
});

Deno.test("PubSub.removeSubscriber tells whether there was one", () => {
  const bus = new PubSub();
  const subscriber = () => {};
  bus.addSubscriber("a", subscriber);
  const topics = [null, "b", ["a", "b"], "a", ["a"]];
  const removed = topics.map((topic) => bus.removeSubscriber(topic, subscriber));
  assertEquals(removed, [false, false, false, true, false]);
  bus.addSubscriber("a", subscriber);
  assertEquals(bus.removeSubscriber("a", () => {}), false);
});

Deno.test("PubSub.addSubscriber returns what takes away exactly that subscription, once", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const [x, y] = [writer(log, "x"), writer(log, "y")];
  bus.addSubscriber("a", x);
  bus.addSubscriber("a", y);
  const third = bus.addSubscriber("a", x);
  for (let times = 0; times < 2; times++) third[Symbol.dispose]();
  bus.publish("a");
  assertEquals(log, ["x", "y"]);
});

Deno.test("PubSub.addSubscriber lasts for a scope with using", () => {
  const { bus, dispatcher } = makeBus();
  const log: string[] = [];
  {
    using _subscription = bus.addSubscriber("a", writer(log, "x"));
    bus.publish("a");
  }
  bus.publish("a");
  assertEquals([log, leftovers(dispatcher)], [["x"], []]);
});

Deno.test("PubSub.addSubscriber with once calls once, also when the subscriber publishes", () => {
  const { bus, dispatcher } = makeBus();
  const log: unknown[] = [];
  const { signal } = new AbortController();
  bus.addSubscriber("a", (_topic, { n }) => {
    log.push(n, leftovers(dispatcher, signal));
    bus.publish("a", { n: 2 });
  }, { once: true, signal });
  bus.publish("a", { n: 1 });
  bus.publish("a", { n: 3 });
  assertEquals(log, [1, []]);
});

Deno.test("PubSub.addSubscriber with once is not used up by a message that does not fit", () => {
  const { bus } = makeBus();
  const log: unknown[] = [];
  const options = { once: true, accepts: ["n"] };
  bus.addSubscriber("a", (_topic, { n }) => log.push(n), options);
  for (const message of [{ other: 1 }, { n: 2 }, { n: 3 }]) bus.publish("a", message);
  assertEquals(log, [2]);
});

Deno.test("PubSub.addSubscriber adds nothing when its signal has aborted", () => {
  const { bus, dispatcher } = makeBus();
  const signal = AbortSignal.abort();
  const nothing = bus.addSubscriber("a", () => {}, { signal });
  assertEquals(leftovers(dispatcher, signal), []);
  nothing[Symbol.dispose]();
});

Deno.test("PubSub.addSubscriber takes away all that share a signal", () => {
  const { bus, dispatcher } = makeBus();
  const controller = new AbortController();
  const { signal } = controller;
  for (const topic of ["a", "a", null]) bus.addSubscriber(topic, () => {}, { signal });
  controller.abort();
  assertEquals(leftovers(dispatcher, signal), []);
});

Deno.test("PubSub.addSubscriber refuses what is not a function", () => {
  const { bus, dispatcher } = makeBus();
  for (const subscriber of [undefined, null, {}, "f"]) {
    assertThrows(() => bus.addSubscriber("a", subscriber as () => void), TypeError, "a function");
  }
  assertEquals(leftovers(dispatcher), []);
});

Deno.test("PubSub.clearSubscribers takes all away, and leaves the bus usable", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const old = bus.addSubscriber("a", writer(log, "old"));
  bus.addSubscriber(null, writer(log, "old"));
  bus.clearSubscribers();
  bus.publish("a");
  bus.addSubscriber("a", writer(log, "new"));
  old[Symbol.dispose]();
  bus.publish(["a", "b"]);
  assertEquals(log, ["new"]);
});

// ---- Messages

Deno.test("PubSub.publish sends {} when there is no message", () => {
  const bus = new PubSub();
  const messages: unknown[] = [];
  bus.addSubscriber("hello", (_topic, message) => messages.push(message));
  bus.publish("hello");
  bus.publish("hello", undefined, { local: true });
  assertEquals(messages, [{}, {}]);
});

Deno.test("PubSub.publish passes the message itself", () => {
  const bus = new PubSub();
  const messages: unknown[] = [];
  const message = { list: [1], made: () => {} };
  bus.addSubscriber("a", (_topic, message) => messages.push(message));
  bus.addSubscriber(null, (_topic, message) => messages.push(message), {
    accepts: ["list", "made"],
  });
  bus.publish("a", message);
  assertEquals(messages.length, 2);
  for (const got of messages) assertStrictEquals(got, message);
});

Deno.test("PubSub.publish delivers with the option local as without", () => {
  const bus = new PubSub();
  const messages: unknown[] = [];
  bus.addSubscriber("a", (_topic, message) => messages.push(message));
  for (const local of [true, false]) bus.publish("a", { local }, { local });
  assertEquals(messages, [{ local: true }, { local: false }]);
});

const NO_MESSAGES = [null, "text", 5, 5n, true, Symbol("s"), [], [1], () => {}];
for (const message of NO_MESSAGES) {
  const shown = Array.isArray(message) ? `[${message}]` : String(message);
  Deno.test(`PubSub.publish refuses ${shown} as a message, and delivers nothing`, () => {
    const bus = new PubSub();
    const log: string[] = [];
    bus.addSubscriber(null, writer(log, "heard"));
    const publish = () => bus.publish("a", message as unknown as object);
    assertThrows(publish, TypeError, 'Cannot publish to ["a"]: the message is');
    assertEquals(log, []);
  });
}

const NO_TOPICS: [topic: unknown, kind: typeof Error][] = [
  [undefined, TypeError],
  [5, TypeError],
  [{}, TypeError],
  ["", TypeError],
  [["a", ""], TypeError],
  [["a", 1], TypeError],
  ["\ud83d", TypeError],
  [new Array(17).fill("x"), RangeError],
  [["a", "x".repeat(256)], RangeError],
];
for (const [topic, kind] of NO_TOPICS) {
  Deno.test(`PubSub refuses ${JSON.stringify(topic)?.slice(0, 40)} as a topic`, () => {
    const { bus, dispatcher } = makeBus();
    const log: string[] = [];
    bus.addSubscriber(null, writer(log, "heard"));
    const bad = topic as Topic;
    for (
      const call of [
        () => bus.publish(bad, { n: 1 }),
        () => bus.addSubscriber(bad, () => {}),
        () => bus.removeSubscriber(bad, () => {}),
        () => bus.subscribe(bad),
      ]
    ) assertThrows(call, kind, "as a topic");
    assertEquals([log, leftovers(dispatcher)], [[], [[]]]);
  });
}

// ---- What subscribers declare that they take

Deno.test("PubSub.addSubscriber with names delivers what has no others, or fewer", () => {
  const { bus, errors } = makeBus();
  const messages: unknown[] = [];
  bus.addSubscriber("a", (_topic, m) => messages.push(m), { accepts: ["x", "y"] });
  const sent = [{ x: 1 }, { y: 1, x: undefined }, {}, { x: 1, z: undefined }];
  for (const message of sent) bus.publish("a", message);
  assertEquals([messages, errors], [sent, []]);
});

Deno.test("PubSub.addSubscriber with names reports a message that has others", () => {
  const { bus, errors } = makeBus();
  const log: string[] = [];
  const subscriber = writer(log, "careful");
  bus.addSubscriber("a", subscriber, { accepts: ["x"] });
  bus.addSubscriber("a", writer(log, "careless"));
  const message = { x: 1, y: 2, "z\n": 3 };
  bus.publish(["a", "b"], message);
  assertEquals(log, ["careless"]);
  assertEquals(errors.length, 1);
  const { error, context } = errors[0]!;
  assertInstanceOf(error, MessageError);
  assertEquals([error.name, error.topic, error.issues.length], ["MessageError", ["a", "b"], 2]);
  assertStringIncludes(error.issues[0]!, '"y"');
  assertMatch(error.message, /^Cannot deliver a message of \["a","b"\] .*"y".*"z\\n"/);
  assertEquals(context, { topic: ["a", "b"], message, subscriber });
});

Deno.test("PubSub.addSubscriber with no names takes the empty message only", () => {
  const { bus, errors } = makeBus();
  const messages: unknown[] = [];
  bus.addSubscriber("a", (_topic, message) => messages.push(message), { accepts: [] });
  const proto = JSON.parse('{"__proto__": 1}');
  for (const message of [{}, { constructor: 1 }, proto, {}]) bus.publish("a", message);
  assertEquals([messages, errors.length], [[{}, {}], 2]);
});

Deno.test("PubSub.addSubscriber keeps the names that it was given", () => {
  const { bus, errors } = makeBus();
  const accepts = ["x"];
  bus.addSubscriber("a", () => {}, { accepts });
  accepts[0] = "y";
  bus.publish("a", { x: 1 });
  assertEquals(errors, []);
});

for (const accepts of ["message", [1], [undefined], {}, null, 5, { "~standard": {} }, () => {}]) {
  Deno.test(`PubSub refuses ${JSON.stringify(accepts) ?? accepts} in accepts`, () => {
    const { bus, dispatcher } = makeBus();
    const { signal } = new AbortController();
    const options = { accepts: accepts as string[], signal };
    assertThrows(() => bus.addSubscriber("a", () => {}, options), TypeError, "accepts");
    assertThrows(() => bus.subscribe("a", options), TypeError, "accepts");
    assertEquals(leftovers(dispatcher, signal), []);
  });
}

Deno.test("PubSub.addSubscriber with a schema gives what it makes, to that subscriber only", () => {
  const bus = new PubSub();
  const log: unknown[] = [];
  bus.addSubscriber("a", (_topic, value) => log.push(value), { accepts: upper });
  bus.addSubscriber("a", (_topic, message) => log.push(message));
  bus.publish("a", { message: "x" });
  assertEquals(log, [{ upper: "X" }, { message: "x" }]);
});

Deno.test("PubSub.addSubscriber takes a schema that is a function", () => {
  const bus = new PubSub();
  const log: unknown[] = [];
  bus.addSubscriber("a", (_topic, value) => log.push(value), {
    accepts: Object.assign(() => {}, upper),
  });
  bus.publish("a", { message: "x" });
  assertEquals(log, [{ upper: "X" }]);
});

Deno.test("PubSub.addSubscriber calls a schema's validate as its method", () => {
  const bus = new PubSub();
  const log: unknown[] = [];
  const accepts: StandardSchema = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate() {
        return { value: this.vendor };
      },
    },
  };
  bus.addSubscriber("a", (_topic, value) => log.push(value), { accepts });
  bus.publish("a");
  assertEquals(log, ["test"]);
});

Deno.test("PubSub.addSubscriber with a schema reports its issues with their paths", () => {
  const { bus, errors } = makeBus();
  const log: string[] = [];
  const subscriber = writer(log, "careful");
  const accepts = schemaOf(() => ({
    issues: [
      { message: "is wrong" },
      { message: "must be a number", path: ["list", 0, { key: "x" }] },
      { message: "is unknown", path: [] },
    ],
  }));
  bus.addSubscriber("a", subscriber, { accepts });
  bus.addSubscriber("a", writer(log, "careless"));
  const message = { list: [{}] };
  bus.publish("a", message);
  const { error, context } = errors[0]!;
  assertInstanceOf(error, MessageError);
  assertEquals(error.issues, ["is wrong", "list.0.x: must be a number", "is unknown"]);
  assertStringIncludes(error.message, 'of ["a"] to a subscriber: is wrong; list.0.x: must');
  assertEquals(context, { topic: ["a"], message, subscriber });
  assertEquals([log, errors.length], [["careless"], 1]);
});

Deno.test("MessageError has all issues, and a message that stays short", () => {
  const { bus, errors } = makeBus();
  const issues = Array.from({ length: 1000 }, (_, n) => ({ message: `${n} ${"x".repeat(200)}` }));
  bus.addSubscriber("a", () => {}, { accepts: schemaOf(() => ({ issues })) });
  bus.publish("a");
  const { error } = errors[0]!;
  assertInstanceOf(error, MessageError);
  assertEquals(error.issues.length, 1000);
  assert(error.message.length < 1000, error.message);
});

const ASYNCHRONOUS: [name: string, validate: () => Promise<unknown>][] = [
  ["fulfils", () => Promise.resolve({ value: {} })],
  ["rejects", () => Promise.reject(new Error("must not stay unhandled"))],
];
for (const [name, validate] of ASYNCHRONOUS) {
  Deno.test(`PubSub.addSubscriber reports a schema whose promise ${name}`, () => {
    const { bus, errors } = makeBus();
    const log: string[] = [];
    const subscriber = writer(log, "careful");
    bus.addSubscriber("a", subscriber, { accepts: schemaOf(validate) });
    bus.addSubscriber("a", writer(log, "careless"));
    bus.publish("a");
    const { error, context } = errors[0]!;
    assertInstanceOf(error, TypeError);
    assertStringIncludes(error.message, "accepts must be a synchronous schema");
    assertEquals(context, { topic: ["a"], message: {}, subscriber });
    assertEquals([log, errors.length], [["careless"], 1]);
  });
}

/** An array as ArkType makes it: `map` makes another, by a call with its length as the one item. */
class Odd extends Array<unknown> {
  readonly of = "a library";

  constructor(...items: unknown[]) {
    super();
    this.push(...items);
  }
}

Deno.test("PubSub.addSubscriber reports issues of any class of arrays as texts and arrays of its own", () => {
  const { bus, errors } = makeBus();
  const step = { key: { toString: () => "of an object" } as unknown as string };
  const issues = new Odd(
    { message: "at the root", path: new Odd() },
    { message: "below", path: new Odd("a", 0, step, Symbol("s")) },
    { message: new String("boxed"), path: new Set(["b"]) },
    { message: "no path", path: undefined },
  );
  bus.addSubscriber("a", () => {}, { accepts: schemaOf(() => ({ issues }) as never) });
  bus.publish("a");
  const { error } = errors[0]!;
  assertInstanceOf(error, MessageError);
  const texts = ["at the root", "a.0.of an object.Symbol(s): below", "b: boxed", "no path"];
  assertEquals(error.issues, texts);
  assertEquals(Object.getPrototypeOf(error.issues), Array.prototype);
  assertEquals(structuredClone({ topic: error.topic, issues: error.issues }), {
    topic: ["a"],
    issues: texts,
  });
  assertEquals(JSON.parse(JSON.stringify(error.issues)), texts);
});

const NO_RESULTS: readonly (readonly [result: unknown, says: string])[] = [
  [undefined, "undefined"],
  [null, "null"],
  ["valid", "valid"],
  [true, "true"],
  [Symbol("valid"), "Symbol(valid)"],
  [{ issues: true }, "one whose issues are no list"],
  [{ issues: {} }, "one whose issues are no list"],
];

for (const [result, says] of NO_RESULTS) {
  Deno.test(`PubSub.addSubscriber reports a schema whose validate returns ${Deno.inspect(result)}`, () => {
    const { bus, errors } = makeBus();
    bus.addSubscriber("a", () => {}, { accepts: schemaOf(() => result as never) });
    bus.publish("a");
    const { error } = errors[0]!;
    assertInstanceOf(error, TypeError);
    assertStringIncludes(
      error.message,
      `whose validate returns an object, but it returned ${says}`,
    );
  });
}

Deno.test("PubSub.addSubscriber reports a schema that throws", () => {
  const { bus, errors } = makeBus();
  const log: string[] = [];
  const failure = new Error("broken schema");
  const subscriber = writer(log, "careful");
  const accepts = schemaOf(() => {
    throw failure;
  });
  bus.addSubscriber("a", subscriber, { accepts });
  bus.addSubscriber("a", writer(log, "careless"));
  bus.publish("a");
  assertEquals(errors, [{ error: failure, context: { topic: ["a"], message: {}, subscriber } }]);
  assertEquals(log, ["careless"]);
});

Deno.test("PubSub does not call a subscriber that its schema took away", () => {
  const bus = new PubSub();
  const log: string[] = [];
  const accepts = schemaOf((value) => {
    bus.clearSubscribers();
    return { value };
  });
  bus.addSubscriber("a", writer(log, "called"), { accepts });
  bus.publish("a");
  assertEquals(log, []);
});

// ---- What goes wrong in subscribers

const FAILURES: [name: string, fail: (error: unknown) => unknown][] = [
  ["throws", (error) => {
    throw error;
  }],
  ["rejects", (error) => Promise.reject(error)],
  ["returns a thenable that rejects", (error) => ({
    then: (_resolve: unknown, reject: (error: unknown) => void) => reject(error),
  })],
  ["returns a thenable that throws", (error) => ({
    then() {
      throw error;
    },
  })],
  ["returns what throws when it is looked at", (error) => ({
    get then() {
      throw error;
    },
  })],
];
for (const [name, fail] of FAILURES) {
  for (const failure of [new Error("failed"), undefined]) {
    const what = `${name}${failure === undefined ? ", with undefined" : ""}`;
    Deno.test(`PubSub reports a subscriber that ${what}, and goes on`, async () => {
      const told = Promise.withResolvers<unknown[]>();
      const bus = new PubSub({ onError: (...args) => told.resolve(args) });
      const log: string[] = [];
      const subscriber = () => fail(failure);
      const message = { n: 1 };
      bus.addSubscriber("a", subscriber);
      bus.addSubscriber("a", writer(log, "next"));
      bus.addSubscriber(null, writer(log, "last"));
      bus.publish(["a", "b"], message);
      assertEquals(log, ["next", "last"]);
      const [error, context] = await told.promise;
      assertStrictEquals(error, failure);
      assertEquals(context, { topic: ["a", "b"], message, subscriber });
      assertStrictEquals((context as ErrorContext).message, message);
    });
  }
}

Deno.test("PubSub does not wait for subscribers, nor mind what they return", () => {
  const { bus, errors } = makeBus();
  const log: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const returned of [promise, 5, null, "text", {}, { then: 5 }, () => {}]) {
    bus.addSubscriber("a", () => returned);
  }
  bus.addSubscriber("a", writer(log, "last"));
  bus.publish("a");
  assertEquals([log, errors], [["last"], []]);
  resolve();
});

Deno.test("PubSub warns of errors in one line with the topic, if there is no onError", () => {
  using warnings = new Warnings();
  const bus = new PubSub();
  bus.addSubscriber(null, () => {
    throw new Error("first line\nsecond line");
  });
  bus.publish(["a", "b\n"]);
  const { lines } = warnings;
  assertEquals(lines.length, 1, lines.join("\n"));
  assertMatch(lines[0]!, /^.*\["a","b\\n"\].*first line.*second line$/);
});

Deno.test("PubSub warns in few lines of however many errors, each of a bounded length", () => {
  using warnings = new Warnings();
  const bus = new PubSub();
  bus.addSubscriber(null, (topic) => {
    throw new Error("x".repeat(topic.length * 100_000));
  });
  for (let n = 0; n < 10_000; n++) bus.publish(["a", String(n)]);
  const { lines } = warnings;
  assert(lines.length >= 100 && lines.length < 150, `${lines.length} lines`);
  assert(lines.every(({ length }) => length < 1100));
});

for (const value of [undefined, Symbol("s"), Object.create(null)]) {
  Deno.test(`PubSub warns of a thrown ${typeof value}, too`, () => {
    using warnings = new Warnings();
    const bus = new PubSub();
    bus.addSubscriber("a", () => {
      throw value;
    });
    bus.publish("a");
    assertEquals(warnings.lines.length, 1);
    assertStringIncludes(warnings.lines[0]!, '["a"]');
  });
}

const WITH_TOPIC: Record<string, (bus: PubSub, topic: Topic) => void> = {
  publish: (bus, topic) => bus.publish(topic),
  addSubscriber: (bus, topic) => void bus.addSubscriber(topic, () => {}),
  subscribe: (bus, topic) => void bus.subscribe(topic),
};
for (const [name, use] of Object.entries(WITH_TOPIC)) {
  Deno.test(`PubSub.${name} says once how a plain string with a slash is written as a path`, () => {
    using warnings = new Warnings();
    for (const errors of [0, 1]) {
      const bus = new PubSub(errors === 0 ? {} : { onError: () => assert(false) });
      for (const topic of [null, "a", ["a/b"], ["a", "b/c"], ["a", "b"]]) use(bus, topic);
      assertEquals(warnings.lines.length, errors, "nobody is told who writes an array");
      for (const topic of ["/sensors/\x1bkitchen", "c/d", "c/d"]) use(bus, topic);
      assertEquals(warnings.lines.length, errors + 1, "one line for each bus");
    }
    assertEquals(
      warnings.lines[0],
      'mpubsub: The topic "/sensors/\\u001bkitchen" is one name with a slash in it, not a path: write ' +
        '["sensors","\\u001bkitchen"] for the path, or ["/sensors/\\u001bkitchen"] for that name',
    );
  });
}

Deno.test("PubSub says nothing of a plain string with a slash that is refused or removed", () => {
  using warnings = new Warnings();
  const bus = new PubSub();
  bus.removeSubscriber("a/b", () => {});
  assertThrows(() => bus.publish(`a/${"b".repeat(255)}`), RangeError);
  assertEquals(warnings.lines, []);
});

Deno.test("PubSub calls onError as the method of its options", () => {
  const options = {
    errors: [] as unknown[],
    onError(error: unknown) {
      this.errors.push(error);
    },
  };
  const bus = new PubSub(options);
  bus.addSubscriber("a", () => {
    throw "failed";
  });
  bus.publish("a");
  assertEquals(options.errors, ["failed"]);
});

Deno.test("PubSub lets onError publish, after the delivery under way", () => {
  const log: string[] = [];
  const bus: PubSub = new PubSub({ onError: () => bus.publish("failures") });
  bus.addSubscriber("a", () => {
    throw new Error("failed");
  });
  bus.addSubscriber(null, (topic) => log.push(topic.join()));
  bus.publish("a");
  assertEquals(log, ["a", "failures"]);
});

const FAILING_HANDLERS: [name: string, onError: () => void][] = [
  ["throws", () => {
    throw new Error("second");
  }],
  ["rejects", () => Promise.reject(new Error("second"))],
];
for (const [name, onError] of FAILING_HANDLERS) {
  Deno.test(`PubSub contains an onError that ${name}, and warns of both errors`, async () => {
    const log: string[] = [];
    using warnings = new Warnings();
    const bus = new PubSub({ onError });
    bus.addSubscriber("a", () => {
      throw new Error("first");
    });
    bus.addSubscriber("a", writer(log, "next"));
    bus.publish("a");
    await Promise.resolve(); // a rejection is seen in the next microtask
    assertEquals(log, ["next"]);
    for (const text of ["first", "second"]) {
      const lines = warnings.lines.filter((line) => line.includes(`["a"]`) && line.includes(text));
      assertEquals(lines.length, 1);
    }
  });
}

Deno.test("PubSub refuses an onError that is not a function", () => {
  const options = { onError: "log" as unknown as () => void };
  assertThrows(() => new PubSub(options), TypeError, "onError");
});

// ---- Subscriptions: one message after the other

Deno.test("PubSub.subscribe yields what was published since the call, in order", async () => {
  const bus = new PubSub();
  bus.publish("a", { n: 0 });
  const subscription = bus.subscribe("a");
  const second = { n: 2 };
  bus.publish("a", { n: 1 });
  bus.publish(["a", "b"], second);
  bus.publish(null, { n: 3 });
  bus.publish("b", { n: 4 });
  bus.clearSubscribers();
  const deliveries = await Array.fromAsync(subscription);
  assertEquals(deliveries, [
    { topic: ["a"], message: { n: 1 }, info: {} },
    { topic: ["a", "b"], message: second, info: {} },
    { topic: [], message: { n: 3 }, info: {} },
  ]);
  assertStrictEquals(deliveries[1]?.message, second);
  assertEquals(deliveries.map(({ topic }) => Object.isFrozen(topic)), [true, true, true]);
});

Deno.test("PubSub.subscribe takes its place in the order of subscribers", () => {
  const bus = new PubSub();
  const log: string[] = [];
  bus.addSubscriber("a", writer(log, "before"));
  using _subscription = bus.subscribe("a", {
    accepts: schemaOf((value) => {
      log.push("subscription");
      return { value };
    }),
  });
  bus.addSubscriber("a", writer(log, "after"));
  bus.publish("a");
  assertEquals(log, ["before", "subscription", "after"]);
});

Deno.test("PubSub.subscribe gives each subscription all messages", async () => {
  const bus = new PubSub();
  const subscriptions = [bus.subscribe("a"), bus.subscribe("a"), bus.subscribe(null)];
  for (const n of [1, 2]) bus.publish("a", { n });
  bus.clearSubscribers();
  for (const subscription of subscriptions) {
    const deliveries = await Array.fromAsync(subscription);
    assertEquals(deliveries.map(({ message }) => message.n), [1, 2]);
  }
});

Deno.test("Subscription hands messages over to a consumer that waits, in order", async () => {
  const bus = new PubSub();
  using subscription = bus.subscribe("a", { limit: 1, overflow: "throw" });
  const messages = subscription[Symbol.asyncIterator]();
  const all = Promise.all([messages.next(), messages.next(), messages.next()]);
  for (const n of [1, 2, 3]) bus.publish("a", { n });
  assertEquals((await all).map(({ value }) => value?.message.n), [1, 2, 3]);
});

Deno.test("Subscription lets its consumer publish", async () => {
  const bus = new PubSub();
  bus.addSubscriber("question", (_topic, { n }) => bus.publish("answer", { n: n + 1 }));
  using answers = bus.subscribe("answer");
  bus.publish("question", { n: 1 });
  for await (const { message: { n } } of answers) {
    if (n === 3) break;
    bus.publish("question", { n });
  }
});

interface Endable {
  bus: PubSub;
  controller: AbortController;
}
const ENDINGS: [name: string, end: (what: Endable) => unknown][] = [
  ["break", async ({ bus, controller: { signal } }) => {
    const subscription = bus.subscribe("a", { signal });
    bus.publish("a");
    bus.publish("a");
    for await (const _delivery of subscription) break;
    assertEquals(await Array.fromAsync(subscription), []);
  }],
  ["an error in the loop", async ({ bus, controller: { signal } }) => {
    const subscription = bus.subscribe("a", { signal });
    bus.publish("a");
    const loop = async () => {
      for await (const _delivery of subscription) throw new Error("in the loop");
    };
    await assertRejects(loop, Error, "in the loop");
  }],
  ["using", ({ bus, controller: { signal } }) => {
    using _subscription = bus.subscribe("a", { signal });
    bus.publish("a");
  }],
  ["await using", async ({ bus, controller: { signal } }) => {
    await using _subscription = bus.subscribe("a", { signal });
    bus.publish("a");
  }],
  ["disposing twice", async ({ bus, controller: { signal } }) => {
    const subscription = bus.subscribe("a", { signal });
    bus.publish("a");
    for (let times = 0; times < 2; times++) {
      subscription[Symbol.dispose]();
      await subscription[Symbol.asyncDispose]();
    }
    assertEquals(await Array.fromAsync(subscription), [], "what it held is let go");
  }],
  ["disposing while its consumer waits", async ({ bus, controller: { signal } }) => {
    const subscription = bus.subscribe("a", { signal });
    const next = subscription[Symbol.asyncIterator]().next();
    subscription[Symbol.dispose]();
    assertEquals(await next, { done: true, value: undefined });
  }],
  ["clearSubscribers", async ({ bus, controller: { signal } }) => {
    const subscription = bus.subscribe("a", { signal });
    bus.publish("a", { n: 1 });
    bus.clearSubscribers();
    bus.publish("a", { n: 2 });
    const delivery = { topic: ["a"], message: { n: 1 }, info: {} };
    assertEquals(await Array.fromAsync(subscription), [delivery], "it yields what it holds");
  }],
  ["clearSubscribers while its consumer waits", async ({ bus, controller: { signal } }) => {
    const next = bus.subscribe("a", { signal })[Symbol.asyncIterator]().next();
    bus.clearSubscribers();
    assertEquals(await next, { done: true, value: undefined });
  }],
  ["its signal", async ({ bus, controller }) => {
    const subscription = bus.subscribe("a", { signal: controller.signal });
    bus.publish("a");
    const reason = new Error("enough");
    controller.abort(reason);
    const messages = subscription[Symbol.asyncIterator]();
    const error = await assertRejects(() => messages.next(), Error);
    assertStrictEquals(error, reason, "what it held is let go");
  }],
  ["its signal while its consumer waits", async ({ bus, controller }) => {
    const subscription = bus.subscribe("a", { signal: controller.signal });
    const next = subscription[Symbol.asyncIterator]().next();
    controller.abort();
    await assertRejects(() => next, DOMException, "aborted");
  }],
  ["its signal while nobody consumes", ({ bus, controller }) => {
    bus.subscribe("a", { signal: controller.signal });
    controller.abort(new Error("nobody is told, and nothing is left unhandled"));
  }],
  ["a signal that has aborted before", async ({ bus, controller }) => {
    controller.abort(new Error("long ago"));
    const subscription = bus.subscribe("a", { signal: controller.signal });
    bus.publish("a");
    await assertRejects(() => Array.fromAsync(subscription), Error, "long ago");
  }],
  ["an overflow that throws", async ({ bus, controller: { signal } }) => {
    const subscription = bus.subscribe("a", { signal, limit: 1, overflow: "throw" });
    for (const n of [1, 2]) bus.publish("a", { n });
    const messages = subscription[Symbol.asyncIterator]();
    assertEquals((await messages.next()).value?.message, { n: 1 });
    await assertRejects(() => messages.next(), BacklogError);
  }],
];
for (const [name, end] of ENDINGS) {
  Deno.test(`Subscription leaves nothing behind after ${name}`, async () => {
    const { bus, dispatcher, errors } = makeBus();
    const controller = new AbortController();
    await end({ bus, controller });
    assertEquals(leftovers(dispatcher, controller.signal), []);
    assertEquals(errors, []);
  });
}

Deno.test("Subscription is not ended by a signal that aborts after it has ended", async () => {
  const bus = new PubSub();
  const controller = new AbortController();
  const subscription = bus.subscribe("a", { signal: controller.signal });
  bus.publish("a", { n: 1 });
  bus.clearSubscribers();
  controller.abort();
  assertEquals((await Array.fromAsync(subscription)).length, 1);
});

Deno.test("Subscription has one consumer", async () => {
  const bus = new PubSub();
  using subscription = bus.subscribe("a");
  const messages = subscription[Symbol.asyncIterator]();
  assertThrows(() => subscription[Symbol.asyncIterator](), TypeError, "has a consumer already");
  bus.publish("a", { n: 1 });
  assertEquals((await messages.next()).value?.message, { n: 1 });
});

Deno.test("PubSub.subscribe with names leaves out, and reports, what has others", async () => {
  const { bus, errors } = makeBus();
  const subscription = bus.subscribe("a", { accepts: ["x"] });
  for (const message of [{ x: 1 }, { y: 2 }, { x: 3 }]) bus.publish("a", message);
  bus.clearSubscribers();
  const deliveries = await Array.fromAsync(subscription);
  assertEquals(deliveries.map(({ message }) => message), [{ x: 1 }, { x: 3 }]);
  assertInstanceOf(errors[0]?.error, MessageError);
  assertEquals(errors[0].context, { topic: ["a"], message: { y: 2 } });
});

Deno.test("PubSub.subscribe with a schema yields what it makes", async () => {
  const { bus, errors } = makeBus();
  const subscription = bus.subscribe("a", { accepts: upper });
  for (const message of ["x", 5]) bus.publish("a", { message });
  bus.clearSubscribers();
  assertEquals(await Array.fromAsync(subscription), [{
    topic: ["a"],
    message: { upper: "X" },
    info: {},
  }]);
  assertInstanceOf(errors[0]?.error, MessageError);
  assertEquals(errors[0].error.issues, ["message: must be a string"]);
});

for (const limit of [0, -1, 1.5, NaN, Infinity]) {
  Deno.test(`PubSub.subscribe refuses ${limit} as its limit`, () => {
    const { bus, dispatcher } = makeBus();
    assertThrows(() => bus.subscribe("a", { limit }), RangeError, `limit is ${limit}`);
    assertEquals(leftovers(dispatcher), []);
  });
}

Deno.test("PubSub.subscribe refuses an unknown policy", () => {
  const { bus, dispatcher } = makeBus();
  const overflow = "drop" as "wait";
  assertThrows(() => bus.subscribe("a", { overflow }), TypeError, "overflow is drop");
  assertEquals(leftovers(dispatcher), []);
});

Deno.test("Subscription drops the oldest at its limit, and counts them", async () => {
  const { bus } = makeBus();
  const subscription = bus.subscribe("a", { limit: 2 });
  assertEquals(subscription.dropped, 0);
  for (let n = 1; n <= 5; n++) bus.publish("a", { n });
  assertEquals(subscription.dropped, 3);
  bus.clearSubscribers();
  const deliveries = await Array.fromAsync(subscription);
  assertEquals(deliveries.map(({ message }) => message.n), [4, 5]);
});

Deno.test("Subscription holds 65536 messages if it is not told otherwise", () => {
  const { bus } = makeBus();
  using subscription = bus.subscribe("a");
  for (let n = 0; n < 65_536; n++) bus.publish("a");
  assertEquals(subscription.dropped, 0);
  bus.publish("a");
  assertEquals(subscription.dropped, 1);
});

Deno.test("Subscription tells onError once for each episode of dropping", async () => {
  const { bus, errors } = makeBus();
  using subscription = bus.subscribe("a", { limit: 1, overflow: "drop-oldest" });
  const messages = subscription[Symbol.asyncIterator]();
  for (let n = 0; n < 4; n++) bus.publish(["a", "b"]);
  assertEquals(errors.length, 1);
  await messages.next();
  for (let n = 0; n < 4; n++) bus.publish(["a", "b"]);
  assertEquals([errors.length, subscription.dropped], [2, 6]);
  for (const { error, context } of errors) {
    assertInstanceOf(error, BacklogError);
    assertEquals([error.name, error.limit], ["BacklogError", 1]);
    assertStringIncludes(error.message, 'the subscription of ["a"]: it is full (limit is 1)');
    assertEquals(context, { topic: ["a"] });
  }
});

Deno.test("Subscription that throws on overflow ends after what it holds, each time asked", async () => {
  const { bus, errors } = makeBus();
  const log: unknown[] = [];
  const subscription = bus.subscribe("a", { limit: 2, overflow: "throw" });
  bus.addSubscriber("a", (_topic, { n }) => log.push(n));
  for (const n of [1, 2, 3, 4]) bus.publish("a", { n });
  assertEquals([log, errors], [[1, 2, 3, 4], []], "neither publisher nor others notice");
  const messages = subscription[Symbol.asyncIterator]();
  for (const n of [1, 2]) assertEquals((await messages.next()).value?.message, { n });
  for (let times = 0; times < 2; times++) {
    const error = await assertRejects(
      () => messages.next(),
      BacklogError,
      '["a"]: it is full (limit is 2)',
    );
    assertEquals(error.limit, 2);
  }
  assertEquals(subscription.dropped, 0);
});

Deno.test("Subscription that waits makes publish throw before any delivery", async () => {
  const { bus, errors } = makeBus();
  const log: unknown[] = [];
  bus.addSubscriber(["a", "b"], (_topic, { n }) => log.push(n));
  using subscription = bus.subscribe("a", { limit: 2, overflow: "wait" });
  bus.addSubscriber(null, (_topic, { n }) => log.push(n));
  for (const n of [1, 2]) bus.publish("a", { n });
  assertEquals(log.splice(0), [1, 2]);
  for (const topic of ["a", ["a", "b"], null]) {
    const error = assertThrows(
      () => bus.publish(topic, { n: 3 }),
      BacklogError,
      'the subscription of ["a"] holds 2 messages (limit is 2)',
    );
    assertEquals(error.limit, 2);
  }
  assertEquals([log, errors, subscription.dropped], [[], [], 0]);
  bus.publish("b", { n: 4 });
  assertEquals(log.splice(0), [4], "topics that it does not get are free");
  const messages = subscription[Symbol.asyncIterator]();
  assertEquals((await messages.next()).value?.message, { n: 1 });
  bus.publish(["a", "b"], { n: 5 });
  assertEquals(log, [5, 5]);
  assertThrows(() => bus.publish("a", { n: 6 }), BacklogError);
  for (const n of [2, 5]) assertEquals((await messages.next()).value?.message, { n });
});

Deno.test("Subscription of the root that waits makes publish throw on every topic", () => {
  const bus = new PubSub();
  using _subscription = bus.subscribe(null, { limit: 1, overflow: "wait" });
  bus.publish("a");
  for (const topic of ["a", ["b", "c"], null]) {
    assertThrows(() => bus.publish(topic), BacklogError, "the subscription of []");
  }
});

Deno.test("Subscription that waits holds what was accepted during a delivery", async () => {
  const { bus, errors } = makeBus();
  const subscription = bus.subscribe("b", { limit: 1, overflow: "wait" });
  bus.addSubscriber("a", () => {
    for (const n of [1, 2, 3]) bus.publish("b", { n });
  });
  bus.publish("a");
  assertThrows(() => bus.publish("b", { n: 4 }), BacklogError, "holds 3 messages (limit is 1)");
  bus.clearSubscribers();
  const deliveries = await Array.fromAsync(subscription);
  assertEquals([deliveries.map(({ message }) => message.n), errors], [[1, 2, 3], []]);
});

Deno.test("Subscription that waits holds nobody up once it has ended", () => {
  for (const end of ["dispose", "clear", "abort"]) {
    const bus = new PubSub();
    const controller = new AbortController();
    const options = { limit: 1, overflow: "wait", signal: controller.signal } as const;
    const subscription = bus.subscribe("a", options);
    bus.publish("a");
    assertThrows(() => bus.publish("a"), BacklogError);
    if (end === "dispose") subscription[Symbol.dispose]();
    else if (end === "clear") bus.clearSubscribers();
    else controller.abort();
    bus.publish("a");
  }
});
