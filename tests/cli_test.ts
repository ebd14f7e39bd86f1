import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { NetPubSub } from "../net.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, NAME, Program, started } from "./helpers/program.ts";
import { until } from "../tools/harness/until.ts";

for (const signals of [["SIGINT", "SIGINT"], ["SIGTERM"]] as const) {
  Deno.test(`cli ends with status 0, file and socket gone, after ${signals.join(" and ")}`, async () => {
    await using folder = await TempFolder.make();
    await using program = await started({ args: [`${folder.path}/x.json`] });
    assertEquals((await Deno.stat(`${folder.path}/x.json`)).mode! & 0o777, 0o600);
    const content = JSON.parse(await Deno.readTextFile(`${folder.path}/x.json`));
    assertEquals(Object.keys(content), ["version", "address", "authkey", "id", "pid"]);
    assert(content.address.startsWith(`unix://${folder.path}/x.json.`), content.address);
    await using bus = await NetPubSub.fromFile(`${folder.path}/x.json`);
    await bus.connect();
    for (const signal of signals) program.kill(signal);
    const { code, out, err } = await program.end();
    assertEquals([code, err], [0, ""]);
    assertStringIncludes(out, "Shutting down");
    await until(() => bus.state === "reconnecting");
    assertEquals(folder.names, []);
  });
}

Deno.test("cli under nohup outlives a SIGHUP", async () => {
  await using folder = await TempFolder.make();
  await using program = await started({ args: [`${folder.path}/x.json`], under: ["nohup"] });
  program.kill("SIGHUP");
  await using bus = await NetPubSub.fromFile(`${folder.path}/x.json`);
  await bus.connect();
  program.kill("SIGTERM");
  assertEquals((await program.end()).code, 0);
});

Deno.test("cli takes its file from MPUBSUB_FILE, else from HOME", async () => {
  await using folder = await TempFolder.make();
  for (
    const [env, file] of [
      [{ MPUBSUB_FILE: `${folder.path}/env.json`, HOME: folder.path }, `${folder.path}/env.json`],
      [{ MPUBSUB_FILE: "", HOME: folder.path }, `${folder.path}/.mpubsub.json`],
    ] as const
  ) {
    await using _program = await started({ args: [], env });
    assert((await Deno.stat(file)).isFile);
  }
});

Deno.test("cli prints its usage and its version", async () => {
  for (const [arg, text] of [["--help", "Usage: "], ["--version", `${NAME} 0.`]] as const) {
    await using program = new Program({ args: [arg], permissions: [] });
    const { code, out } = await program.end();
    assertEquals(code, 0);
    assertStringIncludes(out, text);
  }
});

Deno.test("cli refuses wrong arguments with one line and status 2", async () => {
  for (const args of [["--nonsense"], ["./a", "./b"], ["--address"], ["--address", "nonsense"]]) {
    const { code, err } = await fails({ args });
    assertEquals(code, 2, err);
    assertStringIncludes(err, "--help");
  }
});

Deno.test("cli names the addresses that can be written on a command line", async () => {
  const { err } = await fails({ args: ["--address", "[hello]:80"] });
  assertStringIncludes(err, "--address [hello]:80: write unix:///path/to.sock, tcp://127");
});

Deno.test("cli says in one line, with status 1, what is in its way", async () => {
  await using folder = await TempFolder.make();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await Deno.writeTextFile(`${folder.path}/notes.txt`, "not a connection file", { mode: 0o600 });
  await Deno.writeTextFile(`${folder.path}/key`, "secret\n", { mode: 0o644 });
  const tcp = ["--address", `tcp://127.0.0.1:${taken.addr.port}`];
  const cases: [string[], string][] = [
    [[`${folder.path}/none/x.json`], "none/x.json: there is no such folder"],
    [[...tcp, `${folder.path}/x.json`], "another program listens there"],
    [[`${folder.path}/notes.txt`], "--overwrite"],
    [["--authkey-file", `${folder.path}/key`, `${folder.path}/x.json`], "chmod 600"],
  ];
  for (const [args, text] of cases) {
    const { code, err } = await fails({ args });
    assertEquals(code, 1);
    assertStringIncludes(err, text);
  }
  assertEquals(await Deno.readTextFile(`${folder.path}/notes.txt`), "not a connection file");
});

Deno.test("cli leaves a directory, and offers no --overwrite, which would not help", async () => {
  await using folder = await TempFolder.make();
  for (const args of [[folder.path], ["--overwrite", folder.path]]) {
    const { code, err } = await fails({ args });
    assertEquals([code, err], [
      1,
      `${NAME}: Cannot use "${folder.path}": it is a directory\n`,
    ]);
  }
});

Deno.test("cli replaces a symbolic link itself, be its target gone or a dead broker's file", async () => {
  await using folder = await TempFolder.make();
  const [file, target] = [`${folder.path}/x.json`, `${folder.path}/target`];
  await Deno.symlink(target, file);
  const first = await started({ args: [file] });
  assert((await Deno.lstat(file)).isFile);
  await first[Symbol.asyncDispose](); // SIGKILL
  await Deno.rename(file, target);
  await Deno.symlink(target, file);
  const left = await Deno.readTextFile(target);
  await using _second = await started({ args: [file] });
  assert((await Deno.lstat(file)).isFile);
  assertEquals(await Deno.readTextFile(target), left);
});

/** Who may listen where a broker did, once it is dead. */
const STRANGERS: Record<string, (conn: Deno.Conn) => Promise<unknown>> = {
  "a program that speaks first": (conn) => conn.write(new TextEncoder().encode("220 hi\r\n")),
  "a program that refuses what it hears": async (conn) => {
    await conn.read(new Uint8Array(64));
    await conn.write(new TextEncoder().encode("-\n"));
    await conn.closeWrite();
  },
};

/** Starts a broker with these arguments that is killed; returns its port. */
async function leaveFile(args: string[], file: string): Promise<number> {
  await using program = await started({ args: [...args, "--address", "127.0.0.1:0", file] });
  program.kill("SIGKILL");
  await program.end();
  return Number(JSON.parse(await Deno.readTextFile(file)).address.split(":").at(-1));
}

for (const [who, behave] of Object.entries(STRANGERS)) {
  Deno.test(`cli replaces the file of a dead broker whose port ${who} has taken`, async () => {
    await using folder = await TempFolder.make();
    const file = `${folder.path}/x.json`;
    const port = await leaveFile([], file);
    using listener = Deno.listen({ hostname: "127.0.0.1", port });
    const accepted = listener.accept().then(async (conn) => {
      using taken = conn;
      await behave(taken);
      while (await taken.read(new Uint8Array(64)).catch(() => null) !== null);
    });
    await using _program = await started({ args: [file] });
    await accepted;
  });
}

for (const hasKeys of [false, true]) {
  const what = hasKeys ? ", with named keys" : "";
  Deno.test(`cli replaces the file of a dead broker whose port another broker has taken${what}`, async () => {
    await using folder = await TempFolder.make();
    const [file, keys] = [`${folder.path}/x.json`, `${folder.path}/keys`];
    await Deno.writeTextFile(keys, '{ "keys": [] }', { mode: 0o600 });
    const args = hasKeys ? ["--keys", keys] : [];
    const port = await leaveFile(args, file);
    const address = `127.0.0.1:${port}`;
    await using _other = await started({
      args: [...args, "--address", address, `${folder.path}/y.json`],
    });
    await using _program = await started({ args: [...args, file] });
    // And of the one that lives, it leaves the file.
    assertStringIncludes((await fails({ args: [file] })).err, "its broker is alive at");
  });
}

Deno.test("cli does not replace a file when whoever answers says nothing, or too little", async () => {
  await using folder = await TempFolder.make();
  const file = `${folder.path}/x.json`;
  const port = await leaveFile([], file);
  using listener = Deno.listen({ hostname: "127.0.0.1", port });
  const accepted = listener.accept().then((conn) => conn.close());
  const { code, err } = await fails({ args: [file] });
  assertEquals(code, 1);
  assertMatch(err, /Cannot tell whether the broker of \S+ is alive \(.*; --overwrite replaces it/);
  await accepted;
});

Deno.test("cli waits for no FIFO, be it its file or that of the key", async () => {
  await using folder = await TempFolder.make();
  const fifo = `${folder.path}/fifo`;
  assert((await new Deno.Command("mkfifo", { args: ["-m", "600", fifo] }).output()).success);
  for (const args of [[fifo], ["--authkey-file", fifo, `${folder.path}/x.json`]]) {
    const { code, err } = await fails({ args });
    assertEquals(code, 1);
    assertStringIncludes(err, `Cannot use "${fifo}": it is not a file`);
  }
});

Deno.test("cli takes a key of 64 KiB from a file, and refuses a longer one", async () => {
  await using folder = await TempFolder.make();
  const [key, file] = [`${folder.path}/key`, `${folder.path}/x.json`];
  const run = { args: ["--authkey-file", key, file] };
  await Deno.writeTextFile(key, "k".repeat(64 * 1024), { mode: 0o600 });
  await using program = await started(run);
  await using bus = await NetPubSub.fromFile(file);
  await bus.connect();
  program.kill("SIGTERM");
  await program.end();
  await until(() => bus.state === "reconnecting");
  for (const size of [64 * 1024 + 1, 3_000_000]) {
    await Deno.writeTextFile(key, "k".repeat(size));
    const { code, err } = await fails(run);
    assertEquals(code, 1);
    assertStringIncludes(err, "it has more than 65536 bytes");
  }
});

Deno.test("cli leaves the file of a broker that answers, and replaces that of a dead one", async () => {
  await using folder = await TempFolder.make();
  const file = `${folder.path}/x.json`;
  await using first = await started({ args: [file] });
  const { code, err } = await fails({ args: [file] });
  assertEquals(code, 1);
  assertStringIncludes(err, "its broker is alive at");
  first.kill("SIGKILL");
  await first.end();
  await using second = await started({ args: [file] });
  await using bus = await NetPubSub.fromFile(file);
  await bus.connect();
  await bus.disconnect();
  const { names } = folder;
  assertEquals(names.length, 2, `the dead broker's socket is gone: ${names}`);
  second.kill("SIGTERM");
  assertStringIncludes((await second.end()).out, "whose broker is gone");
});

for (const address of [undefined, "s.sock"]) {
  const where = address === undefined ? "new sockets" : "one socket";
  Deno.test(`cli replaces a dead broker once when several start at ${where}`, async () => {
    await using folder = await TempFolder.make();
    const file = `${folder.path}/x.json`;
    const args = address === undefined ? [] : ["--address", `unix://${folder.path}/${address}`];
    let winner = await started({ args: [...args, file] });
    for (let round = 0; round < 3; round++) {
      winner.kill("SIGKILL");
      await winner.end();
      const programs = Array.from({ length: 4 }, () => new Program({ args: [...args, file] }));
      const starts = programs.map((program) => program.until("Listening at"));
      winner = await Promise.any(starts.map((start, i) => start.then(() => programs[i]!)));
      for (const loser of programs.filter((program) => program !== winner)) {
        const { code, out, err } = await loser.end();
        assertEquals([code, out], [1, ""]);
        const last = /^\S+: Cannot use \S+: its broker is alive at [^\n]+\n$/;
        assertMatch(err.replace(/^\S+: Waiting for [^\n]+\n/, ""), last);
      }
      await Promise.allSettled(starts);
      await using bus = await NetPubSub.fromFile(file);
      await bus.connect();
      assertEquals(folder.names.length, 2, "the file and the socket");
    }
    winner.kill("SIGTERM");
    assertEquals((await winner.end()).code, 0);
    assertEquals(folder.names, []);
  });
}

Deno.test("cli removes a dead broker's socket in the temporary folder, with the folder made for it", async () => {
  await using folder = await TempFolder.make();
  // Beside this file the path of a socket would be too long.
  const file = `${folder.path}/${"x".repeat(107)}.json`;
  const run = { args: [file], env: { TMPDIR: `${folder.path}/tmp` } };
  await Deno.mkdir(`${folder.path}/tmp`);
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    await using program = await started(run);
    const { address } = JSON.parse(await Deno.readTextFile(file));
    assert(address.startsWith(`unix://${folder.path}/tmp/mpubsub-`), address);
    assertEquals([...Deno.readDirSync(`${folder.path}/tmp`)].length, 1);
    program.kill(signal);
    await program.end();
  }
  assertEquals([...Deno.readDirSync(`${folder.path}/tmp`)], []);
});

Deno.test("cli leaves no folder when it cannot listen in the temporary one", async () => {
  await using folder = await TempFolder.make();
  const tmp = `${folder.path}/${"t".repeat(107)}`;
  await Deno.mkdir(tmp);
  const { code, err } = await fails({ args: [`${tmp}/x.json`], env: { TMPDIR: tmp } });
  assertEquals(code, 1);
  assertStringIncludes(err, "Cannot listen");
  assertEquals([...Deno.readDirSync(tmp)], []);
});

Deno.test("cli --overwrite replaces any file, and the first broker leaves the new one", async () => {
  await using folder = await TempFolder.make();
  const file = `${folder.path}/x.json`;
  await using first = await started({ args: [file] });
  await using _second = await started({ args: ["--overwrite", file] });
  first.kill("SIGTERM");
  assertEquals((await first.end()).code, 0);
  await using bus = await NetPubSub.fromFile(file);
  await bus.connect();
});

Deno.test("cli takes its key from --authkey-file", async () => {
  await using folder = await TempFolder.make();
  await Deno.writeTextFile(`${folder.path}/key`, "secret\n", { mode: 0o600 });
  const args = ["--authkey-file", `${folder.path}/key`, "--address", `unix://${folder.path}/s`];
  await using _program = await started({ args: [...args, `${folder.path}/x.json`] });
  await using bus = new NetPubSub(`unix://${folder.path}/s`, "secret");
  await bus.connect();
});

Deno.test("NetPubSub.fromFile finds a broker that was killed and started again, with its new key", async () => {
  await using folder = await TempFolder.make();
  const file = `${folder.path}/x.json`;
  const first = await started({ args: [file] });
  const bus = await NetPubSub.fromFile(file);
  await bus.connect();
  const key = JSON.parse(await Deno.readTextFile(file)).authkey;
  await first[Symbol.asyncDispose](); // SIGKILL
  await until(() => bus.state === "reconnecting");
  await using _second = await started({ args: [file] });
  assert(key !== JSON.parse(await Deno.readTextFile(file)).authkey);
  await bus.connect();
  await bus.flush();
  await bus.disconnect();
});

Deno.test("NetPubSub.fromFile refuses a file that others can read, or that is not one", async () => {
  await using folder = await TempFolder.make();
  const content = { version: 1, address: "127.0.0.1:1", authkey: "AAAA" };
  await Deno.writeTextFile(`${folder.path}/x.json`, JSON.stringify(content), { mode: 0o644 });
  await assertRejects(
    () => NetPubSub.fromFile(`${folder.path}/x.json`),
    Deno.errors.PermissionDenied,
    "chmod 600",
  );
  await Deno.writeTextFile(`${folder.path}/x.json`, "{}");
  await assertRejects(() => NetPubSub.fromFile(`${folder.path}/x.json`), TypeError, "version");
});
