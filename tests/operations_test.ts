/** Holds `docs/operations.md` against what a broker counts, and what it bounds. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { checkedOptions } from "../broker/options.ts";

const ROOT = new URL("../", import.meta.url);
const PAGE = await read("docs/operations.md");

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, ROOT));
}

/** What the first column names in the table with this head of its own. */
function rows(head: string): string[] {
  const [, table] = PAGE.split(new RegExp(`^\\| ${head} +\\|.*\\n`, "m"));
  const lines = table!.split("\n\n")[0]!.trim().split("\n");
  return lines.slice(1).map((line) => /^\| `([\w.]+)` /.exec(line)?.[1] ?? line);
}

for (
  const [name, head, nested] of [
    ["BrokerStats", "counter", ["refusals", "endings"]],
    ["Refusals", "`refusals`", []],
    ["Endings", "`endings`", []],
    ["UplinkStats", "`uplink`", []],
  ] as const
) {
  Deno.test(`docs/operations.md has a row for each of ${name}, in the same order`, async () => {
    const [, body] = new RegExp(`^export interface ${name} {\\n([^]*?)^}`, "m")
      .exec(await read("broker/stats.ts"))!;
    const fields = [...body!.matchAll(/^ {2}readonly (\w+):/gm)].map(([, field]) => field!);
    const inTable = fields.filter((field) => !(nested as readonly string[]).includes(field));
    assertEquals(rows(head), inTable);
  });
}

Deno.test("docs/operations.md has a row for each limit, with its default", () => {
  const { limits, ...settings } = checkedOptions({});
  const numbers = Object.entries(settings).filter(([, value]) => typeof value === "number");
  const nested = Object.entries(limits).map(([name, value]) => [`limits.${name}`, value] as const);
  const all = new Map([...nested, ...numbers as [string, number][]]);
  assertEquals(rows("limit").toSorted(), [...all.keys()].toSorted());
  for (const [name, value] of all) {
    const [, shown] = new RegExp(`^\\| \`${name}\` +\\| ([^|]*?) +\\|`, "m").exec(PAGE)!;
    assertEquals(valueOf(shown!), value, name);
  }
});

/** The number that a text such as "1 GiB" or "60 s" stands for, in bytes or milliseconds. */
function valueOf(text: string): number {
  const [, digits, unit] = /^([\d ]+?)(?: ([a-zA-Z]+))?$/.exec(text)!;
  const factors: Readonly<Record<string, number>> = { s: 1000, MiB: 2 ** 20, GiB: 2 ** 30 };
  return Number(digits!.replaceAll(" ", "")) * (unit === undefined ? 1 : factors[unit]!);
}

Deno.test("docs/operations.md tells who has the files that it names", async () => {
  for (const [, path] of PAGE.matchAll(/\]\(\.\.\/(deploy\/[^)]+)\)/g)) await read(path!);
  const unit = await read("deploy/mpubsub-broker.service");
  for (const path of ["/etc/mpubsub/keys.json", "/run/mpubsub/broker.json"]) {
    assertStringIncludes(PAGE, path);
    assertStringIncludes(unit, path);
  }
});

Deno.test("docs/operations.md has each event of the log", async () => {
  const code = await Deno.readTextFile(new URL("../cli/broker.ts", import.meta.url));
  const said = [...code.matchAll(/\.say\(\s*"\w+",\s*"([\w-]+)"|event: "([\w-]+)"/g)];
  const words = /const WORDS = \{([^}]*)\}/.exec(code)![1]!.match(/^ +\w+(?=:)/gm)!;
  const uplink = await Deno.readTextFile(new URL("../cli/uplink.ts", import.meta.url));
  const levels = /const LEVELS.* = \{([^}]*)\}/.exec(uplink)![1]!.match(/\w+(?=:)/g)!;
  const events = said.map(([, event, summary]) => event ?? summary!)
    .concat(words, levels.map((type) => `uplink-${type}`));
  assert(events.length > 10);
  for (const event of ["connection", "warning", ...events]) {
    assertMatch(PAGE, new RegExp(`^\\| \`${event.trim()}\` +\\|`, "m"));
  }
});
