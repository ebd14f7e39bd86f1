/**
 * `deno publish --dry-run`, as it would be where JSR can be reached: in a copy of the tree with the
 * stand-ins of `links/` outside the package. Inside, `deno publish` wants each module that the
 * package imports to be published with it.
 */
const ROOT = new URL("../", import.meta.url).pathname;
const copy = await Deno.makeTempDir({ prefix: "mpubsub-publish-" });

async function run(command: string, args: string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  const said = new TextDecoder().decode(stdout);
  if (success) return said;
  console.error(said + new TextDecoder().decode(stderr));
  throw new Error(`${command} ${args.join(" ")} failed`);
}

try {
  const files = (await run("git", ["ls-files", "-co", "--exclude-standard"], ROOT)).trim();
  for (const file of files.split("\n")) {
    const to = file.startsWith("links/") ? `${copy}/${file}` : `${copy}/package/${file}`;
    await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
    await Deno.copyFile(`${ROOT}${file}`, to).catch((error) => {
      // Deleted, but git does not know it yet.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }
  const manifest = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  manifest.links = manifest.links.map((link: string) => `.${link}`);
  await Deno.writeTextFile(`${copy}/package/deno.json`, JSON.stringify(manifest));
  const args = ["publish", "--dry-run", "--allow-dirty", "--quiet"];
  console.log(await run(Deno.execPath(), args, `${copy}/package`));
} finally {
  await Deno.remove(copy, { recursive: true });
}
