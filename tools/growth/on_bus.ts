/** What a program can cause in its own process. */
import { setImmediate } from "node:timers";
import { any, PubSub } from "../../mod.ts";
import type { Operation, Trial } from "./operation.ts";

/** A topic, of which elements may be of any name. */
type Pattern = readonly (string | typeof any)[];

const TOPIC = ["data"];
/** How often an operation is done that costs the same for each. */
const TIMES = 200;
/** How long the consumer of a message works. */
const WORK_MS = 0.2;

/** A bus on which nothing is printed. */
function quietBus(): PubSub {
  return new PubSub({ onError() {} });
}

/** So many functions that all differ. */
function functions(count: number): (() => void)[] {
  return Array.from({ length: count }, () => () => {});
}

/** Subscribers of one topic that are removed one by one. */
function removal(
  how: string,
  prepare: (bus: PubSub, n: number) => () => void,
): Operation {
  return {
    name: `subscribers of one topic go one by one, ${how}`,
    of: "subscribers",
    per: "subscriber",
    from: 2000,
    few: 500,
    prepare: (n) => ({ units: n, run: prepare(quietBus(), n) }),
  };
}

const REMOVALS: readonly Operation[] = [
  removal("by what addSubscriber returned", (bus, n) => {
    const handles = functions(n).map((one) => bus.addSubscriber(TOPIC, one));
    return () => {
      for (const handle of handles) handle[Symbol.dispose]();
    };
  }),
  removal("the latest first", (bus, n) => {
    const handles = functions(n).map((one) => bus.addSubscriber(TOPIC, one)).reverse();
    return () => {
      for (const handle of handles) handle[Symbol.dispose]();
    };
  }),
  removal("by removeSubscriber", (bus, n) => {
    const all = functions(n);
    for (const one of all) bus.addSubscriber(TOPIC, one);
    return () => {
      for (const one of all) bus.removeSubscriber(TOPIC, one);
    };
  }),
  removal("by removeSubscriber, the latest first", (bus, n) => {
    const all = functions(n);
    for (const one of all) bus.addSubscriber(TOPIC, one);
    all.reverse();
    return () => {
      for (const one of all) bus.removeSubscriber(TOPIC, one);
    };
  }),
  removal("all of them one function", (bus, n) => {
    const one = () => {};
    for (let i = 0; i < n; i++) bus.addSubscriber(TOPIC, one);
    return () => {
      while (bus.removeSubscriber(TOPIC, one));
    };
  }),
  removal("by a signal each", (bus, n) => {
    const signals = functions(n).map((one) => {
      const abort = new AbortController();
      bus.addSubscriber(TOPIC, one, { signal: abort.signal });
      return abort;
    });
    return () => {
      for (const abort of signals) abort.abort();
    };
  }),
  removal("by one signal for all", (bus, n) => {
    const abort = new AbortController();
    for (const one of functions(n)) bus.addSubscriber(TOPIC, one, { signal: abort.signal });
    return () => abort.abort();
  }),
  removal("called once", (bus, n) => {
    for (const one of functions(n)) bus.addSubscriber(TOPIC, one, { once: true });
    return () => bus.publish(TOPIC);
  }),
  removal("as subscriptions", (bus, n) => {
    const subscriptions = Array.from({ length: n }, () => bus.subscribe(TOPIC));
    return () => {
      for (const subscription of subscriptions) subscription[Symbol.dispose]();
    };
  }),
];

const CLEAR: Operation = {
  name: "clearSubscribers",
  of: "subscribers, half of them of one topic",
  per: "subscriber",
  from: 4000,
  few: 500,
  prepare(n) {
    const bus = quietBus();
    for (const [i, one] of functions(n).entries()) {
      bus.addSubscriber(i % 2 === 0 ? TOPIC : ["own", String(i)], one);
    }
    return { units: n, run: () => bus.clearSubscribers() };
  },
};

const BROADCAST: Operation = {
  name: "a broadcast in one process",
  of: "subscribers",
  per: "subscriber",
  from: 4000,
  few: 500,
  prepare(n) {
    const bus = quietBus();
    for (const [i, one] of functions(n).entries()) bus.addSubscriber(["own", String(i)], one);
    return { units: n, run: () => bus.publish(null) };
  },
};

/** Publishes to all topics after each change; what is measured is what a change costs. */
function changes(where: string, changed: Pattern, others: readonly Pattern[] = []): Operation {
  return {
    name: `a subscriber comes and goes ${where}, in one process`,
    of: "topics in traffic",
    per: "change",
    from: 250,
    few: 60,
    without: "time",
    prepare(n) {
      const bus = quietBus();
      const topics = Array.from({ length: n }, (_, i) => ["traffic", String(i)]);
      for (const topic of [...topics, ...others]) bus.addSubscriber(topic, () => {});
      const publishAll = () => {
        for (const topic of topics) bus.publish(topic);
      };
      publishAll();
      const rounds = 8;
      return {
        units: 2 * rounds,
        base() {
          for (let i = 0; i < 2 * rounds; i++) publishAll();
        },
        run() {
          for (let i = 0; i < rounds; i++) {
            const handle = bus.addSubscriber(changed, () => {});
            publishAll();
            handle[Symbol.dispose]();
            publishAll();
          }
        },
      };
    },
  };
}

const CHANGES = [
  changes("elsewhere", ["elsewhere"]),
  changes("at a sibling of the topics", ["traffic", "other"]),
  changes("elsewhere, with any at its end", ["elsewhere", any]),
  // After these each message finds its way again; so what is judged is what that makes it cost.
  ...[
    changes("elsewhere, with any beside names", ["elsewhere", any], [["elsewhere", "one"]]),
    changes("elsewhere, while the topics meet any", ["elsewhere"], [["traffic", any]]),
  ].map((operation): Operation => ({
    ...operation,
    per: "message, beside one without changes",
    isBeside: true,
  })),
];

/** Subscriptions with an element of any name that come and go beside others. */
const ANYS: Operation = {
  name: "a subscriber with any comes and goes beside others, in one process",
  of: "topics with any",
  per: "change",
  from: 2000,
  few: 500,
  prepare(n) {
    const bus = quietBus();
    for (let i = 0; i < n; i++) bus.addSubscriber(["other", String(i), any], () => {});
    return {
      units: 2 * TIMES,
      run() {
        for (let i = 0; i < TIMES; i++) {
          bus.addSubscriber(["other", `x${i}`, any], () => {}).remove();
        }
      },
    };
  },
};

const IN_GROUP: Operation = {
  name: "a message for one of a group, in one process",
  of: "members",
  per: "message",
  from: 1000,
  few: 200,
  prepare(n) {
    const bus = quietBus();
    for (const one of functions(n)) bus.addSubscriber(TOPIC, one, { group: "g" });
    return {
      units: TIMES,
      run() {
        for (let i = 0; i < TIMES; i++) bus.publish(TOPIC);
      },
    };
  },
};

const TO_GROUP: Operation = {
  name: "members of a group come and go, in one process",
  of: "members",
  per: "change",
  from: 1000,
  few: 200,
  prepare(n) {
    const bus = quietBus();
    for (const one of functions(n)) bus.addSubscriber(TOPIC, one, { group: "g" });
    return {
      units: 2 * TIMES,
      run() {
        for (let i = 0; i < TIMES; i++) {
          bus.addSubscriber(TOPIC, () => {}, { group: "g" }).remove();
        }
      },
    };
  },
};

const BESIDE_FULL: Operation = {
  name: "a message beside subscriptions that wait and are full",
  of: "subscriptions",
  per: "message",
  from: 200,
  few: 50,
  prepare(n) {
    const bus = quietBus();
    for (let i = 0; i < n; i++) {
      bus.subscribe(["full", String(i)], { limit: 1, overflow: "wait" });
      bus.publish(["full", String(i)]);
    }
    bus.addSubscriber(TOPIC, () => {});
    return {
      units: TIMES,
      run() {
        for (let i = 0; i < TIMES; i++) bus.publish(TOPIC);
      },
    };
  },
};

const DISTINCT: Operation = {
  name: "messages to topics that do not come again, in one process",
  of: "topics",
  per: "topic",
  from: 8000,
  few: 500,
  prepare(n) {
    const bus = quietBus();
    bus.addSubscriber("a", () => {});
    return {
      units: n,
      run() {
        for (let i = 0; i < n; i++) bus.publish(["a", `t${i}`]);
      },
    };
  },
};

const FROM_WITHIN: Operation = {
  name: "messages that a subscriber publishes",
  of: "messages",
  per: "message",
  from: 8000,
  few: 500,
  prepare(n) {
    const bus = quietBus();
    bus.addSubscriber("all", () => {
      for (let i = 0; i < n; i++) bus.publish(TOPIC);
    });
    bus.addSubscriber(TOPIC, () => {});
    return { units: n, run: () => bus.publish("all") };
  },
};

const ACCEPTS: Operation = {
  name: "a message to a subscriber that accepts its names",
  of: "names",
  per: "name",
  from: 4000,
  few: 500,
  prepare(n) {
    const bus = quietBus();
    const names = Array.from({ length: n }, (_, i) => `name ${i}`);
    bus.addSubscriber(TOPIC, () => {}, { accepts: names });
    const message = Object.fromEntries(names.map((name) => [name, 1]));
    return { units: n, run: () => bus.publish(TOPIC, message) };
  },
};

/** Messages that wait in a subscription, and are then taken. */
function held(what: string, limitOf: (n: number) => number): Operation {
  return {
    name: `a subscription ${what}`,
    of: "messages",
    per: "message",
    from: 8000,
    few: 500,
    prepare(n) {
      const bus = quietBus();
      const subscription = bus.subscribe(TOPIC, { limit: limitOf(n) });
      return {
        units: n,
        async run() {
          for (let i = 0; i < n; i++) bus.publish(TOPIC);
          bus.clearSubscribers();
          let taken = 0;
          for await (const _ of subscription) taken++;
          if (taken !== Math.min(n, limitOf(n))) throw new Error(`${taken} messages were taken`);
        },
      };
    },
  };
}

const HELD = [
  held("takes messages, and gives them", (n) => n),
  held("drops the oldest messages", () => 100),
];

/** How many messages a loop takes before anything else has its turn. */
const TURNS: Operation = {
  name: "a for await loop: how many messages it takes without a turn of others",
  of: `messages of ${WORK_MS} ms of work each`,
  per: "loop",
  from: 500,
  few: 200,
  without: "time",
  prepare(n): Trial {
    const bus = quietBus();
    const subscription = bus.subscribe(TOPIC);
    for (let i = 0; i < n; i++) bus.publish(TOPIC);
    bus.clearSubscribers();
    return {
      units: 1,
      async run() {
        let [inARow, most, isOver] = [0, 0, false];
        setImmediate(function turn() {
          inARow = 0;
          if (!isOver) setImmediate(turn);
        });
        for await (const _ of subscription) {
          most = Math.max(most, ++inARow);
          for (const end = performance.now() + WORK_MS; performance.now() < end;);
        }
        isOver = true;
        return most;
      },
    };
  },
};

/** All of them. */
export const ON_BUS: readonly Operation[] = [
  ...REMOVALS,
  CLEAR,
  BROADCAST,
  ...CHANGES,
  ANYS,
  IN_GROUP,
  TO_GROUP,
  BESIDE_FULL,
  DISTINCT,
  FROM_WITHIN,
  ACCEPTS,
  ...HELD,
  TURNS,
];
