/**
 * Drives Chromium without a display, over its DevTools Protocol: opens pages, runs scripts in them, hides,
 * freezes and photographs them.
 */
import { createHash, X509Certificate } from "node:crypto";
import {
  BrowserProcess,
  findCommand,
  type PageOptions,
  type RemoteValue,
  textOf,
} from "./browser_process.ts";
import { BrowserProtocol, type SessionId } from "./browser_protocol.ts";

const NAMES = ["chromium", "chromium-headless-shell", "google-chrome"];
/** The line in which it says where it can be driven. */
const LISTENS = /^DevTools listening on (ws:.*)$/;
const FLAGS = [
  "--headless",
  // As root there is no sandbox.
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-crash-reporter",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-sync",
  "--no-first-run",
  "--no-proxy-server",
  "--mute-audio",
  "--remote-debugging-port=0",
];

/** How a browser is started. */
export interface ChromiumOptions {
  /** Flags besides those that it needs here. */
  readonly flags?: readonly string[];
  /** Certificates of servers, in PEM, that are taken for good whoever signed them, and for every host. */
  readonly certificates?: readonly string[];
  /** Hosts that are here, such as `page.test`. */
  readonly hosts?: readonly string[];
}

/**
 * The command of the environment's `CHROMIUM`, or of the path; `undefined` if there is none.
 *
 * @param hasTabs Whether it has to hide a page behind another, and to keep pages for going back to them:
 * the shell without a window shows each, and keeps none.
 */
export async function findChromium({ hasTabs = false } = {}): Promise<string | undefined> {
  const names = [Deno.env.get("CHROMIUM"), ...NAMES];
  return await findCommand(names.filter((name) => !(hasTabs && name?.endsWith("headless-shell"))));
}

/** A browser in a process of its own, with a profile that goes with it. */
export class Chromium implements AsyncDisposable {
  /** Such as `Chrome/156.0.8078.114`. */
  readonly version: string;
  readonly #tools: BrowserProtocol;
  readonly #resources: AsyncDisposableStack;

  private constructor(version: string, tools: BrowserProtocol, resources: AsyncDisposableStack) {
    this.version = version;
    this.#tools = tools;
    this.#resources = resources;
  }

  /** Starts the program; resolves when it can open pages. */
  static async start(
    command: string,
    { flags = [], certificates = [], hosts = [] }: ChromiumOptions = {},
  ): Promise<Chromium> {
    await using stack = new AsyncDisposableStack();
    const home = await Deno.makeTempDir({ prefix: "chromium-" });
    stack.defer(() => Deno.remove(home, { recursive: true }));
    const process = stack.use(
      new BrowserProcess(command, home, LISTENS, [
        ...FLAGS,
        `--user-data-dir=${home}/profile`,
        `--ignore-certificate-errors-spki-list=${certificates.map(spkiHash).join(",")}`,
        ...hosts.length === 0
          ? []
          : [`--host-resolver-rules=${hosts.map((host) => `MAP ${host} 127.0.0.1`).join(",")}`],
        ...flags,
        "about:blank",
      ]),
    );
    const tools = stack.use(await BrowserProtocol.open(await process.address));
    const { product } = await tools.call<{ product: string }>("Browser.getVersion");
    stack.defer(() => tools.call("Browser.close").then(() => tools.closed));
    return new Chromium(product.replace("Headless", ""), tools, stack.move());
  }

  /** Opens a page; resolves when it has loaded. */
  async open(
    url: string,
    { onLine = () => {}, hasWindow = false }: PageOptions = {},
  ): Promise<Page> {
    const { targetId } = await this.#tools.call<{ targetId: string }>("Target.createTarget", {
      url: "about:blank",
      newWindow: hasWindow,
    });
    const { sessionId } = await this.#tools.call<{ sessionId: string }>("Target.attachToTarget", {
      targetId,
      flatten: true,
    });
    const page = new Page(this.#tools, targetId, sessionId);
    await page.listen(onLine);
    await page.navigate(url);
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}

/** A tab of the browser. */
export class Page implements AsyncDisposable {
  readonly #tools: BrowserProtocol;
  readonly #target: string;
  readonly #session: SessionId;
  #isClosed = false;

  constructor(tools: BrowserProtocol, target: string, session: SessionId) {
    this.#tools = tools;
    this.#target = target;
    this.#session = session;
  }

  /** Has what it logs, and what it does not catch, told. */
  async listen(onLine: (line: string) => void): Promise<void> {
    this.#tools.on("Runtime.consoleAPICalled", ({ args }) => {
      onLine((args as RemoteValue[]).map(textOf).join(" "));
    }, this.#session);
    this.#tools.on("Runtime.exceptionThrown", ({ exceptionDetails }) => {
      const { text, exception } = exceptionDetails as ExceptionDetails;
      onLine(`${text} ${exception === undefined ? "" : textOf(exception)}`.trimEnd());
    }, this.#session);
    await Promise.all([this.call("Runtime.enable"), this.call("Page.enable")]);
  }

  /** Calls a method of the DevTools Protocol. */
  call<T = Readonly<Record<string, unknown>>>(method: string, params: object = {}): Promise<T> {
    return this.#tools.call<T>(method, params, this.#session);
  }

  /** Goes to another page; resolves when it has loaded. */
  async navigate(url: string): Promise<void> {
    const loaded = this.#tools.next("Page.loadEventFired", this.#session);
    const { errorText } = await this.call<{ errorText?: string }>("Page.navigate", { url });
    if (errorText !== undefined) throw new Error(`Cannot open ${url}: ${errorText}`);
    await loaded;
  }

  /** Goes back to the page before; resolves when it is shown. */
  async back(): Promise<void> {
    const { currentIndex, entries } = await this.call<
      { currentIndex: number; entries: { id: number }[] }
    >("Page.getNavigationHistory");
    const shown = this.#tools.next("Page.frameNavigated", this.#session);
    await this.call("Page.navigateToHistoryEntry", { entryId: entries[currentIndex - 1]!.id });
    await shown;
  }

  /** The value of an expression, once it is there if it is a promise. */
  async evaluate<T = unknown>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.call<
      { result: RemoteValue; exceptionDetails?: ExceptionDetails }
    >("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails === undefined) return result.value as T;
    const { text, exception } = exceptionDetails;
    throw new Error(exception === undefined ? text : textOf(exception));
  }

  /** Shows it; the other tabs of its window are hidden. */
  async show(): Promise<void> {
    await this.call("Page.bringToFront");
  }

  /** Freezes it, as the browser does with pages that have been hidden for long, or lets it go on. */
  async setFrozen(isFrozen: boolean): Promise<void> {
    await this.call("Page.setWebLifecycleState", { state: isFrozen ? "frozen" : "active" });
  }

  /** A picture of it, as PNG. */
  async screenshot(): Promise<Uint8Array<ArrayBuffer>> {
    const { data } = await this.call<{ data: string }>("Page.captureScreenshot");
    return Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  }

  /** Closes it, as a person does; the page is told before. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#tools.call("Target.closeTarget", { targetId: this.#target });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

interface ExceptionDetails {
  readonly text: string;
  readonly exception?: RemoteValue;
}

/** By this Chromium knows the key of a certificate. */
function spkiHash(pem: string): string {
  const spki = new X509Certificate(pem).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("base64");
}
