/** The commands `pub` and `sub`, each a process of its own. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { abortable } from "@std/async/abortable";
import type { NetPubSub } from "../mod.ts";
import { Bus } from "./helpers/bus.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, NAME, output, Program, started } from "./helpers/program.ts";
import { take } from "./helpers/scene.ts";
import { terminalTest } from "./helpers/terminal.ts";
import { pathOf, SELF_SIGNED } from "./helpers/tls.ts";
import { until } from "../tools/harness/until.ts";

/** A `sub` whose subscriptions are in force. */
async function subscribed({ broker, file }: Bus, ...args: string[]): Promise<Program> {
  const { sessions } = broker.stats();
  const program = new Program({ args: ["sub", "--connect", file, ...args] });
  await until(() => broker.stats().sessions > sessions);
  return program;
}

/** Publishes, and waits until the broker has it. */
async function publish(bus: NetPubSub, ...messages: [string[], object][]): Promise<void> {
  for (const [topic, message] of messages) bus.publish(topic, message);
  await bus.flush();
}

Deno.test("cli pub publishes what sub prints, one JSON object a line", async () => {
  await using bus = await Bus.start();
  await using sub = await subscribed(bus, "--count", "2", "sensors");
  const args = ["pub", "-c", bus.file];
  await output({ args: [...args, "alerts", "x=1"] });
  await output({ args: [...args, "sensors/kitchen", "celsius=21.5", "unit=C", "on=true"] });
  await output({ args: [...args, '["sensors","a/b"]', "--json", '{"b":{"$bytes":"aGk="}}'] });
  assertEquals(await sub.end(), {
    code: 0,
    out: '{"topic":["sensors","kitchen"],"message":{"celsius":21.5,"unit":"C","on":true}}\n' +
      '{"topic":["sensors","a/b"],"message":{"b":{"$bytes":"aGk="}}}\n',
    err: "",
  });
});

Deno.test("cli sub prints each message once, in the order of the bus, whatever its topics are", async () => {
  await using bus = await Bus.start();
  await using sub = await subscribed(bus, "--count", "5", "a", "b", "a/x", "a");
  const client = await bus.client();
  const messages: [string[], object][] = [[["a", "x"], { n: 1 }], [["b"], { n: 2 }]];
  await publish(client, ...messages, [[], { n: 3 }], [["c"], { n: 0 }], [["a"], { n: 4 }], [[], {
    n: 5,
  }]);
  const { out } = await sub.end();
  assertEquals(out.trim().split("\n").map((line) => JSON.parse(line).message.n), [1, 2, 3, 4, 5]);
});

Deno.test("cli sub takes + for any name, and prints what several topics have in common once", async () => {
  await using bus = await Bus.start();
  await using sub = await subscribed(bus, "--count", "4", "s/+/c", "s/k", "+/l", "*broker/x");
  const client = await bus.client();
  const topics = [["s", "k", "c"], ["s", "l", "c"], ["s", "m", "d"], ["s", "k"], ["s", "m", "c"]];
  await publish(client, ...topics.map((topic): [string[], object] => [topic, {}]));
  const { out } = await sub.end();
  const printed = out.trim().split("\n").map((line) => JSON.parse(line).topic.join("/"));
  assertEquals(printed, ["s/k/c", "s/l/c", "s/k", "s/m/c"]);
});

Deno.test("cli sub --group is a member, to which the next message comes when one is printed", async () => {
  await using bus = await Bus.start();
  await using one = await subscribed(bus, "--group", "workers", "--count", "2", "jobs");
  await using two = await subscribed(bus, "--group", "workers", "--count", "3", "jobs");
  await using all = await subscribed(bus, "--count", "5", "jobs");
  const client = await bus.client();
  await publish(
    client,
    ...Array.from({ length: 5 }, (_, n): [string[], object] => [["jobs"], { n }]),
  );
  const numbers = [];
  for (const sub of [one, two]) {
    const { out, code, err } = await sub.end();
    assertEquals([code, err], [0, ""]);
    numbers.push(...out.trim().split("\n").map((line) => JSON.parse(line).message.n));
  }
  assertEquals(numbers.toSorted(), [0, 1, 2, 3, 4]);
  assertEquals((await all.end()).out.trim().split("\n").length, 5);
  await until(() => bus.broker.stats().jobs.unfinished === 0);
  assertEquals(bus.broker.stats().jobs.redelivered, 0);
});

Deno.test("cli sub prints a name that is a plus as it is given to pub, as JSON", async () => {
  await using bus = await Bus.start();
  await using sub = await subscribed(bus, "--count", "1", '["a","+"]');
  const args = ["pub", "-c", bus.file];
  const { code, err } = await fails({ args: [...args, "a/+"] });
  assertEquals(code, 2);
  assertStringIncludes(err, `write '["a","+"]' for this very name`);
  await output({ args: [...args, "a/b"] });
  await output({ args: [...args, '["a","+"]'] });
  const { out } = await sub.end();
  assertEquals(out, '{"topic":["a","+"],"message":{}}\n');
});

Deno.test("cli sub of several topics prints a broadcast at once, and each message that comes", async () => {
  await using bus = await Bus.start();
  await using sub = await subscribed(bus, "a", "b", "c");
  const client = await bus.client();
  const messages: [string[], object][] = [[[], { n: 1 }], [["b"], { n: 2 }], [[], { n: 3 }]];
  let printed = "";
  for (const [topic, message] of messages) {
    await publish(client, [topic, message]);
    printed += `${JSON.stringify({ topic, message })}\n`;
    await abortable(sub.until(printed), AbortSignal.timeout(10_000));
    assertEquals(sub.said, printed);
  }
});

terminalTest("cli sub without a topic prints everything, to a terminal for people", async () => {
  await using bus = await Bus.start();
  await using sub = new Program({
    args: ["sub", "-c", bus.file, "--count", "1"],
    onTerminal: true,
    env: { NO_COLOR: "1" },
  });
  await until(() => bus.broker.stats().sessions > 0);
  await publish(await bus.client(), [["a", "b"], { n: 1, text: "two words" }]);
  const { out } = await sub.end();
  const [told, printed] = out.split("\r\n");
  assertEquals(told, `${NAME}: Listening to all topics; Ctrl-C ends it`);
  assertMatch(printed!, /^\d\d:\d\d:\d\d\.\d{3} a\/b n=1 text="two words"$/);
});

terminalTest("cli sub on a terminal says to what it listens once it does", async () => {
  await using bus = await Bus.start();
  for (
    const [topics, text] of [
      [["a/b", "c"], "a/b, c"],
      [["1", "2", "3", "4", "5", "6", "7"], "1, 2, 3, 4, 5 and 2 more"],
    ] as const
  ) {
    const args = ["sub", "-c", bus.file, ...topics];
    await using sub = new Program({ args, onTerminal: true, input: "open" });
    await sub.until(`Listening to ${text}; Ctrl-C ends it`);
    assertEquals(bus.broker.stats().sessions, 1);
    await sub.write("\x03");
    await sub.end();
    await until(() => bus.broker.stats().sessions === 0);
  }
});

terminalTest("cli pub - says on a terminal what it reads from it", async () => {
  await using bus = await Bus.start();
  for (
    const [args, text] of [
      [["a", "-"], "JSON objects, one a line"],
      [["a", "--lines", "text"], "lines of text"],
      [["-"], "lines as sub prints them"],
    ] as const
  ) {
    await using pub = new Program({
      args: ["pub", "-c", bus.file, ...args],
      onTerminal: true,
      input: "open",
    });
    const notice = `${NAME}: Reads ${text}, from this terminal; Ctrl-D ends it\r\n`;
    await pub.until(notice);
    await pub.write("\x04");
    assertEquals(await pub.end(), { code: 0, out: notice, err: "" });
  }
});

Deno.test("cli pub --json says that a shell takes quotation marks away", async () => {
  const { code, err } = await fails({ args: ["pub", "-c", "x.json", "a", "--json", "{a:1}"] });
  assertEquals(code, 2);
  assertStringIncludes(err, `it is not JSON; a shell needs quotes around it: '{"a":1}'`);
});

terminalTest(
  "cli sub ends when the shell of its terminal ends before the terminal does",
  async () => {
    await using bus = await Bus.start();
    await using sub = new Program({
      args: ["sub", "-c", bus.file],
      onTerminal: true,
      // This one waits for its command, as the shell that a person types into does.
      env: { SHELL: "/bin/sh" },
    });
    await sub.until("Listening");
    sub.kill("SIGTERM");
    await sub.end();
    await until(() => bus.broker.stats().sessions === 0);
  },
);

terminalTest(
  "cli sub colours what it prints to a terminal, and prints JSON there when asked",
  async () => {
    await using bus = await Bus.start();
    await using plain = new Program({
      args: ["sub", "-c", bus.file, "--count", "1"],
      onTerminal: true,
      env: { NO_COLOR: "" },
    });
    await using json = new Program({
      args: ["sub", "-c", bus.file, "--count", "1", "--json"],
      onTerminal: true,
    });
    await until(() => bus.broker.stats().sessions === 2);
    await publish(await bus.client(), [["a"], { n: 1 }]);
    assertStringIncludes((await plain.end()).out, "\x1b[1m\x1b[36ma");
    assertEquals(
      (await json.end()).out.split("\r\n").slice(1),
      ['{"topic":["a"],"message":{"n":1}}', ""],
    );
  },
);

Deno.test("cli sub --raw prints one value: text and bytes as they are, the rest as JSON", async () => {
  await using bus = await Bus.start();
  await using sub = await subscribed(bus, "--count", "4", "--raw", "v", "a");
  await publish(
    await bus.client(),
    [["a"], { v: "text" }],
    [["a"], { v: new TextEncoder().encode("bytes") }],
    [["a"], { w: 1 }],
    [["a"], { v: 7n }],
  );
  const { code, out, err } = await sub.end();
  assertEquals([code, out], [0, 'text\nbytes{"$bigint":"7"}\n']);
  assertStringIncludes(err, "a message for a: it has no v");
});

Deno.test("cli sub --timeout ends it, which fails short of --count only", async () => {
  await using bus = await Bus.start();
  assertEquals(await output({ args: ["sub", "-c", bus.file, "--timeout", "50ms"] }), "");
  const { code, err } = await fails({
    args: ["sub", "-c", bus.file, "--timeout", "50ms", "--count", "2"],
  });
  assertEquals(code, 1);
  assertStringIncludes(err, "Got 0 of 2 messages within 50ms");
});

for (const [strict, status] of [[[], 0], [["--strict"], 1]] as const) {
  Deno.test(`cli sub ${strict.join("")} tells a gap, and ends with ${status}`, async () => {
    await using bus = await Bus.start({ limits: { queueBytes: 2 ** 22 } });
    // The window is 1 MiB, so the gap is among the first of these, and 4 MiB wait behind it.
    await using sub = await subscribed(bus, ...strict, "--raw", "n", "--count", "30", "a");
    sub.kill("SIGSTOP");
    const client = await bus.client();
    const data = new Uint8Array(100_000);
    for (let n = 0; n < 100; n++) client.publish("a", { n, data });
    await client.flush();
    assert(bus.broker.stats().dropped > 0);
    sub.kill("SIGCONT");
    const { code, out, err } = await sub.end();
    assertEquals(code, status);
    const numbers = out.trim().split("\n").map(Number);
    const [, missed] = err.match(/^\S+: Missed (\d+) messages \(overflow\)\n$/)!;
    assertEquals(numbers.at(-1), 29 + Number(missed), "the rest is all there");
  });
}

Deno.test("cli sub ends quietly when nobody reads what it prints", async () => {
  await using bus = await Bus.start();
  await using sub = new Program({ shell: `mpubsub sub -c ${bus.file} | head -n 1` });
  const client = await bus.client();
  await until(() => bus.broker.stats().sessions === 2);
  for (let n = 0; bus.broker.stats().sessions === 2; n++) await publish(client, [["a"], { n }]);
  const { code, out, err } = await sub.end();
  assertEquals([code, out, err], [0, '{"topic":["a"],"message":{"n":0}}\n', ""]);
});

Deno.test("cli sub that nobody reads holds little, and ends with 130 at once", async () => {
  await using bus = await Bus.start({ limits: { queueBytes: 2 ** 28 } });
  await using sub = await subscribed(bus, "a");
  const client = await bus.client();
  const data = new Uint8Array(500_000);
  for (let n = 0; n < 200; n++) await publish(client, [["a"], { data }]);
  assert(bus.broker.stats().queuedBytes > 50_000_000);
  sub.kill("SIGTERM");
  assertEquals((await sub.end()).code, 130);
});

terminalTest(
  "cli sub --json escapes what a terminal obeys, so that it reads back as it was",
  async () => {
    await using bus = await Bus.start();
    await using sub = new Program({
      args: ["sub", "-c", bus.file, "--json", "--count", "1"],
      onTerminal: true,
    });
    await until(() => bus.broker.stats().sessions === 1);
    const message = { text: "\x9b2J\x7f\u202e\x1b" };
    await publish(await bus.client(), [["a"], message]);
    const { out } = await sub.end();
    assertMatch(out, /^([\x20-\x7e]+\r\n){2}$/);
    assertEquals(JSON.parse(out.split("\r\n")[1]!).message, message);
  },
);

Deno.test("cli sub says when the connection is lost, and goes on when the broker is back", async () => {
  await using bus = await Bus.start();
  await using sub = await subscribed(bus, "--count", "1", "a");
  await bus.broker.shutdown();
  await sub.untilError("Lost the connection; trying again");
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`cli sub ends with 130 after ${signal}`, async () => {
    await using bus = await Bus.start();
    await using sub = await subscribed(bus, "a");
    sub.kill(signal);
    assertEquals(await sub.end(), { code: 130, out: "", err: "" });
  });
}

Deno.test("cli pub - reads lines as they come, and ends when all are acknowledged", async () => {
  await using bus = await Bus.start();
  const client = await bus.client();
  using messages = client.subscribe(null);
  await client.flush();
  await using pub = new Program({ args: ["pub", "-c", bus.file, "-"], input: "open" });
  await pub.write('{"topic":["a"],"message":{"n":1}}\n');
  assertEquals((await take(messages, 1))[0]!.message, { n: 1 });
  using more = client.subscribe(null);
  await client.flush();
  await pub.write('\n{"topic":"b","message":{"n":{"$bigint":"2"}}}');
  await pub.finishInput();
  assertEquals(await pub.end(), { code: 0, out: "", err: "" });
  assertEquals(await take(more, 1), [{ topic: ["b"], message: { n: 2n }, info: {} }]);
});

Deno.test("cli pub TOPIC - takes messages, and with --lines plain text", async () => {
  await using bus = await Bus.start();
  const client = await bus.client();
  using messages = client.subscribe(null);
  await client.flush();
  const args = ["pub", "-c", bus.file, "a/b"];
  await output({ args: [...args, "-"], input: '{"n":1}\n{"n":2}\n' });
  await output({ args: [...args, "--lines", "text"], input: "{}\n\nx" });
  assertEquals(
    (await take(messages, 5)).map(({ message }) => message),
    [{ n: 1 }, { n: 2 }, { text: "{}" }, { text: "" }, { text: "x" }],
  );
});

Deno.test("cli pub sends a file's bytes for @PATH, which sub --raw prints as they were", async () => {
  await using bus = await Bus.start();
  const [photo, copy] = [`${bus.folder}/a.jpg`, `${bus.folder}/copy.jpg`];
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  await Deno.writeFile(photo, bytes);
  await using sub = new Program({
    shell: `mpubsub sub -c ${bus.file} --count 1 --raw photo camera > ${copy}`,
  });
  await until(() => bus.broker.stats().sessions === 1);
  await output({ args: ["pub", "-c", bus.file, "camera", "n=1", `photo=@${photo}`] });
  assertEquals((await sub.end()).code, 0);
  assertEquals(await Deno.readFile(copy), bytes);
  const { code, err } = await fails({ args: ["pub", "-c", bus.file, "camera", "by=@ann"] });
  assertEquals(code, 1);
  assertStringIncludes(err, "Cannot read ann");
  assertStringIncludes(err, `for a text that begins with @ write key='"@…"'`);
});

Deno.test("cli sub --raw | pub --raw passes bytes on, all of them as one message", async () => {
  await using bus = await Bus.start();
  const { broker, file } = bus;
  const pub = `mpubsub pub -c ${file} copy --raw photo`;
  await using program = new Program({
    shell: `mpubsub sub -c ${file} --count 2 --raw photo camera | ${pub}`,
  });
  const client = await bus.client();
  using copies = client.subscribe("copy");
  await client.flush();
  await until(() => broker.stats().sessions === 3);
  await program.untilError("Waiting for the end of the input: --raw makes one message of it");
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  await publish(
    client,
    [["camera"], { photo: bytes.subarray(0, 30_000) }],
    [["camera"], { photo: bytes.subarray(30_000) }],
  );
  assertEquals((await program.end()).code, 0);
  assertEquals((await take(copies, 1))[0]!.message, { photo: bytes });
});

Deno.test("cli pub --raw takes no endless input", async () => {
  await using bus = await Bus.start();
  const shell = `mpubsub pub -c ${bus.file} a --raw photo < /dev/zero`;
  await using program = new Program({ shell });
  const { code, err } = await program.end();
  assertEquals(code, 1);
  assertStringIncludes(err, "Cannot read more than 16777216 bytes as one message");
});

Deno.test("cli sub --time adds the time to each line, which pub - reads as before", async () => {
  await using bus = await Bus.start();
  await using sub = await subscribed(bus, "--time", "--count", "1", "a");
  const before = Date.now();
  await publish(await bus.client(), [["a"], { n: 1 }]);
  const { out } = await sub.end();
  const { time, ...line } = JSON.parse(out);
  assertEquals(line, { topic: ["a"], message: { n: 1 } });
  assertMatch(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert(before <= Date.parse(time) && Date.parse(time) <= Date.now());
  assertEquals(await output({ args: ["pub", "-c", bus.file, "-"], input: out }), "");
  assertEquals(bus.broker.stats().received, 2);
});

Deno.test("cli pub names each line that it cannot use, publishes the others, and fails", async () => {
  await using bus = await Bus.start();
  const client = await bus.client();
  using messages = client.subscribe(null);
  await client.flush();
  const lines = ['{"n":1}', "{", "", "[1]", `{"s":"${"x".repeat(2e6)}"}`, "{", '{"n":2}'];
  await using pub = new Program({
    args: ["pub", "-c", bus.file, "a", "-"],
    input: lines.join("\n"),
  });
  const { code, err } = await pub.end();
  assertEquals(code, 1);
  const [first, second, third, fourth, end] = err.split("\n");
  const advice = "; pub TOPIC - --lines KEY takes each line as a text";
  assertStringIncludes(first!, `it is not JSON (line 2)${advice}`);
  assertStringIncludes(second!, "it must be an object (line 4)");
  assertMatch(third!, /limit is 1048576.*\(line 5\)/);
  assertMatch(fourth!, /it is not JSON \(line 6\)$/);
  assertEquals(end, "");
  assertEquals((await take(messages, 2)).map(({ message }) => message.n), [1, 2]);
});

Deno.test("cli pub says when its input is not UTF-8, and takes no endless line", async () => {
  await using bus = await Bus.start();
  const client = await bus.client();
  using messages = client.subscribe(null);
  await client.flush();
  const pub = `mpubsub pub -c ${bus.file} a --lines text`;
  await using bad = new Program({ shell: `printf 'a\\n\\377\\n' | ${pub}` });
  const { err } = await bad.end();
  assertStringIncludes(err, "The input is not all UTF-8: \ufffd replaces what is not (line 2)");
  assertEquals((await take(messages, 2)).map(({ message }) => message.text), ["a", "\ufffd"]);
  await using endless = new Program({ shell: `${pub} < /dev/zero` });
  const { code, err: why } = await endless.end();
  assertEquals(code, 1);
  assertStringIncludes(why, "Cannot read a line of more than 16777216 letters");
});

Deno.test("cli pub that is interrupted while the broker is away ends soon, with 130, and says so", async () => {
  await using bus = await Bus.start();
  await using pub = new Program({ args: ["pub", "-c", bus.file, "a", "-"], input: "open" });
  await pub.write("{}\n");
  await until(() => bus.broker.stats().received === 1);
  await bus.broker.shutdown();
  await pub.untilError("Lost the connection");
  await pub.write("{}\n");
  // Which it has read when the one behind it is refused.
  await pub.write("{\n");
  await pub.untilError("(line 3)");
  pub.kill("SIGINT");
  const { code, err } = await pub.end();
  assertEquals(code, 130);
  assertStringIncludes(err, "Left before the broker had everything");
});

Deno.test("cli pub --count and --interval repeat a message", async () => {
  await using bus = await Bus.start();
  const client = await bus.client();
  using messages = client.subscribe("a");
  await client.flush();
  const args = ["pub", "-c", bus.file, "a", "n=1", "--count", "3", "--interval", "1ms"];
  await output({ args });
  assertEquals((await take(messages, 3)).map(({ message }) => message.n), [1, 1, 1]);
  assertEquals(bus.broker.stats().received, 3);
});

Deno.test("cli pub takes as much from its input as the broker does", async () => {
  await using bus = await Bus.start();
  const lines = Array.from(
    { length: 40 },
    (_, n) => JSON.stringify({ n, s: "x".repeat(500_000) }),
  );
  await output({ args: ["pub", "-c", bus.file, "a", "-"], input: lines.join("\n") });
  assertEquals(bus.broker.stats().received, 40);
});

Deno.test("cli pub fails when a topic is reserved, or a message too large", async () => {
  await using bus = await Bus.start();
  const args = ["pub", "-c", bus.file];
  const { code, err } = await fails({ args: [...args, "*broker/x", "n=1"] });
  assertEquals(code, 1);
  assertStringIncludes(err, "*broker");
  const large = await fails({ args: [...args, "a", "-"], input: `{"s":"${"x".repeat(2e6)}"}` });
  assertEquals(large.code, 1);
  assertStringIncludes(large.err, "limit is 1048576");
});

Deno.test("cli pub and sub refuse a topic that stays in their process, and publish nothing", async () => {
  await using bus = await Bus.start();
  for (const args of [["pub", "*local", "b=1"], ["pub", "a/*local"], ["sub", "a/*local"]]) {
    const { code, err } = await fails({ args: [...args, "-c", bus.file] });
    assertEquals(code, 2);
    assertStringIncludes(err, "never leaves the process of its publisher");
  }
  const input = '{"topic":["a","*local"],"message":{}}';
  const { code, err } = await fails({ args: ["pub", "-", "-c", bus.file], input });
  assertEquals(code, 1);
  assertStringIncludes(err, "(line 1)");
  assertEquals(bus.broker.stats().received, 0);
});

Deno.test("cli pub says that it does not read what it is given, unless values are", async () => {
  await using bus = await Bus.start();
  const pub = `mpubsub pub -c ${bus.file}`;
  const told: string[] = [];
  for (
    const shell of [
      `echo hi | ${pub} a`,
      `${pub} a < ${bus.file}`,
      `echo hi | ${pub} a n=1`,
      `echo hi | ${pub} a --json {}`,
      `echo hi | ${pub} a --lines text`,
      `${pub} a < /dev/null`,
      `${pub} a <&-`,
    ]
  ) {
    await using program = new Program({ shell, input: "open" });
    const { code, err } = await program.end();
    assertEquals(code, 0, err);
    told.push(err);
  }
  const text = `${NAME}: Publishes {} to a: standard input is read only with -`;
  for (const err of told.splice(0, 2)) assert(err.startsWith(text), err);
  assertEquals(told, ["", "", "", "", ""]);
  assertEquals(bus.broker.stats().received, 7);
});

Deno.test("cli pub and sub say that a name with dots is no path, and go on", async () => {
  await using bus = await Bus.start();
  for (const args of [["pub", "a.b", "n=1"], ["sub", "a.b", "--timeout", "1ms"]]) {
    await using program = new Program({ args: [...args, "-c", bus.file] });
    const { code, err } = await program.end();
    assertEquals(code, 0);
    assertStringIncludes(err, "a.b is one name with dots in it; a path is written a/b");
  }
});

Deno.test("cli sub | pub - is a bridge between two brokers, for values of every kind", async () => {
  await using from = await Bus.start();
  await using to = await Bus.start();
  const shell = `mpubsub sub -c ${from.file} --count 1000 a | mpubsub pub -c ${to.file} -`;
  await using program = new Program({ shell });
  const listener = await to.client();
  using messages = listener.subscribe(null);
  await listener.flush();
  const speaker = await from.client();
  await until(() => from.broker.stats().sessions === 2 && to.broker.stats().sessions === 2);
  const message = {
    bytes: Uint8Array.of(0, 255),
    big: 2n ** 70n,
    nan: NaN,
    zero: -0,
    date: new Date(1),
    map: new Map<unknown, unknown>([[1n, new Set([null])]]),
    floats: Float32Array.of(1.5),
    like: { $bytes: "x" },
    text: "\u2028\x1b\0😀",
  };
  for (let n = 0; n < 1000; n++) speaker.publish(["a", "b/c"], { n, ...message });
  const taken = await take(messages, 1000);
  assertEquals(
    taken,
    taken.map((_, n) => ({ topic: ["a", "b/c"], message: { n, ...message }, info: {} })),
  );
  assertEquals(await program.end(), { code: 0, out: "", err: "" });
});

Deno.test("cli commands find the broker by --address and --authkey-file, too", async () => {
  await using bus = await Bus.start({ authkey: "secret" });
  const { broker, folder } = bus;
  await Deno.writeTextFile(`${folder}/key`, "secret", { mode: 0o600 });
  const args = ["pub", "--address", broker.address, "--authkey-file", `${folder}/key`];
  await output({ args: [...args, "a", "n=1"] });
  assertEquals(broker.stats().received, 1);
  await Deno.writeTextFile(`${folder}/wrong`, "wrong", { mode: 0o600 });
  const wrong = await fails({ args: [...args.slice(0, 4), `${folder}/wrong`, "a"] });
  assertEquals(wrong.code, 1);
});

Deno.test("cli commands take --key-name and --tls-ca with --address, and errors name them", async () => {
  await using bus = await Bus.start({
    address: "tls://127.0.0.1:0",
    tls: SELF_SIGNED,
    keys: [{ name: "ann", key: "secret", publish: [null], subscribe: [null] }],
  });
  const { broker, folder, file } = bus;
  await Deno.writeTextFile(`${folder}/key`, "secret", { mode: 0o600 });
  const access = ["--address", broker.address, "--authkey-file", `${folder}/key`];
  const ca = ["--tls-ca", pathOf("self.pem")];
  await output({ args: ["pub", ...access, "--key-name", "ann", ...ca, "a", "n=1"] });
  const bench = ["bench", "--messages", "1", "--json", "--key-name", "ann", ...ca];
  assertStringIncludes(await output({ args: [...bench, ...access] }), '"received":1,');
  // The connection file vouches for nobody.
  await output({ args: ["pub", "-c", file, ...ca, "a", "n=1"] });
  const cases: [string[], number, string][] = [
    [[...access, "--key-name", "ann"], 1, "is not trusted"],
    [["-c", file], 1, "give it, or that of its authority, with --tls-ca PATH"],
    [[...access, ...ca], 1, "key"],
    [[...access, "--key-name", "eve", ...ca], 1, "eve"],
    [["--key-name", "ann"], 2, "--key-name if the key has one"],
    [["-c", file, "--key-name", "ann"], 2, "--key-name if the key has one"],
    [["--tls-ca", `${folder}/none`], 1, "Cannot read"],
    [["--tls-ca", `${folder}/key`], 1, "there is no certificate in it"],
    [
      [...ca, "--address", "tcp://127.0.0.1:1", ...access.slice(2)],
      2,
      "no tls:// or wss:// address in",
    ],
  ];
  for (const [args, status, text] of cases) {
    const { code, err } = await fails({ args: ["ping", "--count", "1", ...args] });
    assertEquals(code, status, err);
    assertStringIncludes(err, text);
    assert(!err.includes("caCerts"), err);
  }
});

for (const kind of ["connection file", "address"]) {
  Deno.test(`cli --wait waits for the broker of a ${kind}, and says so once`, async () => {
    await using folder = await TempFolder.make();
    const [file, key] = [`${folder.path}/x.json`, `${folder.path}/key`];
    await Deno.writeTextFile(key, "secret", { mode: 0o600 });
    const address = ["--address", `unix://${folder.path}/s`, "--authkey-file", key];
    const args = kind === "address" ? address : ["-c", file];
    await using sub = new Program({ args: ["sub", "--wait", "--count", "1", ...args, "a"] });
    await using ping = new Program({ args: ["ping", "--wait", "--count", "1", ...args] });
    await using stopped = new Program({ args: ["sub", "--wait", ...args] });
    await using bench = new Program({
      args: ["bench", "--wait", "--messages", "1", "--json", ...args],
    });
    const waiting = [sub, ping, stopped, bench];
    await Promise.all(waiting.map((program) => program.untilError("Waiting for a broker (")));
    stopped.kill("SIGINT");
    assertEquals((await stopped.end()).code, 130);
    await using _broker = await started({ args: [...address, file] });
    const ends = await Promise.all([ping.end(), bench.end()]);
    assertEquals(ends.map(({ code }) => code), [0, 0]);
    await sub.untilError("Connected\n");
    await output({ args: ["pub", ...args, "a", "n=1"] });
    const { code, out, err } = await sub.end();
    assertEquals([code, out], [0, '{"topic":["a"],"message":{"n":1}}\n']);
    assertEquals(err.split("\n").length, 3, err);
    assert(!/wait: true|with --wait/.test(err), err);
  });
}

Deno.test("cli --wait does not wait for files that are there and cannot be used", async () => {
  await using folder = await TempFolder.make();
  const file = `${folder.path}/x.json`;
  await Deno.writeTextFile(file, "{}", { mode: 0o600 });
  const { code, err } = await fails({ args: ["sub", "--wait", "-c", file] });
  assertEquals(code, 1);
  assertStringIncludes(err, "not a connection file");
});

Deno.test("cli commands have a name at the broker: that of --name, or their own with their process", async () => {
  const names: string[] = [];
  await using bus = await Bus.start({
    onClient({ type, name }) {
      if (type === "joined") names.push(name);
    },
  });
  for (
    const args of [
      ["pub", "a", "--name", "logger é"],
      ["sub", "--timeout", "0"],
      ["ping", "--count", "1"],
      ["bench", "--messages", "1", "--name", "mine"],
    ]
  ) await output({ args: [...args, "-c", bus.file] });
  assertEquals(names.map((name) => name.replace(/ \d+$/, " PID")), [
    "logger é",
    `${NAME} sub PID`,
    `${NAME} ping PID`,
    "mine",
    "mine",
  ]);
  for (const name of ["é".repeat(33), ""]) {
    const { code, err } = await fails({ args: ["pub", "a", "-c", bus.file, `--name=${name}`] });
    assertEquals(code, 2);
    assertStringIncludes(err, "--name needs");
  }
});

Deno.test("cli commands say in one line what is wrong with how the broker is named", async () => {
  await using bus = await Bus.start();
  const { file, folder } = bus;
  const cases: [string[], number, string][] = [
    [["-c", `${folder}/none.json`], 1, "start a broker with it"],
    [["-c", file, "--address", "tcp://127.0.0.1:1"], 2, "--connect FILE, or both"],
    [["--address", "tcp://127.0.0.1:1"], 2, "--connect FILE, or both"],
    [["--address", "nonsense", "--authkey-file", file], 2, "write unix:///path"],
  ];
  for (const [args, status, text] of cases) {
    const { code, err } = await fails({ args: ["pub", ...args, "a"] });
    assertEquals(code, status, err);
    assertStringIncludes(err, text);
  }
});

Deno.test("cli pub and sub refuse wrong arguments with one line and status 2", async () => {
  await using bus = await Bus.start();
  const { file } = bus;
  for (
    const args of [
      ["pub"],
      ["pub", "a//b"],
      ["pub", "a/*", "n=1"],
      ["sub", "a/#"],
      ["pub", "a", "novalue"],
      ["pub", "a", "x=1", "--json", "{}"],
      ["pub", "a", "--json", "[]"],
      ["pub", "a", "x=1", "-"],
      ["pub", "--lines", "text"],
      ["pub", "--raw", "v"],
      ["pub", "a", "--raw", "v", "--lines", "w"],
      ["pub", "a", "--raw", "v", "x=1"],
      ["sub", "--raw", "v", "--time"],
      ["pub", "a", "--count", "0"],
      ["pub", "a", "--interval", "soon"],
      ["sub", "a//b"],
      ["sub", "--count", "x"],
      ["sub", "--nonsense"],
    ]
  ) {
    const { code, err } = await fails({ args: [...args, "-c", file] });
    assertEquals(code, 2, err);
    assertStringIncludes(err, `(${NAME} ${args[0]} --help tells more)`);
  }
});
