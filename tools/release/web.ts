/**
 * Makes one module of what a page needs, `NetPubSub` over WebSockets with all that belongs to it, for
 * a script tag without a bundler.
 *
 * ```sh
 * deno task web                     # dist/mpubsub.js
 * deno task web --output FILE
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

/** Writes the module to a file. */
export async function bundleForPages(output: string): Promise<void> {
  const said = await esbuild([
    "web.ts",
    "--bundle",
    "--minify",
    "--format=esm",
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
  console.log(file);
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
