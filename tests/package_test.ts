/** The package as others get it: its files, its entry points, and `pubsub.ts` on its own. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { Registry } from "./helpers/registry.ts";

const ROOT = new URL("../", import.meta.url);
/** All that `./pubsub` may need. */
const LOCAL = /^((errors|topic|pubsub)\.ts|(base|routing|pubsub)\/\w+\.ts)$/;

/** What a command prints, once it has succeeded. */
async function run(command: string, args: string[], cwd: string | URL = ROOT): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(success, `${command} ${args.join(" ").slice(0, 200)} failed: ${out}${err}`);
  return `${out}${err}`;
}

/** What a module imports, directly or not, and itself: paths within the package, or URLs. */
async function modulesOf(entry: string): Promise<string[]> {
  const info = await run(Deno.execPath(), ["info", "--quiet", "--no-lock", "--json", entry]);
  const { modules } = JSON.parse(info) as { modules: { specifier: string }[] };
  return modules.map(({ specifier }) => specifier.replace(ROOT.href, ""));
}

Deno.test("pubsub.ts pulls in no networking, and does not name Deno", async () => {
  for (const module of await modulesOf("pubsub.ts")) {
    assertMatch(module, LOCAL);
    const text = await Deno.readTextFile(new URL(module, ROOT));
    assertEquals(text.match(/^.*\bDeno\b.*$/m)?.[0], undefined, module);
  }
});

Deno.test("deno.json exports the eight entry points", () => {
  assertEquals(manifest.exports, {
    ".": "./mod.ts",
    "./pubsub": "./pubsub.ts",
    "./net": "./net.ts",
    "./web": "./web.ts",
    "./broker": "./broker.ts",
    "./nats": "./nats.ts",
    "./cli": "./cli.ts",
    "./testing": "./testing.ts",
  });
});

for (const [name, file] of Object.entries(manifest.exports)) {
  Deno.test(`${name} begins with documentation of the module and an example`, async () => {
    const text = await Deno.readTextFile(new URL(file, ROOT));
    const [comment = ""] = text.match(/^\/\*\*.*?\*\//s) ?? [];
    assertMatch(comment, /^ \* @module$/m);
    assertMatch(comment, /^ \* ```(ts|sh)\n( \*.*\n)+ \* ```$/m);
  });
}

for (const file of Object.values(manifest.exports)) {
  if (file === "./nats.ts") continue;
  Deno.test(`${file} needs nothing of NATS's client, nor of what uses it`, async () => {
    const modules = await modulesOf(file);
    assertEquals(modules.filter((module) => /nats-io|^nats\.ts$/.test(module)), []);
  });
}

/** All that the entry points need: paths within the package, or URLs. */
async function modulesOfEntries(): Promise<Set<string>> {
  const modules = new Set<string>();
  const entries = Object.values(manifest.exports);
  for (let entry = entries.pop(); entry !== undefined; entry = entries.pop()) {
    for (const module of await modulesOf(entry)) {
      if (modules.has(module)) continue;
      modules.add(module);
      if (isOwn(module)) entries.push(...await workersOf(module));
    }
  }
  return modules;
}

/** Whether a module is one of the package. */
function isOwn(module: string): boolean {
  return module.endsWith(".ts") && !/^\w+:|^links\//.test(module);
}

/** What a module starts as workers; Deno does not know it as imports. */
async function workersOf(module: string): Promise<string[]> {
  const text = await Deno.readTextFile(new URL(module, ROOT));
  const workers = text.matchAll(/\bnew URL\("(\.\/[^"]+\.ts)", import\.meta\.url\)/g);
  return [...workers].map(([, path]) => new URL(path!, new URL(module, ROOT)).href)
    .map((href) => href.slice(ROOT.href.length));
}

Deno.test("deno.json publishes the modules that the entry points need, and four other files", async () => {
  await using registry = new Registry();
  const { files } = await registry.publish();
  const own = [...await modulesOfEntries()].filter(isOwn);
  const others = ["CHANGELOG.md", "LICENSE", "README.md", "deno.json"];
  assertEquals([...files.keys()].sort(), [...own, ...others].map((file) => `/${file}`).sort());
});
