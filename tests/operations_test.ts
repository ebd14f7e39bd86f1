/** Holds `docs/operations.md` against what a broker counts and logs, and the files of `deploy/`. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

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

Deno.test("docs/operations.md names files that are there", async () => {
  for (const [, path] of PAGE.matchAll(/\]\(\.\.\/(deploy\/[^)]+)\)/g)) await read(path!);
  const unit = await read("deploy/mpubsub-broker.service");
  for (const path of ["/etc/mpubsub/keys.json", "/run/mpubsub/broker.json"]) {
    assertStringIncludes(PAGE, path);
    assertStringIncludes(unit, path);
  }
});

Deno.test("docs/operations.md has each event of the log", async () => {
  const read = (name: string) => Deno.readTextFile(new URL(`../cli/${name}.ts`, import.meta.url));
  const code = (await Promise.all(["broker", "broker_events", "log"].map(read))).join("\n");
  const said = [...code.matchAll(/\.say\(\s*"\w+",\s*"([\w-]+)"|event: "([\w-]+)"/g)];
  const words = /const WORDS = \{([^}]*)\}/.exec(code)![1]!.match(/^ +\w+(?=:)/gm)!;
  const uplink = await read("uplink");
  const levels = /const LEVELS.* = \{([^}]*)\}/.exec(uplink)![1]!.match(/\w+(?=:)/g)!;
  const events = said.map(([, event, summary]) => event ?? summary!)
    .concat(words, levels.map((type) => `uplink-${type}`));
  assert(events.length > 10);
  for (const event of ["connection", "warning", ...events]) {
    assertMatch(PAGE, new RegExp(`^\\| \`${event.trim()}\` +\\|`, "m"));
  }
});
