/**
 * Drives Chromium without a display, over its DevTools Protocol: opens pages, runs scripts in them, hides,
 * freezes and photographs them.
 */
import { TextLineStream } from "@std/streams/text-line-stream";
import { createHash, X509Certificate } from "node:crypto";
import { DevTools, type SessionId } from "./dev_tools.ts";
import { killIfAlive } from "./kill.ts";

/** How long the browser may take to begin, and to end in order. */
const START_MS = 20_000;
const END_MS = 5000;
const NAMES = ["chromium", "chromium-headless-shell", "google-chrome"];
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

/** What a page tells. */
export interface PageOptions {
  /** Told what it logs, and what it does not catch. */
  onLine?(line: string): void;
  /**
   * Whether it has a window of its own; otherwise it is a tab before those that are there.
   *
   * @default {false}
   */
  readonly hasWindow?: boolean;
}

/** The command of the environment's `CHROMIUM`, or of the path; `undefined` if there is none. */
export async function findChromium(): Promise<string | undefined> {
  for (const command of [Deno.env.get("CHROMIUM"), ...NAMES]) {
    if (command === undefined) continue;
    try {
      const { success } = await new Deno.Command(command, {
        args: ["--version"],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).output();
      if (success) return command;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** A browser in a process of its own, with a profile that goes with it. */
export class Chromium implements AsyncDisposable {
  /** Such as `Chrome/156.0.8078.114`. */
  readonly version: string;
  readonly #tools: DevTools;
  readonly #resources: AsyncDisposableStack;

  private constructor(version: string, tools: DevTools, resources: AsyncDisposableStack) {
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
      new BrowserProcess(command, home, [
        ...FLAGS,
        `--user-data-dir=${home}/profile`,
        `--ignore-certificate-errors-spki-list=${certificates.map(spkiHash).join(",")}`,
        ...hosts.length === 0
          ? []
          : [`--host-resolver-rules=${hosts.map((host) => `MAP ${host} 127.0.0.1`).join(",")}`],
        ...flags,
      ]),
    );
    const tools = stack.use(await DevTools.open(await process.address));
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
  readonly #tools: DevTools;
  readonly #target: string;
  readonly #session: SessionId;
  #isClosed = false;

  constructor(tools: DevTools, target: string, session: SessionId) {
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

/** A value of a page. */
interface RemoteValue {
  readonly value?: unknown;
  readonly unserializableValue?: string;
  readonly description?: string;
}

interface ExceptionDetails {
  readonly text: string;
  readonly exception?: RemoteValue;
}

function textOf({ value, unserializableValue, description }: RemoteValue): string {
  return String(value ?? unserializableValue ?? description);
}

/** The process of a browser. */
class BrowserProcess implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  readonly #address = Promise.withResolvers<string>();

  constructor(command: string, home: string, args: readonly string[]) {
    this.#process = new Deno.Command(command, {
      args: [...args, "about:blank"],
      // What it keeps besides its profile lies there, too.
      env: { HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    const lines = this.#process.stderr.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    const said: string[] = [];
    for await (const line of lines) {
      const address = /^DevTools listening on (ws:.*)$/.exec(line)?.[1];
      if (address !== undefined) this.#address.resolve(address);
      if (said.length < 20) said.push(line);
    }
    this.#address.reject(new Error(`The browser ended: ${said.join("\n")}`));
  }

  /** Where it can be driven. */
  get address(): Promise<string> {
    const timer = setTimeout(
      () => this.#address.reject(new Error(`The browser did not begin within ${START_MS} ms`)),
      START_MS,
    );
    return this.#address.promise.finally(() => clearTimeout(timer));
  }

  /** Waits for its end, and kills it if it does not come. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#address.promise.catch(() => {}); // Nobody waits for it any more.
    const timer = setTimeout(() => killIfAlive(this.#process, "SIGKILL"), END_MS);
    await this.#reading;
    await this.#process.status;
    clearTimeout(timer);
  }
}

/** By this Chromium knows the key of a certificate. */
function spkiHash(pem: string): string {
  const spki = new X509Certificate(pem).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("base64");
}
