/**
 * How large each entry point is in somebody's program: bundled with all that it needs of the package,
 * minified, and compressed.
 *
 * ```sh
 * deno task sizes            # prints the table
 * deno task sizes --write    # puts it into docs/sizes.md
 * ```
 */
import { parseArgs } from "@std/cli/parse-args";
import manifest from "../../deno.json" with { type: "json" };
import { esbuild } from "./esbuild.ts";

const ROOT = new URL("../../", import.meta.url);
const PAGE = new URL("docs/sizes.md", ROOT);
/** The table of the page. */
const TABLE = /^\| entry point .*\n(\|.*\n)+/m;
/** The program has no place in a bundle. */
const PROGRAM = "./cli";
const BYTES_PER_KB = 1000;

/** How large an entry point is, in kB. */
export interface Size {
  /** Its name, as programs import it. */
  readonly entry: string;
  readonly minified: number;
  readonly gzipped: number;
}

async function gzipped(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  const compressed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(compressed).arrayBuffer()).byteLength;
}

/** Measures each entry point by itself, without packages of others. */
export async function measure(): Promise<Size[]> {
  const entries = Object.entries(manifest.exports).filter(([name]) => name !== PROGRAM);
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-sizes-" });
  try {
    const flags = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--platform=browser"];
    await esbuild([
      ...entries.map(([, file]) => file),
      ...flags,
      "--packages=external",
      `--outdir=${folder}`,
    ], ROOT);
    return await Promise.all(entries.map(async ([name, file]) => {
      const bytes = await Deno.readFile(`${folder}/${file.replace(/ts$/, "js")}`);
      return {
        entry: manifest.name + name.slice(1),
        minified: bytes.length / BYTES_PER_KB,
        gzipped: await gzipped(bytes) / BYTES_PER_KB,
      };
    }));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The table of these sizes, as it stands in the page, in the way of `deno fmt`. */
export function tableOf(sizes: readonly Size[]): string {
  const head = ["entry point", "minified, gzip", "minified"];
  const rows = sizes.map((
    { entry, minified, gzipped },
  ) => [`\`${entry}\``, `${gzipped.toFixed(1)} kB`, `${minified.toFixed(1)} kB`]);
  const widths = head.map((_, at) => Math.max(...[head, ...rows].map((row) => row[at]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${
      cells.map((cell, at) => at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))
        .join(" | ")
    } |\n`;
  const rule = widths.map((width, at) =>
    "-".repeat(at === 0 ? width : width - 1) + (at ? ":" : "")
  );
  return [head, rule, ...rows].map(line).join("");
}

/** Reads the table of a page. */
export function sizesIn(page: string): Size[] {
  const rows = page.matchAll(/^\| `([^`]+)` +\| +([\d.]+) kB \| +([\d.]+) kB \|$/gm);
  return [...rows].map(([, entry, gzipped, minified]) => ({
    entry: entry!,
    minified: Number(minified),
    gzipped: Number(gzipped),
  }));
}

/** Puts a table in the place of that in a page. */
export function withTable(page: string, table: string): string {
  if (!TABLE.test(page)) throw new Error("The page has no table of entry points");
  return page.replace(TABLE, () => table);
}

async function main(args: readonly string[]): Promise<number> {
  const wrong: string[] = [];
  const { write } = parseArgs([...args], {
    boolean: ["write"],
    unknown: (arg) => wrong.push(arg),
  });
  if (wrong.length > 0) {
    console.error(`Cannot use ${wrong.join(" ")}; the option is --write`);
    return 2;
  }
  const table = tableOf(await measure());
  console.log(table.trimEnd());
  if (write) await Deno.writeTextFile(PAGE, withTable(await Deno.readTextFile(PAGE), table));
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
