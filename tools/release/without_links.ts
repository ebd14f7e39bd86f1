/**
 * Takes the stand-ins of `links/` out of the configuration, where JSR can be reached: then the real
 * packages are used. The locks go as well, since they name the stand-ins; Deno makes them anew.
 *
 * ```sh
 * deno run --no-lock --allow-read --allow-write tools/release/without_links.ts
 * ```
 */

/** The folders that have a configuration with links. */
const FOLDERS = [".", "bench"];

for (const folder of FOLDERS) {
  const { links: _, ...config } = JSON.parse(await Deno.readTextFile(`${folder}/deno.json`));
  await Deno.writeTextFile(`${folder}/deno.json`, `${JSON.stringify(config, null, 2)}\n`);
  await Deno.remove(`${folder}/deno.lock`);
}
