/** Holds the table of rooms in `CONTRIBUTING.md` against the code. */
import { assert, assertEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };

const ROOT = new URL("../", import.meta.url);
const PAGE = await Deno.readTextFile(new URL("CONTRIBUTING.md", ROOT));
/** What the program is made of, beside the library. */
const PROGRAM = "cli/";
/** The only room of the library that knows what it runs on. */
const OUTSIDE = "io/";
/** What else of the runtime stands elsewhere: timers that let the program end. */
const TIMERS = "base/timers.ts";

/** A row of the table: a room and its door, or one of them. */
interface Row {
  readonly room: string | undefined;
  readonly door: string | undefined;
  /** The names of the rows that it may import. */
  readonly imports: readonly string[];
}

const ROWS = new Map(
  [...PAGE.matchAll(/^\| (`[\w.]+[./]\w*`(?:, `\w+\.ts`)?) +\|[^|]+\|([^|]*)\|$/gm)].map(
    ([, names, imports]): [string, Row] => {
      const [name, door] = namesIn(names!);
      const isRoom = name!.endsWith("/");
      return [name!, {
        room: isRoom ? name : undefined,
        door: isRoom ? door : name,
        imports: namesIn(imports!),
      }];
    },
  ),
);

function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`([\w.]+\/?)`/g)].map(([, name]) => name!);
}

/** The row that a module of the project belongs to. */
function rowOf(module: string): string | undefined {
  for (const [name, { room, door }] of ROWS) {
    if (module === door || room !== undefined && module.startsWith(room)) return name;
  }
}

/** The rows that a row may import: those that it names, and what those may import. */
function allowed(row: string): Set<string> {
  return new Set(ROWS.get(row)!.imports.flatMap((name) => [name, ...allowed(name)]));
}

/** All modules of the library and the program, with what each imports of the project itself. */
const MODULES = await importsOf(Object.values(manifest.exports));

async function importsOf(entries: readonly string[]): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const entry of entries) {
    const { stdout, success } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", entry],
      cwd: ROOT,
    }).output();
    assert(success);
    for (
      const { specifier, dependencies } of JSON.parse(new TextDecoder().decode(stdout)).modules
    ) {
      if (!isOwn(specifier)) continue;
      const specifiers: string[] = (dependencies ?? []).flatMap(
        ({ code, type }: Record<string, { specifier?: string }>) =>
          code?.specifier ?? type?.specifier ?? [],
      );
      found.set(pathOf(specifier), specifiers.filter(isOwn).map(pathOf));
    }
  }
  return found;
}

/** Whether a module is of the project itself, and no stand-in for one of somebody else's. */
function isOwn(href: string): boolean {
  return href.startsWith(ROOT.href) && href.endsWith(".ts") && !pathOf(href).startsWith("links/");
}

function pathOf(href: string): string {
  return href.slice(ROOT.href.length);
}

function filesIn(folder: string): Deno.DirEntry[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))];
}

Deno.test("CONTRIBUTING.md has a row for each room and door, and for nothing else", () => {
  const names = [...ROWS.values()].flatMap(({ room, door }) => [room, door]).filter(Boolean);
  const rooms = new Set([...MODULES.keys()].map((module) => module.replace(/[^/]+$/, "")));
  const doors = manifest.publish.include.filter((name) => name.endsWith(".ts"));
  rooms.delete("");
  assertEquals(names.toSorted(), [...rooms, ...doors].toSorted());
});

Deno.test("CONTRIBUTING.md names above each row what it may import", () => {
  const above = new Set<string>();
  for (const [row, { imports }] of ROWS) {
    assertEquals(imports.filter((name) => !above.has(name)), [], row);
    above.add(row);
  }
});

Deno.test("a room has no folders, and no module that nothing needs", () => {
  for (const { room } of ROWS.values()) {
    if (room === undefined) continue;
    for (const { name, isFile } of filesIn(room)) {
      assert(isFile, `${room}${name} is a folder`);
      const needed = MODULES.has(`${room}${name}`) || isWorker(room, name);
      assert(needed, `${room}${name} is imported by nothing`);
    }
  }
});

/** Whether some module of the room starts this one as a worker. */
function isWorker(room: string, name: string): boolean {
  return filesIn(room).some((file) =>
    Deno.readTextFileSync(new URL(room + file.name, ROOT)).includes(`new URL("./${name}"`)
  );
}

for (const [module, imports] of MODULES) {
  Deno.test(`${module} imports from its own room, and from rooms below`, () => {
    const row = rowOf(module)!;
    const rows = allowed(row).add(row);
    for (const name of imports) {
      assert(rows.has(rowOf(name)!), `${module} imports ${name}`);
      const isDoor = name === ROWS.get(row)!.door;
      assert(!isDoor, `${module} imports its own door, ${name}`);
    }
  });
}

Deno.test("Deno.* stands only where the outside world is met", async () => {
  for (const module of MODULES.keys()) {
    const { room, door } = ROWS.get(rowOf(module)!)!;
    if (room === OUTSIDE || room === PROGRAM || module === TIMERS) continue;
    const code = codeOf(await Deno.readTextFile(new URL(module, ROOT)));
    assertEquals(code.match(/\bDeno\.\w+|"node:\w+"/g), null, `${module} (${door ?? room})`);
  }
});

for (const folder of ["tools/", "bench/", "examples/"]) {
  Deno.test(`${folder} uses nothing of tests/`, async () => {
    const modules = modulesBelow(folder);
    assert(modules.length > 0);
    for (const module of modules) {
      const code = codeOf(await Deno.readTextFile(new URL(module, ROOT)));
      assertEquals(code.match(/"(\.\.\/)+tests\/.*"/g), null, module);
    }
  });
}

/** The modules of a folder and of the folders in it. */
function modulesBelow(folder: string): string[] {
  return filesIn(folder).flatMap(({ name, isDirectory }) => {
    if (isDirectory) return modulesBelow(`${folder}${name}/`);
    return name.endsWith(".ts") ? [folder + name] : [];
  });
}

/** The text of a module without its comments. */
function codeOf(text: string): string {
  return text.replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, "");
}
