/**
 * Makes one file of what a page needs, `NetPubSub` over WebSockets with all that belongs to it, for a
 * script tag without a bundler: as a module, and as a plain script whose names are those of the global
 * object `mpubsub`. Browsers load no modules from disk.
 *
 * ```sh
 * deno task web                     # dist/mpubsub.js, dist/mpubsub.global.js
 * deno task web --output a/b.js     # a/b.js, a/b.global.js
 * ```
 */
import { parseArgs } from "@std/cli/parse-args";
import manifest from "../../deno.json" with { type: "json" };
import { esbuild } from "./esbuild.ts";

const ROOT = new URL("../../", import.meta.url);
/** The syntax that today's browsers read. */
const TARGET = "es2022";

/** How the module is called. */
export const WEB_MODULE = "mpubsub.js";

/** Where the plain script is, beside a module. */
export function scriptBeside(module: string): string {
  return `${module.replace(/\.js$/, "")}.global.js`;
}

/** Writes the module to a file, and the plain script beside it. */
export async function bundleForPages(output: string): Promise<void> {
  await bundle(output, "--format=esm");
  await bundle(scriptBeside(output), "--format=iife", "--global-name=mpubsub");
}

async function bundle(output: string, ...format: readonly string[]): Promise<void> {
  const said = await esbuild([
    "web.ts",
    "--bundle",
    "--minify",
    ...format,
    "--platform=browser",
    `--target=${TARGET}`,
    `--banner:js=/* mpubsub ${manifest.version}, ${manifest.license} */`,
    `--outfile=${output}`,
  ], ROOT);
  if (said !== "") throw new Error(`esbuild complains: ${said}`);
}

async function main(args: readonly string[]): Promise<number> {
  const wrong: string[] = [];
  const { output } = parseArgs([...args], {
    string: ["output"],
    unknown: (arg) => wrong.push(arg),
  }) as { readonly output?: string };
  if (wrong.length > 0) {
    console.error(`Cannot use ${wrong.join(" ")}; the option is --output FILE`);
    return 2;
  }
  const file = output ?? new URL(`dist/${WEB_MODULE}`, ROOT).pathname;
  await bundleForPages(file);
  console.log(`${file}\n${scriptBeside(file)}`);
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
