/** What an entry point adds to a program, against what docs/sizes.md says. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { measure, sizesIn, tableOf, withTable } from "../tools/release/sizes.ts";
import { PAGES } from "./helpers/pages.ts";

/** How far an entry point may be from what the page says; `deno task sizes --write` writes it anew. */
const TOLERANCE = 0.03;

/** What a page may have to download, in kB, whatever the page says. */
const WEB_KB_MAX = 50;

Deno.test("each entry point is as large as docs/sizes.md says, within 3 %", async () => {
  const said = sizesIn(PAGES.get("docs/sizes.md")!);
  const sizes = await measure();
  assertEquals(said.map(({ entry }) => entry), sizes.map(({ entry }) => entry));
  for (const [at, { entry, ...now }] of sizes.entries()) {
    for (const kind of ["minified", "gzipped"] as const) {
      const change = now[kind] / said[at]![kind] - 1;
      const what = `${entry} ${kind}: ${now[kind]} kB, not ${
        said[at]![kind]
      } kB; see docs/sizes.md`;
      assert(Math.abs(change) <= TOLERANCE, what);
    }
  }
  const { gzipped } = sizes.find(({ entry }) => entry.endsWith("/web"))!;
  assert(gzipped <= WEB_KB_MAX, `./web has ${gzipped} kB; the bound is ${WEB_KB_MAX}`);
});

Deno.test("withTable puts a table in the place of another, and sizesIn reads it", () => {
  const sizes = [
    { entry: "@a/b", minified: 20.04, gzipped: 7.96 },
    { entry: "@a/b/c", minified: 100, gzipped: 30 },
  ];
  const page = withTable("# A\n\n| entry point | x |\n| --- | --- |\n\nEnd\n", tableOf(sizes));
  assertEquals(
    page,
    `# A

| entry point | minified, gzip | minified |
| ----------- | -------------: | -------: |
| \`@a/b\`      |         8.0 kB |  20.0 kB |
| \`@a/b/c\`    |        30.0 kB | 100.0 kB |

End
`,
  );
  assertEquals(sizesIn(page), [
    { entry: "@a/b", minified: 20, gzipped: 8 },
    { entry: "@a/b/c", minified: 100, gzipped: 30 },
  ]);
  assertThrows(() => withTable("# A\n", ""), Error, "no table");
});
