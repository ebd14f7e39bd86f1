/**
 * A page that nobody sees, as a worker: its timers fire when the test says that a minute has passed, and
 * never else. It can be frozen, too.
 */
import type { Gap, State } from "../../net/options.ts";
import type { NetPubSub } from "../../web.ts";

/** What a test tells it to do. */
export type Order =
  | { readonly connect: string }
  /** Fires the timers that are set. */
  | "minute"
  /** Publishes so many messages, and waits until the broker has them. */
  | { readonly publish: number }
  /** Stops all that runs here, until the first of these numbers is not 0 any more; with the event, or without. */
  | { readonly freeze: Int32Array; readonly isTold: boolean };

/** What it tells the test. */
export type News =
  | { readonly state: State }
  | { readonly gap: Gap["reason"] }
  /** The number of the latest message that came, and in how many turns of its own. */
  | { readonly n: number; readonly turns: number }
  | "published"
  | "frozen";

const KEY = "the key of a test";
/** How long each subscriber takes for a message. */
const WORK_MS = 0.05;

// The types of this module are for tests, which do not run it.
if ("WorkerGlobalScope" in globalThis) begin();

function begin(): void {
  const scope = globalThis as unknown as Record<string, unknown> & {
    onmessage: ((event: { data: Order }) => void) | null;
    postMessage(news: News): void;
  };
  const tell = (news: News) => scope.postMessage(news);
  const minute = fakeTimers();
  const document = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  let turns = 0;
  const Channel = MessageChannel;
  class CountedChannel extends Channel {
    constructor() {
      super();
      turns++;
    }
  }
  Object.assign(scope, { document, MessageChannel: CountedChannel });
  let bus: NetPubSub;
  scope.onmessage = async ({ data: order }) => {
    if (order === "minute") minute();
    else if ("connect" in order) {
      const { NetPubSub } = await import("../../web.ts"); // It looks around when it is loaded.
      bus = new NetPubSub(order.connect, KEY, {
        onState: (state) => tell({ state }),
        onGap: ({ reason }) => tell({ gap: reason }),
        onError() {},
      });
      bus.addSubscriber("n", work);
      take(bus, (n) => tell({ n, turns }));
      await bus.connect();
    } else if ("publish" in order) {
      for (let n = 1; n <= order.publish; n++) bus.publish("back", { n });
      await bus.flush();
      tell("published");
    } else {
      if (order.isTold) document.dispatchEvent(new Event("freeze"));
      tell("frozen");
      Atomics.wait(order.freeze, 0, 0);
      document.dispatchEvent(new Event("resume"));
    }
  };
}

/** Puts timers in place that fire only when the function is called that this returns. */
function fakeTimers(): () => void {
  const timers = new Map<number, { callback(): void; isRepeated: boolean }>();
  let last = 0;
  const set = (isRepeated: boolean) => (callback: () => void) => {
    timers.set(++last, { callback, isRepeated });
    return last;
  };
  const clear = (timer: number) => void timers.delete(timer);
  Object.assign(globalThis, {
    setTimeout: set(false),
    clearTimeout: clear,
    setInterval: set(true),
    clearInterval: clear,
  });
  Deno.unrefTimer = () => {};
  return () => {
    for (const [timer, { callback, isRepeated }] of [...timers]) {
      if (!timers.has(timer)) continue;
      if (!isRepeated) timers.delete(timer);
      callback();
    }
  };
}

async function take(bus: NetPubSub, tell: (n: number) => void): Promise<void> {
  for await (const { message } of bus.subscribe("n")) {
    work();
    if (message.n as number % 100 === 0 || message.last) tell(message.n as number);
  }
}

function work(): void {
  const end = performance.now() + WORK_MS;
  while (performance.now() < end);
}
