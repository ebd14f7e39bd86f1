/** Holds the table of rooms in `CONTRIBUTING.md` against the code, and what may stand where. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };

const ROOT = new URL("../", import.meta.url);
const PAGE = await Deno.readTextFile(new URL("CONTRIBUTING.md", ROOT));

/**
 * Which names, and modules of others, stand only in these rows and modules. A name counts wherever
 * it stands in the code: called, passed on, as a type, in brackets.
 */
const PLACES: Readonly<Record<string, readonly string[]>> = {
  // What it runs on.
  Deno: ["io/", "cli/", "base/timers.ts"],
  WebSocket: ["io/", "cli/"],
  Worker: ["cli/"],
  globalThis: ["cli/", "codec/format.ts", "io/page.ts", "io/process.ts"],
  "node:": ["io/", "cli/"],
  setTimeout: ["base/timers.ts", "base/turn.ts", "cli/"],
  setInterval: ["base/timers.ts", "cli/"],
  performance: ["base/clock.ts", "cli/"],
  // It can be faked, as all of these; what a promise does cannot.
  queueMicrotask: ["cli/"],
  // What Node 22.3, Bun 1.3 or Safari 18 lack.
  Float16Array: ["codec/format.ts", "cli/"],
  DisposableStack: ["cli/"],
  AsyncDisposableStack: ["cli/"],
  SuppressedError: ["cli/"],
  Temporal: ["cli/"],
  URLPattern: ["cli/"],
  // What the user sees: in the library only errors that a program does not take.
  console: ["base/warn.ts"],
  writeSync: [],
  // What others wrote; modules of nobody else are imported.
  "@nats-io/": ["nats/"],
  "@std/": ["cli/"],
  // An `import()` whose module is computed, which neither a bundler nor this test can follow.
  "import()": ["cli/uplink.ts"],
};

/** What Node 22.3, Bun 1.3 or Safari 18 lack of objects that they have. */
const LATE = new Set([
  "Array.fromAsync",
  "Atomics.pause",
  "Error.isError",
  "Intl.DurationFormat",
  "Iterator.concat",
  "Iterator.from",
  "Iterator.zip",
  "JSON.isRawJSON",
  "JSON.rawJSON",
  "Math.f16round",
  "Math.sumPrecise",
  "Promise.try",
  "RegExp.escape",
  "Uint8Array.fromBase64",
  "Uint8Array.fromHex",
]);
/** The same of methods, by names that nothing of ours has. */
const LATE_METHODS = new Set([
  "getFloat16",
  "getOrInsert",
  "getOrInsertComputed",
  "setFloat16",
  "setFromBase64",
  "setFromHex",
  "toBase64",
  "toHex",
]);

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

/** What a module says: names, texts, and the modules that it imports, as it writes them. */
interface Said {
  readonly names: ReadonlySet<string>;
  readonly texts: ReadonlySet<string>;
  readonly specifiers: ReadonlySet<string>;
  /** Those of them that it loads: not only for their types. */
  readonly loaded: ReadonlySet<string>;
  /** What it does that not all runtimes can read, or do when it is loaded. */
  readonly unportable: readonly string[];
}

/** What stands in a module outside its comments. */
function readModule(module: string): Said {
  const names = new Set<string>();
  const texts = new Set<string>();
  const specifiers = new Set<string>();
  const loaded = new Set<string>();
  const unportable: string[] = [];
  const textOf = (node: Deno.lint.Node | null) => {
    if (node?.type === "TSLiteralType") node = node.literal;
    if (node?.type === "Literal" && typeof node.value === "string") return node.value;
  };
  const importFrom = (source: Deno.lint.Node | null) => {
    const specifier = textOf(source);
    if (specifier !== undefined) specifiers.add(specifier);
    else if (source !== null) names.add("import()");
  };
  const visitor: Deno.lint.LintVisitor = {
    Identifier(node) {
      names.add(node.name);
      if (node.name === "Deno" && isRunByLoading(node as Placed)) {
        unportable.push("uses Deno when it loads");
      }
    },
    VariableDeclaration({ kind }) {
      if (kind.endsWith("using")) unportable.push(`declares with ${kind}`);
    },
    TSEnumDeclaration: () => void unportable.push("has an enum"),
    TSParameterProperty: () => void unportable.push("has a parameter property"),
    TSModuleDeclaration: () => void unportable.push("has a namespace"),
    MemberExpression({ object, computed, property }) {
      const name = computed ? textOf(property) : undefined;
      if (name !== undefined) names.add(name);
      const key = name ?? (property.type === "Identifier" ? property.name : "");
      const full = object.type === "Identifier" ? `${object.name}.${key}` : "";
      if (LATE.has(full)) unportable.push(`uses ${full}`);
      if (LATE_METHODS.has(key)) unportable.push(`uses .${key}`);
    },
    MetaProperty: () => void unportable.push("uses import.meta"),
    Literal(node) {
      texts.add(textOf(node) ?? "");
      if (node.raw.startsWith("/") && /\(\?[ims]*-?[ims]+:/.test(node.raw)) {
        unportable.push(`has flags within ${node.raw}`);
      }
    },
    TemplateElement: ({ raw }) => void texts.add(raw),
    ImportDeclaration({ source, attributes, importKind }) {
      importFrom(source);
      if (importKind !== "type") loaded.add(source.value);
      if (attributes.length > 0) unportable.push("imports with attributes");
    },
    ExportAllDeclaration({ source, exportKind }) {
      importFrom(source);
      if (exportKind !== "type") loaded.add(source.value);
    },
    ExportNamedDeclaration({ source, exportKind }) {
      importFrom(source);
      if (source !== null && exportKind !== "type") loaded.add(textOf(source)!);
    },
    ImportExpression: ({ source }) => importFrom(source),
    TSImportType: ({ argument }) => importFrom(argument),
    TSExternalModuleReference: ({ expression }) => importFrom(expression),
  };
  const plugin = { name: "layers", rules: { read: { create: () => visitor } } };
  // A plugin does not see files that the linter ignores.
  const code = Deno.readTextFileSync(new URL(module, ROOT)).replaceAll("deno-lint-ignore-file", "");
  Deno.lint.runPlugin(plugin, module, code);
  assertNotEquals(names.size + specifiers.size, 0, `${module} cannot be read`);
  return { names, texts, specifiers, loaded, unportable };
}

/** What {@linkcode isRunByLoading} looks at in a node. */
interface Placed {
  readonly type: string;
  readonly parent?: Placed;
  readonly static?: boolean;
  readonly operator?: string;
}

/** Whether what stands here is run when its module is loaded; types never are. */
function isRunByLoading(node: Placed): boolean {
  const { type, parent } = node;
  if (type === "Program" || parent === undefined) return true;
  const isLater = type.includes("Function") || type === "PropertyDefinition" && !node.static;
  // `typeof Deno` asks, and fails nowhere.
  const isAsked = type === "UnaryExpression" && node.operator === "typeof";
  return !isLater && !isAsked && !type.startsWith("TS") && isRunByLoading(parent);
}

/** What all modules of the library and the program say. */
const SAID = new Map(
  [...ROWS.values()].flatMap(({ room, door }) => [
    ...(room === undefined ? [] : modulesBelow(room)),
    ...(door === undefined ? [] : [door]),
  ]).map((module) => [module, readModule(module)]),
);

/** Whether what is said has a key of {@linkcode PLACES}. */
function has({ names, specifiers }: Said, key: string): boolean {
  return names.has(key) || [...specifiers].some((specifier) => isOf(specifier, key));
}

/** Whether a module is one of those that a key of {@linkcode PLACES} names. */
function isOf(specifier: string, key: string): boolean {
  return /[:/]$/.test(key) && specifier.startsWith(key);
}

for (const [key, places] of Object.entries(PLACES)) {
  Deno.test(`${key} stands only in ${places.join(", ")}`, () => {
    const modules = [...SAID].filter(([, said]) => has(said, key)).map(([module]) => module);
    const isPlace = (module: string) => places.includes(module) || places.includes(rowOf(module)!);
    assertEquals(modules.filter((module) => !isPlace(module)), []);
    const unused = places.filter((place) => place.endsWith(".ts") && !modules.includes(place));
    assertEquals(unused, [], "modules that need not be named");
  });
}

Deno.test("what a library imports can be loaded in browsers, Node and Bun", () => {
  // Node 22 and Safari cannot read `using`, and who makes JavaScript of it for them may leave it. Node
  // reads TypeScript whose types can be left out, and nothing more of it. What came to JavaScript later
  // than the oldest of them would fail when it is called, and perhaps nowhere in a test.
  const found = [...SAID].filter(([module]) => !isProgram(module)).flatMap(([module, said]) => {
    const builtIn = [...said.specifiers].filter((specifier) => specifier.startsWith("node:"));
    return [...said.unportable, ...builtIn.map((name) => `imports ${name}`)].map((what) =>
      `${module} ${what}`
    );
  });
  assertEquals(found, []);
});

Deno.test("a client has the sockets and files of a runtime only by its door", () => {
  const reached = new Set(["net/client_pubsub.ts"]);
  for (const module of reached) for (const name of MODULES.get(module)!) reached.add(name);
  const allowed = ["io/process.ts", "base/timers.ts"]; // What system it is, and timers.
  const found = [...reached].filter((module) =>
    ["Deno", "node:"].some((key) => has(SAID.get(module)!, key)) ||
    [...SAID.get(module)!.texts].some((text) => text.startsWith("node:"))
  );
  assertEquals(found.toSorted(), allowed.toSorted());
});

Deno.test("a page loads nothing that it cannot use", () => {
  const loaded = new Set(["web.ts"]);
  for (const module of loaded) {
    for (const specifier of SAID.get(module)!.loaded) {
      loaded.add(pathOf(new URL(specifier, new URL(module, ROOT)).href));
    }
  }
  const useless =
    /^io\/(deno|dial\.|http|listener|node|runtime|tls|secret|socket_file|web_conn|web_request|websocket|.*_file)|create_ticket/;
  assertEquals([...loaded].filter((module) => useless.test(module)), []);
  assert(loaded.has("io/web_dial.ts") && loaded.has("protocol/link.ts"));
  assert(!loaded.has("net.ts") && ![...loaded].some((module) => module.startsWith("broker")));
});

/** Whether a module is one of the program, which is for Deno alone. */
function isProgram(module: string): boolean {
  return module === "cli.ts" || module.startsWith("cli/");
}

Deno.test("nothing of others is imported but what has its place", () => {
  for (const [module, { specifiers }] of SAID) {
    const foreign = [...specifiers].filter((specifier) => !/^\.\.?\//.test(specifier));
    const unknown = foreign.filter((specifier) =>
      !Object.keys(PLACES).some((key) => isOf(specifier, key))
    );
    assertEquals(unknown, [], module);
  }
});

for (const folder of ["tools/", "bench/", "examples/"]) {
  Deno.test(`${folder} uses nothing of tests/`, () => {
    const modules = modulesBelow(folder);
    assert(modules.length > 0);
    for (const module of modules) {
      const used = [...readModule(module).texts].filter((text) => /^(\.\.\/)+tests\//.test(text));
      assertEquals(used, [], module);
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
