/** What a client does when its page wakes, sleeps and goes; the events are those of browsers, from fakes. */
import { assert, assertEquals } from "@std/assert";
import { TICKS } from "../protocol/link.ts";
import { Ticker } from "../base/ticker.ts";
import { ConnectionLostError } from "../errors.ts";
import { parseAddress } from "../io/address.ts";
import { dial } from "../io/dial.ts";
import { UnreachableError } from "../io/dial_errors.ts";
import type { Outside } from "../io/outside.ts";
import { type PageScope, watchPage } from "../io/page_events.ts";
import { Broker, type BrokerOptions, type Delivery, NetPubSub } from "../mod.ts";
import { BrokerFinder } from "../net/broker_finder.ts";
import { ClientPubSub } from "../net/client_pubsub.ts";
import { ClientSession } from "../net/client_session.ts";
import type { Incoming } from "../net/incoming.ts";
import type { NetPubSubOptions } from "../net/options.ts";
import { PageLife } from "../net/page_life.ts";
import { FrameType } from "../protocol/frame.ts";
import { brokerFrameLimits, decodeAck, encodeAck, LIMITS_MAX } from "../protocol/frame_bodies.ts";
import { Link, type LinkEnd } from "../protocol/link.ts";
import { streamPair } from "../tools/harness/memory_streams.ts";
import { until } from "../tools/harness/until.ts";
import { Clock } from "./helpers/clock.ts";
import { FramePeer } from "./helpers/frame_peer.ts";
import { quiet } from "./helpers/quiet.ts";

const KEY = "the key of a test";

/** What tells of events, and counts who listens. */
class Events extends EventTarget {
  listeners = 0;

  override addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void {
    this.listeners++;
    super.addEventListener(...args);
  }

  override removeEventListener(...args: Parameters<EventTarget["removeEventListener"]>): void {
    this.listeners--;
    super.removeEventListener(...args);
  }
}

/** A page. */
class Page {
  readonly document = Object.assign(new Events(), { visibilityState: "visible" });
  readonly window: Events & PageScope = Object.assign(new Events(), { document: this.document });

  get listeners(): number {
    return this.window.listeners + this.document.listeners;
  }

  /** An event of the window, or of the document. */
  happens(type: string, persisted?: boolean): void {
    const event = Object.assign(new Event(type), { persisted });
    const isDocuments = ["freeze", "resume", "visibilitychange"].includes(type);
    (isDocuments ? this.document : this.window).dispatchEvent(event);
  }

  /** It is seen, or no longer. */
  show(visibilityState: "visible" | "hidden"): void {
    this.document.visibilityState = visibilityState;
    this.happens("visibilitychange");
  }
}

/** A client in a page; `isThere` says whether its broker can be reached. */
class PageBus extends ClientPubSub {
  static isThere = true;
  static dials = 0;

  constructor(page: Page, address: string, options: NetPubSubOptions = {}) {
    PageBus.isThere = true;
    PageBus.dials = 0;
    const outside: Outside = {
      dial(endpoint, signal, caCerts) {
        PageBus.dials++;
        if (!PageBus.isThere) throw new UnreachableError(endpoint, "no broker answers", undefined);
        return dial(endpoint, signal, caCerts);
      },
      endpointOf: (address) => parseAddress(address),
      watchPage: (listener) => watchPage(listener, page.window),
    };
    const finder = new BrokerFinder(options, outside);
    finder.set({ address, authkey: KEY });
    super(finder, options);
  }
}

/** A broker, a client in a page, and one beside it. */
async function setUp(options: BrokerOptions = {}) {
  const events: string[] = [];
  const broker = new Broker({
    address: "tcp://127.0.0.1:0",
    authkey: KEY,
    onClient: ({ type, client }) => client === 2 && events.push(type),
    ...options,
  });
  await broker.start();
  const address = broker.address as string;
  const other = new NetPubSub(address, KEY);
  await other.connect();
  const page = new Page();
  const states: string[] = [];
  const gaps: string[] = [];
  const bus = new PageBus(page, address, {
    onState: (state) => states.push(state),
    onGap: ({ reason }) => gaps.push(reason),
    onError() {},
  });
  const end = async () => {
    await bus.disconnect();
    await other.disconnect();
    await broker.shutdown();
  };
  return { broker, other, page, bus, events, states, gaps, end };
}

/** Whatever promises do without a turn of the event loop. */
async function promises(): Promise<void> {
  for (let i = 0; i < 200; i++) await undefined;
}

async function next(deliveries: AsyncIterable<Delivery>): Promise<unknown> {
  for await (const { message } of deliveries) return message;
}

Deno.test("watchPage says in three words what a browser tells", () => {
  const page = new Page();
  const words: string[] = [];
  const stop = watchPage({
    wake: () => words.push("wake"),
    sleep: () => words.push("sleep"),
    leave: () => words.push("leave"),
  }, page.window);
  const rows: [happens: () => void, word?: string][] = [
    [() => page.happens("pageshow", false)], // It is loaded.
    [() => page.show("hidden")],
    [() => page.show("visible"), "wake"],
    [() => page.happens("freeze"), "sleep"],
    [() => page.happens("resume"), "wake"],
    [() => page.happens("pagehide", true), "sleep"],
    [() => page.happens("pageshow", true), "wake"],
    [() => page.happens("offline")],
    [() => page.happens("online"), "wake"],
    [() => page.happens("pagehide", false), "leave"],
  ];
  for (const [happens, word] of rows) {
    happens();
    assertEquals(words.splice(0), word === undefined ? [] : [word]);
  }
  stop();
  for (const [happens] of rows) happens();
  assertEquals([words, page.listeners], [[], 0]);
});

Deno.test("watchPage follows a worker, which has no document, and nothing where there are no events", () => {
  const worker = new Events();
  let wakes = 0;
  const listener = { wake: () => wakes++, sleep() {}, leave() {} };
  const stop = watchPage(listener, worker);
  worker.dispatchEvent(new Event("online"));
  assertEquals(wakes, 1);
  stop();
  assertEquals(worker.listeners, 0);
  watchPage(listener, {})();
});

Deno.test("NetPubSub follows its page while it is not disconnected, and no longer", async () => {
  const { broker, page, bus, end } = await setUp();
  assertEquals(page.listeners, 0);
  for (let i = 0; i < 3; i++) {
    const connected = bus.connect();
    assert(page.listeners > 0);
    await connected;
    const again = bus.disconnect().then(() => {});
    const next = bus.connect(); // It goes on with the next connection.
    await Promise.all([again, next]);
    assert(page.listeners > 0);
    await bus.disconnect();
    assertEquals(page.listeners, 0);
  }
  PageBus.isThere = false;
  await bus.connect().catch(() => {});
  assertEquals(page.listeners, 0);
  PageBus.isThere = true;
  await bus.connect();
  await broker.shutdown();
  await bus.disconnect();
  assertEquals(page.listeners, 0);
  await end();
});

for (const type of ["freeze", "pagehide"]) {
  const back = type === "freeze" ? "resume" : "pageshow";

  Deno.test(`NetPubSub lets go of its connection at ${type}, and resumes its session at ${back}`, async () => {
    const { other, page, bus, events, states, gaps, end } = await setUp();
    await bus.connect();
    const came = bus.subscribe("in");
    const left = other.subscribe("out");
    await Promise.all([bus.flush(), other.flush()]);
    page.happens(type, true);
    await until(() => events.includes("lost"));
    const { dials } = PageBus;
    other.publish("in", { n: 1 });
    bus.publish("out", { n: 2 });
    await other.flush();
    // Longer than the first pause: nothing is dialled while the page is away.
    await until(() => bus.state === "reconnecting");
    await new Promise((resolve) => setTimeout(resolve, 100));
    assertEquals(PageBus.dials, dials);
    page.happens(back, true);
    await promises();
    assertEquals(PageBus.dials, dials + 1);
    assertEquals([await next(came), await next(left)], [{ n: 1 }, { n: 2 }]);
    assertEquals(events, ["joined", "lost", "resumed"]);
    assertEquals(states, ["connecting", "connected", "reconnecting", "connected"]);
    assertEquals(gaps, []);
    await end();
  });
}

Deno.test("NetPubSub tells of a gap when its page was away for longer than its session is kept", async () => {
  const { page, bus, events, gaps, end } = await setUp({ resumeWindow: 10 });
  await bus.connect();
  page.happens("pagehide", true);
  await until(() => events.includes("left"));
  page.happens("pageshow", true);
  await until(() => gaps.length > 0);
  assertEquals([bus.state, gaps], ["connected", ["expired"]]);
  await end();
});

Deno.test("NetPubSub that connects when its page falls asleep goes on when it wakes", async () => {
  const { page, bus, states, end } = await setUp();
  const connected = bus.connect();
  await promises();
  assertEquals(PageBus.dials, 1);
  page.happens("freeze");
  await quiet();
  assertEquals([bus.state, PageBus.dials], ["connecting", 1]);
  page.happens("resume");
  await connected;
  assertEquals([PageBus.dials, states], [2, ["connecting", "connected"]]);
  await end();
});

Deno.test("NetPubSub can be disconnected while its page is asleep", async () => {
  const { page, bus, events, end } = await setUp();
  await bus.connect();
  page.happens("freeze");
  await until(() => bus.state === "reconnecting");
  await bus.disconnect();
  assertEquals([bus.state, page.listeners], ["disconnected", 0]);
  await bus.connect();
  assertEquals(events.filter((type) => type === "joined").length, 1);
  await end();
});

Deno.test("NetPubSub says GOODBYE when its page goes, behind what was published", async () => {
  const { other, page, bus, events, gaps, end } = await setUp();
  await bus.connect();
  const came = other.subscribe("last");
  await other.flush();
  for (let n = 0; n < 100; n++) bus.publish("last", { n, text: "x".repeat(1000) });
  page.happens("pagehide", false);
  await until(() => events.includes("left"));
  assertEquals(events, ["joined", "left"]); // And not "lost": its session is not kept.
  let n = 0;
  for await (const { message } of came) {
    assertEquals(message.n, n++);
    if (n === 100) break;
  }
  assertEquals(PageBus.dials, 1);
  page.happens("pageshow", true); // Against expectation.
  await until(() => gaps.length > 0);
  assertEquals(bus.state, "connected");
  await end();
});

for (const type of ["online", "visibilitychange"]) {
  Deno.test(`NetPubSub that reconnects tries at once at ${type}, and begins with short pauses again`, async () => {
    const { page, bus, events, end } = await setUp();
    await bus.connect();
    PageBus.isThere = false;
    page.happens("freeze");
    await until(() => events.includes("lost"));
    page.happens("resume");
    // Until a pause takes 1.6 s at least.
    const before = PageBus.dials;
    await until(() => PageBus.dials === before + 6);
    await promises();
    const { dials } = PageBus;
    page.happens(type);
    await promises();
    assertEquals(PageBus.dials, dials + 1);
    await until(() => PageBus.dials > dials + 2, 1500); // Two short pauses, instead of two long ones.
    PageBus.isThere = true;
    page.happens(type);
    await until(() => bus.state === "connected");
    await end();
  });
}

/** A link for those who only ask. */
class FakeLink {
  asks = 0;
  isDoubted = false;
  lost: string | undefined;
  readonly #ended = Promise.withResolvers<LinkEnd>();
  readonly finished = this.#ended.promise;

  ask(): void {
    this.asks++;
    this.isDoubted = true;
  }

  lose(error: Error): void {
    this.lost = error.message;
    this.#ended.resolve({});
  }
}

function lifeOf(link: FakeLink): { life: PageLife; due(): Promise<void> } {
  const life = new PageLife({ watchPage: () => () => {} }, 5);
  life.connected(link as unknown as Link);
  // A timer that is set later and takes longer comes later.
  return { life, due: () => new Promise((resolve) => setTimeout(resolve, 20)) };
}

Deno.test("PageLife asks once whether the connection is there, and takes it for lost if no answer comes", async () => {
  using _time = new Clock(); // The timer is in time, however busy the machine is.
  const link = new FakeLink();
  const { life, due } = lifeOf(link);
  life.wake();
  life.wake();
  assertEquals(link.asks, 1);
  await due();
  assertEquals(link.lost, "no answer within 5 ms");
  life.wake();
  assertEquals(link.asks, 1);
});

Deno.test("PageLife goes on with a connection that answers, and asks again when it wakes again", async () => {
  const link = new FakeLink();
  const { life, due } = lifeOf(link);
  for (let i = 1; i <= 2; i++) {
    life.wake();
    link.isDoubted = false; // Something came.
    await due();
    assertEquals([link.asks, link.lost], [i, undefined]);
  }
});

Deno.test("PageLife asks again after a timer that is late, and judges by one that is in time", async () => {
  for (const [now, date] of [[60_000, 60_000], [0, 60_000], [300, 300]] as const) {
    using time = new Clock();
    const link = new FakeLink();
    lifeOf(link).life.wake();
    time.spend(now, date); // It slept, or was busy.
    await until(() => link.lost !== undefined);
    assertEquals([link.asks, link.lost], [2, "no answer within 5 ms"]);
  }
});

Deno.test("PageLife takes no connection for lost once it has ended, or its page is asleep", async () => {
  for (const ends of ["end", "sleep"] as const) {
    const link = Object.assign(new FakeLink(), { close() {} });
    const { life, due } = lifeOf(link);
    life.wake();
    life[ends]();
    await due();
    assertEquals(link.lost, undefined);
  }
});

Deno.test("PageLife pauses once a connection was made after it woke, and not before", async () => {
  const { signal } = new AbortController();
  const { life } = lifeOf(new FakeLink());
  life.wake();
  assertEquals([await life.pause(1, signal, true), await life.pause(1, signal, true)], [
    true,
    false,
  ]);
  life.wake();
  life.connected(new FakeLink() as unknown as Link);
  assertEquals(await life.pause(1, signal, true), false);
  life.end();
});

Deno.test("PageLife waits and tries as ever where there is no page", async () => {
  const life = new PageLife({});
  const { signal } = new AbortController();
  assertEquals(await life.attempt(signal, (given) => Promise.resolve(given === signal)), true);
  assertEquals(await life.pause(0, signal, true), false);
});

Deno.test("ClientSession gives a sign of life when something comes and its timer is late", async () => {
  using time = new Clock();
  const [ours, theirs] = streamPair();
  const peer = new FramePeer(theirs);
  const link = new Link(ours, brokerFrameLimits(LIMITS_MAX));
  const remote = new ClientSession({ full: false } as Incoming);
  remote.begin(link);
  remote.session.attach(link);
  const tickMs = 1_000_000; // No timer of this fires.
  remote.ticker = new Ticker(tickMs, (passed) => link.tick(passed));
  for (let i = 0; i < 5; i++) {
    time.spend(TICKS * tickMs);
    await peer.send(FrameType.ACK, encodeAck(0, 0));
    assertEquals(decodeAck(await peer.expect(FrameType.ACK)), { messages: 0, calls: 0, asks: 0 });
  }
  remote.ticker.end();
  theirs.close();
  assert((await link.finished).error instanceof ConnectionLostError);
});
