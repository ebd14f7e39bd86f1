/**
 * What a publish costs within a process, beside the emitters that are used most.
 *
 * ```sh
 * deno bench --allow-env bench/local_bench.ts
 * MPUBSUB_BENCH_QUICK=1 deno bench --allow-env bench/local_bench.ts    # only to see that it runs
 * ```
 *
 * - One iteration is 1000 publishes: 1 µs here is 1 ns for each. Each makes its message; topics come
 *   from an array, as from a variable, joined beforehand where a library wants them joined.
 * - Subscribers add to a sum, which is checked.
 * - Each bus has called some other functions before. V8 inlines the subscriber of a bus that never
 *   had another; a program that needs a bus has several.
 * - What the others leave to their users: topics and messages are checked, a subscriber's error
 *   stays away from the next one and from the publisher, and what subscribers publish comes in order.
 */
// deno-lint-ignore-file no-import-prefix -- what the package is compared with is no part of it
import mitt from "npm:mitt@3.0.1";
import { createNanoEvents } from "npm:nanoevents@10.0.0";
import { EventEmitter as EventEmitter3 } from "npm:eventemitter3@5.0.4";
import eventemitter2 from "npm:eventemitter2@6.4.9";
import MqttEmitter from "npm:mqtt-emitter@4.1.0";
import Emittery from "npm:emittery@2.2.0";
import { EventEmitter, on } from "node:events";
import { any, PubSub, type Topic } from "../pubsub.ts";

// Its types take the module for CommonJS, where the default export would be a property.
const makeMitt = mitt as unknown as typeof mitt.default;

const QUICK = Deno.env.get("MPUBSUB_BENCH_QUICK") === "1";
const PUBLISHES = 1000;
const SUM = PUBLISHES * (PUBLISHES - 1) / 2;
const TOPICS = 64;
const WARM_UP = 100;

interface Message {
  n: number;
}
type Path = readonly string[];

/** What adds up what it hears, as a library calls it. */
interface Listener {
  message(message: Message): void;
  topicAndMessage(topic: unknown, message: Message): void;
  event(event: Event): void;
}

interface Bus<T> {
  subscribe(path: Path, listener: Listener): void;
  /** Publishes one message for each topic. */
  publish(topics: readonly T[]): void;
}

interface Library<T> {
  name: string;
  topic(path: Path): T;
  make(): Bus<T>;
}

let sum = 0;

function makeListener(): Listener {
  return {
    message: (message) => void (sum += message.n),
    topicAndMessage: (_topic, message) => void (sum += message.n),
    event: (event) => void (sum += (event as CustomEvent<Message>).detail.n),
  };
}

/** Functions that have nothing in common but that they can be called. */
const OTHERS: (() => void)[] = [
  () => {},
  (...all: unknown[]) => void (sum += all.length),
  (first?: unknown) => void (sum += first === undefined ? 1 : 2),
  function (this: unknown) {
    sum += this === undefined ? 1 : 2;
  },
];

const dotted = (path: Path) => path.join(".");

function single(path: Path): string {
  if (path.length !== 1) throw new Error(`${path} has not one element`);
  return path[0]!;
}

function mpubsub<T extends Topic>(topic: (path: Path) => T): Library<T> {
  return {
    name: "mpubsub",
    topic,
    make() {
      const bus = new PubSub();
      return {
        subscribe: (path, { topicAndMessage }) => bus.addSubscriber(path, topicAndMessage),
        publish(topics) {
          for (let n = 0; n < topics.length; n++) bus.publish<Topic>(topics[n]!, { n });
        },
      };
    },
  };
}

const STRINGS = mpubsub(single);
const PATHS = mpubsub((path) => [...path]);

/** Its topics are written out where it publishes, so each time they are a new array. */
const LITERAL: Library<string> = {
  name: "mpubsub, a new array each time",
  topic: dotted,
  make() {
    const bus = new PubSub();
    return {
      subscribe: (path, { topicAndMessage }) => bus.addSubscriber(path, topicAndMessage),
      publish(topics) {
        for (let n = 0; n < topics.length; n++) bus.publish(["a", "b", "c"], { n });
      },
    };
  },
};

const MITT: Library<string> = {
  name: "mitt",
  topic: dotted,
  make() {
    const bus = makeMitt<Record<string, Message>>();
    return {
      subscribe(path, { message, topicAndMessage }) {
        if (path.length === 0) bus.on("*", topicAndMessage);
        else bus.on(dotted(path), message);
      },
      publish(topics) {
        for (let n = 0; n < topics.length; n++) bus.emit(topics[n]!, { n });
      },
    };
  },
};

const NANOEVENTS: Library<string> = {
  name: "nanoevents",
  topic: dotted,
  make() {
    const bus = createNanoEvents<Record<string, (message: Message) => void>>();
    return {
      subscribe: (path, { message }) => bus.on(dotted(path), message),
      publish(topics) {
        for (let n = 0; n < topics.length; n++) bus.emit(topics[n]!, { n });
      },
    };
  },
};

const EVENTEMITTER3: Library<string> = {
  name: "eventemitter3",
  topic: dotted,
  make() {
    const bus = new EventEmitter3();
    return {
      subscribe: (path, { message }) => bus.on(dotted(path), message),
      publish(topics) {
        for (let n = 0; n < topics.length; n++) bus.emit(topics[n]!, { n });
      },
    };
  },
};

const NODE_EVENTS: Library<string> = {
  name: "node:events",
  topic: dotted,
  make() {
    const bus = new EventEmitter();
    return {
      subscribe: (path, { message }) => bus.on(dotted(path), message),
      publish(topics) {
        for (let n = 0; n < topics.length; n++) bus.emit(topics[n]!, { n });
      },
    };
  },
};

const EVENT_TARGET: Library<string> = {
  name: "EventTarget",
  topic: dotted,
  make() {
    const bus = new EventTarget();
    return {
      subscribe: (path, { event }) => bus.addEventListener(dotted(path), event as EventListener),
      publish(topics) {
        for (let n = 0; n < topics.length; n++) {
          bus.dispatchEvent(new CustomEvent(topics[n]!, { detail: { n } }));
        }
      },
    };
  },
};

const EVENTEMITTER2: Library<string> = {
  name: "eventemitter2, wildcards",
  topic: dotted,
  make() {
    const bus = new eventemitter2.EventEmitter2({ wildcard: true });
    return {
      subscribe(path, { message, topicAndMessage }) {
        if (path.length === 0) bus.onAny(topicAndMessage as () => void);
        else bus.on([...path, "**"], message);
      },
      publish(topics) {
        for (let n = 0; n < topics.length; n++) bus.emit(topics[n]!, { n });
      },
    };
  },
};

const MQTT_EMITTER: Library<string> = {
  name: "mqtt-emitter",
  topic: (path) => path.join("/"),
  make() {
    const bus = new MqttEmitter();
    return {
      subscribe: (path, { message }) => bus.on([...path, "#"].join("/"), message),
      publish(topics) {
        for (let n = 0; n < topics.length; n++) bus.emit(topics[n]!, { n });
      },
    };
  },
};

// deno-lint-ignore no-explicit-any -- each has topics of its own kind
type Libraries = Library<any>[];

const FLAT: Libraries = [MITT, NANOEVENTS, EVENTEMITTER3, NODE_EVENTS, EVENT_TARGET];
const DEEP: Libraries = [EVENTEMITTER2, MQTT_EMITTER];

/** A benchmark; with a few iterations if it is only to be seen that it runs. */
function bench(group: string, name: string, fn: () => void | Promise<void>): void {
  const bound = QUICK ? { n: 2, warmup: 1 } : {};
  Deno.bench({ group, name, baseline: name === "mpubsub", fn, ...bound });
}

/** Who subscribes, and what is published in turn. */
interface Scene {
  group: string;
  libraries: Libraries;
  subscribed: Path[];
  published: Path[];
  /** How many hear a message. */
  heard: number;
}

const A = ["a"];
const ABC = ["a", "b", "c"];
const NAMES = Array.from({ length: TOPICS }, (_, index) => [`topic ${index}`]);
const LEAVES = NAMES.map((name) => [...name, "b", "c"]);

const SCENES: Scene[] = [
  {
    group: "one element, no listener",
    libraries: [STRINGS, ...FLAT, ...DEEP],
    subscribed: [],
    published: [A],
    heard: 0,
  },
  {
    group: "one element, 1 listener",
    libraries: [STRINGS, ...FLAT, ...DEEP],
    subscribed: [A],
    published: [A],
    heard: 1,
  },
  {
    group: "one element, 10 listeners",
    libraries: [STRINGS, ...FLAT, ...DEEP],
    subscribed: Array(10).fill(A),
    published: [A],
    heard: 10,
  },
  {
    group: "three elements, no listener",
    libraries: [PATHS, LITERAL, ...FLAT, ...DEEP],
    subscribed: [],
    published: [ABC],
    heard: 0,
  },
  {
    group: "three elements, a listener on the leaf",
    libraries: [PATHS, LITERAL, ...FLAT, ...DEEP],
    subscribed: [ABC],
    published: [ABC],
    heard: 1,
  },
  {
    group: "three elements, a listener on a parent",
    libraries: [PATHS, LITERAL, ...DEEP],
    subscribed: [A],
    published: [ABC],
    heard: 1,
  },
  {
    group: "three elements, 10 listeners on a parent",
    libraries: [PATHS, LITERAL, ...DEEP],
    subscribed: Array(10).fill(A),
    published: [ABC],
    heard: 10,
  },
  {
    group: "a catch-all",
    libraries: [STRINGS, MITT, ...DEEP],
    subscribed: [[]],
    published: [A],
    heard: 1,
  },
  {
    group: "64 topics in turn, of one element, 1 listener each",
    libraries: [STRINGS, ...FLAT, ...DEEP],
    subscribed: NAMES,
    published: NAMES,
    heard: 1,
  },
  {
    group: "64 topics in turn, of three elements, 1 listener each",
    libraries: [PATHS, ...FLAT, ...DEEP],
    subscribed: LEAVES,
    published: LEAVES,
    heard: 1,
  },
  {
    group: "64 topics in turn, of three elements, a listener on the parent of each",
    libraries: [PATHS, ...DEEP],
    subscribed: NAMES,
    published: LEAVES,
    heard: 1,
  },
];

for (const { group, libraries, subscribed, published, heard } of SCENES) {
  for (const { name, topic, make } of libraries) {
    let bus: Bus<unknown> | undefined;
    const topics = Array.from(
      { length: PUBLISHES },
      (_, index) => topic(published[index % published.length]!),
    );
    bench(group, name, () => {
      if (bus === undefined) {
        bus = make();
        for (const path of subscribed) bus.subscribe(path, makeListener());
        for (const other of OTHERS) {
          bus.subscribe(["other"], { message: other, topicAndMessage: other, event: other });
        }
        bus.publish(Array(WARM_UP).fill(topic(["other"])));
      }
      sum = 0;
      bus.publish(topics);
      if (sum !== heard * SUM) throw new Error(`${name}: heard ${sum}, not ${heard * SUM}`);
    });
  }
}

// ---- An element of any name

{
  const group = "64 topics in turn, of three elements, a listener on any name in the middle";
  const names = Array.from({ length: 64 }, (_, i) => `room${i}`);
  const publishAll = (publish: (name: string, message: Message) => void) => () => {
    sum = 0;
    for (let n = 0; n < PUBLISHES; n++) publish(names[n % names.length]!, { n });
    if (sum !== SUM) throw new Error(`heard ${sum}, not ${SUM}`);
  };
  const ours = new PubSub();
  ours.addSubscriber(["sensors", any, "celsius"], makeListener().topicAndMessage);
  bench(group, "mpubsub", publishAll((name, m) => ours.publish(["sensors", name, "celsius"], m)));
  const ee2 = new eventemitter2.EventEmitter2({ wildcard: true });
  ee2.on("sensors.*.celsius", makeListener().message);
  bench(group, EVENTEMITTER2.name, publishAll((name, m) => ee2.emit(`sensors.${name}.celsius`, m)));
  const mqtt = new MqttEmitter();
  mqtt.on("sensors/+/celsius", makeListener().message);
  bench(group, MQTT_EMITTER.name, publishAll((name, m) => mqtt.emit(`sensors/${name}/celsius`, m)));
}

// ---- Topics that were never published before

{
  const group = "topics that never come again, a listener on their parent";
  let id = 0;
  const publishAll = (publish: (id: number, message: Message) => void) => () => {
    sum = 0;
    for (let n = 0; n < PUBLISHES; n++) publish(id++, { n });
    if (sum !== SUM) throw new Error(`heard ${sum}, not ${SUM}`);
  };
  const ours = new PubSub();
  ours.addSubscriber("user", makeListener().topicAndMessage);
  bench(group, "mpubsub", publishAll((id, m) => ours.publish(["user", String(id)], m)));
  const ee2 = new eventemitter2.EventEmitter2({ wildcard: true });
  ee2.on("user.**", makeListener().message);
  bench(group, EVENTEMITTER2.name, publishAll((id, m) => ee2.emit(`user.${id}`, m)));
  const mqtt = new MqttEmitter();
  mqtt.on("user/#", makeListener().message);
  bench(group, MQTT_EMITTER.name, publishAll((id, m) => mqtt.emit(`user/${id}`, m)));
}

// ---- Subscribers that come and go

{
  const group = "subscribe, publish, unsubscribe";
  const repeat = (cycle: (message: Message) => void) => () => {
    sum = 0;
    for (let n = 0; n < PUBLISHES; n++) cycle({ n });
    if (sum !== SUM) throw new Error(`heard ${sum}, not ${SUM}`);
  };
  const { message, topicAndMessage } = makeListener();

  const ours = new PubSub();
  bench(
    group,
    "mpubsub",
    repeat((m) => {
      const subscription = ours.addSubscriber("a", topicAndMessage);
      ours.publish("a", m);
      subscription[Symbol.dispose]();
    }),
  );
  const theirs = makeMitt<Record<string, Message>>();
  bench(
    group,
    MITT.name,
    repeat((m) => {
      theirs.on("a", message);
      theirs.emit("a", m);
      theirs.off("a", message);
    }),
  );
  const nano = createNanoEvents<Record<string, (message: Message) => void>>();
  bench(
    group,
    NANOEVENTS.name,
    repeat((m) => {
      const off = nano.on("a", message);
      nano.emit("a", m);
      off();
    }),
  );
  for (
    const [name, emitter] of [
      [EVENTEMITTER3.name, new EventEmitter3()],
      [NODE_EVENTS.name, new EventEmitter()],
      [EVENTEMITTER2.name, new eventemitter2.EventEmitter2({ wildcard: true })],
    ] as [string, EventEmitter][]
  ) {
    bench(
      group,
      name,
      repeat((m) => {
        emitter.on("a", message);
        emitter.emit("a", m);
        emitter.off("a", message);
      }),
    );
  }
}

{
  const group = "5,000 topics in turn, subscribers come and go elsewhere";
  const paths = Array.from({ length: 5000 }, (_, index) => ["traffic", String(index)]);
  /** Publishes to them; comes or goes after so many messages. */
  const turns = (
    every: number,
    publish: (index: number, m: Message) => void,
    change: () => void,
  ) => {
    let next = 0;
    return () => {
      sum = 0;
      for (let n = 0; n < PUBLISHES; n++) {
        if (next % every === 0) change();
        publish(next++ % paths.length, { n });
      }
      if (sum !== SUM) throw new Error(`heard ${sum}, not ${SUM}`);
    };
  };
  const { message, topicAndMessage } = makeListener();
  for (
    const [name, every] of [["", Infinity], [", one in 100 messages", 100], [
      ", one a message",
      1,
    ]] as const
  ) {
    const ours = new PubSub();
    for (const path of paths) ours.addSubscriber(path, topicAndMessage);
    let subscribed: Disposable | undefined;
    const oursChanges = () => {
      if (subscribed === undefined) subscribed = ours.addSubscriber(["elsewhere", "a"], OTHERS[0]!);
      else {
        subscribed[Symbol.dispose]();
        subscribed = undefined;
      }
    };
    bench(
      group,
      `mpubsub${name}`,
      turns(every, (index, m) => ours.publish(paths[index]!, m), oursChanges),
    );
  }
  const names = paths.map(dotted);
  for (const [name, every] of [["", Infinity], [", one a message", 1]] as const) {
    const node = new EventEmitter();
    for (const topic of names) node.on(topic, message);
    let isThere = false;
    const nodeChanges = () => {
      if (isThere) node.off("elsewhere", OTHERS[0]!);
      else node.on("elsewhere", OTHERS[0]!);
      isThere = !isThere;
    };
    bench(
      group,
      `${NODE_EVENTS.name}${name}`,
      turns(every, (index, m) => node.emit(names[index]!, m), nodeChanges),
    );
  }
}

// ---- Messages by iteration

/** Publishes, takes what was published, and ends the iteration. */
async function consume<T>(
  messages: AsyncIterable<T>,
  publish: (message: Message) => void,
  messageOf: (item: T) => Message,
): Promise<void> {
  sum = 0;
  for (let n = 0; n < PUBLISHES; n++) publish({ n });
  for await (const item of messages) {
    const { n } = messageOf(item);
    sum += n;
    if (n === PUBLISHES - 1) break;
  }
  if (sum !== SUM) throw new Error(`heard ${sum}, not ${SUM}`);
}

{
  const group = "messages by iteration";
  const ours = new PubSub<{ a: Message }>();
  bench(
    group,
    "mpubsub",
    async () =>
      await consume(ours.subscribe("a"), (m) => ours.publish("a", m), ({ message }) => message),
  );
  const node = new EventEmitter();
  bench(
    group,
    NODE_EVENTS.name,
    async () => await consume(on(node, "a"), (m) => node.emit("a", m), ([message]) => message),
  );
  const emittery = new Emittery<{ a: Message }>();
  bench(
    group,
    "emittery",
    async () =>
      await consume(emittery.events("a"), (m) => void emittery.emit("a", m), ({ data }) => data),
  );
}
