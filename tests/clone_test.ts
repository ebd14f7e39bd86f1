/** What stands in the root of a clone beside the project changes nothing that the project does. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import importMap from "../tools/release/import_map.json" with { type: "json" };
import { TempFolder } from "./helpers/folder.ts";
import { PAGES } from "./helpers/pages.ts";

const ROOT = new URL("../", import.meta.url);
/** What the documentation has its readers write, and what they are likely to write. */
const STRAYS = [
  ".mpubsub.json",
  "cert.pem",
  "key.pem",
  "key.txt",
  "keys.json",
  "kitchen.json",
  "nats.txt",
  "publisher.ts",
  "subscriber.ts",
  "x.json",
];

async function git(...args: string[]): Promise<string[]> {
  const { stdout } = await new Deno.Command("git", { args, cwd: ROOT }).output();
  return new TextDecoder().decode(stdout).split("\n").filter(Boolean);
}

/** What a list of files and folders has of these files. */
function listed(files: readonly string[], include: readonly string[]): string[] {
  return files.filter((file) =>
    include.some((entry) => entry.endsWith("/") ? file.startsWith(entry) : file === entry)
  );
}

/** What a task names: files and folders; all files of a folder stand as `folder/*.ts`. */
function named(command: string): string[] {
  return command.split(" ").filter((word) => /^[\w./*-]*(\/|\.(ts|md|json))$/.test(word));
}

Deno.test("git ignores what a reader of the documentation writes in the root of a clone", async () => {
  assertEquals(await git("check-ignore", "--no-index", ...STRAYS), STRAYS);
  const tracked = await git("ls-files", "-ci", "--exclude-standard");
  assertEquals(tracked, [], "git ignores a file of the project");
});

Deno.test("deno.json formats, lints and publishes only what it names, and forgets no file", async () => {
  const { fmt, lint, publish } = manifest;
  const files = await git("ls-files", "-co", "--exclude-standard");
  for (const include of [fmt.include, lint.include, publish.include]) {
    assertEquals(include.filter((entry) => /[*?]|^\.?\.?\/?$/.test(entry)), []);
  }
  const modules = files.filter((file) => file.endsWith(".ts"));
  assertEquals(listed(modules, lint.include), modules);
  const formatted = files.filter((file) => /\.(ts|js|md|json|yml)$/.test(file));
  assertEquals(listed(formatted, fmt.include), formatted);
});

Deno.test("deno task test and deno task check name each file and folder that they look at", () => {
  const { test, "test:portable": portable, check } = manifest.tasks;
  for (const { command } of [test, portable, check]) {
    for (const part of command.split(" && ")) {
      if (!/deno (test|check|doc) |tools\/test\//.test(part)) continue;
      const words = named(part);
      assertEquals(
        words.filter((word) => STRAYS.includes(word) || /^(\.?\/?|\*.*)$/.test(word)),
        [],
      );
      assertEquals(words.length > 0, true, part);
    }
  }
});

Deno.test("tools/release/import_map.json leads to what deno.json links to, and to NATS's client", async () => {
  const imports: Record<string, string> = { ...manifest.scopes["./"] };
  for (const link of manifest.links) {
    const text = await Deno.readTextFile(new URL(`${link}/deno.json`, ROOT));
    const { name, exports } = JSON.parse(text);
    const all: Record<string, string> = typeof exports === "string" ? { ".": exports } : exports;
    for (const [entry, path] of Object.entries(all)) {
      imports[name + entry.slice(1)] = path.replace(".", link.replace(".", "../.."));
    }
  }
  assertEquals(importMap, { imports });
});

Deno.test("docs/getting-started.md has a deno.json by which programs elsewhere import the package of a clone", async () => {
  const page = PAGES.get("docs/getting-started.md")!;
  const [, json = ""] = /^(\{ "imports": .*)$/m.exec(page) ?? [];
  await using folder = await TempFolder.make();
  const { path } = folder;
  await Deno.writeTextFile(`${path}/deno.json`, json.replace("/path/to/clone/", ROOT.pathname));
  await Deno.copyFile(new URL("examples/one_program.ts", ROOT), `${path}/one_program.ts`);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--check", "--allow-all", "one_program.ts"],
    cwd: path,
    env: { NO_COLOR: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals([code, out], [0, '{ text: "hello" }\n'], err);
});

Deno.test("docs/cli.md has a command that installs the program of a clone", async () => {
  await using folder = await TempFolder.make();
  const page = PAGES.get("docs/cli.md")!.replaceAll(/ \\\n +/g, " ");
  const [, args] = /^deno (install .*--import-map.*)$/m.exec(page)!;
  const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { denoDir } = JSON.parse(new TextDecoder().decode(info.stdout));
  const env = {
    DENO_DIR: denoDir,
    HOME: folder.path,
    PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:${Deno.env.get("PATH")}`,
  };
  const installed = await new Deno.Command(Deno.execPath(), {
    args: args!.split(" ").toSpliced(1, 0, "--root", folder.path),
    cwd: ROOT,
    env,
  }).output();
  assert(installed.success, new TextDecoder().decode(installed.stderr));
  const program = `${folder.path}/bin/mpubsub`;
  const { stdout } = await new Deno.Command(program, { args: ["sub", "--help"], env }).output();
  assertMatch(new TextDecoder().decode(stdout), /^Usage: mpubsub sub /);
  // It is NATS's part that knows the names of a bus.
  const { stderr } = await new Deno.Command(program, {
    args: ["--uplink", "nats://127.0.0.1:4222", "--bus", "a b", `${folder.path}/x.json`],
    env,
  }).output();
  assertMatch(new TextDecoder().decode(stderr), /Cannot use "a b" as the name of a bus/);
});
