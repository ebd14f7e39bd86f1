/**
 * What becomes of a message at each moment in the life of a `NetPubSub`: it is delivered to the broker,
 * `publish` throws, or `onError` is told by number. Only a bus that is disconnected is local.
 */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { delay } from "@std/async/delay";
import { BacklogError, ConnectionLostError, NetPubSub, type NetPubSubOptions } from "../mod.ts";
import { Reason } from "../protocol/frame.ts";
import { randomOf } from "../tools/harness/random.ts";
import { until } from "../tools/harness/until.ts";
import { MockBroker } from "./helpers/mock_broker.ts";
import { quiet } from "./helpers/quiet.ts";

const GONE = new Error("the test gives up");

/** A bus, its broker, and what the program was told. */
class Stage implements AsyncDisposable {
  readonly broker: MockBroker;
  readonly bus: NetPubSub;
  readonly errors: unknown[] = [];
  readonly heard: string[] = [];
  readonly #calls: Promise<void>[] = [];
  readonly #giveUp = new AbortController();
  readonly #end = new AbortController();

  private constructor(broker: MockBroker, options: NetPubSubOptions) {
    this.broker = broker;
    this.bus = new NetPubSub(broker.address, "k", {
      ...options,
      onError: (error) => this.errors.push(error),
      onState() {},
      onGap() {},
    });
    this.bus.addSubscriber(null, ([first]) => this.heard.push(first!));
  }

  static async start(options: NetPubSubOptions = {}): Promise<Stage> {
    return new Stage(await MockBroker.start(), options);
  }

  #note(call: Promise<void>): void {
    this.#calls.push(call.catch(() => {})); // What becomes of messages is told in any case.
  }

  /** Resolves when all calls have ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#calls);
  }

  /** Calls `connect`; {@linkcode Stage.abort} aborts its signal. */
  connect(): void {
    this.#note(this.bus.connect({ signal: this.#giveUp.signal }));
  }

  abort(): void {
    this.#giveUp.abort(GONE);
  }

  /** Calls `disconnect`, which waits until the end of the test at most. */
  disconnect(): void {
    this.#note(this.bus.disconnect({ signal: this.#end.signal }));
  }

  /** Calls `disconnect`, and does not wait. */
  giveUp(): void {
    this.#note(this.bus.disconnect({ signal: AbortSignal.abort(GONE) }));
  }

  /** What became of the one message. */
  async fate(): Promise<string> {
    this.#end.abort(GONE);
    this.giveUp();
    await this.settled();
    const told = this.errors.map((error) => (error as ConnectionLostError).undelivered);
    const received = this.broker.received.filter((first) => first === "message").length;
    if (received === 1 && told.length === 0) return "delivered";
    if (received === 0 && told.length === 0) return "local";
    if (received === 0) return `told: ${told}`;
    return `received: ${received}, told: ${told}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus.disconnect({ signal: AbortSignal.abort(GONE) }).catch(() => {});
    await this.broker.close();
  }
}

type Step = (stage: Stage) => Promise<void> | void;

/** Brings a bus to a moment of its life. */
const MOMENTS = {
  "is not connected": () => {},
  "is connecting": (stage) => {
    stage.broker.hold("handshake");
    stage.connect();
  },
  "waits for OPENED": async (stage) => {
    stage.broker.hold("OPENED");
    stage.connect();
    await until(() => stage.broker.topics.length > 0);
  },
  "is connected": async (stage) => {
    stage.connect();
    await until(() => stage.bus.state === "connected");
  },
  "is reconnecting": async (stage) => {
    await MOMENTS["is connected"](stage);
    stage.broker.hold("handshake");
    stage.broker.cut();
    await until(() => stage.bus.state === "reconnecting");
  },
  "is disconnecting": async (stage) => {
    await MOMENTS["is connected"](stage);
    stage.disconnect();
  },
  "is disconnecting with messages to deliver": async (stage) => {
    await MOMENTS["is connected"](stage);
    stage.bus.publish("before");
    stage.disconnect();
  },
  "is to connect again once it is disconnected": async (stage) => {
    await MOMENTS["is disconnecting with messages to deliver"](stage);
    stage.connect();
  },
  "gives up while it connects": (stage) => {
    MOMENTS["is connecting"](stage);
    stage.giveUp();
  },
  "is told to connect once it has given up": (stage) => {
    MOMENTS["gives up while it connects"](stage);
    stage.connect();
  },
  "could not connect": async (stage) => {
    MOMENTS["is connecting"](stage);
    await until(() => stage.broker.connections > 0);
    stage.broker.cut();
    await stage.bus.closed.catch(() => {});
    stage.broker.letIn();
  },
  "was disconnected": async (stage) => {
    await MOMENTS["is connected"](stage);
    await stage.bus.disconnect();
  },
  "was ended by its broker": async (stage) => {
    await MOMENTS["is connected"](stage);
    stage.broker.end(Reason.REPLACED);
    await stage.bus.closed.catch(() => {});
  },
} satisfies Record<string, Step>;

/** What happens after a message was published. */
const EVENTS = {
  "it is let in": async ({ broker, bus }) => {
    broker.letIn();
    await bus.flush().catch(() => {});
  },
  "its broker dies": async ({ broker }) => await broker.close(),
  "its signal aborts": async (stage) => {
    stage.abort();
    await EVENTS["it is let in"](stage);
  },
  "disconnect() is called": async (stage) => {
    stage.disconnect();
    stage.broker.letIn();
    await stage.settled();
  },
  "connect() is called": async (stage) => {
    stage.connect();
    await EVENTS["it is let in"](stage);
  },
} satisfies Record<string, Step>;

const LOCAL = ["local", "local", "local", "local", "local"] as const;
const ENDING: readonly string[] = ["told: 1", "told: 1", "told: 1", "told: 1", "delivered"];

/** The fate of a message that is published at each moment, for each of the events, in their order. */
const FATES: Readonly<Record<keyof typeof MOMENTS, readonly string[]>> = {
  "is not connected": LOCAL,
  "is connecting": ["delivered", "told: 1", "told: 1", "delivered", "delivered"],
  "waits for OPENED": ["delivered", "told: 1", "told: 1", "delivered", "delivered"],
  "is connected": ["delivered", "told: 1", "delivered", "delivered", "delivered"],
  "is reconnecting": ["delivered", "told: 1", "delivered", "delivered", "delivered"],
  "is disconnecting": ENDING,
  // What was published before is lost with its broker, too.
  "is disconnecting with messages to deliver": [
    "delivered",
    "told: 2",
    "delivered",
    "delivered",
    "delivered",
  ],
  "is to connect again once it is disconnected": [
    "delivered",
    "told: 1,1",
    "told: 1",
    "delivered",
    "delivered",
  ],
  "gives up while it connects": ENDING,
  "is told to connect once it has given up": [
    "delivered",
    "told: 1",
    "told: 1",
    "delivered",
    "delivered",
  ],
  "could not connect": LOCAL,
  "was disconnected": LOCAL,
  "was ended by its broker": LOCAL,
};

for (const [moment, fates] of Object.entries(FATES)) {
  for (const [index, [event, happen]] of Object.entries(EVENTS).entries()) {
    const fate = fates[index]!;
    Deno.test(`a message to a bus that ${moment} is ${fate} when ${event}`, async () => {
      await using stage = await Stage.start();
      await MOMENTS[moment as keyof typeof MOMENTS](stage);
      stage.bus.publish("message");
      await happen(stage);
      assertEquals(await stage.fate(), fate);
      assertEquals(stage.heard.filter((first) => first === "message"), ["message"], "at home");
    });
  }
}

for (const [moment, fates] of Object.entries(FATES)) {
  const isLocal = fates === LOCAL;
  Deno.test(`a message that cannot be sent is ${isLocal ? "local" : "refused"} on a bus that ${moment}`, async () => {
    await using stage = await Stage.start();
    await MOMENTS[moment as keyof typeof MOMENTS](stage);
    const publish = () => stage.bus.publish("message", { f: () => {} });
    if (isLocal) publish();
    else assertThrows(publish, TypeError, "message.f");
    assertEquals(stage.heard.includes("message"), isLocal);
  });

  Deno.test(`a message is ${isLocal ? "never" : "at some time"} too much for the backlog of a bus that ${moment}`, async () => {
    await using stage = await Stage.start({ backlog: 1000 });
    await MOMENTS[moment as keyof typeof MOMENTS](stage);
    let accepted = 0;
    const fill = () => {
      for (; accepted < 100; accepted++) stage.bus.publish("message", { data: new Uint8Array(50) });
    };
    if (isLocal) fill();
    else assertThrows(fill, BacklogError, "limit is 1000");
    assertEquals(accepted === 100, isLocal);
    assertEquals(stage.heard.filter((first) => first === "message").length, accepted);
    assertEquals(stage.bus.pending > 500, !isLocal);
    assertEquals(stage.bus.pending <= 1000, true);
  });

  const goesOn = fates[0] === "delivered";
  Deno.test(`flush ${goesOn ? "resolves" : "rejects"} on a bus that ${moment}`, async () => {
    await using stage = await Stage.start();
    await MOMENTS[moment as keyof typeof MOMENTS](stage);
    stage.bus.publish("message");
    const flushed = stage.bus.flush().then(() => stage.broker.received.includes("message"));
    stage.broker.letIn();
    if (goesOn) assertEquals(await flushed, true);
    else await assertRejects(() => flushed, ConnectionLostError, "disconnected");
    assertEquals(stage.bus.pending, 0);
  });

  if (!goesOn || moment.startsWith("is disconnecting")) continue;
  Deno.test(`the broker learns of each subscription once from a bus that ${moment}`, async () => {
    await using stage = await Stage.start();
    const early = stage.bus.addSubscriber("early", () => {});
    await MOMENTS[moment as keyof typeof MOMENTS](stage);
    stage.bus.addSubscriber("late", () => {});
    early[Symbol.dispose]();
    await quiet(); // A broker takes nothing of it before it has opened the session.
    stage.broker.letIn();
    await stage.bus.flush();
    assertEquals(stage.broker.topics.filter((first) => first !== ""), ["late"]);
  });
}

Deno.test("no message is lost in silence, however calls and events follow each other", async () => {
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 1e9));
  for (let run = 0; run < 60; run++) {
    const random = randomOf(seed + run);
    const steps: string[] = [];
    await using stage = await Stage.start();
    const { broker, bus, errors } = stage;
    const published = new Set<string>();
    const actions: Record<string, () => void> = {
      publish() {
        const first = `message ${published.size}`;
        // Whatever is not simply local has to be delivered, or told.
        if (bus.state !== "disconnected") published.add(first);
        bus.publish(first);
      },
      connect: () => stage.connect(),
      disconnect: () => stage.disconnect(),
      giveUp: () => random.int(4) === 0 && stage.giveUp(),
      hold: () => broker.hold(random.pick(["handshake", "OPENED"])),
      letIn: () => broker.letIn(),
      cut: () => random.int(2) === 0 && broker.cut(),
      end: () => random.int(4) === 0 && broker.end(random.pick([Reason.REPLACED, Reason.SHUTDOWN])),
    };
    const names = ["publish", "publish", "publish", ...Object.keys(actions)];
    for (let step = 0; step < 25; step++) {
      const name = random.pick(names);
      steps.push(name);
      actions[name]!();
      if (random.int(3) === 0) await delay(random.int(3));
    }
    broker.letIn();
    if (random.int(2) === 0) await bus.flush().catch(() => {});
    await stage.fate();
    const missing = [...published].filter((first) => !broker.received.includes(first));
    const told = errors.reduce<number>((sum, error) => {
      assertInstanceOf(error, ConnectionLostError);
      return sum + error.undelivered;
    }, 0);
    const context = `SEED=${seed + run}: ${steps.join(", ")}`;
    assert(missing.length <= told, `${missing.length} are missing, ${told} are told; ${context}`);
    assert(told <= published.size, `${told} of ${published.size} are told; ${context}`);
  }
});
