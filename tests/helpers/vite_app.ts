/**
 * The app of `examples/vite/` with the package for npm. Usually the compiler and the bundler that the tests
 * have anyway take the place of its own, which take a while; with `VITE=1` it is built as a reader does.
 */
import { assert, assertEquals } from "@std/assert";
import { esbuild } from "../../tools/release/esbuild.ts";

const APP = new URL("../../examples/vite/", import.meta.url).pathname;
/** Whether it is built with its own tools. */
const HAS_VITE: boolean = Deno.env.get("VITE") === "1";
/** What those are. */
const TOOLS = ["typescript", "vite"];

/** Runs a command in a folder. */
export type Run = (
  folder: string,
  command: string,
  ...args: string[]
) => Promise<{ success: boolean; said: string }>;

/** Whether npm can get packages here. */
export async function hasRegistry(folder: string, run: Run): Promise<boolean> {
  return (await run(folder, "npm", "view", "react", "version")).success;
}

/**
 * Installs the app with the package, checks its types and builds it.
 *
 * @param folder Where it goes.
 * @param archive The package.
 * @param compile Runs the compiler of the tests in a folder.
 * @returns The folder of its pages.
 */
export async function buildApp(
  folder: string,
  archive: string,
  run: Run,
  compile: (folder: string, ...flags: string[]) => ReturnType<Run>,
): Promise<string> {
  const app = `${folder}/vite`;
  await Deno.mkdir(`${app}/src`, { recursive: true });
  for (const within of ["", "src/"]) {
    for (const { name, isFile } of Deno.readDirSync(APP + within)) {
      if (isFile) await Deno.copyFile(`${APP}${within}${name}`, `${app}/${within}${name}`);
    }
  }
  if (!HAS_VITE) await leaveOutTools(`${app}/package.json`);
  const flags = ["--no-save", "--prefer-offline", "--no-audit", "--no-fund"];
  const installed = await run(app, "npm", "install", ...flags, archive);
  assert(installed.success, installed.said);

  if (HAS_VITE) {
    const { success, said } = await run(app, "npm", "run", "build");
    assert(success, said);
    return `${app}/dist`;
  }
  const config = {
    extends: "./tsconfig.json",
    compilerOptions: { types: [] },
    include: [],
    files: ["src/App.tsx"],
  };
  await Deno.writeTextFile(`${app}/check.json`, JSON.stringify(config));
  assertEquals(await compile(app, "-p", "check.json"), { success: true, said: "" });
  const format = ["--format=esm", "--jsx=automatic", `--define:process.env.NODE_ENV="production"`];
  assertEquals(await esbuild(["src/main.tsx", "--bundle", ...format, "--outdir=dist"], app), "");
  const html = (await Deno.readTextFile(`${app}/index.html`))
    .replace("/src/main.tsx", "/main.js")
    .replace("</title>", '</title><link rel="stylesheet" href="/main.css">');
  await Deno.writeTextFile(`${app}/dist/index.html`, html);
  return `${app}/dist`;
}

async function leaveOutTools(path: string): Promise<void> {
  const manifest = JSON.parse(await Deno.readTextFile(path));
  for (const tool of TOOLS) delete manifest.devDependencies[tool];
  await Deno.writeTextFile(path, JSON.stringify(manifest));
}
