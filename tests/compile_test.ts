/** How the compiled program is made of the modules. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { bundle, compile } from "../tools/release/compile.ts";
import { TempFolder } from "./helpers/folder.ts";

/** What `deno compile` copies, where it was given: it cannot be downloaded everywhere. */
const HAS_BASE = Deno.env.get("COMPILE_DENO") === Deno.execPath() && Deno.env.has("DENORT_BIN");

const MODULES = {
  "main.ts": `
    import { NAME, OurError } from "./name.ts";
    import { one } from "./room/names.ts";
    const modules = [one, import.meta.resolve("./two.ts")];
    for (const module of modules) {
      const worker = new Worker(module, { type: "module" });
      const { promise, resolve } = Promise.withResolvers();
      worker.onmessage = resolve;
      console.log(NAME, (await promise).data);
      worker.terminate();
    }
    const { fail } = await import(import.meta.resolve("./late.ts"));
    try {
      fail();
    } catch (error) {
      console.log("an error of the same class", error instanceof OurError);
    }
  `,
  "name.ts": `
    export const NAME: string = "main heard";
    export class OurError extends Error {}
  `,
  "late.ts": `
    import { OurError } from "./name.ts";
    export function fail(): never {
      throw new OurError();
    }
  `,
  "room/names.ts": `export const one: URL = new URL("./one.ts", import.meta.url);`,
  "room/one.ts": `
    import { word } from "../word.ts";
    self.postMessage(word);
  `,
  "two.ts": `self.postMessage("another" as string);`,
  "word.ts": `export const word: string = "a word";`,
};

async function output(
  command: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<{ out: string; err: string }> {
  const { stdout, stderr } = await new Deno.Command(command, { args, env }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { out: out!, err: err! };
}

Deno.test("bundle makes one module of those that are imported, and one of each that is named", async () => {
  await using folder = await TempFolder.make();
  await Deno.mkdir(`${folder.path}/room`);
  for (const [name, text] of Object.entries(MODULES)) {
    await Deno.writeTextFile(`${folder.path}/${name}`, text);
  }
  await Deno.mkdir(`${folder.path}/out`);
  const bundles = await bundle(new URL(`file://${folder.path}/main.ts`), `${folder.path}/out`);
  const names = ["late", "main", "room/one", "two"];
  assertEquals(bundles.toSorted(), names.map((name) => `${folder.path}/out/${name}.js`));
  for (const name of Object.keys(MODULES)) await Deno.remove(`${folder.path}/${name}`);
  const args = ["run", "--quiet", `--allow-read=${folder.path}/out`, bundles[0]!];
  assertEquals(await output(Deno.execPath(), args), {
    out: "main heard a word\nmain heard another\nan error of the same class true\n",
    err: "",
  });
});

Deno.test("bundle puts NATS's client where nobody parses it who has no uplink", async () => {
  await using folder = await TempFolder.make();
  await Deno.mkdir(`${folder.path}/out`);
  const bundles = await bundle(new URL("../cli.ts", import.meta.url), `${folder.path}/out`);
  const names = ["cli", "cli/bench_worker", "nats"];
  assertEquals(bundles.toSorted(), names.map((name) => `${folder.path}/out/${name}.js`));
  const holders: string[] = [];
  for await (const { name } of Deno.readDir(`${folder.path}/out`)) {
    const text = name.endsWith(".js") ? await Deno.readTextFile(`${folder.path}/out/${name}`) : "";
    if (text.includes("NatsConnectionImpl") || /(from|import\() ?"\.\/nats\.js"/.test(text)) {
      holders.push(name);
    }
  }
  assertEquals(holders, ["nats.js"]);
});

Deno.test({
  name:
    `compile makes a program that tells its name and version, and keeps no code where others may write${
      HAS_BASE ? "" : " (ignored: no COMPILE_DENO and DENORT_BIN)"
    }`,
  ignore: !HAS_BASE,
  fn: async () => {
    await using folder = await TempFolder.make();
    const program = `${folder.path}/its-name`;
    await compile({ output: program });
    const tmp = `${folder.path}/tmp`;
    await Deno.mkdir(tmp);
    for (let run = 0; run < 2; run++) {
      const { out } = await output(program, ["--version"], { TMPDIR: tmp });
      assertEquals(out, `its-name ${manifest.version}\n`);
    }
    assertEquals([...Deno.readDirSync(tmp)], []);
  },
});

Deno.test({
  name: `deno compile alone makes a program that finds its worker and NATS's client${
    HAS_BASE ? "" : " (ignored: no COMPILE_DENO and DENORT_BIN)"
  }`,
  ignore: !HAS_BASE,
  fn: async () => {
    await using temp = await TempFolder.make();
    const folder = temp.path;
    const [program, file] = [`${folder}/broker`, `${folder}/x.json`];
    const cli = new URL("../cli.ts", import.meta.url).pathname;
    // Deno 2.6.8 does not read in deno.json what is included.
    const flags = ["--quiet", "--allow-all", "--include", "nats.ts", "--output", program];
    await output(Deno.execPath(), ["compile", ...flags, cli]);
    const broker = new Deno.Command(program, {
      args: ["--uplink", "nats://127.0.0.1:1", file],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const lines = broker.stdout.pipeThrough(new TextDecoderStream()).getReader();
    assertMatch((await lines.read()).value!, /^Listening at /);
    await lines.cancel();
    const { out } = await output(program, ["bench", "-c", file, "--seconds", "1", "--json"]);
    assert(JSON.parse(out).received > 0);
    broker.kill("SIGTERM");
    const said = await new Response(broker.stderr).text();
    assertStringIncludes(said, "Cannot connect to NATS at 127.0.0.1:1");
    const { code } = await broker.status;
    assertEquals(code, 0);
  },
});

Deno.test("compile that Deno refuses ends with what Deno says and what failed, without a stack", async () => {
  await using folder = await TempFolder.make();
  const program = new URL("../tools/release/compile.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "--allow-all", program, "--output", `${folder.path}/none/broker`];
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args, "--target", "none"],
    env: { NO_COLOR: "1" },
  }).output();
  assertEquals(code, 1);
  const said = new TextDecoder().decode(stderr).trimEnd().split("\n");
  assertStringIncludes(said[0]!, "none");
  assertEquals(said.at(-1), "Cannot compile: deno compile failed");
});
