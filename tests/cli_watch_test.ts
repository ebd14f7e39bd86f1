/** The commands `top`, `stats`, `ping`, `completions`, and the help, each as a process of its own. */
import { any } from "../mod.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { stripAnsiCode } from "@std/fmt/colors";
import { unicodeWidth } from "@std/cli/unicode-width";
import { broker } from "../cli/broker.ts";
import { cut, cutStart, tableOf } from "../cli/table.ts";
import { lineOf, type Moment, pageOf } from "../cli/top_page.ts";
import { Bus } from "./helpers/bus.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, NAME, output, Program, started } from "./helpers/program.ts";
import { terminalTest } from "./helpers/terminal.ts";
import { until } from "../tools/harness/until.ts";

const COMMANDS = ["broker", "pub", "sub", "ping", "bench", "top", "stats", "key", "completions"];

for (const command of ["", ...COMMANDS]) {
  Deno.test(`cli ${command} --help fits a screen and has examples`, async () => {
    const out = await output({ args: [...command.split(" ").filter(Boolean), "--help"] });
    const lines = out.trimEnd().split("\n");
    assert(lines.length <= 24, `${lines.length} lines`);
    assertEquals(lines.filter((line) => unicodeWidth(line) > 80), []);
    assertMatch(out, new RegExp(`^Usage: ${NAME} `));
    assertMatch(out, new RegExp(`^(Examples|Try it.*):\\n {2}${NAME} `, "m"));
  });
}

Deno.test("cli broker --help has each option, and what is on one line with another", async () => {
  const out = await output({ args: ["broker", "--help"] });
  for (const { name } of broker.options) assertMatch(out, new RegExp(`^ {6}.*--${name}\\b`, "m"));
  assertMatch(out, /^ {6}--tls-cert, --tls-key PATH {2}\S/m);
});

Deno.test("cli lists its commands, each with its own help", async () => {
  const out = await output({ args: ["--help"] });
  assertEquals([...out.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name]) => name), COMMANDS);
  assertEquals(await output({ args: ["help"] }), out);
});

Deno.test("cli suggests the nearest command or option for one that is misspelt", async () => {
  const cases: [string[], string][] = [
    [["pbu", "a", "n=1"], "did you mean pub?"],
    [["sbu"], "did you mean sub?"],
    [["stat"], "did you mean stats?"],
    [["tpo"], "did you mean top?"],
    [["benchmark", "now"], "did you mean bench?"],
    [["sub", "--cuont", "1"], "did you mean --count?"],
    [["--versoin"], "did you mean --version?"],
    [["-c", "x.json", "sub"], `Write the command first: ${NAME} sub`],
  ];
  for (const [args, text] of cases) {
    const { code, err } = await fails({ args });
    assertEquals(code, 2, err);
    assertStringIncludes(err, text);
  }
});

Deno.test("cli takes a word without a dot or a slash for a command, and starts no broker", async () => {
  await using folder = await TempFolder.make();
  const cases: [string[], string][] = [
    [["start"], "did you mean broker?"],
    [["version"], "did you mean --version?"],
    [["topics"], "did you mean top?"],
    [["PUB"], "did you mean pub?"],
    [["publish"], "did you mean pub?"],
    [["subscribe", "a"], "did you mean sub?"],
    [["bus"], "No command is called bus. Commands: broker, pub, sub,"],
    [["--verbose", "start"], "a FILE has a dot or a slash in it: ./start"],
    [["broker", "stop"], "Cannot use stop as a FILE: for a file of that name write ./stop"],
    [["help", "whatever"], "No command is called whatever"],
  ];
  for (const [args, text] of cases) {
    const { code, err } = await fails({ args, cwd: folder.path });
    assertEquals(code, 2, err);
    assertStringIncludes(err, text);
  }
  assertEquals(folder.names, []);
});

Deno.test("cli takes a word with a dot or a slash for the FILE of a broker", async () => {
  await using folder = await TempFolder.make();
  for (const args of [["./bus"], ["bus.json"], ["broker", "./top"]]) {
    await using _program = await started({ args, cwd: folder.path });
    assert((await Deno.stat(`${folder.path}/${args.at(-1)}`)).isFile);
  }
});

Deno.test("cli takes the value of an option for no command", async () => {
  const { err } = await fails({ args: ["--bus", "top", "./x"] });
  assertStringIncludes(err, "Cannot use --bus alone");
});

Deno.test("cli help COMMAND is COMMAND --help", async () => {
  assertEquals(
    await output({ args: ["help", "pub"] }),
    await output({ args: ["pub", "--help"] }),
  );
});

Deno.test("cli stats prints what the broker counts as JSON", async () => {
  await using bus = await Bus.start();
  const { broker, file } = bus;
  const client = await bus.client();
  client.publish("a", {});
  client.addSubscriber(["jobs", any], () => {}, { group: "workers" });
  await client.flush();
  const out = await output({ args: ["stats", "-c", file] });
  assertEquals(out.split("\n").length, 2);
  const { clients, groups, uptime, address, ...stats } = JSON.parse(out);
  assertEquals(address, broker.address);
  assert(uptime > 0);
  assertEquals(Object.keys(stats), Object.keys(broker.stats()));
  assertEquals([stats.received, stats.sessions], [1, 2]);
  assertEquals(clients.length, 2);
  const { group, topic, members, waiting, unfinished, oldest } = groups[0];
  assertEquals([group, topic, members, waiting, unfinished, oldest], [
    "workers",
    ["jobs", null],
    1,
    0,
    0,
    0,
  ]);
});

Deno.test("cli stats --topics prints what passes in the next second, by topic", async () => {
  await using bus = await Bus.start();
  await using stats = new Program({ args: ["stats", "--topics", "-c", bus.file] });
  const client = await bus.client();
  using _heard = client.addSubscriber("a", () => {});
  await until(() => bus.broker.stats().sessions === 2);
  const publishing = setInterval(() => client.publish(["a", "b"], {}), 20);
  const { code, out, err } = await stats.end();
  clearInterval(publishing);
  assertEquals([code, err], [0, ""]);
  const { topics, otherTopics, topicsPeriod, received } = JSON.parse(out);
  const { messages, ...topic } = topics[0];
  assert(topicsPeriod > 500 && messages > 0 && received > 0, out);
  assertEquals(Object.keys(topic), ["topic", "bytes", "subscribers"]);
  assertEquals([topics.length, topic.topic], [1, ["a", "b"]]);
  assertEquals(otherTopics, { messages: 0, bytes: 0 });
});

Deno.test("cli stats and top say in one line when the key does not grant them", async () => {
  await using bus = await Bus.start({ keys: [{ name: "ann", key: "k", subscribe: ["a"] }] });
  const { file, folder } = bus;
  const content = JSON.parse(await Deno.readTextFile(file));
  const own = { ...content, authkey: btoa("k"), keyName: "ann" };
  await Deno.writeTextFile(`${folder}/ann`, JSON.stringify(own), { mode: 0o600 });
  for (const command of ["stats", "top"]) {
    const { code, err } = await fails({ args: [command, "-c", `${folder}/ann`] });
    assertEquals(code, 1);
    assertStringIncludes(err, 'the key "ann" does not grant that');
  }
});

Deno.test("cli top prints a line each second where there is no terminal", async () => {
  await using bus = await Bus.start();
  const lines = (await output({ args: ["top", "-c", bus.file, "--count", "2"] })).trim().split(
    "\n",
  );
  assertEquals(lines.length, 2);
  for (const line of lines) {
    // What it causes itself is not shown.
    assertMatch(line, /^[\d:.]+ {2}clients 1 {2}in 0 msg\/s {2}out 0 msg\/s {2}queued 0 B {2}/);
  }
});

terminalTest(
  "cli top shows clients and topics in a terminal, and gives that back in the end",
  async () => {
    await using folder = await TempFolder.make();
    await using bus = await Bus.start({ address: `unix://${folder.path}/\x9b2Js` });
    await using top = new Program({
      args: ["top", "-c", bus.file],
      onTerminal: true,
      input: "open",
      env: { NO_COLOR: "1" },
    });
    await top.until("TOPIC");
    const client = await bus.client();
    client.addSubscriber("sensors", () => {});
    for (let n = 0; n < 50; n++) client.publish(["sensors", "\x1b[2Jkitchen"], { n });
    await client.flush();
    // deno-lint-ignore no-control-regex
    await top.until(/u001b\[2Jkitchen[^]*\x1b\[J/); // To the end of that page.
    assertStringIncludes(top.said, "/\\u009b2Js  up ");
    assert(!top.said.includes("\x9b"));
    assertStringIncludes(top.said, "\x1b[?1049h");
    assertMatch(top.said, /#1 \S+ top \d+ +3 .* – +0 {2}this top/);
    assertMatch(top.said, /#2 cli_watch_test\.ts \d+ +1 /);
    await top.write("q");
    const { code, out } = await top.end();
    assertEquals(code, 0);
    assert(out.endsWith("\x1b[?25h\x1b[?1049l"), JSON.stringify(out.slice(-40)));
    const pages = stripAnsiCode(out.replaceAll("\x1b[H", "\f")).split("\f");
    for (const page of pages) assert(page.split("\r\n").length <= 24);
    assert(bus.broker.stats().received > 0);
  },
);

/** A client of a broker, as `top` gets it. */
function clientStats(client: number, some: Partial<Moment["clients"][number]> = {}) {
  return {
    client,
    name: `client ${client}`,
    keyName: "",
    for: null,
    address: null,
    connected: true,
    subscriptions: 1,
    received: 0,
    delivered: 0,
    dropped: 0,
    refusedMessages: 0,
    queuedBytes: 0,
    waiting: false,
    ...some,
  };
}

const NO_JOBS = {
  groups: 0,
  members: 0,
  waiting: 0,
  unfinished: 0,
  oldest: 0,
  redelivered: 0,
  abandoned: 0,
  refused: 0,
};

/** What a broker says after so many seconds, whose third client is the one that asks. */
function momentAt(seconds: number, clients: number, topics: number): Moment {
  const all = Array.from({ length: clients }, (_, at) => clientStats(at + 1));
  const own = { ...all[2]!, delivered: 3 * seconds, queuedBytes: 5000 };
  all[0] = { ...all[0]!, delivered: 10 * seconds, queuedBytes: 1000, keyName: "kitchen" };
  all[1] = { ...all[1]!, keyName: "page", for: "ann\x1b[2J" };
  all[2] = own;
  const path = Array.from({ length: 16 }, (_, at) => `element ${at}`);
  return {
    stats: {
      uptime: 1000 * seconds,
      address: "tcp://127.0.0.1:7411",
      sessions: clients,
      connections: clients,
      detached: 0,
      dropped: 0,
      cutOff: 0,
      waiting: 0,
      refused: 0,
      refusedMessages: 0,
      received: 20 * seconds,
      delivered: 13 * seconds,
      queuedBytes: 6000,
      jobs: NO_JOBS,
    } as Moment["stats"],
    clients: all,
    total: clients,
    own,
    topics: Array.from({ length: topics }, (_, at) => ({
      topic: [...path.slice(1), String(at)],
      messages: 1,
      bytes: 1,
      subscribers: 1,
    })),
    other: { messages: 0 },
    period: 1000,
  };
}

Deno.test("lineOf and pageOf show what becomes of jobs, where there are groups", () => {
  const moment = momentAt(2, 4, 1);
  const jobs = { ...NO_JOBS, groups: 2, members: 5, waiting: 7, unfinished: 3, oldest: 65_000 };
  const now = { ...moment, stats: { ...moment.stats, jobs } };
  const figures = "groups 2 (5 members)  waiting 7  unfinished 3  oldest 65.0 s";
  assertStringIncludes(lineOf(now, now), figures);
  const [, , , ...rest] = pageOf(now, now, 200, 24).map(stripAnsiCode);
  assertEquals(rest[0], `${figures}  redelivered 0  abandoned 0  refused 0`);
  assertEquals(lineOf(moment, moment).includes("groups"), false);
});

Deno.test("lineOf and pageOf show nothing of what top causes as a rate or a queue", () => {
  const [before, now] = [momentAt(1, 4, 1), momentAt(2, 4, 1)];
  assertStringIncludes(lineOf(now, before), "in 20 msg/s  out 10 msg/s  queued 1 kB");
  const page = pageOf(now, before, 100, 24).map(stripAnsiCode);
  assertStringIncludes(page[1]!, "in 20 msg/s  out 10 msg/s");
  assertStringIncludes(page[2]!, "queued 1 kB");
  const rows = page.filter((line) => line.startsWith("#"));
  assertMatch(rows[0]!, /^#1 client 1, key kitchen +1 +0 +10 +1 kB +0$/);
  assertMatch(rows[2]!, /^#3 client 3 +1 +0 +3 +– +0 {2}this top$/);
  // Of clients that are not listed, only the sum is known.
  assertStringIncludes(lineOf({ ...now, total: 5 }, { ...before, total: 5 }), "queued 6 kB");
  assertStringIncludes(lineOf({ ...now, own: undefined }, before), "queued 6 kB");
});

Deno.test("pageOf shows each figure of the broker, on more lines where a terminal is narrow", () => {
  const now = momentAt(2, 3, 1);
  const figures =
    "queued 1 kB|dropped 0|cut off 0|holding back 0|refused 0 connections, 0 messages";
  for (const columns of [36, 60, 80, 84, 200]) {
    const page = pageOf(now, undefined, columns, 24).map(stripAnsiCode);
    const head = page.slice(0, page.indexOf(""));
    for (const figure of [...figures.split("|"), "(q ends)", "out – msg/s"]) {
      assert(head.some((line) => line.split("  ").includes(figure)), `${columns}: ${figure}`);
    }
    assert(page.every((line) => line.length <= columns), `${columns}`);
    assertEquals(head.length > 3, columns < 84);
  }
});

Deno.test("pageOf shows the address of the broker, or that it has none", () => {
  const { stats, ...moment } = momentAt(2, 3, 1);
  for (const [address, shown] of [["ws://h:80/bus", "ws://h:80/bus"], [null, "no address"]]) {
    const page = pageOf({ ...moment, stats: { ...stats, address: address! } }, undefined, 100, 24);
    assert(stripAnsiCode(page[0]!).startsWith(`${shown}  up 2`), page[0]);
  }
});

Deno.test("pageOf shows the end of a long topic, and how many rows do not fit", () => {
  const page = pageOf(momentAt(2, 300, 200), undefined, 100, 24).map(stripAnsiCode);
  assertEquals(page.length, 24);
  assert(page.every((line) => unicodeWidth(line) <= 100));
  assertMatch(page[5]!, /^….*element 15\/0 +1\.?\d* +\d/);
  assertEquals(page.filter((line) => line.endsWith("more")), ["193 more", "292 more"]);
  const some = { ...momentAt(2, 3, 3), other: { messages: 9 } };
  const small = pageOf(some, undefined, 80, 24).map(stripAnsiCode);
  assertEquals(small.filter((line) => line.endsWith("more")), ["more"]);
  const few = pageOf({ ...some, topics: momentAt(2, 3, 30).topics }, undefined, 100, 24);
  assertEquals(few.map(stripAnsiCode).filter((line) => line.endsWith("more")), ["17+ more"]);
  const all = pageOf(momentAt(2, 3, 3), undefined, 80, 24).map(stripAnsiCode);
  assertEquals(all.filter((line) => line.endsWith("more")), []);
});

Deno.test("cli top and ping end quietly when nobody reads what they print", async () => {
  await using bus = await Bus.start();
  const { file } = bus;
  for (const command of ["top", "ping --count 100000 --interval 1ms"]) {
    await using program = new Program({ shell: `mpubsub ${command} -c ${file} | head -n 1` });
    const { code, out, err } = await program.end();
    assertEquals([code, out.split("\n").length, err], [0, 2, ""]);
  }
});

Deno.test("cut and tableOf take no longer for letters that have no width", () => {
  const hostile = `a${"\u0301".repeat(100_000)}`;
  assertEquals(cut("abcdef", 4), "abc…");
  assertEquals(cut("日本語", 4), "日…");
  assertEquals(["abcdef", "日本語", "abcd", "abcd😀"].map((text) => cutStart(text, 4)), [
    "…def",
    "…語",
    "abcd",
    "…d😀",
  ]);
  assert(cutStart(`a${"\u0301".repeat(100_000)}`, 10).length < 50);
  assert(cut(hostile, 10).length < 50);
  const [, row] = tableOf([{ title: "A", text: () => hostile, isLeft: true }], [1], 20);
  assert(row!.length < 100);
});

Deno.test("cli ping prints round trips and their quantiles, and JSON", async () => {
  await using bus = await Bus.start();
  const args = ["ping", "-c", bus.file, "--count", "3", "--interval", "1ms"];
  const lines = (await output({ args })).trim().split("\n");
  assertEquals(lines.length, 4);
  assertMatch(lines[0]!, /^1: \d[\d.]* (µs|ms)$/);
  assertMatch(lines[3]!, /^min .*, median .*, p99 .* of 3$/);
  const { count, min, median, p99 } = JSON.parse(await output({ args: [...args, "--json"] }));
  assertEquals(count, 3);
  assert(min <= median && median <= p99);
  assertEquals(await output({ args: [...args, "--quiet"] }), "");
});

Deno.test("cli ping that is interrupted prints the quantiles of what it has", async () => {
  await using bus = await Bus.start();
  const args = ["ping", "-c", bus.file, "--count", "1000000", "--interval", "1ms"];
  await using program = new Program({ args });
  await program.until("3: ");
  program.kill("SIGINT");
  const { code, out, err } = await program.end();
  assertEquals([code, err], [130, ""]);
  const lines = out.trim().split("\n");
  assertMatch(lines.at(-1)!, new RegExp(`^min .*, median .*, p99 .* of ${lines.length - 1}$`));
});

Deno.test("cli ping fails when the broker does not answer in time", async () => {
  await using folder = await TempFolder.make();
  await using broker = await started({ args: [`${folder.path}/x.json`] });
  const args = ["ping", "-c", `${folder.path}/x.json`, "--timeout", "1s", "--count", "1000000"];
  await using ping = new Program({ args });
  await ping.until("1: ");
  broker.kill("SIGSTOP");
  const { code, err } = await ping.end();
  broker.kill("SIGCONT");
  assertEquals([code, err], [1, `${NAME}: No answer within 1s\n`]);
});

for (const command of ["ping", "stats"]) {
  Deno.test(`cli ${command} --timeout is also how long connecting may take`, async () => {
    await using folder = await TempFolder.make();
    await using broker = await started({ args: [`${folder.path}/x.json`] });
    broker.kill("SIGSTOP");
    const args = [command, "-c", `${folder.path}/x.json`, "--timeout", "100ms"];
    await using program = new Program({ args });
    const { code, err } = await program.end();
    broker.kill("SIGCONT");
    assertEquals([code, err], [1, `${NAME}: Cannot connect: no answer within 100ms\n`]);
  });
}

Deno.test("cli --log json prints one JSON object for each event", async () => {
  await using folder = await TempFolder.make();
  const file = `${folder.path}/x.json`;
  await using broker = new Program({ args: ["--log", "json", "--verbose", file] });
  await broker.until("listening");
  await output({ args: ["pub", "-c", file, "a"] });
  await Deno.writeTextFile(`${folder.path}/wrong`, "wrong", { mode: 0o600 });
  const { address } = JSON.parse(await Deno.readTextFile(file));
  await fails({ args: ["ping", "--address", address, "--authkey-file", `${folder.path}/wrong`] });
  broker.kill("SIGTERM");
  const { code, out, err } = await broker.end();
  assertEquals(code, 0);
  const events = out.trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(
    events.map(({ level, event }) => `${level} ${event}`),
    ["info listening", "debug joined", "debug left", "debug connection", "info stopping"],
  );
  for (const { time } of events) assert(Date.parse(time) > 0);
  assertEquals([events[0].address, events[1].client], [address, 1]);
  const { event, key, message } = JSON.parse(err);
  assertEquals([event, key, message], ["refused", 1, "Refused 1 connections (key 1)"]);
});

Deno.test("cli --log json tells why it cannot start as JSON, too", async () => {
  await using folder = await TempFolder.make();
  await using broker = new Program({ args: ["--log", "json", `${folder.path}/none/x.json`] });
  const { code, out, err } = await broker.end();
  assertEquals([code, out], [1, ""]);
  const { level, event, message } = JSON.parse(err);
  assertEquals([level, event], ["error", "failed"]);
  assertStringIncludes(message, "there is no such folder");
});

for (const [shell, check] of [["bash", "bash -n"], ["zsh", "zsh -n"], ["fish", "fish -n"]]) {
  Deno.test(`cli completions ${shell} prints a script that ${shell} can read`, async () => {
    await using folder = await TempFolder.make();
    const script = await output({ args: ["completions", shell!] });
    for (const word of [...COMMANDS, "authkey-file"]) assertStringIncludes(script, word);
    await Deno.writeTextFile(`${folder.path}/script`, script);
    const [program, ...args] = check!.split(" ");
    try {
      const { success, stderr } = await new Deno.Command(program!, {
        args: [...args, `${folder.path}/script`],
      }).output();
      assert(success, new TextDecoder().decode(stderr));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      console.log(`Skipped: whether ${shell} can read it, since it is not there`);
    }
  });
}

Deno.test("cli completions bash completes commands, options and files", async () => {
  await using folder = await TempFolder.make();
  await Deno.writeTextFile(`${folder.path}/x.json`, "");
  await Deno.writeTextFile(
    `${folder.path}/script`,
    await output({ args: ["completions", "bash"] }),
  );
  const complete = async (...words: string[]) => {
    const script = `. ./script
COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}) COMP_CWORD=${words.length - 1}
_mpubsub; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await new Deno.Command("bash", { args: ["-c", script], cwd: folder.path })
      .output();
    return new TextDecoder().decode(stdout).trim().split("\n");
  };
  assertEquals(await complete("mpubsub", "p"), ["pub", "ping"]);
  assertEquals(await complete("mpubsub", "sub", "--co"), ["--connect", "--count"]);
  assertEquals(await complete("mpubsub", "sub", "-c", "x"), ["x.json"]);
  assertEquals(await complete("mpubsub", "key", "l"), ["list"]);
  assertEquals(await complete("mpubsub", "key", "new", "--p"), ["--publish"]);
});

Deno.test("cli completions zsh prints a script that works when nothing else has set up completion", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/script`;
  await Deno.writeTextFile(path, await output({ args: ["completions", "zsh"] }));
  try {
    const { stdout, stderr } = await new Deno.Command("zsh", {
      args: ["--no-rcs", "-c", `source ${path}; print $_comps[mpubsub] $_comps[${NAME}]`],
      env: { HOME: folder.path },
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assertEquals([out, err], ["_mpubsub _mpubsub\n", ""]);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log("Skipped: whether zsh takes it, since it is not there");
  }
});

Deno.test("cli completions fish completes commands, the words that follow them, and options", async () => {
  await using folder = await TempFolder.make();
  const script = await output({ args: ["completions", "fish"] });
  await Deno.writeTextFile(`${folder.path}/script`, script);
  const complete = async (line: string) => {
    const { stdout } = await new Deno.Command("fish", {
      args: ["--no-config", "-c", `source ${folder.path}/script; complete -C "${line}"`],
      env: { HOME: folder.path },
      cwd: folder.path,
    }).output();
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    return lines.map((line) => line.split("\t")[0]);
  };
  try {
    assertEquals(await complete("mpubsub pi"), ["ping"]);
    assertEquals(await complete("mpubsub-broker key l"), ["list"]);
    assertEquals(await complete("mpubsub key new --p"), ["--publish"]);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log("Skipped: what fish completes, since it is not there");
  }
});
