/** Runtimes in which client processes run, beside Deno: they are given the program as one bundle. */

/** A runtime other than Deno. */
export interface ClientRuntime {
  /** Its name on the command line. */
  readonly name: string;
  /** Its name for readers. */
  readonly title: string;
  /** The command that runs a module. */
  readonly command: string;
}

/** Node and Bun: those that environment variables name, or else those on the path. */
export const CLIENT_RUNTIMES: readonly ClientRuntime[] = [
  { name: "node", title: "Node", command: Deno.env.get("NODE_22") || "node" },
  { name: "bun", title: "Bun", command: Deno.env.get("BUN") || "bun" },
];

/**
 * Bundles `program.ts` with the module that speaks to a system.
 *
 * @param folder Where the bundle is put.
 * @returns The path of what is to be run.
 */
export async function bundleFor(client: string, folder: string): Promise<string> {
  const modules = ["program.ts", `clients/${client}.ts`];
  const config = ["--no-lock", "--config", local("deno.json")];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", ...config, "--platform", "deno", "--code-splitting"]
      .concat("--outdir", folder, ...modules.map(local)),
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  await Deno.writeTextFile(`${folder}/package.json`, '{ "type": "module" }');
  return `${folder}/program.js`;
}

function local(module: string): string {
  return new URL(module, import.meta.url).pathname;
}
