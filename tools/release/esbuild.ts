/** Runs esbuild, in the version that `lint/deno.json` names. */
import lint from "../../lint/deno.json" with { type: "json" };

const CONFIG = new URL("../../lint/deno.json", import.meta.url).pathname;

/**
 * Runs esbuild with these arguments.
 *
 * @param cwd Where its paths begin.
 * @returns What it says; nothing, if it has nothing to complain of.
 * @throws {Error} If it fails.
 */
export async function esbuild(args: readonly string[], cwd: string | URL): Promise<string> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--allow-all", `--config=${CONFIG}`, lint.imports.esbuild, ...args]
      .concat("--log-level=warning"),
    cwd,
    env: { NO_COLOR: "1" },
    stdout: "null",
  }).output();
  const said = new TextDecoder().decode(stderr);
  if (!success) throw new Error(`esbuild failed: ${said}`);
  return said;
}
