/** Holds the pages of the documentation against the code, and against each other. */
import { assert, assertEquals } from "@std/assert";
import { checkedOptions } from "../broker/options.ts";
import { parseKeys } from "../broker/keys.ts";
import { CONNECTION } from "../cli/client.ts";
import type { Command } from "../cli/command.ts";
import * as errors from "../errors.ts";
import { PubSub } from "../pubsub.ts";
import { TempFolder } from "./helpers/folder.ts";
import { blocks, PAGES, printsWhatItSays } from "./helpers/pages.ts";
import { output } from "./helpers/program.ts";

const ROOT = new URL("../", import.meta.url);
/** The only example that is a program of its own, and is shown by no page. */
const DEMO = "demo.ts";
/** The modules of `examples/`; of the app, which is there to be opened as a whole, only its hook. */
const EXAMPLES = new Map(
  ["", "browser/", "vite/src/"].flatMap((folder) =>
    [...Deno.readDirSync(new URL(`examples/${folder}`, ROOT))].map(({ name }) => folder + name)
  ).filter((name) => /^(\w+|browser\/\w+|vite\/src\/use\w+)\.ts$/.test(name) && name !== DEMO)
    .map((name) => [name, Deno.readTextFileSync(new URL(`examples/${name}`, ROOT))]),
);
/** Folders that are made by a task, and not there before. */
const MADE = /^(dist|bench\/results)\//;

/** A page without its code blocks. */
function proseOf(page: string): string {
  return page.replaceAll(/^```[^]*?^```$/gm, "");
}

/** The names by which links find the headings of a page, as GitHub makes them. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading] of proseOf(page).matchAll(/^#+ (.+)$/gm)) {
    const slug = heading!.toLowerCase().replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
      .replaceAll(" ", "-");
    for (let count = 0;; count++) {
      const anchor = count === 0 ? slug : `${slug}-${count}`;
      if (anchors.has(anchor)) continue;
      anchors.add(anchor);
      break;
    }
  }
  return anchors;
}

/** Where the links of a page lead: a path in the project, and an anchor there. */
function linksOf(path: string, page: string): { path: string; anchor: string }[] {
  const text = proseOf(page).replaceAll(/`[^`]*`/g, "");
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!)
    .filter((link) => !URL.canParse(link))
    .map((link) => {
      const { href, hash } = new URL(link, new URL(path, ROOT));
      return {
        path: href.slice(ROOT.href.length).replace(/#.*$/, ""),
        anchor: decodeURIComponent(hash.slice(1)),
      };
    });
}

function exists(path: string): boolean {
  try {
    Deno.statSync(new URL(path, ROOT));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

for (const [path, page] of PAGES) {
  Deno.test(`${path} links only to what is there`, () => {
    const broken = linksOf(path, page).filter(({ path, anchor }) => {
      if (!exists(path)) return true;
      return anchor !== "" && !anchorsOf(PAGES.get(path) ?? "").has(anchor);
    });
    assertEquals(broken, []);
  });

  Deno.test(`${path} names only files of the project that are there`, () => {
    const names = proseOf(page).matchAll(/`((?:\.?\w+\/)+(?:[\w-]+\.\w+)?)`/g);
    const folders = new Set([...Deno.readDirSync(ROOT)].map(({ name }) => name));
    const missing = [...names].map(([, name]) => name!).filter((name) =>
      folders.has(name.split("/")[0]!) && !MADE.test(name) && !exists(name)
    );
    assertEquals(missing, []);
  });

  for (const [index, example] of blocks(page, "ts").entries()) {
    Deno.test(`${path} example ${index + 1} prints what it says`, async () => {
      await using temp = await TempFolder.make();
      const folder = temp.path;
      const flags = [`--config=${new URL("deno.json", ROOT).pathname}`];
      await printsWhatItSays({ folder, flags }, example);
    });
  }

  Deno.test(`${path} leaves out of the type check only files of examples/`, () => {
    const files = new Set(EXAMPLES.values());
    assertEquals(blocks(page, "ts ignore").filter(({ code }) => !files.has(code)), []);
  });
}

Deno.test("docs/README.md links to each page of docs/", () => {
  const links = new Set(
    linksOf("docs/README.md", PAGES.get("docs/README.md")!).map((to) => to.path),
  );
  const others = [...PAGES.keys()].filter((path) => path !== "docs/README.md");
  assertEquals(others.filter((path) => !links.has(path)), []);
});

for (const [name, code] of EXAMPLES) {
  Deno.test(`examples/${name} is shown word for word by a page that links to it`, () => {
    const pages = [...PAGES].filter(([, page]) =>
      ["ts", "ts ignore"].some((language) =>
        blocks(page, language).some((one) => one.code === code)
      )
    );
    assert(pages.length > 0);
    for (const [path, page] of pages) {
      assert(linksOf(path, page).some((to) => to.path === `examples/${name}`), path);
    }
  });
}

/** The rows of the first table below a heading of a page: their cells. */
function rowsBelow(path: string, heading: string): string[][] {
  const lines = proseOf(PAGES.get(path)!).split("\n");
  const at = lines.findIndex((line) => line.replace(/^#+ /, "") === heading);
  assert(at >= 0, `${path} has no heading "${heading}"`);
  const below = lines.slice(at + 1);
  const section = below.slice(0, below.findIndex((line) => line.startsWith("#")));
  const table = section.slice(section.findIndex((line) => line.startsWith("|")));
  return table.slice(2, table.indexOf("")).map((row) => row.slice(2, -2).split(/ *\| */));
}

/** What stands between backticks at the beginning of each row. */
function namesBelow(path: string, heading: string): string[] {
  return rowsBelow(path, heading).map(([first]) => /^\[?`([^`]+)`/.exec(first!)?.[1] ?? first!);
}

async function commandNames(): Promise<string[]> {
  const out = await output({ args: ["--help"] });
  return [...out.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name]) => name!);
}

/** How an option is written in a table. */
function optionText({ name, short, value = "" }: Command["options"][number]): string {
  return `${short === undefined ? "" : `-${short}, `}--${name} ${value}`.trimEnd();
}

Deno.test("docs/cli.md has each command", async () => {
  assertEquals(namesBelow("docs/cli.md", "The command line"), await commandNames());
});

Deno.test("docs/cli.md has the options with which commands find a broker", () => {
  assertEquals(namesBelow("docs/cli.md", "Which broker"), CONNECTION.map(optionText));
});

Deno.test("docs/cli.md has each option of each command", async () => {
  for (const name of await commandNames()) {
    if (name === "completions") continue; // It has none.
    const { [name]: command } = await import(`../cli/${name}.ts`) as Record<string, Command>;
    const own = command!.options.filter((option) => !CONNECTION.includes(option));
    assertEquals(namesBelow("docs/cli.md", name), own.map(optionText), name);
  }
});

Deno.test("docs/program.md has each field of a key, and a keys file that a broker takes", () => {
  const path = "docs/program.md";
  assertEquals(namesBelow(path, "Keys with rights"), [...membersOf("BrokerKey").keys()]);
  const [file] = blocks(PAGES.get(path)!, "json");
  // The page shows only the ends of each key.
  const keys = parseKeys(file!.code.replaceAll(/"\w+…\w+="/g, '"c2VjcmV0"'));
  assertEquals(keys.map(({ name }) => name), ["kitchen", "screen", "admin"]);
});

Deno.test("docs/errors.md has each class of errors", () => {
  const classes = Object.keys(errors).toSorted();
  assertEquals(namesBelow("docs/errors.md", "Errors").toSorted(), classes);
  for (const name of classes) assert(rowsBelow("docs/errors.md", name).length > 0, name);
});

const LIMITS = "docs/limits.md";

/** An exported interface, wherever it stands: the names of its members with their defaults. */
function membersOf(name: string): Map<string, string | undefined> {
  const folders = [...Deno.readDirSync(ROOT)].filter((entry) =>
    entry.isDirectory &&
    !/^(\..*|bench|examples|links|lint|node_modules|tests|tools)$/.test(entry.name)
  );
  const files = ["", ...folders.map((folder) => `${folder.name}/`)].flatMap((folder) =>
    [...Deno.readDirSync(new URL(folder, ROOT))].map((entry) => folder + entry.name)
  ).filter((file) => file.endsWith(".ts"));
  for (const file of files) {
    const text = Deno.readTextFileSync(new URL(file, ROOT));
    const [, body] = new RegExp(`^export interface ${name}[^{]*{\\n([^]*?)^}`, "m").exec(text) ??
      [];
    if (body === undefined) continue;
    const members = body.matchAll(/^ {2}\/\*\*([^]*?)\*\/\n {2}(?:readonly )?(\w+)[?(:]/gm);
    return new Map(
      [...members].map(([, doc, member]) => [member!, /@default \{(.*)\}/.exec(doc!)?.[1]]),
    );
  }
  throw new Error(`There is no interface ${name}`);
}

/** The number that a text such as "1 GiB" or "60 s" stands for, in bytes or milliseconds. */
function valueOf(text: string): number | undefined {
  const [, digits, unit = ""] = /^([\d ]+?)(?: (s|MiB|GiB))?$/.exec(text) ?? [];
  const factors: Readonly<Record<string, number>> = { "": 1, s: 1000, MiB: 2 ** 20, GiB: 2 ** 30 };
  return digits && Number(digits.replaceAll(" ", "")) * factors[unit]! || undefined;
}

for (
  const [heading, name, prefix] of [
    ["Options of a broker", "BrokerOptions", ""],
    ["Limits of a broker", "BrokerLimits", "limits."],
    ["Options of a client", "NetPubSubOptions", ""],
    ["Options of addSubscriber", "SubscriberOptions", ""],
    ["Options of subscribe", "SubscribeOptions", ""],
  ] as const
) {
  Deno.test(`${LIMITS} has each of ${name}, with its default`, () => {
    const members = membersOf(name);
    const inherited = name === "NetPubSubOptions" ? membersOf("PubSubOptions").keys() : [];
    const names = [...members.keys(), ...inherited].map((member) => prefix + member);
    assertEquals(namesBelow(LIMITS, heading).toSorted(), names.toSorted());
    for (const [cell, shown] of rowsBelow(LIMITS, heading)) {
      const value = members.get(cell!.slice(1 + prefix.length, -1));
      if (value === undefined || value === "[]") continue;
      const isSame = /^\d+$/.test(value)
        ? valueOf(shown!) === Number(value) || shown === value
        : shown!.replaceAll("`", "") === value;
      assert(isSame, `${cell} is ${value}, not ${shown}`);
    }
  });
}

Deno.test(`${LIMITS} has the values with which a broker begins`, () => {
  const { limits, ...settings } = checkedOptions({});
  const shown = new Map(
    ["Options of a broker", "Limits of a broker"].flatMap((heading) =>
      rowsBelow(LIMITS, heading).map(([name, value]) =>
        [name!.replaceAll("`", ""), value!] as const
      )
    ),
  );
  const all = [
    ...Object.entries(settings),
    ...Object.entries(limits).map(([name, value]) => [`limits.${name}`, value] as const),
  ].filter((entry): entry is [string, number] => typeof entry[1] === "number");
  assert(all.length > 10);
  for (const [name, value] of all) assertEquals(valueOf(shown.get(name)!) ?? 0, value, name);
});

Deno.test(`${LIMITS} says how many messages a subscription holds`, () => {
  const [, shown] = rowsBelow(LIMITS, "Options of subscribe").find(([name]) => name === "`limit`")!;
  const bus = new PubSub({ onError() {} });
  using subscription = bus.subscribe("a");
  for (let n = 0; n <= valueOf(shown!)!; n++) bus.publish("a");
  assertEquals(subscription.dropped, 1);
});
