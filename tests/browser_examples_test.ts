/**
 * The examples of docs/browsers.md as a reader runs them: pages in Chromium exchange messages with a
 * program in Deno.
 */
import { assert, assertEquals } from "@std/assert";
import { ForbiddenError, NetPubSub } from "../net.ts";
import { Chromium, findChromium } from "../tools/harness/chromium.ts";
import { until } from "../tools/harness/until.ts";
import {
  converse,
  exampleFolder,
  EXAMPLES,
  placeIn,
  startGreenhouse,
  startServer,
} from "./helpers/greenhouse.ts";
import { deno, ListeningBroker, PAGES } from "./helpers/pages.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const PAGE = PAGES.get("docs/browsers.md")!;
const CHROMIUM = await findChromium();
const NOTE = CHROMIUM === undefined ? " (ignored: there is no Chromium here)" : "";

Deno.test({
  name: `plain.html exchanges messages with a program, from disk and served${NOTE}`,
  ignore: NOTE !== "",
  async fn() {
    await using folder = await exampleFolder();
    const place = placeIn(folder);
    const cli = `${ROOT}cli.ts`;
    const address = "ws://127.0.0.1:0/bus";
    await using _broker = await ListeningBroker.of(
      deno(place, ["run", "-A", cli, "--address", address, "x.json"]),
    );
    await using greenhouse = await startGreenhouse(place);
    const [, words] = /^mpubsub (key ticket .*)$/m.exec(PAGE)!;
    const args = words!.split(" ").map((word) => word === '""' ? "" : word);
    const { stdout } = await deno(place, ["run", "-A", cli, ...args]).output();
    // As a terminal copies it that breaks lines.
    const lines = new TextDecoder().decode(stdout).replaceAll(/.{80}/g, "$&\n");
    const ticket = JSON.stringify(lines);

    await using site = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (to) => {
      const { pathname } = new URL(to.url);
      const type = pathname.endsWith("html") ? "text/html" : "text/javascript";
      if (pathname === "/favicon.ico") return new Response(null, { status: 404 });
      const content = await Deno.readFile(`${folder.path}/${EXAMPLES}${pathname}`);
      return new Response(content, { headers: { "content-type": type } });
    });
    await using browser = await Chromium.start(CHROMIUM!);
    const urls = [`file://${folder.path}/${EXAMPLES}`, `http://127.0.0.1:${site.addr.port}`];
    for (const [at, url] of urls.entries()) {
      const lines: string[] = [];
      const page = await browser.open(`${url}/plain.html`, { onLine: (line) => lines.push(line) });
      assertEquals(await page.evaluate(`document.getElementById("button").disabled`), true);
      const focus = () => page.evaluate(`document.activeElement.id`);
      const shown = (id: string) => page.evaluate(`document.getElementById("${id}").textContent`);
      const connect = (text: string) =>
        page.evaluate(`(() => {
          const field = document.getElementById("ticket");
          field.value = ${text};
          field.focus();
          document.querySelector("#connect button").click();
        })()`);
      assertEquals(await shown("state"), "disconnected");
      await connect(`"half a {ticket"`);
      await until(async () => /is not valid JSON/.test(String(await shown("error"))), 10_000);
      assertEquals(await focus(), "ticket", "there it can be mended");
      await connect(ticket);
      await until(async () => await focus() === "wanted", 10_000, "a focus that can be seen");
      assertEquals(await shown("error"), "");
      assertEquals(await page.evaluate(`document.getElementById("access").open`), false);
      await converse(page, greenhouse, 20 + at);
      assertEquals(lines, []);
      await page.close();
    }
  },
});

Deno.test({
  name: `server.ts has a page with a strict policy exchange messages with a program${NOTE}`,
  ignore: NOTE !== "",
  async fn(t) {
    await using folder = await exampleFolder();
    const place = placeIn(folder);
    const { server, port, origin } = await startServer(place);
    await using _server = server;
    await using greenhouse = await startGreenhouse(place);
    await using browser = await Chromium.start(CHROMIUM!);

    await t.step("a page exchanges messages under a strict Content-Security-Policy", async () => {
      const lines: string[] = [];
      const page = await browser.open(origin, { onLine: (line) => lines.push(line) });
      await converse(page, greenhouse, 22.5);
      assertEquals(lines, []);
      assertEquals(await page.evaluate("document.cookie"), "", "it cannot read the cookie");
      const outcome = await page.evaluate(`(() => {
        try {
          document.body.innerHTML = "<p>";
        } catch ({ name }) {
          return name;
        }
      })()`);
      assertEquals(outcome, "TypeError", "the policy is in force");
    });

    await t.step("the policy is that of docs/browsers.md", async () => {
      const response = await fetch(origin);
      await response.body?.cancel();
      const policy = response.headers.get("content-security-policy");
      assertEquals(/^Content-Security-Policy: (.*)$/m.exec(PAGE)![1], policy);
    });

    await t.step("pages of another origin get neither a ticket nor a connection", async () => {
      await using site = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen() {} },
        () => new Response("<!DOCTYPE html>", { headers: { "content-type": "text/html" } }),
      );
      const attempts = `Promise.all([
        fetch("${origin}/ticket", { credentials: "include" }).then(() => "read", ({ name }) => name),
        new Promise((resolve) => {
          const socket = new WebSocket("ws://localhost:${port}/bus");
          socket.onopen = () => resolve("open");
          socket.onerror = () => resolve("refused");
        }),
      ])`;
      const page = await browser.open(`http://127.0.0.1:${site.addr.port}`);
      assertEquals(await page.evaluate(attempts), ["TypeError", "refused"]);
      // The port makes another origin, but to the bus it is the same host.
      await page.navigate(`http://localhost:${site.addr.port}`);
      assertEquals(await page.evaluate(attempts), ["TypeError", "open"]);
    });
  },
});

Deno.test("server.ts gives pages tickets that grant what they need, and nothing else", async () => {
  await using folder = await exampleFolder();
  const { server, port, origin } = await startServer(placeIn(folder));
  await using _server = server;
  const response = await fetch(`${origin}/ticket`);
  assertEquals(response.headers.get("cache-control"), "no-store");
  assertEquals(response.headers.get("access-control-allow-origin"), null);
  const [cookie, ...attributes] = response.headers.get("set-cookie")!.split("; ");
  assertEquals(attributes, ["HttpOnly", "SameSite=Strict", "Path=/"]);
  const { keyName, authkey, expires, address } = await response.json();
  assertEquals(address, "/bus");
  assert(expires <= Date.now() + 3_600_000);

  const again = await (await fetch(`${origin}/ticket`, { headers: { cookie: cookie! } })).json();
  const [first, second] = [keyName, again.keyName].map((name) => JSON.parse(name.slice(1)).for);
  assertEquals(second, first, "who comes back is the same");

  const errors: unknown[] = [];
  const key = Uint8Array.from(atob(authkey), (char) => char.charCodeAt(0));
  await using bus = new NetPubSub(`ws://localhost:${port}/bus`, key, {
    keyName,
    onError: (error) => errors.push(error),
  });
  bus.subscribe("reading");
  await bus.connect();
  for (const topic of [["reading", "greenhouse"], ["wanted", "house"], null]) {
    bus.publish(topic, { celsius: 99 });
  }
  bus.publish(["wanted", "greenhouse"], { celsius: 20 });
  await until(() => errors.length >= 3);
  bus.addSubscriber("wanted", () => {});
  await bus.flush().then(() => assert(false), () => {});
  assert(errors.every((error) => error instanceof ForbiddenError));
  assertEquals(errors.map((error) => (error as ForbiddenError).topic), [
    ["reading", "greenhouse"],
    ["wanted", "house"],
    [],
    ["wanted"],
  ]);

  for (const path of ["/x.json", "/server.ts", "/../x.json", "/%2e%2e/x.json", "/..%2fx.json"]) {
    const { status, body } = await fetch(origin + path);
    await body?.cancel();
    assertEquals(status, 404, path);
  }
});
