/** The examples of docs/browsers.md: a program that is a greenhouse, and pages that show it. */
import { assertEquals, assertMatch } from "@std/assert";
import type { Page } from "../../tools/harness/chromium.ts";
import { freePorts, withOtherPorts } from "../../tools/harness/free_ports.ts";
import { until } from "../../tools/harness/until.ts";
import { bundleForPages } from "../../tools/release/web.ts";
import { TempFolder } from "./folder.ts";
import { argsFor, deno, PAGES, type Place, Running } from "./pages.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const PAGE = PAGES.get("docs/browsers.md")!;

/** A browser that begins takes a while where much else runs. */
const WAIT_MS = 30_000;

/** Where the examples are, in the project and in a folder that has them. */
export const EXAMPLES = "examples/browser";

/** A folder with the examples, and with what `deno task web` makes. */
export async function exampleFolder(): Promise<TempFolder> {
  const folder = await TempFolder.make();
  const target = `${folder.path}/${EXAMPLES}`;
  await Deno.mkdir(target, { recursive: true });
  for (const { name } of Deno.readDirSync(`${ROOT}${EXAMPLES}`)) {
    // What a reader has made there is made anew.
    if (/^mpubsub\./.test(name)) continue;
    await Deno.copyFile(`${ROOT}${EXAMPLES}/${name}`, `${target}/${name}`);
  }
  await bundleForPages(`${target}/mpubsub.js`);
  return folder;
}

/** Where programs run in such a folder. */
export function placeIn(folder: TempFolder): Place {
  return { folder: folder.path, flags: [`--config=${ROOT}deno.json`] };
}

/** Runs a program with the command of the page. */
function run(place: Place, script: string, ...args: readonly string[]): Running {
  return new Running(deno(place, [...argsFor(`${EXAMPLES}/${script}`, PAGE), ...args]));
}

/** The greenhouse, once it is connected. */
export async function startGreenhouse(place: Place): Promise<Running> {
  const greenhouse = run(place, "greenhouse.ts");
  assertEquals(await greenhouse.line(), "Measuring");
  return greenhouse;
}

/** The server, which has pages of a folder, and where it is. */
export async function startServer(
  place: Place,
  folder = EXAMPLES,
): Promise<{ server: Running; port: number; origin: string }> {
  return await withOtherPorts(async () => {
    const [port] = freePorts(1) as [number];
    const server = run(place, "server.ts", folder, String(port));
    const line = await server.line();
    const origin = `http://localhost:${port}`;
    if (line !== undefined) {
      assertEquals(line, `Open ${origin}`);
      return { server, port, origin };
    }
    await server[Symbol.asyncDispose]();
    throw new Deno.errors.AddrInUse("The server has ended");
  });
}

/** Sees what is measured on a page, says what is wanted there, and sees that both arrive. */
export async function converse(page: Page, greenhouse: Running, wanted: number): Promise<void> {
  const shown = () => page.evaluate<string>(`document.querySelector(".value")?.innerText`);
  await until(async () => /^\d+\.\d °C$/.test(await shown()), WAIT_MS, "what is measured");
  assertMatch(await page.evaluate(`document.querySelector("main").innerText`), /bus is connected/);
  // As a person does: typed, and sent with Enter.
  await page.evaluate(`(() => {
    const field = document.getElementById("wanted");
    field.focus();
    field.select();
  })()`);
  await page.call("Input.insertText", { text: String(wanted) });
  await page.call("Input.dispatchKeyEvent", { type: "keyDown", key: "Enter", text: "\r" });
  assertEquals(await greenhouse.line(), `wanted: ${wanted} °C`);
  const before = Number.parseFloat(await shown());
  await until(async () => Number.parseFloat(await shown()) !== before, WAIT_MS, "another value");
}
