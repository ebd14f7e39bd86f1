/**
 * Makes the program `mpubsub-broker`, one file that needs no Deno.
 *
 * ```sh
 * deno task compile                                      # for this machine, as ./mpubsub-broker
 * deno task compile --target aarch64-apple-darwin --output broker
 * ```
 *
 * The modules are bundled first, one bundle for each command that is loaded when it is asked for, and
 * V8's code cache is left out; docs/decisions.md says why.
 */
import { parseArgs } from "@std/cli/parse-args";
import manifest from "../../deno.json" with { type: "json" };

const CLI = new URL("../../cli.ts", import.meta.url);
const LOCK = new URL("../../deno.lock", import.meta.url).pathname;
/** The permissions and V8's flags: those with which `deno task broker` runs it. */
const FLAGS = /^deno run (.*) cli\.ts$/.exec(manifest.tasks.broker.command)![1]!.split(" ");
/** A module that is named, so that nothing loads it early: a worker, or what few need. */
const NAMED =
  /(new URL\((?="[^"]+", import\.meta\.url\))|import\.meta\.resolve\()"(\.{1,2}\/[\w/]+\.ts)"/g;

/** What to compile. */
export interface CompileOptions {
  /** Where the program goes. */
  readonly output: string;
  /**
   * For which machine, as `deno compile --target` names it.
   *
   * @default {undefined} This one.
   */
  readonly target?: string | undefined;
}

/** Compiles the program. */
export async function compile({ output, target }: CompileOptions): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-compile-" });
  try {
    const [main, ...named] = await bundle(CLI, folder);
    await deno([
      "compile",
      "--quiet",
      "--no-config",
      "--no-lock",
      "--no-check",
      "--no-code-cache",
      ...FLAGS,
      ...(target === undefined ? [] : ["--target", target]),
      ...named.flatMap((module) => ["--include", module]),
      "--output",
      output,
      main!,
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * Bundles a module with all that it imports, and so each module that it names. What several need, and
 * what is imported while the program runs, has files of its own beside them; so nothing is there twice,
 * and an error is of the same class for all.
 *
 * @param folder Where the bundles go; nothing else is there.
 * @returns The bundles of the module and of those that it names, that of the module first.
 */
export async function bundle(module: URL, folder: string): Promise<string[]> {
  const named = await namedFrom(module.href);
  const modules = [...new Set([module.href, ...named.values()])];
  const flags = ["--quiet", `--lock=${LOCK}`, "--code-splitting", "--outdir", folder];
  await deno(["bundle", ...flags, ...modules]);
  for await (const path of filesIn(folder)) {
    const text = await Deno.readTextFile(`${folder}/${path}`);
    const up = path.replaceAll(/[^/]+/g, "..").replace(/\.\.$/, "");
    const bundled = text.replaceAll(NAMED, (_, call, specifier) => {
      return `${call}"./${up}${bundleOf(named.get(specifier)!, module)}"`;
    });
    if (bundled !== text) await Deno.writeTextFile(`${folder}/${path}`, bundled);
  }
  return modules.map((href) => `${folder}/${bundleOf(href, module)}`);
}

/**
 * The modules that a module names, or one that it needs, by how they are named there.
 *
 * @throws {Error} If two are named alike: in a bundle nobody could tell which is meant.
 */
async function namedFrom(main: string): Promise<Map<string, string>> {
  const named = new Map<string, string>();
  const entries = new Set([main]);
  for (const entry of entries) {
    for (const source of await sourcesOf(entry)) {
      for (const [, , specifier] of (await Deno.readTextFile(new URL(source))).matchAll(NAMED)) {
        const { href } = new URL(specifier!, source);
        if ((named.get(specifier!) ?? href) !== href) {
          throw new Error(`Cannot bundle: "${specifier}" names two modules, rename one of them`);
        }
        named.set(specifier!, href);
        entries.add(href);
      }
    }
  }
  return named;
}

/** The local modules that a module needs, and itself. */
async function sourcesOf(module: string): Promise<string[]> {
  const args = ["info", "--quiet", "--json", module];
  const { success, stdout } = await new Deno.Command(Deno.execPath(), { args }).output();
  if (!success) throw new Error(`Cannot compile: deno info ${module} failed`);
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    modules: { specifier: string }[];
  };
  return modules.map(({ specifier }) => specifier).filter((href) => /^file:.*\.ts$/.test(href));
}

/** Where the bundle of a module goes: to the place that the module has beside the first of them. */
function bundleOf(module: string, first: URL): string {
  return module.slice(new URL("./", first).href.length).replace(/ts$/, "js");
}

/** The paths of the files in a folder, and in those below it. */
async function* filesIn(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (!isDirectory) yield name;
    else for await (const path of filesIn(`${folder}/${name}`)) yield `${name}/${path}`;
  }
}

async function deno(args: string[]): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).spawn()
    .status;
  if (!success) throw new CompileError(`Cannot compile: deno ${args[0]} failed`);
}

/** Deno could not do it, and has said why. */
class CompileError extends Error {}

if (import.meta.main) {
  const { output = "mpubsub-broker", target } = parseArgs(Deno.args, {
    string: ["output", "target"],
  }) as { output?: string; target?: string };
  try {
    await compile({ output, target });
  } catch (error) { // Whatever else it is, the stack says where.
    if (!(error instanceof CompileError)) throw error;
    console.error(error.message);
    Deno.exitCode = 1;
  }
}
