/**
 * Packs the package for npm: every entry point but the program's, as JavaScript that Node 22 and
 * bundlers read, with declarations.
 *
 * ```sh
 * deno task npm                                  # dist/mpubsub-mpubsub-0.1.0.tgz
 * deno task npm --repository OWNER/NAME          # with links to the repository on GitHub
 * ```
 *
 * `deno pack` makes the modules and the declarations, as JSR does for npm; it is there since Deno 2.9.
 * What it leaves is done here: esbuild writes newer syntax in older, declarations ask for the types of
 * `using`, and `package.json` says what the package needs. It needs `tar`.
 */
import { parseArgs } from "@std/cli/parse-args";
import manifest from "../../deno.json" with { type: "json" };
import { esbuild } from "./esbuild.ts";
import { withPackageCopy } from "./package_copy.ts";

const ROOT = new URL("../../", import.meta.url);
/** The program needs Deno, so it is not in the package. */
const PROGRAM = "./cli";
/** The syntax that Node 22 and bundlers read. */
const TARGET = "es2022";
const DISPOSABLE = '/// <reference lib="esnext.disposable" />\n';

/** What npm shows of the package; JSR shows the same, by its settings. */
export const DESCRIPTION =
  "Publish-subscribe that starts inside one process and reaches across processes by changing one " +
  "line: typed topics, sessions that outlive connections, mutual authentication, a broker in any " +
  "program or as one";
const KEYWORDS = ["pubsub", "publish-subscribe", "message-bus", "broker", "events", "ipc"];
/** What a client needs; a bus within a process works in older ones, too. */
const ENGINES = { node: ">=22.3", bun: ">=1.3", deno: ">=2.6" };

/** What `package.json` has, as far as it matters here. */
export interface NpmManifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string }>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** How the archive is called. */
export function archiveName(version: string = manifest.version): string {
  return `mpubsub-mpubsub-${version}.tgz`;
}

async function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args: [...args], cwd })
    .output();
  if (success) return;
  const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  throw new Error(`${command} ${args[0]} failed: ${said}`);
}

/**
 * Makes the package as `deno pack` has it, without the program.
 *
 * @param folder Where it goes, in a folder `package`, as in an archive.
 */
export async function unpacked(folder: string): Promise<void> {
  await withPackageCopy(async (copy) => {
    const { exports, publish, ...rest } = JSON.parse(
      await Deno.readTextFile(`${copy}/deno.json`),
    );
    const { [PROGRAM]: _, ...entries } = exports;
    // The modules that the entry points need are found; others would stand there as they are.
    const include = publish.include.filter((path: string) => !/(\.ts|\/)$/.test(path));
    const config = { ...rest, exports: entries, publish: { include } };
    await Deno.writeTextFile(`${copy}/deno.json`, JSON.stringify(config));
    const archive = `${folder}/packed.tgz`;
    const flags = ["--quiet", "--allow-dirty", "--no-source-maps", "--output", archive];
    await run(Deno.execPath(), ["pack", ...flags], copy);
    await run("tar", ["--extract", "--file", archive, "--directory", folder], folder);
    await Deno.remove(archive);
  });
}

/**
 * Makes the package for npm of what {@linkcode unpacked} has left in a folder.
 *
 * @param repository Where the project is on GitHub, as `OWNER/NAME`.
 */
export async function forNpm(folder: string, repository?: string): Promise<void> {
  const files = filesIn(`${folder}/package`);
  await lower(`${folder}/package`, files.filter((file) => file.endsWith(".js")));
  for (const file of files.filter((file) => file.endsWith(".d.ts"))) {
    const path = `${folder}/package/${file}`;
    await Deno.writeTextFile(path, withDisposable(await Deno.readTextFile(path)));
  }
  const path = `${folder}/package/package.json`;
  const packed = JSON.parse(await Deno.readTextFile(path)) as NpmManifest;
  const text = JSON.stringify(npmManifest(packed, repository), null, 2);
  await Deno.writeTextFile(path, `${text}\n`);
}

/** Packs the folder `package` of a folder. */
export function pack(folder: string, archive: string): Promise<void> {
  return run("tar", ["--create", "--gzip", "--file", archive, "package"], folder);
}

/** The files of a folder and of those within it, by their paths in it. */
export function filesIn(folder: string, within = ""): string[] {
  return [...Deno.readDirSync(`${folder}/${within}`)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesIn(folder, `${within}${name}/`) : [within + name]
  ).toSorted();
}

/**
 * Rewrites modules for what cannot read the newest syntax, such as `using`.
 *
 * @param files Their paths in the folder.
 */
export async function lower(folder: string, files: readonly string[]): Promise<void> {
  const flags = [`--target=${TARGET}`, "--outdir=.", "--outbase=.", "--allow-overwrite"];
  const said = await esbuild([...files, ...flags], folder);
  if (said !== "") throw new Error(`esbuild complains: ${said}`);
}

/** Has declarations ask for the types of `using`, if they use them. */
export function withDisposable(declarations: string): string {
  const usesThem = /\b(Async)?Disposable\b|\bSymbol\.(d|asyncD)ispose\b/.test(declarations);
  return usesThem ? DISPOSABLE + declarations : declarations;
}

/** What `package.json` says, of what `deno pack` lets it say. */
export function npmManifest(packed: NpmManifest, repository?: string): Record<string, unknown> {
  const { name, version, dependencies = {} } = packed;
  const exports = Object.entries(packed.exports).map(([entry, { types, default: module }]) =>
    [entry, { types, default: module }] as const
  );
  return {
    name,
    version,
    description: DESCRIPTION,
    keywords: KEYWORDS,
    license: manifest.license,
    ...repository !== undefined && {
      homepage: `https://github.com/${repository}#readme`,
      bugs: `https://github.com/${repository}/issues`,
      repository: { type: "git", url: `git+https://github.com/${repository}.git` },
    },
    type: "module",
    sideEffects: false,
    engines: ENGINES,
    exports: Object.fromEntries(exports),
    // Only one entry point needs them, and whoever uses that installs them.
    peerDependencies: dependencies,
    peerDependenciesMeta: Object.fromEntries(
      Object.keys(dependencies).map((name) => [name, { optional: true }]),
    ),
  };
}

/** Makes the archive of the package for npm. */
export async function packForNpm(archive: string, repository?: string): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-npm-" });
  try {
    await unpacked(folder);
    await forNpm(folder, repository);
    await pack(folder, archive);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function main(args: readonly string[]): Promise<number> {
  const wrong: string[] = [];
  const { output, repository } = parseArgs([...args], {
    string: ["output", "repository"],
    unknown: (arg) => wrong.push(arg),
  }) as { readonly output?: string; readonly repository?: string };
  if (repository !== undefined && !/^[\w.-]+\/[\w.-]+$/.test(repository)) wrong.push(repository);
  if (wrong.length > 0) {
    console.error(
      `Cannot use ${wrong.join(" ")}; the options are --output FILE and ` +
        `--repository OWNER/NAME`,
    );
    return 2;
  }
  await Deno.mkdir(new URL("dist/", ROOT), { recursive: true });
  const archive = output ?? new URL(`dist/${archiveName()}`, ROOT).pathname;
  await packForNpm(archive, repository);
  console.log(archive);
  return 0;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
