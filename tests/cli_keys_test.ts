/** The program with named keys, and with TLS. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AuthError, ForbiddenError, NetPubSub } from "../mod.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, NAME, output, Program, started } from "./helpers/program.ts";
import { terminalTest } from "./helpers/terminal.ts";
import { pathOf, SIGNED } from "./helpers/tls.ts";
import { until } from "../tools/harness/until.ts";

const ANN = { name: "ann", key: btoa("secret of ann"), publish: ["a"], subscribe: ["a"] };
const BOB = { name: "bob", key: btoa("secret of bob"), publish: [null] };

async function writeKeys(path: string, keys: readonly object[]): Promise<void> {
  await Deno.writeTextFile(path, JSON.stringify({ keys }), { mode: 0o600 });
}

/** A client for the key of that name, from the file that the program prints for it. */
async function clientFor(folder: string, name: string, ...args: string[]): Promise<NetPubSub> {
  return await clientOf(folder, "file", name, "--keys", `${folder}/keys`, ...args);
}

/** A client that has what the program prints for it. */
async function clientOf(folder: string, ...args: string[]): Promise<NetPubSub> {
  await using program = new Program({ args: ["key", ...args], permissions: ["--allow-read"] });
  const { code, out, err } = await program.end();
  assertEquals([code, err], [0, ""]);
  const path = `${folder}/${args[1]}.json`;
  await Deno.writeTextFile(path, out, { mode: 0o600 });
  return await NetPubSub.fromFile(path, { onError() {} });
}

Deno.test("cli --keys lets in whoever holds a key, by its name and with its rights", async () => {
  await using folder = await TempFolder.make();
  await writeKeys(`${folder.path}/keys`, [ANN, BOB]);
  await using _program = await started({
    args: ["--keys", `${folder.path}/keys`, `${folder.path}/x.json`],
  });
  const content = JSON.parse(await Deno.readTextFile(`${folder.path}/x.json`));
  assertEquals(Object.keys(content), ["version", "address", "id", "pid"], "there is no key in it");
  await assertRejects(() => NetPubSub.fromFile(`${folder.path}/x.json`), TypeError, "holds no key");
  const { err } = await fails({ args: ["pub", "-c", `${folder.path}/x.json`, "a"] });
  assertStringIncludes(err, `; ${NAME} key file NAME prints a file that holds one`);
  await using ann = await clientFor(folder.path, "ann", `${folder.path}/x.json`);
  await using bob = await clientFor(folder.path, "bob", `${folder.path}/x.json`);
  using messages = ann.subscribe(null);
  await Promise.all([ann.connect(), bob.connect()]);
  bob.publish("b", {});
  bob.publish("a", { n: 1 });
  assertEquals((await messages[Symbol.asyncIterator]().next()).value!.message, { n: 1 });
  bob.addSubscriber("a", () => {});
  await assertRejects(() => bob.flush(), ForbiddenError);
});

Deno.test("cli key ticket prints the file of a ticket, of a key in --keys or in FILE", async () => {
  await using folder = await TempFolder.make();
  const long = { ...ANN, key: btoa("a long secret of ann"), publish: ["a", "b"] };
  await writeKeys(`${folder.path}/keys`, [long]);
  const files = ["x.json", "y.json"].map((name) => `${folder.path}/${name}`) as [string, string];
  const verbose = ["--verbose", "--keys", `${folder.path}/keys`];
  await using program = await started({ args: [...verbose, files[0]] });
  await using _plain = await started({ args: [files[1]] });
  const narrow = ["--publish", "a/7", "--publish", "c", "--for", "ann \x1b[2J"];
  const keys = ["--keys", `${folder.path}/keys`];
  const began = Date.now();
  await using page = await clientOf(
    folder.path,
    ...["ticket", "ann", ...keys, "--expire-in", "1h", ...narrow, files[0]],
  );
  const printed = JSON.parse(await Deno.readTextFile(`${folder.path}/ann.json`));
  const { address, id, pid } = JSON.parse(await Deno.readTextFile(files[0]));
  assertEquals([printed.address, printed.id, printed.pid], [address, id, pid]);
  const hour = printed.expires - began;
  assert(hour >= 3_600_000 && hour < 3_660_000, `${hour} ms`);
  assertEquals(JSON.parse(printed.keyName.slice(1)), {
    name: "ann",
    expires: printed.expires,
    for: "ann \x1b[2J",
    publish: [["a", "7"], "c"],
  });
  await page.connect();
  for (const topic of [["a", "7"], ["a", "8"], ["c"]]) page.publish(topic, {});
  await page.flush();
  await program.until('with the key "ann" for "ann \\u001b[2J" joined');
  await using root = await clientOf(folder.path, "ticket", "", "--expire-in", "15m", files[1]);
  await root.connect();
  // A ticket is not the key of which it is made: nobody makes another of it.
  const args = ["key", "ticket", "ann", "--expire-in", "1h", `${folder.path}/ann.json`];
  assertStringIncludes((await fails({ args })).err, "or a FILE that holds that key");
  // A key does not end, whatever file says where the broker is.
  const file = await output({ args: ["key", "file", "ann", ...keys, `${folder.path}/ann.json`] });
  assertEquals(Object.keys(JSON.parse(file)), [
    "version",
    "address",
    "authkey",
    "keyName",
    "id",
    "pid",
  ]);
  program.kill("SIGTERM");
  assertStringIncludes((await program.end()).err, "Refused 2 messages");
});

Deno.test("cli reads its keys again at SIGHUP, and keeps them when they cannot be used", async () => {
  await using folder = await TempFolder.make();
  await writeKeys(`${folder.path}/keys`, [ANN, BOB]);
  await using program = await started({
    args: ["--keys", `${folder.path}/keys`, `${folder.path}/x.json`],
  });
  await using ann = await clientFor(folder.path, "ann", `${folder.path}/x.json`);
  await using bob = await clientFor(folder.path, "bob", `${folder.path}/x.json`);
  await Promise.all([ann.connect(), bob.connect()]);
  await writeKeys(`${folder.path}/keys`, [ANN, { ...BOB, key: "*" }]);
  program.kill("SIGHUP");
  await program.untilError("the keys stay as they were");
  await bob.flush();
  await writeKeys(`${folder.path}/keys`, [ANN]);
  program.kill("SIGHUP");
  await program.until("again: 1 keys");
  await until(() => bob.state === "reconnecting");
  await ann.flush();
  assertEquals(ann.state, "connected");
});

Deno.test("cli does not replace the file of a live broker that holds no key", async () => {
  await using folder = await TempFolder.make();
  await writeKeys(`${folder.path}/keys`, [ANN]);
  const args = ["--keys", `${folder.path}/keys`, `${folder.path}/x.json`];
  const first = await started({ args });
  const { code, err } = await fails({ args });
  assertEquals(code, 1);
  assertStringIncludes(err, "its broker is alive");
  first.kill("SIGKILL");
  await first.end();
  await using _second = await started({ args });
});

Deno.test("cli says what is wrong with a keys file, in one line with status 1", async () => {
  await using folder = await TempFolder.make();
  const args = ["--keys", `${folder.path}/keys`, `${folder.path}/x.json`];
  assertStringIncludes((await fails({ args })).err, "keys: there is no such file");
  for (
    const [text, problem] of [
      ["{", "Cannot use"],
      ['{ "keys": [{ "name": "a" }] }', 'has no "key"'],
      ['{ "keys": [{ "name": "a", "key": "" }] }', "is empty"],
      ['{ "keys": [{ "name": "a", "key": "AA==", "publish": "a" }] }', "an array of topics"],
    ] as const
  ) {
    await Deno.writeTextFile(`${folder.path}/keys`, text, { mode: 0o600 });
    const { code, err } = await fails({ args });
    assertEquals(code, 1);
    assertStringIncludes(err, problem);
  }
  await writeKeys(`${folder.path}/keys`, [ANN]);
  await Deno.chmod(`${folder.path}/keys`, 0o640);
  assertStringIncludes((await fails({ args })).err, "chmod 600");
  assertEquals(folder.names, ["keys"]);
});

Deno.test("cli key says what is missing", async () => {
  await using folder = await TempFolder.make();
  await writeKeys(`${folder.path}/keys`, [ANN, BOB]);
  const keys = ["--keys", `${folder.path}/keys`];
  const at = ["--address", "tcp://127.0.0.1:1"];
  for (
    const [args, status, problem] of [
      [["key"], 2, "write key new, list, file or ticket"],
      [["key", "ann", ...keys], 2, "for the connection file of one, key file ann"],
      [["key", "file"], 2, "give its NAME"],
      [["key", "file", "ann"], 2, "give --keys PATH"],
      [["key", "file", "eve", ...keys], 1, "it has ann, bob"],
      [["key", "file", "ann", ...keys, `${folder.path}/x.json`], 1, "Cannot read"],
      [["key", "file", "ann", ...keys, "one", "two"], 2, "give one FILE"],
      [["key", "file", "ann", ...keys, "--publish", "a"], 2, "Cannot use --publish with key file"],
      [["key", "file", "ann", ...keys, "--for", "x"], 2, "Cannot use --for with key file"],
      [["key", "file", "ann", ...keys, "--serve", "a"], 2, "Cannot use --serve with key file"],
      [["key", "ticket"], 2, "give the NAME of its key"],
      [["key", "ticket", "ann", ...keys], 2, "give --expire-in TIME"],
      [["key", "ticket", "ann", ...keys, "--expire-in", "soon"], 2, "needs a time"],
      [["key", "ticket", "eve", ...keys, "--expire-in", "1h"], 1, "it has ann, bob"],
      [["key", "ticket", "ann", ...keys, "--expire-in", "1h", "--connections", "1"], 2, "--conn"],
      [["key", "ticket", "ann", ...keys, "--expire-in", "1h", "--publish", "a/*"], 2, "wildcards"],
      [["key", "ticket", "ann", ...at, "--expire-in", "1h"], 2, "or a FILE that holds that key"],
      [["key", "ticket", "ann", ...keys, ...at, "--expire-in", "1h"], 1, "a key of 13 bytes"],
      [["key", "list"], 2, "give --keys PATH"],
      [["key", "list", ...keys, "--serve", "a"], 2, "Cannot use --serve with key list"],
      [["key", "list", "ann", ...keys], 2, "one argument too many"],
      [["key", "list", ...keys, "--address", "tcp://a:1"], 2, "--address with key list"],
      [["key", "list", ...keys, "--connections", "1"], 2, "--connections with key list"],
      [["key", "new", "cy", "--connections", "0"], 2, "--connections"],
      [["key", "new"], 2, "give its NAME"],
      [["key", "new", "cy", "dan"], 2, "one argument too many"],
      [["key", "new", "cy", "--publish", "a/*"], 2, "there are no other wildcards"],
      [["key", "new", "cy", "--publish="], 2, "--publish needs a value"],
      [["key", "new", "ann", ...keys], 1, "there is one of that name"],
      [["key", "new", "n".repeat(65), ...keys], 1, "limit is 64"],
      [
        ["key", "new", "cy", "--keys", `${folder.path}/none/keys`],
        1,
        "none/keys: there is no such folder",
      ],
    ] as const
  ) {
    const { code, err } = await fails({ args: [...args] });
    assertEquals(code, status, err);
    assertStringIncludes(err, problem);
  }
  assertEquals(JSON.parse(await Deno.readTextFile(`${folder.path}/keys`)).keys, [ANN, BOB]);
  assertEquals(folder.names, ["keys"]);
});

Deno.test("cli key new adds keys to a file that only this user can read, and a broker takes them", async () => {
  await using folder = await TempFolder.make();
  const keys = `${folder.path}/keys`;
  const made = (name: string, ...grants: string[]) =>
    output({ args: ["key", "new", name, "--keys", keys, ...grants] });
  const added = [
    await made("kitchen", "--publish", "sensors/kitchen", "--connections", "3"),
    await made("screen", "--subscribe", "sensors", "--subscribe", '["a/b"]', "--publish", "/"),
    await made("worker", "--subscribe", "jobs", "--serve", "jobs", "--serve", "a/+"),
    await made("wall", "--subscribe", "sensors/+/celsius", "--publish", "+", "--publish", '["+"]'),
  ];
  assertStringIncludes(added[0]!, "kitchen may publish to sensors/kitchen; at most 3 clients.");
  assertStringIncludes(
    added[1]!,
    'screen may publish to / (everything); subscribe to sensors, ["a/b"].',
  );
  assertStringIncludes(added[2]!, "worker may subscribe to jobs; serve jobs, a/+.");
  assertStringIncludes(
    added[3]!,
    'wall may publish to +, ["+"]; subscribe to sensors/+/celsius.',
  );
  assertEquals((await Deno.stat(keys)).mode! & 0o777, 0o600);
  assertEquals(folder.names, ["keys"]);
  const content = JSON.parse(await Deno.readTextFile(keys)).keys;
  const secrets = content.map(({ key }: { key: string }) => key);
  assertEquals(content, [
    { name: "kitchen", key: secrets[0], publish: [["sensors", "kitchen"]], connections: 3 },
    { name: "screen", key: secrets[1], publish: [null], subscribe: ["sensors", ["a/b"]] },
    { name: "worker", key: secrets[2], subscribe: ["jobs"], serve: ["jobs", ["a", null]] },
    {
      name: "wall",
      key: secrets[3],
      publish: [[null], ["+"]],
      subscribe: [["sensors", null, "celsius"]],
    },
  ]);
  for (const secret of secrets) {
    assertEquals(Uint8Array.fromBase64(secret).length, 32);
    assert(!added.join("").includes(secret), "no secret is printed");
  }
  assert(secrets[0] !== secrets[1]);
  await using _program = await started({ args: ["--keys", keys, `${folder.path}/x.json`] });
  const clientOf = (name: string) => clientFor(folder.path, name, `${folder.path}/x.json`);
  await using kitchen = await clientOf("kitchen");
  await using screen = await clientOf("screen");
  using messages = screen.subscribe(null);
  await Promise.all([kitchen.connect(), screen.connect()]);
  kitchen.publish(["sensors", "kitchen"], { celsius: 21.5 });
  const { value } = await messages[Symbol.asyncIterator]().next();
  assertEquals(value, { topic: ["sensors", "kitchen"], message: { celsius: 21.5 }, info: {} });
});

Deno.test("cli key new keeps what stands in the file, follows a link to it, and loses nothing", async () => {
  await using folder = await TempFolder.make();
  const before = { ...ANN, wait: true, messagesPerSecond: 5 };
  await writeKeys(`${folder.path}/keys`, [before]);
  await Deno.symlink("keys", `${folder.path}/link`);
  const names = Array.from({ length: 4 }, (_, n) => `new ${n}`);
  await Promise.all(names.map((name) =>
    output({
      args: ["key", "new", name, "--keys", `${folder.path}/link`, "--publish", "a"],
    })
  ));
  const { keys } = JSON.parse(await Deno.readTextFile(`${folder.path}/keys`));
  assertEquals(keys[0], before);
  const added: string[] = keys.slice(1).map(({ name }: { name: string }) => name);
  assertEquals(added.toSorted(), names);
  assertEquals(folder.names, ["keys", "link"]);
});

Deno.test("cli key new without a file prints the key, and says when it grants nothing", async () => {
  await using program = new Program({ args: ["key", "new", "eve"], permissions: [] });
  const { code, out, err } = await program.end();
  assertEquals(code, 0);
  assertEquals(Object.keys(JSON.parse(out)), ["name", "key"]);
  assertStringIncludes(err, "The key eve grants nothing; --publish TOPIC and --subscribe TOPIC");
});

Deno.test("cli key list and --verbose tell what each key may do, in slash notation", async () => {
  await using folder = await TempFolder.make();
  const keys = `${folder.path}/keys`;
  await writeKeys(keys, [
    {
      ...ANN,
      publish: [["sensors", "kitchen"], ["a/b"]],
      subscribe: [["sensors", null], "kitchen"],
    },
    { ...BOB, serve: ["jobs", ["a", null]], wait: true, messagesPerSecond: 5, connections: 2 },
    { name: "eve", key: "AA==" },
  ]);
  assertEquals(
    await output({ args: ["key", "list", "--keys", keys] }),
    "KEY  PUBLISH                   SUBSCRIBE           OTHER\n" +
      'ann  sensors/kitchen, ["a/b"]  sensors/+, kitchen\n' +
      "bob  / (everything)            –                   serve jobs, a/+, hold others back, at most 5 messages/s, at most 2 clients\n" +
      "eve  –                         –\n",
  );
  const args = ["--verbose", "--keys", keys, `${folder.path}/x.json`];
  await using program = await started({ args });
  program.kill("SIGTERM");
  const { out } = await program.end();
  const lines = [
    'Key "ann" may publish to sensors/kitchen, ["a/b"]; subscribe to sensors/+, kitchen\n',
    'Key "bob" may publish to / (everything); serve jobs, a/+; hold others back; at most 5 messages/s; at most 2 clients\n',
    'Key "eve" grants nothing\n',
  ];
  assertStringIncludes(out, lines.join(""));
});

Deno.test("cli key file says when others can read what it was printed to", async () => {
  await using folder = await TempFolder.make();
  await writeKeys(`${folder.path}/keys`, [ANN]);
  const told: string[] = [];
  for (const mask of ["022", "077"]) {
    const key = `mpubsub key file ann --keys keys --address tcp://127.0.0.1:1`;
    await using program = new Program({
      shell: `umask ${mask}; ${key} > ${mask}`,
      cwd: folder.path,
    });
    const { code, err } = await program.end();
    assertEquals(code, 0, err);
    told.push(err);
  }
  assertStringIncludes(told[0]!, "Others can read what was written (mode 644)");
  assertEquals(told[1], "");
});

Deno.test("cli refuses options that do not go together", async () => {
  for (
    const args of [
      ["--keys", "k", "--authkey-file", "f", "x.json"],
      ["--tls-cert", "c", "--tls-key", "k", "x.json"],
      ["--address", "tls://127.0.0.1:0", "x.json"],
      ["--address", "tls://127.0.0.1:0", "--tls-cert", "c", "x.json"],
      ["--max-patience", "soon", "x.json"],
    ]
  ) {
    const { code, err } = await fails({ args });
    assertEquals(code, 2, args.join(" "));
    assertStringIncludes(err, "--");
    assert(!err.includes("No command"), err);
  }
});

Deno.test("cli speaks TLS, and its connection file vouches for it", async () => {
  await using folder = await TempFolder.make();
  await writeKeys(`${folder.path}/keys`, [ANN]);
  const tls = ["--tls-cert", pathOf("self.pem"), "--tls-key", `${folder.path}/key.pem`];
  await Deno.copyFile(pathOf("self-key.pem"), `${folder.path}/key.pem`);
  await Deno.chmod(`${folder.path}/key.pem`, 0o600);
  const address = ["--address", "tls://127.0.0.1:0"];
  await using _one = await started({ args: [...tls, ...address, `${folder.path}/x.json`] });
  await using bus = await NetPubSub.fromFile(`${folder.path}/x.json`);
  await bus.connect();
  const keys = ["--keys", `${folder.path}/keys`];
  await using _two = await started({
    args: [...tls, ...address, ...keys, `${folder.path}/y.json`],
  });
  const there = JSON.parse(await Deno.readTextFile(`${folder.path}/y.json`)).address;
  const named = there.replace("127.0.0.1", "localhost");
  await using ann = await clientFor(
    folder.path,
    "ann",
    "--address",
    named,
    `${folder.path}/y.json`,
  );
  await ann.connect();
  await using stranger = new NetPubSub(there, "secret of ann", { keyName: "ann" });
  await assertRejects(() => stranger.connect(), AuthError, "not trusted");
});

Deno.test("cli puts certificates into its connection file, and no private key beside them", async () => {
  await using folder = await TempFolder.make();
  const both = `${folder.path}/both.pem`;
  await Deno.writeTextFile(both, SIGNED.key + SIGNED.cert, { mode: 0o600 });
  const tls = ["--tls-cert", both, "--tls-key", both, "--address", "tls://127.0.0.1:0"];
  await using _program = await started({ args: [...tls, `${folder.path}/x.json`] });
  const { ca } = JSON.parse(await Deno.readTextFile(`${folder.path}/x.json`));
  assertStringIncludes(ca, "BEGIN CERTIFICATE");
  assert(!ca.includes("PRIVATE"));
});

Deno.test("cli warns in one line when it listens beyond this machine without TLS", async () => {
  await using folder = await TempFolder.make();
  await using program = await started({
    args: ["--address", "tcp://0.0.0.0:0", `${folder.path}/x.json`],
  });
  program.kill("SIGTERM");
  const { err } = await program.end();
  assertEquals(err.trim().split("\n").length, 1);
  assertStringIncludes(err, "without TLS");
});

for (const keys of [[], ["--keys"]]) {
  terminalTest(
    `cli ends when its terminal is closed${keys.length > 0 ? ", with keys, too" : ""}`,
    async () => {
      await using folder = await TempFolder.make();
      await writeKeys(`${folder.path}/keys`, [ANN]);
      await using terminal = await started({
        args: [...keys, ...keys.map(() => `${folder.path}/keys`), `${folder.path}/x.json`],
        onTerminal: true,
      });
      terminal.kill("SIGKILL");
      await until(() => folder.names.every((name) => name === "keys"));
    },
  );
}

terminalTest("cli ends when the shell of its terminal ends before the terminal does", async () => {
  await using folder = await TempFolder.make();
  await writeKeys(`${folder.path}/keys`, [ANN]);
  await using terminal = await started({
    args: ["--keys", `${folder.path}/keys`, `${folder.path}/x.json`],
    onTerminal: true,
    // This one waits for its command, as the shell that a person types into does.
    env: { SHELL: "/bin/sh" },
  });
  terminal.kill("SIGTERM");
  await until(() => folder.names.every((name) => name === "keys"));
});
