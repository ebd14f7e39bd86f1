/** A line that cannot be written ends nothing: full disks, terminals that are gone or stopped. */
import { abortable } from "@std/async/abortable";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { Warnings } from "../cli/broker_events.ts";
import { Log } from "../cli/log.ts";
import { complain, finishOutput, printLine, say } from "../cli/output.ts";
import { NetPubSub } from "../mod.ts";
import { until } from "../tools/harness/until.ts";
import { Bus } from "./helpers/bus.ts";
import { TempFolder } from "./helpers/folder.ts";
import { Printed } from "./helpers/printed.ts";
import { Program, started } from "./helpers/program.ts";
import { terminalTest } from "./helpers/terminal.ts";

/** How many files and connections a broker may have open that is to run out of them. */
const DESCRIPTORS = 80;
const CONFIG = new URL("../deno.json", import.meta.url).pathname;

/** What the connection file of a broker says, once it is there. */
async function fileOf(path: string): Promise<{ address: string; pid: number }> {
  let content: { address: string; pid: number } | undefined;
  await until(() => {
    try {
      content = JSON.parse(Deno.readTextFileSync(path));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return content !== undefined;
  });
  return content!;
}

/** Has a broker log: somebody comes who is no client, and a client comes and goes. */
async function beSeen(path: string): Promise<void> {
  const { address } = await fileOf(path);
  const stray = await Deno.connect({ transport: "unix", path: address.slice("unix://".length) });
  await stray.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  await stray.closeWrite();
  for (const bytes = new Uint8Array(64); await stray.read(bytes) !== null;);
  stray.close();
  const bus = await NetPubSub.fromFile(path);
  await bus.connect();
  await bus.flush();
  await bus.disconnect();
}

for (const options of ["--quiet", "--verbose", "--verbose --log json"]) {
  Deno.test(`a broker with ${options} goes on when the disk of its log is full`, async () => {
    await using folder = await TempFolder.make();
    const path = `${folder.path}/x.json`;
    await using program = new Program({
      shell: `mpubsub ${options} ${path} >/dev/full 2>&1; echo "status $?"`,
    });
    for (let times = 0; times < 3; times++) await beSeen(path);
    Deno.kill((await fileOf(path)).pid, "SIGTERM");
    assertEquals((await program.end()).out, "status 0\n");
    assertEquals(folder.names, []);
  });
}

terminalTest("a broker goes on when the terminal of its log is gone", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/x.json`;
  await using terminal = new Program({
    args: ["--verbose", path],
    onTerminal: true,
    // In a session of its own, as if it had been disowned: no signal tells it.
    under: ["bash", "-c", `'setsid "$@" & wait'`, "bash"],
  });
  const { pid } = await fileOf(path);
  terminal.kill("SIGKILL");
  await terminal.end();
  for (let times = 0; times < 3; times++) await beSeen(path);
  Deno.kill(pid, "SIGTERM");
  await until(() => folder.names.length === 0);
});

terminalTest("a broker whose terminal is closed ends well", async () => {
  await using folder = await TempFolder.make();
  const [path, status] = [`${folder.path}/x.json`, `${folder.path}/status`];
  await using terminal = new Program({
    args: ["--verbose", path],
    onTerminal: true,
    // It passes the signal on, as the shell that a person types into does.
    under: [
      "bash",
      "-c",
      `'trap "kill -HUP \\$!; wait \\$!; echo \\$? >${status}" HUP; "$@" & wait'`,
      "bash",
    ],
  });
  await beSeen(path);
  terminal.kill("SIGKILL");
  await until(() => folder.names.join() === "status" && Deno.readTextFileSync(status) !== "");
  assertEquals(await Deno.readTextFile(status), "0\n");
});

for (const redirection of ["2>LOG", ">LOG", ">LOG 2>&1", "2>&1 | cat >LOG"]) {
  for (const command of ["FOLDER/x.json", "sub -c BUS topic"]) {
    terminalTest(
      `${command} ${redirection} ends with the terminal it was started from`,
      async () => {
        await using folder = await TempFolder.make();
        const joined = Promise.withResolvers<void>();
        await using bus = await Bus.start({ onClient: () => joined.resolve() });
        const fill = (text: string) =>
          text.replaceAll("LOG", `${folder.path}/log`).replace("FOLDER", folder.path)
            .replace("BUS", bus.file);
        // It passes the signal on, as the shell that a person types into does; stdin stays the terminal.
        const script = `${folder.path}/run.sh`;
        await Deno.writeTextFile(
          script,
          `cd ${folder.path}; trap 'kill -HUP $(cat pid); wait; touch ended' HUP
        { bash -c 'echo $$ >pid; exec "$@" 2>&3' bash "$@" 3>&2 0<&4 ${fill(redirection)}; } 4<&0 &
        wait; wait`,
        );
        await using terminal = new Program({
          args: fill(command).split(" "),
          onTerminal: true,
          under: ["bash", script],
          input: "open",
        });
        if (command.startsWith("FOLDER")) await fileOf(`${folder.path}/x.json`);
        else await joined.promise;
        terminal.kill("SIGKILL");
        await until(() => folder.names.includes("ended"));
      },
    );
  }
}

terminalTest("a broker goes on, and can be ended, when its terminal is stopped", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/x.json`;
  await using terminal = new Program({
    args: ["--verbose", path],
    onTerminal: true,
    input: "open",
  });
  await terminal.until("Listening at");
  const { pid } = await fileOf(path);
  await terminal.write("\x13"); // Ctrl-S
  for (let times = 0; times < 3; times++) await beSeen(path);
  Deno.kill(pid, "SIGTERM");
  await until(() => folder.names.length === 0);
});

Deno.test("a broker is not ended by a SIGHUP that comes while it starts", async () => {
  await using folder = await TempFolder.make();
  const [path, keys] = [`${folder.path}/x.json`, `${folder.path}/keys`];
  await Deno.writeTextFile(keys, '{ "keys": [] }', { mode: 0o600 });
  const code = `import { main } from ${JSON.stringify(new URL("../cli.ts", import.meta.url))};
    const ended = main(["--keys", ${JSON.stringify(keys)}, ${JSON.stringify(path)}]);
    Deno.kill(Deno.pid, "SIGHUP");
    Deno.exit(await ended);`;
  await Deno.writeTextFile(`${folder.path}/start.ts`, code);
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--no-check", "--config", CONFIG, `${folder.path}/start.ts`],
    stdout: "null",
  }).spawn();
  await fileOf(path);
  process.kill("SIGTERM");
  assertEquals((await process.status).code, 0);
});

Deno.test("printLine says why an output that does not wait cannot be written", async () => {
  const { write } = Deno.stdout;
  Deno.stdout.write = () => Promise.reject(new Deno.errors.WouldBlock("os error 11"));
  try {
    await assertRejects(() => printLine("a"), Error, "whoever opened it has set it not to wait");
  } finally {
    Deno.stdout.write = write;
  }
});

for (const command of ["ping --count 1000", "top", "stats"]) {
  Deno.test(`cli ${command} can be ended when nobody reads what it prints`, async () => {
    await using bus = await Bus.start();
    await using folder = await TempFolder.make();
    const pipe = `${folder.path}/pipe`;
    await new Deno.Command("mkfifo", { args: [pipe] }).output();
    await using program = new Program({
      // The pipe is full before the command begins.
      shell:
        `exec 7<>${pipe}; head -c 65536 /dev/zero >&7; mpubsub ${command} -c ${bus.file} >&7 & ` +
        `trap 'kill -TERM $(cat /proc/$!/task/$!/children)' TERM; wait; wait; echo ended`,
    });
    await until(() => bus.broker.stats().sessions === 1);
    program.kill("SIGTERM");
    await abortable(program.until("ended"), AbortSignal.timeout(10_000));
  });
}

Deno.test("cli says that its output cannot be written, and fails", async () => {
  await using bus = await Bus.start();
  for (const line of ["--help", "--version", "key new ann", `stats -c ${bus.file}`]) {
    await using program = new Program({ shell: `mpubsub ${line} >/dev/full; echo "$?" >&2` });
    const { err } = await program.end();
    assertMatch(err, /^[^\n]+: Cannot write the output: No space left on device[^\n]*\n1\n$/, line);
  }
  await using sub = new Program({ shell: `mpubsub sub -c ${bus.file} >/dev/full; echo "$?" >&2` });
  await until(() => bus.broker.stats().sessions === 1);
  (await bus.client()).publish("a", {});
  assertStringIncludes((await sub.end()).err, "Cannot write the output: No space left on device");
});

Deno.test("a client goes on when nothing that it complains of can be written", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/x.json`;
  // It complains that nobody is there, and that a broker has gone.
  await using sub = new Program({ shell: `mpubsub sub --wait -c ${path} --count 2 2>/dev/full` });
  for (const n of [1, 2]) {
    await using bus = await Bus.start();
    await Deno.copyFile(bus.file, path);
    await until(() => bus.broker.stats().sessions === 1);
    (await bus.client()).publish("a", { n });
    await sub.until(`"n":${n}`);
  }
  assertEquals((await sub.end()).code, 0);
});

for (const isJson of [false, true]) {
  Deno.test(`Log counts what it cannot write, and says so later, as ${isJson ? "JSON" : "text"}`, async () => {
    const held = Promise.withResolvers<void>();
    using printed = new Printed(() => held.promise);
    const log = new Log(isJson, "info");
    const text = "x".repeat(1024);
    for (let line = 0; line < 2000; line++) log.say("info", "e", text);
    held.resolve();
    await finishOutput();
    const last = printed.lines.pop()!;
    const count = 2000 - printed.lines.length;
    assert(count > 900, `only ${count} lines were left out`);
    const told = `Could not print ${count} lines before this one`;
    if (isJson) assertEquals(JSON.parse(last).count, count);
    else assertEquals(last, `mpubsub: ${told}`);
  });
}

Deno.test("what fails to be written is counted, and told once a line can be written", async () => {
  let isFull = true;
  using printed = new Printed(() => isFull ? Promise.reject(new Error("full")) : Promise.resolve());
  new Log(false, "info");
  for (let line = 0; line < 3; line++) complain("a");
  say("b");
  await finishOutput();
  assertEquals(printed.lines, []);
  isFull = false;
  say("c");
  await finishOutput();
  assertEquals(printed.lines, ["c", "mpubsub: Could not print 4 lines before this one"]);
  say("d");
  await finishOutput();
  assertEquals(printed.lines.slice(2), ["d"]);
});

Deno.test("what is left out is told also while more always waits", async () => {
  let writes = 0;
  const text = "x".repeat(4096);
  // Two more come for each line that is written.
  using printed = new Printed(async () => {
    await Promise.resolve();
    if (++writes >= 2000) return;
    for (let times = 0; times < 2; times++) say(text);
  });
  new Log(false, "info");
  say(text);
  await finishOutput();
  const told = printed.lines.filter((line) => line.startsWith("mpubsub: Could not print"));
  assert(told.length > 1, `told ${told.length} times`);
});

Deno.test("a line of which only a part was written does not run into the next one", async () => {
  let room = 5;
  let printed = "";
  const write = (bytes: Uint8Array) => {
    const part = bytes.subarray(0, room);
    if (part.length === 0) return Promise.reject(new Error("full"));
    room -= part.length;
    printed += new TextDecoder().decode(part);
    return Promise.resolve(part.length);
  };
  const streams = [Deno.stdout, Deno.stderr];
  for (const stream of streams) Object.assign(stream, { write });
  try {
    say("the first");
    await finishOutput();
    room = Infinity;
    complain("second"); // Both streams may lead to the same file.
    say("third");
    say("fourth");
    await finishOutput();
  } finally {
    for (const stream of streams) delete (stream as { write?: unknown }).write;
  }
  const lines = printed.split("\n").filter((line) => line !== "");
  const told = "mpubsub: Could not print 1 line before this one";
  assertEquals(lines, ["the f", "mpubsub: second", told, "third", "fourth"]);
});

Deno.test("a broker that has no descriptors left says so once, and then sums it up", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/x.json`;
  await using program = await started({
    args: [path],
    under: ["bash", "-c", `ulimit -n ${DESCRIPTORS}; exec "$@"`, "bash"],
  });
  const { address } = await fileOf(path);
  const unix = { transport: "unix", path: address.slice("unix://".length) } as const;
  for (let round = 0; round < 5; round++) {
    const conns = await Promise.all(Array.from({ length: DESCRIPTORS }, () => Deno.connect(unix)));
    // When there are no more, it lets one go that is not authenticated.
    await Promise.race(conns.map((conn) => conn.read(new Uint8Array(1))));
    for (const conn of conns) conn.close();
    await beSeen(path);
  }
  program.kill("SIGTERM");
  const { err } = await program.end();
  const lines = err.split("\n").filter((line) => line.includes("Cannot accept a connection"));
  assertMatch(lines[0]!, /: Cannot accept a connection: Too many open files \(os error 24\)$/);
  assert(lines.length <= 2, err);
});

Deno.test("Warnings logs each text once, and how often it came again with the next summary", async () => {
  using printed = new Printed();
  const warnings = new Warnings(new Log(false, "info"));
  const told = async () => {
    await finishOutput();
    return printed.lines.splice(0).map((line) => line.replace("mpubsub: ", ""));
  };
  for (let time = 0; time < 3; time++) warnings.say("a");
  warnings.say("b");
  assertEquals(await told(), ["a", "b"]);
  warnings.tellRepeated();
  assertEquals(await told(), ["a (2 times more)"]);
  for (const text of ["a", "b"]) warnings.say(text);
  assertEquals(await told(), ["b"]);
  warnings.tellRepeated();
  assertEquals(await told(), ["a (1 times more)"]);
  for (let text = 0; text < 1000; text++) warnings.say(`${text}`);
  assertEquals((await told()).length, 99);
  warnings.tellRepeated();
  assertEquals(await told(), ["901 other warnings are not shown"]);
});
