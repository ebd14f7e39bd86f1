/**
 * Prints what CHANGELOG.md says of a release, and refuses a tag that is not that of the version in
 * deno.json.
 *
 * ```sh
 * deno run --allow-read=CHANGELOG.md tools/release/release_notes.ts v0.1.0
 * ```
 */
import manifest from "../../deno.json" with { type: "json" };

/**
 * What stands in a changelog under the version of a tag.
 *
 * @throws {Error} If the tag is not that of `version`, or there is no such section with a date.
 */
export function releaseNotes(tag: string, version: string, changelog: string): string {
  if (tag !== `v${version}`) {
    throw new Error(`Cannot release ${tag}: the version in deno.json is ${version}`);
  }
  const sections = changelog.split(/^## /m).slice(1);
  const section = sections.find((text) => text.startsWith(`${version} `));
  const [heading = "", ...notes] = (section ?? "").split("\n");
  if (!/ \(\d{4}-\d{2}-\d{2}\)$/.test(heading)) {
    throw new Error(
      `Cannot release ${tag}: CHANGELOG.md has no section "## ${version} (YYYY-MM-DD)"`,
    );
  }
  return `${notes.join("\n").trim()}\n`;
}

if (import.meta.main) {
  const changelog = await Deno.readTextFile(new URL("../../CHANGELOG.md", import.meta.url));
  try {
    const notes = releaseNotes(Deno.args[0] ?? "without a tag", manifest.version, changelog);
    Deno.stdout.writeSync(new TextEncoder().encode(notes));
  } catch (error) { // What is wrong with the tag or the changelog.
    console.error((error as Error).message);
    Deno.exit(1);
  }
}
