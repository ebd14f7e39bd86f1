/**
 * A copy of the package as `deno publish` can take it anywhere: with the stand-ins of `links/` outside.
 * Inside, `deno publish` wants each module that the package imports to be published with it.
 */
const ROOT = new URL("../../", import.meta.url).pathname;

/** The files of the tree, as git knows them. */
async function listFiles(): Promise<string[]> {
  const { success, stdout, stderr } = await new Deno.Command("git", {
    args: ["ls-files", "-co", "--exclude-standard"],
    cwd: ROOT,
  }).output();
  if (!success) throw new Error(`git ls-files failed: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout).trim().split("\n");
}

/**
 * Copies the package, and takes the copy away afterwards.
 *
 * @param body What is done with it, in this folder.
 * @returns What `body` returns.
 */
export async function withPackageCopy<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const copy = await Deno.makeTempDir({ prefix: "mpubsub-package-" });
  try {
    for (const file of await listFiles()) {
      const to = file.startsWith("links/") ? `${copy}/${file}` : `${copy}/package/${file}`;
      await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
      await Deno.copyFile(`${ROOT}${file}`, to).catch((error) => {
        // Deleted, but git does not know it yet.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      });
    }
    const manifest = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
    manifest.links = manifest.links?.map((link: string) => `.${link}`);
    await Deno.writeTextFile(`${copy}/package/deno.json`, JSON.stringify(manifest));
    return await body(`${copy}/package`);
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
}
