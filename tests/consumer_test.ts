/**
 * The package as those who use it have it: published to a registry on loopback, added to a project by
 * its name, and installed as a program. The project has a cache of its own, but for npm packages.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { TempFolder } from "./helpers/folder.ts";
import {
  blocks,
  ListeningBroker,
  PAGES,
  type Place,
  printsWhatItSays,
  README,
  scriptsExchange,
  start,
} from "./helpers/pages.ts";
import { Registry } from "./helpers/registry.ts";

/** What somebody reads first who has the package. */
const START = README + PAGES.get("docs/getting-started.md");

/** What the installed program is tried with while its broker listens, and what it prints. */
const COMMANDS: readonly { args: readonly string[]; prints: RegExp }[] = [
  { args: ["--version"], prints: new RegExp(`^mpubsub ${manifest.version}\n$`) },
  { args: ["--help"], prints: /^Usage: / },
  { args: ["pub", "-c", "x.json", "sensors/kitchen", "celsius=21.5"], prints: /^$/ },
  { args: ["ping", "-c", "x.json", "--count", "1"], prints: /^1: / },
  { args: ["stats", "-c", "x.json"], prints: /^{"connections":/ },
  { args: ["bench", "-c", "x.json", "--messages", "100", "--json"], prints: /"received":100,/ },
];

/** The arguments of the command in the README that begins with `deno` and this, but quiet. */
function argsOf(command: string): string[] {
  const lines = README.replaceAll(" \\\n ", "").split("\n");
  const line = lines.find((line) => line.startsWith(`deno ${command} `));
  assert(line !== undefined, `README.md has no command deno ${command}`);
  return [command, "--quiet", ...line.split(" ").slice(2)];
}

/** A folder for a project, with a cache that shares nothing but npm packages with the real one. */
async function newPlace(folder: string, registry: Registry): Promise<Place> {
  const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { npmCache } = JSON.parse(new TextDecoder().decode(info.stdout));
  await Deno.mkdir(`${folder}/cache`);
  await Deno.mkdir(npmCache, { recursive: true });
  await Deno.symlink(npmCache, `${folder}/cache/npm`, { type: "junction" });
  await Deno.mkdir(`${folder}/project`);
  await Deno.writeTextFile(`${folder}/project/deno.json`, "{}");
  const bin = Deno.execPath().replace(/[^/\\]*$/, "");
  const separator = Deno.build.os === "windows" ? ";" : ":";
  return {
    folder: `${folder}/project`,
    env: {
      DENO_DIR: `${folder}/cache`,
      JSR_URL: registry.url,
      // An installed program starts whatever is called "deno".
      PATH: `${bin}${separator}${Deno.env.get("PATH")}`,
    },
  };
}

/** What a program prints there, once it has succeeded. */
async function output(place: Place, command: string, args: readonly string[]): Promise<string> {
  const { success, stdout } = await start(place, command, args).output();
  const said = new TextDecoder().decode(stdout);
  assert(success, `${args.join(" ")} failed: ${said}`);
  return said;
}

Deno.test("the package works for those who get it from a registry", async (t) => {
  await using temp = await TempFolder.make();
  const folder = temp.path;
  await using registry = new Registry();
  await registry.publish();
  await registry.addStandIns();
  const place = await newPlace(folder, registry);

  await t.step("deno add takes it", async () => {
    await output(place, Deno.execPath(), argsOf("add"));
    const { imports } = JSON.parse(await Deno.readTextFile(`${place.folder}/deno.json`));
    assertEquals(imports, { "@mpubsub/mpubsub": `jsr:@mpubsub/mpubsub@^${manifest.version}` });
  });

  for (const [index, example] of blocks(START, "ts").entries()) {
    await t.step(
      `example ${index + 1} of those to start with prints what it says`,
      () => printsWhatItSays(place, example),
    );
  }

  await t.step("the examples to start with and all entry points have types", async () => {
    const entries = Object.keys(manifest.exports).map((name) =>
      `import "@mpubsub/mpubsub${name.slice(1)}";\n`
    );
    const codes = [...blocks(START, "ts"), ...blocks(START, "ts ignore")].map(({ code }) => code);
    const names: string[] = [];
    for (const code of [...codes, entries.join("")]) {
      names.push(`checked_${names.length}.ts`);
      await Deno.writeTextFile(`${place.folder}/${names.at(-1)}`, code);
    }
    await output(place, Deno.execPath(), ["check", "--quiet", ...names]);
  });

  const program = `${folder}/bin/mpubsub${Deno.build.os === "windows" ? ".cmd" : ""}`;
  await t.step("deno install makes a program of it", async () => {
    const [install, ...args] = argsOf("install");
    const anywhere = { ...place, folder };
    await output(anywhere, Deno.execPath(), [install!, "--root", folder, ...args]);
    await Deno.stat(program);
  });

  await t.step("the program finds NATS's client when it is asked for", async () => {
    const args = ["--uplink", "nats://127.0.0.1:4222", "--bus", "a b", "x.json"];
    const { code, stderr } = await new Deno.Command(program, {
      args,
      cwd: place.folder,
      env: { ...place.env, NO_COLOR: "1" },
    }).output();
    const said = new TextDecoder().decode(stderr);
    // It is NATS's part that knows the names of a bus.
    assertMatch(said, /Cannot use "a b" as the name of a bus/);
    assertEquals(code, 2);
  });

  await t.step(
    "the program is a broker for those who added the package",
    async () => {
      await using _broker = await ListeningBroker.of(start(place, program, ["x.json"]));
      await scriptsExchange(place);
      for (const { args, prints } of COMMANDS) {
        assertMatch(await output(place, program, args), prints);
      }
    },
  );
});
