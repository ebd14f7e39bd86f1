/**
 * What a client promises, in pages: the cases of `conformance/client/`, run by Chromium, against brokers
 * here. In one kind of page, and over one transport, all cases are run, in the others the brief ones; with
 * `CONFORMANCE=all` in the environment all everywhere, also in Firefox, and a table says how many passed.
 */
import { assertEquals } from "@std/assert";
import { bundle } from "../tools/harness/bundle.ts";
import type { Browser } from "../tools/harness/browser_process.ts";
import { Chromium, findChromium } from "../tools/harness/chromium.ts";
import { findFirefox, Firefox } from "../tools/harness/firefox.ts";
import { PageServer } from "../tools/harness/page_server.ts";
import type { Setting } from "./conformance/client/context.ts";
import { casesFor, type Outcome } from "./conformance/client/run_cases.ts";
import { TempFolder } from "./helpers/folder.ts";
import { Stages } from "./helpers/stages.ts";
import { SIGNED } from "./helpers/tls.ts";
import { type Transport, WS, WSS } from "./helpers/transports.ts";

const SCRIPT = new URL("conformance/client/page.ts", import.meta.url).pathname;
const IS_WHOLE = Deno.env.get("CONFORMANCE") === "all";
/** How long the cases of one page may take. */
const RUN_MS = 60_000;
const TRANSPORTS: Readonly<Record<string, Transport>> = { ws: WS, wss: WSS };
/** A host of this machine which no browser takes for one: its pages have no `crypto.subtle` over HTTP. */
const HOST = "page.test";

/** What the pages consist of, by their paths; what a page is to do stands after the `?` of its URL. */
const FILES: Readonly<Record<string, string>> = {
  "/page.html": `<!doctype html><script type="module" src="/page.js"></script>`,
  "/page.js": await bundle(SCRIPT),
  "/worker.html": `<!doctype html><script src="/worker.js"></script>`,
  "/worker.js": `
    const worker = new Worker("/page.js" + location.search, { type: "module" });
    worker.onmessage = ({ data }) => console.log(data);
    worker.onerror = ({ message }) => console.log(message);`,
  "/frame.html": `<!doctype html><body><script src="/frame.js"></script></body>`,
  "/frame.js": `
    onmessage = ({ data }) => console.log(data);
    const frame = document.createElement("iframe");
    frame.src = decodeURIComponent(location.hash.slice(1)) + location.search;
    document.body.append(frame);`,
};

/** The kinds of pages, each with the URL of one without what it is to do. */
const PAGES: Readonly<Record<string, (server: PageServer, folder: string) => string>> = {
  "an http page": (server) => `${server.origin("http")}/page.html`,
  "an http page of another host": (server) => `${server.origin("http", HOST)}/page.html`,
  "an https page": (server) => `${server.origin("https")}/page.html`,
  "a worker": (server) => `${server.origin("https")}/worker.html`,
  "a frame of another origin": (server) =>
    `${server.origin("https")}/frame.html#${server.origin("https", HOST)}/page.html`,
  "a page from disk": (_server, folder) => `file://${folder}/page.html`,
};
/** Where all cases are always run: there the most is missing. */
const WHOLE = "an http page of another host over ws";

/** A browser, as far as it is here. */
interface Place {
  readonly name: string;
  readonly command: string | undefined;
  /** How many pages are open at a time. */
  readonly pages: number;
  start(command: string): Promise<Browser>;
}

const CHROMIUM: Place = {
  name: "Chromium",
  command: await findChromium(),
  pages: 3,
  start: (command) => Chromium.start(command, { certificates: [SIGNED.cert], hosts: [HOST] }),
};
const FIREFOX: Place = {
  name: "Firefox",
  command: IS_WHOLE ? await findFirefox() : undefined,
  // It opens one WebSocket to a host at a time, and has one wait whose predecessors failed.
  pages: 1,
  start: (command) => Firefox.start(command, { hosts: [HOST] }),
};

/** Runs the cases in a page; what became of each. */
async function run(browser: Browser, url: string, setting: Setting): Promise<Outcome[]> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => {}); // It is awaited once the page is there.
  const timer = setTimeout(() => reject(new Error(`It took more than ${RUN_MS} ms`)), RUN_MS);
  const outcomes: Outcome[] = [];
  const onLine = (line: string) => {
    if (!line.startsWith("{")) return reject(new Error(`The page said: ${line}`));
    const outcome = JSON.parse(line);
    if (outcome.isDone) resolve();
    else outcomes.push(outcome);
  };
  const [path, hash] = url.split("#");
  const search = encodeURIComponent(JSON.stringify(setting));
  try {
    // In a window of its own it is seen, so its timers are not slowed down.
    await using _page = await browser.open(
      `${path}?${search}${hash === undefined ? "" : `#${hash}`}`,
      { onLine, hasWindow: true },
    );
    await promise;
  } finally {
    clearTimeout(timer);
  }
  return outcomes;
}

/** What became of one page. */
interface Run {
  readonly page: string;
  readonly transport: string;
  readonly setting: Setting;
  /** What became of the cases; or what went wrong with all of them. */
  readonly outcomes: readonly Outcome[] | Error;
}

/** Runs the cases in all pages, some at a time: most of each run is waiting. */
async function runAll(
  browser: Browser,
  pages: number,
  server: PageServer,
  folder: string,
): Promise<Run[]> {
  const origins = [server.origin("http", HOST), server.origin("https", HOST)];
  const waiting = Object.keys(PAGES).flatMap((page) =>
    Object.keys(TRANSPORTS).map((transport) => ({ page, transport }))
  );
  const runs: Run[] = [];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { page, transport } = next;
      const on = TRANSPORTS[transport]!;
      await using stages = new Stages({ ...on, broker: { ...on.broker, origins } });
      const setting: Setting = {
        control: stages.control,
        transport,
        place: "page",
        caCerts: [],
        isWhole: IS_WHOLE || `${page} over ${transport}` === WHOLE,
        chaosMs: IS_WHOLE ? 5000 : 1500,
      };
      const outcomes = await run(browser, PAGES[page]!(server, folder), setting)
        .catch((error: Error) => error);
      runs.push({ page, transport, setting, outcomes });
    }
  };
  await Promise.all(Array.from({ length: pages }, work));
  return runs;
}

for (const { name, command, pages, start } of IS_WHOLE ? [CHROMIUM, FIREFOX] : [CHROMIUM]) {
  const note = command === undefined ? ` (ignored: there is no ${name} here)` : "";
  const options = { ignore: command === undefined };
  Deno.test(`a client in a page in ${name} keeps its promises${note}`, options, async (t) => {
    await using server = new PageServer((path) => FILES[path], SIGNED);
    await using folder = await TempFolder.make();
    await Deno.writeTextFile(
      `${folder.path}/page.html`,
      `<!doctype html><script type="module" src="${server.origin()}/page.js"></script>`,
    );
    await using browser = await start(command!);
    const runs = await runAll(browser, pages, server, folder.path);
    for (const { page, transport, setting, outcomes } of runs) {
      await t.step(`${page} over ${transport}`, async (t) => {
        if (outcomes instanceof Error) throw outcomes;
        const wanted = casesFor(setting, false).map(({ name }) => name);
        assertEquals(outcomes.map(({ name }) => name).toSorted(), wanted.toSorted());
        for (const { name, problem } of outcomes) {
          await t.step(name, () => {
            if (problem !== undefined) throw new Error(problem);
          });
        }
      });
    }
    if (!IS_WHOLE) return;
    // A reporter leaves out what a test prints, and names all steps.
    await t.step(`the cases that passed in ${browser.version}`, async (t) => {
      for (const { page, transport, outcomes } of runs) {
        const all = outcomes instanceof Error ? [] : outcomes;
        const good = all.filter(({ problem }) => problem === undefined);
        await t.step(`${page} over ${transport} | ${good.length} of ${all.length}`, () => {});
      }
    });
  });
}
