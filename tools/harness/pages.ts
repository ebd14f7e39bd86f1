/** Pages of `docs/` into which programs put what they have measured. */

/** Replaces, in a page, what stands between the marks of each name. */
export async function fillPage(file: URL, texts: Readonly<Record<string, string>>): Promise<void> {
  let page = await Deno.readTextFile(file);
  for (const [name, text] of Object.entries(texts)) {
    const [begin, end] = [`<!-- begin ${name} -->`, `<!-- end ${name} -->`];
    const from = page.indexOf(begin);
    const to = page.indexOf(end);
    if (from < 0 || to < from) throw new Error(`There is no ${begin} … ${end} in ${file.pathname}`);
    page = `${page.slice(0, from + begin.length)}\n\n${text}\n\n${page.slice(to)}`;
  }
  await Deno.writeTextFile(file, page);
}
