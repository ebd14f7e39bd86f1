/** What `deno task npm` does beside `deno pack`, and what it refuses. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DESCRIPTION, lower, npmManifest, withDisposable } from "../tools/release/npm.ts";
import { TempFolder } from "./helpers/folder.ts";
import { PAGES } from "./helpers/pages.ts";

const ROOT = new URL("../", import.meta.url);

Deno.test("lower leaves no syntax that Node 22 cannot read", async () => {
  await using folder = await TempFolder.make();
  const source = `const said = [];
    function mark(_value, { name }) { said.push(name); }
    class Place {
      @mark accessor free = 1;
      [Symbol.dispose]() { said.push("disposed"); }
    }
    { using place = new Place(); said.push(place.free); }
    export default said;`;
  await Deno.writeTextFile(`${folder.path}/module.js`, source);
  await lower(folder.path, ["module.js"]);
  const text = await Deno.readTextFile(`${folder.path}/module.js`);
  assertEquals(text.match(/\busing \w+ =|@mark|\baccessor \w/), null);
  const { default: said } = await import(`file://${folder.path}/module.js`);
  assertEquals(said, ["free", 1, "disposed"]);
});

Deno.test("withDisposable asks for the types of using where they are used", () => {
  const asking = /^\/\/\/ <reference lib="esnext\.disposable" \/>\n/;
  for (
    const text of [
      "class A implements Disposable {}",
      "type A = AsyncDisposable;",
      "interface A { [Symbol.dispose](): void }",
      "interface A { [Symbol.asyncDispose](): Promise<void> }",
    ]
  ) assertMatch(withDisposable(text), asking);
  assertEquals(withDisposable("type Disposables = 1;"), "type Disposables = 1;");
});

Deno.test("npm is told which versions a client needs, as the pages say", () => {
  const manifest = npmManifest({ name: "a", version: "1.0.0", exports: {} });
  const [, ...needed] = /Deno ([\d.]+), \[Node ([\d.]+) and Bun ([\d.]+)\]/.exec(
    PAGES.get("README.md")!,
  )!;
  const [deno, node, bun] = needed.map((version) => `>=${version}`);
  assertEquals(manifest["engines"], { node, bun, deno });
});

Deno.test("npm shows the description that JSR is to have", () => {
  const page = PAGES.get("docs/releasing.md")!.replaceAll(/\s+/g, " ");
  assertStringIncludes(page, `"${DESCRIPTION}"`);
});

Deno.test("deno task npm refuses options that it does not have, and what is no repository", async () => {
  for (const option of ["--out=x", "--repository=https://github.com/a/b"]) {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "tools/release/npm.ts", option],
      cwd: ROOT,
    }).output();
    assertEquals(code, 2);
    assertStringIncludes(new TextDecoder().decode(stderr), "the options are --output FILE and ");
  }
});
