/**
 * Makes what a release offers: the program for each kind of machine, packed; what pages load; and their
 * SHA-256 sums.
 *
 * ```sh
 * deno task release                                      # for all, in dist/
 * deno task release --target x86_64-unknown-linux-gnu    # for one, or several
 * (cd dist && sha256sum --check SHA256SUMS)
 * ```
 *
 * It needs `tar`, and `zip` for Windows. `deno compile` downloads what it needs for each target.
 */
import { parseArgs } from "@std/cli/parse-args";
import manifest from "../../deno.json" with { type: "json" };
import { compile } from "./compile.ts";
import { bundleForPages, WEB_MODULE } from "./web.ts";

const ROOT = new URL("../../", import.meta.url);
const DIST = new URL("dist/", ROOT);
/** What stands beside the program: its licence asks for that. */
const TEXTS = ["LICENSE", "README.md", "CHANGELOG.md"];

/** The machines for which a release has a program. */
export const TARGETS: readonly string[] = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
  "x86_64-pc-windows-msvc",
];

/** How the folder for a target is called, and the archive of it without its ending. */
export function nameFor(target: string, version: string = manifest.version): string {
  return `mpubsub-broker-${version}-${target}`;
}

/** How the archive for a target is called: a zip for Windows, which opens that by itself. */
export function archiveFor(target: string, version?: string): string {
  return `${nameFor(target, version)}.${isWindows(target) ? "zip" : "tar.gz"}`;
}

/**
 * Compiles the program for one target, and packs it.
 *
 * @param target What `deno compile --target` takes.
 * @param folder Where the archive goes.
 */
export async function release(target: string, folder: string): Promise<void> {
  const stage = await Deno.makeTempDir({ prefix: "mpubsub-release-" });
  try {
    const name = nameFor(target);
    await Deno.mkdir(`${stage}/${name}`);
    const program = `${stage}/${name}/mpubsub-broker${isWindows(target) ? ".exe" : ""}`;
    await compile({ output: program, target });
    for (const text of TEXTS) await Deno.copyFile(new URL(text, ROOT), `${stage}/${name}/${text}`);
    const archive = `${folder}/${archiveFor(target)}`;
    const [command, ...args] = isWindows(target)
      ? ["zip", "--quiet", "--recurse-paths", archive, name]
      : ["tar", "--create", "--gzip", "--file", archive, name];
    const { success } = await new Deno.Command(command!, { args, cwd: stage }).spawn().status;
    if (!success) throw new Error(`Cannot pack ${archive}: ${command} failed`);
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

/** Writes the sums of all files of a folder to its SHA256SUMS, as `sha256sum --check` reads them. */
export async function writeSums(folder: string): Promise<void> {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => name !== "SHA256SUMS");
  let sums = "";
  for (const name of names.toSorted()) {
    const bytes = await Deno.readFile(`${folder}/${name}`);
    const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    sums += `${sum.toHex()}  ${name}\n`;
  }
  await Deno.writeTextFile(`${folder}/SHA256SUMS`, sums);
}

function isWindows(target: string): boolean {
  return target.includes("windows");
}

async function main(args: readonly string[]): Promise<number> {
  const wrong: string[] = [];
  const { target: chosen } = parseArgs([...args], {
    string: ["target"],
    collect: ["target"],
    unknown: (arg) => wrong.push(arg),
  }) as unknown as { target: string[] };
  wrong.push(...chosen.filter((target) => !TARGETS.includes(target)));
  if (wrong.length > 0) {
    console.error(`Cannot use ${wrong.join(" ")}; the targets are ${TARGETS.join(", ")}`);
    return 2;
  }
  // What an earlier version left must not stand among the sums.
  await Deno.remove(DIST, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await Deno.mkdir(DIST);
  for (const target of chosen.length > 0 ? chosen : TARGETS) {
    console.log(archiveFor(target));
    await release(target, DIST.pathname);
  }
  console.log(WEB_MODULE);
  await bundleForPages(`${DIST.pathname}${WEB_MODULE}`);
  await writeSums(DIST.pathname);
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
