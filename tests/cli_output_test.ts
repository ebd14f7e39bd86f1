/** What the program prints of what others chose: nothing that a terminal obeys, or that hides. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { printable } from "../base/printable.ts";
import { main } from "../cli.ts";
import { Arguments } from "../cli/command.ts";
import { Log } from "../cli/log.ts";
import { finishOutput, shown } from "../cli/output.ts";
import { formatOf, sub } from "../cli/sub.ts";
import { topicText } from "../cli/syntax.ts";
import { tableOf } from "../cli/table.ts";
import { Bus } from "./helpers/bus.ts";
import { TempFolder } from "./helpers/folder.ts";
import { Printed } from "./helpers/printed.ts";
import { output, Program } from "./helpers/program.ts";
import { terminalTest } from "./helpers/terminal.ts";
import { until } from "../tools/harness/until.ts";

/** Clears a screen in two ways, turns text around, hides, and is cut by who cuts a pair. */
const HOSTILE = "\x1b[2J\x9b2J\u202e\u200b\u{e0041}\x07";
const ESCAPED = "\\u001b[2J\\u009b2J\\u202e\\u200b\\udb40\\udc41\\u0007";

const MESSAGE = { topic: ["a"], message: { v: `${HOSTILE}\n\tb`, n: HOSTILE } };

for (const bytes of [false, true]) {
  const kind = bytes ? "bytes" : "a text";
  const v = bytes ? new TextEncoder().encode(MESSAGE.message.v) : MESSAGE.message.v;
  const line = { topic: ["a"], message: { v } };

  Deno.test(`formatOf prints ${kind} with --raw unchanged, and to a terminal safely`, () => {
    const args = new Arguments(sub, ["--raw", "v"]);
    assertEquals(formatOf(args, false)(line), bytes ? v : `${v}\n`);
    assertEquals(formatOf(args, true)(line), `${ESCAPED}\n\tb${bytes ? "" : "\n"}`);
  });

  terminalTest(
    `cli sub --raw prints ${kind} safely to a terminal, and unchanged to a pipe`,
    async () => {
      await using bus = await Bus.start();
      const args = ["sub", "-c", bus.file, "--count", "1", "--raw", "v", "a"];
      await using terminal = new Program({ args, onTerminal: true });
      await using pipe = new Program({ args });
      await until(() => bus.broker.stats().sessions === 2);
      const client = await bus.client();
      client.publish("a", { v });
      await client.flush();
      // The terminal itself makes \r\n of \n.
      const out = (await terminal.end()).out.replace(/^.*\r\n/, ""); // That it listens.
      assertEquals(out, `${ESCAPED}\r\n\tb${bytes ? "" : "\r\n"}`);
      assertEquals((await pipe.end()).out, `${MESSAGE.message.v}${bytes ? "" : "\n"}`);
    },
  );
}

Deno.test("formatOf prints JSON that is equal, and to a terminal safe", () => {
  const args = new Arguments(sub, ["--json"]);
  const exact = formatOf(args, false)(MESSAGE) as string;
  assertStringIncludes(exact, "\x9b2J\u202e\u200b");
  const safe = formatOf(args, true)(MESSAGE) as string;
  assertMatch(safe, /^[\x20-\x7e]+\n$/);
  assertEquals(JSON.parse(safe), MESSAGE);
});

Deno.test("formatOf prints to a terminal for people only what can be seen", () => {
  const line = { topic: [HOSTILE], message: { [HOSTILE]: HOSTILE } };
  let text = formatOf(new Arguments(sub, []), true)(line) as string;
  // Its own colours.
  for (const code of [1, 2, 22, 36, 39]) text = text.replaceAll(`\x1b[${code}m`, "");
  assertMatch(text, /^[\x20-\x7e]+\n$/);
});

Deno.test("shown keeps lines and tabs, and shows a return that is not the end of a line", () => {
  assertEquals(shown("a\r\nb\n\tc\rd\x0b"), "a\r\nb\n\tc\\u000dd\\u000b");
  assertEquals(shown(Uint8Array.of(0x61, 0xff, 0x9b, 0xef, 0xbb, 0xbf)), "a\ufffd\ufffd\\ufeff");
});

Deno.test("topicText writes a name that looks escaped so that it is not taken for one that is", () => {
  assertEquals(topicText(["a\u200b"]), '["a\\u200b"]');
  assertEquals(topicText(["a\\u200b"]), '["a\\\\u200b"]');
});

Deno.test("tableOf shows cells that can be seen, and aligns what it shows", () => {
  const lines = tableOf([
    { title: "A", text: (row: string) => row, isLeft: true },
    { title: "B", text: () => "1" },
  ], ["\x1bx", "y"]);
  assertEquals(lines, ["A        B", "\\u001bx  1", "y        1"]);
});

Deno.test("cli shows what was typed so that a terminal obeys none of it", async () => {
  await using folder = await TempFolder.make();
  const at = (name: string) => `${folder.path}/${name}`;
  const secret = (name: string, content: unknown) =>
    Deno.writeTextFile(at(name), JSON.stringify(content), { mode: 0o600 });
  await secret("version", { version: HOSTILE });
  await secret("address", { version: 1, address: HOSTILE });
  await secret("keys", { keys: [{ name: HOSTILE, key: "AA==" }] });
  await secret("field", { keys: [{ name: "a", key: "AA==", [HOSTILE]: 1 }] });
  await secret("topic", { keys: [{ name: "a", key: "AA==", publish: [HOSTILE.repeat(30)] }] });
  await secret("broker", { version: 1, address: "tcp://127.0.0.1:1", authkey: "AA==" });
  const cases: string[][] = [
    [`--${HOSTILE}`],
    [`-${HOSTILE}`],
    [at(`none/${HOSTILE}`)],
    ["--log", HOSTILE],
    ["--address", HOSTILE],
    ["--address", `unix://${HOSTILE.repeat(20)}`],
    ["--address", `[${HOSTILE}]:1`],
    ["--max-patience", HOSTILE],
    ["--authkey-file", at(HOSTILE), at("x")],
    ["--keys", at(HOSTILE), at("x")],
    ["--keys", at("field"), at("x")],
    ["--keys", at("topic"), at("x")],
    ["--uplink", HOSTILE, at("x")],
    ["pub", "-c", at("broker"), `a//${HOSTILE}`],
    ["pub", "-c", at("broker"), `[${HOSTILE}`],
    ["pub", "-c", at("broker"), "a", HOSTILE],
    ["pub", "-c", at("broker"), "a", `${HOSTILE}=1`, `${HOSTILE}=2`],
    ["pub", "-c", at("broker"), "a", `n={"$date":"\x7f\x9b2J"}`],
    ["pub", "-c", at("broker"), "a", "--json", HOSTILE],
    ["sub", "-c", at("broker"), `${HOSTILE}//`],
    ["sub", "-c", at(HOSTILE)],
    ["sub", "-c", at("version")],
    ["sub", "-c", at("address")],
    ["ping", "-c", at("broker"), "--count", HOSTILE],
    ["ping", "-c", at("broker"), "--interval", HOSTILE],
    ["bench", "-c", at("broker"), "--size", HOSTILE],
    ["top", "-c", at("broker"), HOSTILE],
    ["key", HOSTILE],
    ["key", "file", HOSTILE, "--keys", at("keys").replace("keys", "topic")],
    ["key", "file", "ann", "--keys", at("keys")],
    ["key", "new", HOSTILE, "--keys", at("keys")],
    ["completions", HOSTILE],
  ];
  for (const args of cases) {
    using printed = new Printed();
    const status = await main(args);
    const { lines } = printed;
    assert(status > 0, JSON.stringify(args));
    assertEquals(lines.length, 1, JSON.stringify([args, lines]));
    const [line] = lines as [string];
    assertEquals(printable(line), line, JSON.stringify(args));
    assertMatch(line, /^mpubsub: /);
    assertMatch(line, /\\u(001b|007f)/, "what was typed is shown");
  }
});

Deno.test("cli cuts what it shows of something long", async () => {
  using printed = new Printed();
  await main(["completions", "x".repeat(1_000_000)]);
  assertEquals(printed.lines[0]!.length, 4096);
  assert(printed.lines[0]!.endsWith("…"));
});

for (const isJson of [false, true]) {
  Deno.test(`Log prints a line that is safe and short, as ${isJson ? "JSON" : "text"}`, async () => {
    using printed = new Printed();
    const log = new Log(isJson, "info");
    for (const level of ["info", "warn"] as const) {
      log.say(level, "e", HOSTILE, { keyName: HOSTILE });
      log.say(level, "e", "x".repeat(1e6), { reason: "y".repeat(1e6) });
    }
    await finishOutput();
    assertEquals(printed.lines.length, 4);
    for (const line of printed.lines) {
      assertEquals(printable(line), line);
      assert(line.length < 10_000);
    }
    if (!isJson) return assertEquals(printed.lines[0], ESCAPED);
    const { message, keyName } = JSON.parse(printed.lines[0]!);
    assertEquals([message, keyName], [HOSTILE, HOSTILE]);
  });
}

Deno.test("cli stats and key print JSON that is equal, and safe to show", async () => {
  const name = HOSTILE;
  const authkey = new TextEncoder().encode("k");
  await using bus = await Bus.start(
    { keys: [{ name, key: "k", subscribe: [null] }] },
    { authkey, keyName: name },
  );
  const keys = `${bus.folder}/keys`;
  await Deno.writeTextFile(keys, JSON.stringify({ keys: [{ name, key: btoa("k") }] }), {
    mode: 0o600,
  });
  const stats = await output({ args: ["stats", "-c", bus.file] });
  const content = await output({ args: ["key", "file", name, "--keys", keys, bus.file] });
  for (const text of [stats, content]) assertMatch(text, /^[\x20-\x7e]+\n$/);
  assertEquals(JSON.parse(stats).clients[0].keyName, name);
  assertEquals(JSON.parse(content), {
    version: 1,
    address: bus.broker.address,
    authkey: btoa("k"),
    keyName: name,
  });
});
