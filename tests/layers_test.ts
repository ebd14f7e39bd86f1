/** Holds the map of the modules in `CONTRIBUTING.md` against the code. */
import { assert, assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url);
const PAGE = await Deno.readTextFile(new URL("CONTRIBUTING.md", ROOT));

/** The rows of the map: each module, and what its row names. */
const ROWS = new Map(
  [...PAGE.matchAll(/^\| `(\w+\.ts)` +\|[^|]+\|([^|]*)\|$/gm)].map(([, module, imports]) => [
    module!,
    [...imports!.matchAll(/`(\w+\.ts)`/g)].map(([, name]) => name!),
  ]),
);

/** What a module may import: what its row names, and what those may import. */
function allowed(module: string): Set<string> {
  return new Set((ROWS.get(module) ?? []).flatMap((name) => [name, ...allowed(name)]));
}

/** The modules of this project that a module imports itself. */
async function imported(module: string): Promise<string[]> {
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", new URL(module, ROOT).pathname],
    cwd: ROOT,
  }).output();
  assert(success);
  const { modules, roots } = JSON.parse(new TextDecoder().decode(stdout));
  const self = modules.find(({ specifier }: { specifier: string }) => specifier === roots[0]);
  const specifiers: string[] = (self.dependencies ?? []).flatMap(
    ({ code, type }: Record<string, { specifier?: string }>) =>
      code?.specifier ?? type?.specifier ?? [],
  );
  return specifiers.filter((specifier) => specifier.startsWith(ROOT.href))
    .map((specifier) => specifier.slice(ROOT.href.length))
    .filter((path) => !path.includes("/") && path.endsWith(".ts"));
}

function modules(): string[] {
  return [...Deno.readDirSync(ROOT)].map(({ name }) => name).filter((name) => name.endsWith(".ts"));
}

Deno.test("CONTRIBUTING.md has a row for each module, and for nothing else", () => {
  assertEquals([...ROWS.keys()].toSorted(), modules().toSorted());
});

Deno.test("CONTRIBUTING.md names above each row what the row's module may import", () => {
  const above = new Set<string>();
  for (const [module, imports] of ROWS) {
    assertEquals(imports.filter((name) => !above.has(name)), [], module);
    above.add(module);
  }
});

for (const module of modules()) {
  Deno.test(`${module} imports what CONTRIBUTING.md allows`, async () => {
    const may = allowed(module);
    assertEquals((await imported(module)).filter((name) => !may.has(name)), []);
  });
}

Deno.test("Deno.* stands only where the outside world is met", async () => {
  const outside = /^(address|tls|transport|demo|cli(_\w+)?)\.ts$/;
  for (const module of modules().filter((name) => !outside.test(name))) {
    const text = await Deno.readTextFile(new URL(module, ROOT));
    const code = text.replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, "");
    assertEquals(code.match(/\bDeno\.\w+/g), null, module);
  }
});
