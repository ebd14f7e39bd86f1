/** Drives Firefox without a display, over WebDriver BiDi: opens pages, and hears what they log. */
import { BrowserProcess, findCommand, type PageOptions } from "./browser_process.ts";
import { BrowserProtocol } from "./browser_protocol.ts";

const NAMES = ["firefox-esr", "firefox"];
/** The line in which it says where it can be driven. */
const LISTENS = /^WebDriver BiDi listening on (ws:.*)$/;

/** What the text of an error begins with; others are of connections that failed, and the like. */
const UNCAUGHT = /^(uncaught|\w*Error\b)/i;

/** How a browser is started. */
export interface FirefoxOptions {
  /** Hosts that are here, such as `page.test`. */
  readonly hosts?: readonly string[];
}

interface LogEntry {
  readonly source: { readonly context?: string };
  /** `"console"`, or `"javascript"`: what it does not catch, and what the browser says of it. */
  readonly type: string;
  readonly text: string | null;
}

/** The command of the environment's `FIREFOX`, or of the path; `undefined` if there is none. */
export async function findFirefox(): Promise<string | undefined> {
  return await findCommand([Deno.env.get("FIREFOX"), ...NAMES]);
}

/** A browser in a process of its own, with a profile that goes with it. It takes every certificate. */
export class Firefox implements AsyncDisposable {
  /** Such as `Firefox/153.8.0`. */
  readonly version: string;
  readonly #protocol: BrowserProtocol;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    version: string,
    protocol: BrowserProtocol,
    resources: AsyncDisposableStack,
  ) {
    this.version = version;
    this.#protocol = protocol;
    this.#resources = resources;
  }

  /** Starts the program; resolves when it can open pages. */
  static async start(command: string, { hosts = [] }: FirefoxOptions = {}): Promise<Firefox> {
    await using stack = new AsyncDisposableStack();
    const home = await Deno.makeTempDir({ prefix: "firefox-" });
    stack.defer(() => Deno.remove(home, { recursive: true }));
    await Deno.mkdir(`${home}/profile`);
    const own = JSON.stringify(hosts.join(","));
    await Deno.writeTextFile(
      `${home}/profile/user.js`,
      `user_pref("network.dns.localDomains", ${own});\n`,
    );
    const process = stack.use(
      new BrowserProcess(command, home, LISTENS, [
        "--headless",
        "--no-remote",
        "--profile",
        `${home}/profile`,
        "--remote-debugging-port=0",
        "about:blank",
      ]),
    );
    const protocol = stack.use(await BrowserProtocol.open(`${await process.address}/session`));
    const { capabilities: { browserVersion } } = await protocol.call<
      { capabilities: { browserVersion: string } }
    >("session.new", { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
    stack.defer(() => protocol.call("browser.close").then(() => protocol.closed));
    await protocol.call("session.subscribe", { events: ["log.entryAdded"] });
    return new Firefox(`Firefox/${browserVersion}`, protocol, stack.move());
  }

  /** Opens a page; resolves when it has loaded. */
  async open(
    url: string,
    { onLine = () => {}, hasWindow = false }: PageOptions = {},
  ): Promise<AsyncDisposable> {
    const protocol = this.#protocol;
    const { context } = await protocol.call<{ context: string }>("browsingContext.create", {
      type: hasWindow ? "window" : "tab",
    });
    const remove = protocol.on("log.entryAdded", (params) => {
      const { source, type, text } = params as unknown as LogEntry;
      const isOfPage = type === "console" || UNCAUGHT.test(text ?? "");
      if (source.context === context && isOfPage) onLine(text ?? "");
    });
    await protocol.call("browsingContext.navigate", { context, url, wait: "complete" });
    return {
      async [Symbol.asyncDispose]() {
        remove();
        await protocol.call("browsingContext.close", { context });
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }
}
