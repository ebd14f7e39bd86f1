/**
 * Other runtimes than Deno, as far as they are here: those on the path, or those that environment
 * variables name, which `.ci/steps.sh` sets.
 */
import { assertEquals } from "@std/assert";
import { Chromium, findChromium } from "../../tools/harness/chromium.ts";
import { PageServer } from "../../tools/harness/page_server.ts";
import { SIGNED } from "./tls.ts";

/** A runtime in which a module can be run. */
export interface Runtime {
  readonly name: string;
  /** Why its tests are ignored, in parentheses; empty if it is here. */
  readonly note: string;
  /** The program, where it is one that runs files, with the flags that keep it quiet. */
  readonly command?: readonly string[];
  /** For what modules are bundled: `"deno"` has modules of Node's. */
  readonly platform: "browser" | "deno";
  /** Whether a client there can connect over sockets; `undefined` if that cannot be tried. */
  readonly hasSockets: boolean | undefined;
  /** Whether it has files; `undefined` if that cannot be tried. */
  readonly hasFiles: boolean | undefined;
  /** Whether it reads TypeScript by itself. */
  readonly readsTypeScript: boolean;
  /**
   * Runs a module.
   *
   * @param folder What the runtime may read.
   * @param path The path of the module in the folder.
   * @returns What it logs, line by line.
   */
  run(folder: string, path: string, options?: RunOptions): Promise<string>;
}

/** How a module is run. */
export interface RunOptions {
  /** The file of an authority that is trusted beside those of the system. */
  readonly ca?: string;
  /** What its environment has besides, where it has one. */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * The host of the page that runs it, where it is a page.
   *
   * @default {"127.0.0.1"}
   */
  readonly hostname?: string;
  /** Ends it, where it is a command. */
  readonly signal?: AbortSignal;
}

/** What a command says when it is asked for a runtime's version. */
const NODE_MAJOR = ["-p", "process.versions.deno ?? process.versions.node.split('.')[0]"];

/** The runtimes that can be tested, each in the oldest and newest version that people use. */
export const RUNTIMES: readonly Runtime[] = [
  withoutDeno(),
  ...await Promise.all([node(22), node(24), bun(), chromium()]),
];

/** The Deno that runs the tests. */
export const DENO: Runtime = onCommandLine("Deno", Deno.execPath(), [
  ...["run", "--quiet", "--no-config", "--allow-all"],
]);

/** Deno, but its modules find no `Deno`, only what it has of Node. */
function withoutDeno(): Runtime {
  return {
    name: "a runtime without Deno",
    note: "",
    platform: "browser",
    // It has the modules of Node's; but those for files look for `Deno` themselves, and in older versions
    // those for sockets.
    hasSockets: /^2\.[678]\./.test(Deno.version.deno) ? undefined : true,
    hasFiles: undefined,
    readsTypeScript: true,
    run(folder, path, { ca } = {}) {
      // Those modules need it when they are loaded.
      const script = `
        for (const name of ["net", "tls"]) process.getBuiltinModule("node:" + name);
        delete globalThis.Deno;
        await import("file://${folder}/${path}");`;
      const trust = ca === undefined ? [] : ["--cert", ca];
      const args = ["eval", "--quiet", "--no-config", ...trust, script];
      return output(Deno.execPath(), args, folder);
    },
  };
}

async function node(major: number): Promise<Runtime> {
  const command = await find([Deno.env.get(`NODE_${major}`), "node"], NODE_MAJOR, `${major}\n`);
  return onCommandLine(`Node ${major}`, command, ["--no-warnings"]);
}

async function bun(): Promise<Runtime> {
  return onCommandLine("Bun", await find([Deno.env.get("BUN"), "bun"], ["--version"]), ["run"]);
}

function onCommandLine(name: string, command: string | undefined, flags: string[]): Runtime {
  return {
    name,
    note: noteOf(name, command),
    ...command !== undefined && { command: [command, ...flags.filter((flag) => flag !== "run")] },
    platform: "deno",
    hasSockets: true,
    hasFiles: true,
    readsTypeScript: true,
    run: (folder, path, { ca, env, signal } = {}) =>
      output(command!, [...flags, `${folder}/${path}`], folder, signal, {
        ...env,
        ...ca !== undefined && { NODE_EXTRA_CA_CERTS: ca },
      }),
  };
}

async function chromium(): Promise<Runtime> {
  const command = await findChromium();
  return {
    name: "a page in Chromium",
    note: noteOf("Chromium", command),
    platform: "browser",
    hasSockets: false,
    hasFiles: false,
    readsTypeScript: false,
    run: (folder, path, options) => runInPage(command!, folder, path, options),
  };
}

function noteOf(name: string, command: string | undefined): string {
  return command === undefined ? ` (ignored: there is no ${name} here)` : "";
}

/** The first of these commands that runs, and says this. */
async function find(
  commands: readonly (string | undefined)[],
  args: string[],
  says?: string,
): Promise<string | undefined> {
  for (const command of commands) {
    if (command === undefined) continue;
    try {
      const { success, stdout } = await new Deno.Command(command, { args }).output();
      const isIt = says === undefined || new TextDecoder().decode(stdout) === says;
      if (success && isIt) return command;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** What a command prints in a folder, once it has succeeded. */
export async function output(
  command: string,
  args: string[],
  cwd: string,
  signal?: AbortSignal,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    ...signal && { signal },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals([code, err], [0, ""], `${command} ${args.join(" ")} printed ${out}`);
  return out!;
}

/** Opens a page that runs the module; what that logs. */
async function runInPage(
  command: string,
  folder: string,
  path: string,
  { ca, hostname = "127.0.0.1" }: RunOptions = {},
): Promise<string> {
  await using server = new PageServer((name) =>
    name === "/page.html" ? "<!doctype html>" : Deno.readFile(`${folder}${name}`)
  );
  await using browser = await Chromium.start(command, {
    // It takes no authority from a file, but certificates.
    certificates: ca === undefined ? [] : [SIGNED.cert],
  });
  let said = "";
  const page = await browser.open(`${server.origin("http", hostname)}/page.html`, {
    onLine: (line) => said += `${line}\n`,
  });
  await page.evaluate(`import("/${path}")`);
  return said;
}
