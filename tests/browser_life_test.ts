/**
 * A client in a page that is hidden, frozen, closed, or left and come back to, in Chromium. With
 * `PAGE_LIFE=long` in the environment, the page is hidden for ten minutes, and frozen for two.
 */
import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import { Broker, type BrokerOptions, NetPubSub } from "../mod.ts";
import { Proxy } from "../testing.ts";
import { bundle } from "../tools/harness/bundle.ts";
import { Chromium, findChromium, type Page } from "../tools/harness/chromium.ts";
import { PageServer } from "../tools/harness/page_server.ts";
import { until } from "../tools/harness/until.ts";
import type { PageView } from "./helpers/page_client.ts";

const CLIENT = new URL("helpers/page_client.ts", import.meta.url).pathname;
const KEY = "a key that both have";
const IS_LONG = Deno.env.get("PAGE_LIFE") === "long";
/** After ten seconds in which nobody sees a page, its timers fire once a minute; usually after minutes. */
const SLOW_TIMERS = "--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/10";
/** How long no timer fires before the client is looked at. */
const SILENCE_MS = 6000;
const [HIDDEN_MS, FROZEN_MS] = IS_LONG ? [600_000, 120_000] : [0, 2000];
/** Many heartbeats pass while a page is hidden or frozen. */
const SHORT: BrokerOptions = IS_LONG ? {} : { heartbeat: 500 };
/** Nobody waits for its end. */
const LONG_WINDOW_MS = 3_600_000;

const command = await findChromium({ hasTabs: true });
const note = command === undefined ? " (ignored: there is no Chromium with tabs here)" : "";
let bundled: Promise<string> | undefined;

/** A broker, a client of it in a page behind a proxy, and one here that publishes. */
class PageScene implements AsyncDisposable {
  readonly broker: Broker;
  readonly proxy: Proxy;
  readonly browser: Chromium;
  readonly page: Page;
  readonly #bus: NetPubSub;
  readonly #resources: AsyncDisposableStack;
  /** The numbers that were published. */
  readonly published: number[] = [];

  private constructor(
    broker: Broker,
    proxy: Proxy,
    browser: Chromium,
    page: Page,
    bus: NetPubSub,
    resources: AsyncDisposableStack,
  ) {
    this.broker = broker;
    this.proxy = proxy;
    this.browser = browser;
    this.page = page;
    this.#bus = bus;
    this.#resources = resources;
  }

  static async start(options: BrokerOptions): Promise<PageScene> {
    await using stack = new AsyncDisposableStack();
    bundled ??= bundle(CLIENT);
    const files: Readonly<Record<string, string>> = {
      "/page.html": '<!doctype html><script type="module" src="/page.js"></script>',
      "/page.js": await bundled,
      "/other.html": "<!doctype html>",
    };
    const broker = new Broker({ address: "ws://127.0.0.1:0/bus", authkey: KEY, ...options });
    stack.use(broker);
    await broker.start();
    const proxy = stack.use(new Proxy({ target: broker.address as string }));
    await proxy.start();
    const server = stack.use(new PageServer((path) => files[path]));
    const browser = stack.use(await Chromium.start(command!, { flags: [SLOW_TIMERS] }));
    const page = await browser.open(`${server.origin()}/page.html`);
    await page.evaluate(`join(${JSON.stringify(proxy.address)}, ${JSON.stringify(KEY)})`);
    const bus = stack.use(new NetPubSub(broker.address as string, KEY));
    await bus.connect();
    return new PageScene(broker, proxy, browser, page, bus, stack.move());
  }

  /** Publishes so many numbers. */
  async publish(count: number): Promise<void> {
    for (let at = 0; at < count; at++) {
      const n = this.published.length;
      this.published.push(n);
      this.#bus.publish("numbers", { n });
    }
    await this.#bus.flush();
  }

  view(): Promise<PageView> {
    return this.page.evaluate("view()");
  }

  /** Waits for what is to be seen of the page. */
  async until(condition: (view: PageView) => boolean, ms?: number): Promise<PageView> {
    let view: PageView;
    const look = async () => condition(view = await this.view());
    await until(look, ms, () => `${condition} of ${JSON.stringify(view)}`);
    return view!;
  }

  /** Waits until the page has heard the latest number. */
  async heardAll(): Promise<PageView> {
    return await this.until(({ heard }) => heard.at(-1) === this.published.at(-1));
  }

  /** Puts another tab before the page. */
  async hide(): Promise<void> {
    await this.browser.open("about:blank");
    assertEquals((await this.view()).visibility, "hidden");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}

/** A test that needs a browser. */
function testInPage(
  name: string,
  options: BrokerOptions,
  run: (scene: PageScene) => Promise<void>,
) {
  Deno.test(`${name}${note}`, { ignore: command === undefined }, async () => {
    await using scene = await PageScene.start(options);
    await run(scene);
  });
}

testInPage(
  "a page whose timers rest, as nobody sees it, stays connected, and comes back when it is cut off",
  SHORT,
  async (scene) => {
    await scene.hide();
    const began = performance.now();
    await scene.until(
      ({ silence }) => silence > SILENCE_MS && performance.now() - began > HIDDEN_MS,
      HIDDEN_MS + 60_000,
    );
    await scene.publish(100);
    const { heard, states } = await scene.heardAll();
    assertEquals([heard, scene.broker.stats().resumed], [scene.published, 0]);
    assertEquals(states, ["connecting", "connected"]);
    scene.proxy.cut();
    await scene.publish(100);
    const { heard: all, gaps } = await scene.heardAll();
    assertEquals([all, gaps, scene.broker.stats().resumed], [scene.published, [], 1]);
  },
);

testInPage(
  "a page that was frozen comes back by itself, and has what it missed",
  { ...SHORT, resumeWindow: LONG_WINDOW_MS },
  async (scene) => {
    await scene.publish(1);
    await scene.heardAll();
    await scene.hide();
    await scene.page.setFrozen(true);
    await until(() => scene.broker.stats().detached === 1);
    await scene.publish(100);
    await delay(FROZEN_MS);
    assertEquals((await scene.view()).heard.length, 1);
    await scene.page.setFrozen(false);
    const { heard, gaps, visibility } = await scene.heardAll();
    assertEquals([heard, gaps, visibility], [scene.published, [], "hidden"]);
    assertEquals(scene.broker.stats().resumed, 1);
  },
);

testInPage(
  "a page that was frozen for longer than the resume window is told that it missed something",
  { ...SHORT, resumeWindow: 100 },
  async (scene) => {
    await scene.publish(1);
    await scene.heardAll();
    await scene.hide();
    await scene.page.setFrozen(true);
    await until(() => scene.broker.stats().sessions === 1);
    await scene.publish(100);
    await scene.page.setFrozen(false);
    await scene.until(({ states }) => states.at(-1) === "connected");
    await scene.publish(1);
    const { heard, gaps } = await scene.heardAll();
    assertEquals(heard, [0, 101]);
    assertEquals(gaps.map(({ reason }) => reason), ["expired"]);
  },
);

testInPage(
  "a page that is closed leaves at once",
  { resumeWindow: LONG_WINDOW_MS },
  async (scene) => {
    assertEquals(scene.broker.stats().sessions, 2);
    await scene.page.close();
    await until(() => scene.broker.stats().sessions === 1);
    assertEquals(scene.broker.stats().detached, 0);
  },
);

testInPage(
  "a page that the browser kept comes back when it is shown again, and has what it missed",
  { resumeWindow: LONG_WINDOW_MS },
  async (scene) => {
    await scene.publish(1);
    await scene.heardAll();
    await scene.page.navigate(
      new URL("other.html", await scene.page.evaluate("location.href")).href,
    );
    await until(() => scene.broker.stats().detached === 1);
    await scene.publish(100);
    await scene.page.back();
    const { heard, gaps, returns } = await scene.heardAll();
    assertEquals([heard, gaps, returns], [scene.published, [], 1]);
    assert(scene.broker.stats().resumed === 1);
  },
);
