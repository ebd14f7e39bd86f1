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
import manifest from "../deno.json" with { type: "json" };

const CLI = new URL("../cli.ts", import.meta.url);
/** The permissions and V8's flags: those with which `deno task broker` runs it. */
const FLAGS = /^deno run (.*) cli\.ts$/.exec(manifest.tasks.broker.command)![1]!.split(" ");
/** A module that is named, so that nothing loads it early: a worker, or what few need. */
const NAMED =
  /(new URL\((?="\.\/\w+\.ts", import\.meta\.url\))|import\.meta\.resolve\()"\.\/(\w+)\.ts"/g;

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
  const main = /(\w+)\.ts$/.exec(module.pathname)![1]!;
  const names = new Set([main]);
  for (let known = 0; known < names.size;) {
    known = names.size;
    await Deno.remove(folder, { recursive: true });
    const modules = [...names].map((name) => new URL(`${name}.ts`, module).href);
    await deno(["bundle", "--quiet", "--code-splitting", "--outdir", folder, ...modules]);
    for (const { text } of await filesIn(folder)) {
      for (const [, , name] of text.matchAll(NAMED)) names.add(name!);
    }
  }
  for (const { path, text } of await filesIn(folder)) {
    await Deno.writeTextFile(path, text.replaceAll(NAMED, '$1"./$2.js"'));
  }
  return [...names].map((name) => `${folder}/${name}.js`);
}

async function filesIn(folder: string): Promise<{ path: string; text: string }[]> {
  const paths = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) =>
    `${folder}/${name}`
  );
  return await Promise.all(
    paths.map(async (path) => ({ path, text: await Deno.readTextFile(path) })),
  );
}

async function deno(args: string[]): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).spawn()
    .status;
  if (!success) throw new Error(`Cannot compile: deno ${args[0]} failed`);
}

if (import.meta.main) {
  const { output = "mpubsub-broker", target } = parseArgs(Deno.args, {
    string: ["output", "target"],
  }) as { output?: string; target?: string };
  await compile({ output, target });
}
