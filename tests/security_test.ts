/** Holds `SECURITY.md` against the tests that it names. */
import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);
const PAGE = (await read("SECURITY.md")).replaceAll(/\s+/g, " ");
const NAMED = [...PAGE.matchAll(/`(\w+)`: _([^_]+)_/g)].map(([, where, name]) => ({ where, name }));

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, ROOT));
}

/** All that stands in the modules of a folder. */
async function readAll(folder: string): Promise<string> {
  const names = [...Deno.readDirSync(new URL(folder, ROOT))].map(({ name }) => name);
  return (await Promise.all(names.map((name) => read(folder + name)))).join("\n");
}

const TOOLS: Readonly<Record<string, string>> = {
  abuse: await readAll("tools/attacks/"),
  fuzz: await readAll("tools/fuzz/"),
};

Deno.test("SECURITY.md names a test for each promise", () => {
  const promises = PAGE.split("## What is promised")[1]!.split("## What is not promised")[0]!;
  const bullets = promises.split(/ - \*\*/).slice(1);
  assert(bullets.length > 10);
  for (const bullet of bullets) assert(/`\w+`: _/.test(bullet), bullet);
});

for (const { where, name } of NAMED) {
  Deno.test(`SECURITY.md names a test that exists: ${where}, ${name}`, async () => {
    const tool = TOOLS[where!];
    if (tool !== undefined) return assert(tool.includes(`"${name}"`));
    const text = await read(`tests/${where}.ts`);
    assertEquals(text.includes(`"${name}"`) || isGenerated(text, name!), true);
  });
}

/** Whether one of the templates of a test file can make this name. */
function isGenerated(text: string, name: string): boolean {
  return [...text.matchAll(/[tT]est\(\s*`([^`]+)`/g)].some(([, template]) => {
    const parts = template!.split(/\$\{[^}]+\}/).map((part) => RegExp.escape(part));
    return new RegExp(`^${parts.join(".+")}$`).test(name);
  });
}
