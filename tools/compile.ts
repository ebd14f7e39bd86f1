/**
 * Makes the program `mpubsub-broker`, one file that needs no Deno.
 *
 * ```sh
 * deno task compile                                      # for this machine, as ./mpubsub-broker
 * deno task compile --target aarch64-apple-darwin --output broker
 * ```
 *
 * The modules are bundled into one first, and V8's code cache is left out; docs/decisions.md says why.
 */
import { parseArgs } from "@std/cli/parse-args";
import manifest from "../deno.json" with { type: "json" };

const CLI = new URL("../cli.ts", import.meta.url);
/** The permissions and V8's flags: those with which `deno task broker` runs it. */
const FLAGS = /^deno run (.*) cli\.ts$/.exec(manifest.tasks.broker.command)![1]!.split(" ");
/** A module that is named and not imported: the beginning of a worker. */
const WORKER =
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
    const [main, ...workers] = await bundle(CLI, folder);
    await deno([
      "compile",
      "--quiet",
      "--no-config",
      "--no-lock",
      "--no-check",
      "--no-code-cache",

      ...FLAGS,
      ...(target === undefined ? [] : ["--target", target]),
      ...workers.flatMap((worker) => ["--include", worker]),
      "--output",
      output,
      main!,
    ]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * Bundles a module with all that it imports, and so each worker that it starts.
 *
 * @returns The bundles, that of the module first.
 */
export async function bundle(module: URL, folder: string): Promise<string[]> {
  const name = /(\w+)\.ts$/.exec(module.pathname)![1]!;
  const path = `${folder}/${name}.js`;
  await deno(["bundle", "--quiet", "--output", path, module.href]);
  const text = await Deno.readTextFile(path);
  const workers = [...new Set([...text.matchAll(WORKER)].map(([, , worker]) => worker!))];
  if (workers.length === 0) return [path];
  await Deno.writeTextFile(path, text.replaceAll(WORKER, '$1"./$2.js"'));
  const bundles = workers.map((worker) => bundle(new URL(`${worker}.ts`, module), folder));
  return [path, ...(await Promise.all(bundles)).flat()];
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
