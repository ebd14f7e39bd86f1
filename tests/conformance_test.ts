/**
 * What a client promises, in each runtime and over each transport: the cases of `conformance/client/`, run
 * there, against brokers here. Over one transport of each runtime all cases are run, over the others the
 * brief ones; with `CONFORMANCE=all` in the environment all over all, and a table says how many passed.
 */
import { assertEquals } from "@std/assert";
import type { Setting } from "./conformance/client/context.ts";
import { AT_LAST } from "./conformance/client/main.ts";
import { casesFor, type Outcome } from "./conformance/client/run_cases.ts";
import { bundle } from "../tools/harness/bundle.ts";
import { TempFolder } from "./helpers/folder.ts";
import { DENO, type Runtime, RUNTIMES } from "./helpers/runtimes.ts";
import { Stages } from "./helpers/stages.ts";
import { TCP, TLS, type Transport, USUAL, WS, WSS } from "./helpers/transports.ts";

const MAIN = new URL("conformance/client/main.ts", import.meta.url).pathname;
const WEB_MAIN = new URL("conformance/client/web_main.ts", import.meta.url).pathname;
const IS_WHOLE = Deno.env.get("CONFORMANCE") === "all";
/** How long all cases over one transport may take. */
const RUN_MS = 120_000;

const TRANSPORTS: Readonly<Record<string, Transport>> = {
  tcp: TCP,
  unix: USUAL,
  tls: TLS,
  ws: WS,
  wss: WSS,
};

/** The runtimes, each with the transport over which all cases are always run. */
const PLACES: Readonly<Record<string, string>> = {
  "Deno": "wss",
  "Node 22": "tcp",
  "Node 24": "tls",
  "Bun": "unix",
};

/** Which version each runtime has, and what became of its cases over each transport. */
const table = new Map<string, { version: string; readonly cells: string[] }>();

const bundled = new Map<string, Promise<string>>();

/** Runs the cases there; what they say, line by line. */
// deno-lint-ignore no-explicit-any
async function run(runtime: Runtime, main: string, setting: Setting): Promise<any[]> {
  await using folder = await TempFolder.make();
  if (!bundled.has(main)) bundled.set(main, bundle(main));
  await Deno.writeTextFile(`${folder.path}/cases.js`, await bundled.get(main)!);
  await Deno.writeTextFile(`${folder.path}/package.json`, '{ "type": "module" }');
  await Deno.writeTextFile(
    `${folder.path}/main.js`,
    `import { main } from "./cases.js";\nawait main(${JSON.stringify(setting)});\n`,
  );
  const out = await runtime.run(folder.path, "main.js", { signal: AbortSignal.timeout(RUN_MS) });
  return out.trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** Fails where a case has. */
async function tellAll(t: Deno.TestContext, outcomes: readonly Outcome[]): Promise<void> {
  for (const { name, problem } of outcomes) {
    await t.step(name, () => {
      if (problem !== undefined) throw new Error(problem);
    });
  }
}

for (const [name, whole] of Object.entries(PLACES)) {
  const runtime = [DENO, ...RUNTIMES].find((one) => one.name === name)!;
  for (const [transport, on] of Object.entries(TRANSPORTS)) {
    const options = { ignore: runtime.note !== "" };
    Deno.test(
      `a client in ${name} keeps its promises over ${transport}${runtime.note}`,
      options,
      async (t) => {
        await using stages = new Stages(on);
        const setting: Setting = {
          control: stages.control,
          transport,
          place: "program",
          caCerts: on.client.tls?.caCerts ?? [],
          isWhole: IS_WHOLE || transport === whole,
          chaosMs: IS_WHOLE ? 5000 : 1500,
        };
        const [{ version }, ...outcomes] = await run(runtime, MAIN, setting);
        const wanted = [...casesFor(setting, true).map(({ name }) => name), AT_LAST];
        assertEquals(outcomes.map(({ name }) => name).toSorted(), wanted.toSorted());
        note(name, version, outcomes);
        await tellAll(t, outcomes);
      },
    );
  }
}

for (const runtime of [DENO, ...RUNTIMES].filter(({ name }) => name in PLACES)) {
  const { name, note } = runtime;
  const options = { ignore: note !== "" };
  Deno.test(`a client of ./web in ${name} keeps its promises${note}`, options, async (t) => {
    await using stages = new Stages(WS);
    const setting: Setting = {
      control: stages.control,
      transport: "ws",
      place: "page",
      caCerts: [],
      isWhole: IS_WHOLE || name === "Deno",
      chaosMs: IS_WHOLE ? 5000 : 1500,
    };
    const outcomes = await run(runtime, WEB_MAIN, setting);
    const wanted = casesFor(setting, false).map(({ name }) => name);
    assertEquals(outcomes.map(({ name }) => name).toSorted(), wanted.toSorted());
    await tellAll(t, outcomes);
  });
}

/** Puts what became of the cases into the table. */
function note(
  name: string,
  version: string,
  outcomes: readonly Outcome[],
): void {
  const row = table.get(name) ?? { version, cells: [] };
  table.set(name, row);
  const good = outcomes.filter(({ problem }) => problem === undefined).length;
  row.cells.push(good === outcomes.length ? `${good}` : `${good} of ${outcomes.length}`);
}

if (IS_WHOLE) {
  // A reporter leaves out what a test prints, and names all steps.
  Deno.test(`the cases that passed over ${Object.keys(TRANSPORTS).join(" | ")}`, async (t) => {
    for (const [name, { version, cells }] of table) {
      await t.step([name.replace(/ .*/, "") + ` ${version}`, ...cells].join(" | "), () => {});
    }
  });
}
