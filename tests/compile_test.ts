/** How the program `mpubsub-broker` is made of the modules. */
import { assertEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { bundle, compile } from "../tools/compile.ts";
import { withFolder } from "./folder.ts";

/** What `deno compile` copies, where it was given: it cannot be downloaded everywhere. */
const HAS_BASE = Deno.env.get("COMPILE_DENO") === Deno.execPath() && Deno.env.has("DENORT_BIN");

const MODULES = {
  "main.ts": `
    import { NAME } from "./name.ts";
    const modules = [new URL("./one.ts", import.meta.url), import.meta.resolve("./two.ts")];
    for (const module of modules) {
      const worker = new Worker(module, { type: "module" });
      const { promise, resolve } = Promise.withResolvers();
      worker.onmessage = resolve;
      console.log(NAME, (await promise).data);
      worker.terminate();
    }
  `,
  "name.ts": `export const NAME: string = "main heard";`,
  "one.ts": `
    import { word } from "./word.ts";
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

Deno.test("bundle makes one module of those that are imported, and one of each worker", () =>
  withFolder(async (folder) => {
    for (const [name, text] of Object.entries(MODULES)) {
      await Deno.writeTextFile(`${folder}/${name}`, text);
    }
    await Deno.mkdir(`${folder}/out`);
    const bundles = await bundle(new URL(`file://${folder}/main.ts`), `${folder}/out`);
    assertEquals(bundles, ["main", "one", "two"].map((name) => `${folder}/out/${name}.js`));
    for (const name of Object.keys(MODULES)) await Deno.remove(`${folder}/${name}`);
    const args = ["run", "--quiet", `--allow-read=${folder}/out`, bundles[0]!];
    assertEquals(await output(Deno.execPath(), args), {
      out: "main heard a word\nmain heard another\n",
      err: "",
    });
  }));

Deno.test({
  name: `compile makes a program that tells its version, and keeps no code where others may write${
    HAS_BASE ? "" : " (ignored: no COMPILE_DENO and DENORT_BIN)"
  }`,
  ignore: !HAS_BASE,
  fn: () =>
    withFolder(async (folder) => {
      const program = `${folder}/broker`;
      await compile({ output: program });
      const tmp = `${folder}/tmp`;
      await Deno.mkdir(tmp);
      for (let run = 0; run < 2; run++) {
        const { out } = await output(program, ["--version"], { TMPDIR: tmp });
        assertEquals(out, `mpubsub-broker ${manifest.version}\n`);
      }
      assertEquals([...Deno.readDirSync(tmp)], []);
    }),
});
