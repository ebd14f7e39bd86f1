/**
 * The module of `deno task web` in pages of Chromium: how a page finds its broker and gets its tickets, and
 * what it is told when it cannot connect.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { Broker, createTicket } from "../mod.ts";
import { Chromium, findChromium, type Page } from "../tools/harness/chromium.ts";
import { bundleForPages } from "../tools/release/web.ts";
import { TempFolder } from "./helpers/folder.ts";
import { SIGNED } from "./helpers/tls.ts";

const KEY = "the key of 22 letters.";
/** A host of this machine which no browser takes for one. */
const HOST = "page.test";
const SECURITY: Readonly<Record<string, string>> = {
  "/page.html": "default-src 'none'; script-src 'self'; connect-src *; worker-src blob:",
  "/strict.html": "default-src 'none'; script-src 'self'; connect-src 'self'",
};

const command = await findChromium();
const note = command === undefined ? " (ignored: there is no Chromium here)" : "";

/** A program that serves pages, tickets and the bus. */
function serve(broker: Broker, module: string, tls?: { cert: string; key: string }) {
  let tickets = 0;
  const handler = async (request: Request) => {
    const { pathname } = new URL(request.url);
    const security = SECURITY[pathname];
    if (security !== undefined) {
      const headers = { "content-type": "text/html", "content-security-policy": security };
      return new Response("<!doctype html><title>A page</title>", { headers });
    }
    if (pathname === "/mpubsub.js") {
      const headers = { "content-type": "text/javascript", "access-control-allow-origin": "*" };
      return new Response(module, { headers });
    }
    if (pathname.startsWith("/ticket")) {
      tickets++;
      const ticket = await createTicket(KEY, { name: "", for: "ann", expireIn: 60_000 });
      return Response.json(pathname === "/ticket" ? ticket : { ...ticket, address: "/bus" });
    }
    return broker.upgrade(request);
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {}, ...tls }, handler);
  return {
    port: server.addr.port,
    /** How many tickets it has given. */
    tickets: () => tickets,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** What `connect()` rejects with in a page, or what making the object throws; `connected` if it does. */
function outcome(page: Page, made: string, module = "/mpubsub.js"): Promise<string> {
  return page.evaluate(`import("${module}").then(async ({ NetPubSub }) => {
    const bus = ${made};
    await bus.connect();
    return "connected";
  }).catch(({ name, message }) => name + ": " + message)`);
}

Deno.test({
  name: `the module for pages finds its broker in Chromium, or says why not${note}`,
  ignore: command === undefined,
  async fn(t) {
    await using folder = await TempFolder.make();
    await bundleForPages(`${folder.path}/mpubsub.js`);
    const module = await Deno.readTextFile(`${folder.path}/mpubsub.js`);
    await Deno.writeTextFile(`${folder.path}/disk.html`, "<!doctype html><title>A page</title>");
    await using broker = new Broker({
      address: "ws://127.0.0.1:0/bus",
      authkey: KEY,
      onError() {},
    });
    await broker.start();
    await using site = serve(broker, module);
    await using secured = serve(broker, module, SIGNED);
    await using browser = await Chromium.start(command!, {
      certificates: [SIGNED.cert],
      hosts: [HOST],
    });
    const open = (url: string) => browser.open(url, { hasWindow: true });

    await t.step("it asks for a ticket before each attempt, and needs no address", async () => {
      await using page = await open(`http://${HOST}:${site.port}/page.html`);
      assertEquals(await page.evaluate("typeof crypto.subtle"), "undefined");
      const before = site.tickets();
      for (const path of ["/ticket", "/ticket/bus"]) {
        const ask = `() => fetch("${path}").then((response) => response.json())`;
        assertEquals(await outcome(page, `NetPubSub.from(${ask})`), "connected");
      }
      assertEquals(site.tickets() - before, 2);
    });

    await t.step("it connects by wss:// from a page that came by https://", async () => {
      await using page = await open(`https://127.0.0.1:${secured.port}/page.html`);
      assertEquals(await outcome(page, `new NetPubSub("/bus", "${KEY}")`), "connected");
    });

    for (
      const [what, url, made, expected] of [
        [
          "its origin, which the broker does not list",
          `http://${HOST}:${site.port}/page.html`,
          `new NetPubSub("${broker.address}", "${KEY}")`,
          `^ConnectionLostError: .*close code 1006.*origins, or --origin, lists http://${HOST}:${site.port}, that`,
        ],
        [
          "a Content-Security-Policy that keeps it from connecting",
          `http://${HOST}:${site.port}/strict.html`,
          `new NetPubSub("${broker.address}", "${KEY}")`,
          "^ConnectionLostError: .* that connect-src of the page's Content-Security-Policy, if it has one",
        ],
        [
          "what came by https:// and cannot use ws://",
          `https://127.0.0.1:${secured.port}/page.html`,
          `new NetPubSub("ws://${HOST}:1", "${KEY}")`,
          "^TypeError: Cannot use the address: ws://page.test:1: a page that came by https:// may use",
        ],
        [
          "a function that returns a response",
          `http://${HOST}:${site.port}/page.html`,
          `NetPubSub.from(() => fetch("/ticket"))`,
          "^TypeError: .*it is a Response; return its content: response.json\\(\\)",
        ],
        [
          "a server of tickets that is not there",
          `http://${HOST}:${site.port}/page.html`,
          `NetPubSub.from(() => fetch("http://127.0.0.1:1/ticket"))`,
          "^ConnectionLostError: Cannot connect: the function of NetPubSub.from failed \\(Failed to fetch",
        ],
      ] as const
    ) {
      await t.step(`it tells of ${what}`, async () => {
        await using page = await open(url);
        assertMatch(await outcome(page, made), new RegExp(expected));
      });
    }

    await t.step("it has no host of its own from disk", async () => {
      await using page = await open(`file://${folder.path}/disk.html`);
      const url = `http://127.0.0.1:${site.port}/mpubsub.js`;
      assertMatch(
        await outcome(page, `new NetPubSub("/bus", "${KEY}")`, url),
        /^TypeError: Cannot use address \/bus: this page has no host \(file:\)/,
      );
      assertEquals(
        await outcome(page, `new NetPubSub("${broker.address}", "${KEY}")`, url),
        "connected",
      );
    });

    await t.step("it has no host of its own in a worker that was made of text", async () => {
      await using page = await open(`http://${HOST}:${site.port}/page.html`);
      const said = await page.evaluate(`new Promise((resolve) => {
        const code = 'import("' + location.origin + '/mpubsub.js").then(({ NetPubSub }) => ' +
          'new NetPubSub("/bus", "${KEY}")).catch(({ message }) => postMessage(message));';
        const blob = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
        const worker = new Worker(blob, { type: "module" });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => resolve("it failed: " + message);
      })`);
      assertMatch(said as string, /^Cannot use address \/bus: this page has no host \(blob:\)/);
    });
  },
});
