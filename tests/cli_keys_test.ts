/** The program with named keys, and with TLS. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { AuthError, ForbiddenError, NetPubSub } from "../mod.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, Program, started } from "./helpers/program.ts";
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
  await using program = new Program({
    args: ["key", name, "--keys", `${folder}/keys`, ...args],
    permissions: ["--allow-read"],
  });
  const { code, out, err } = await program.end();
  assertEquals([code, err], [0, ""]);
  const path = `${folder}/${name}.json`;
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
  assertEquals(Object.keys(content), ["version", "address", "pid"], "there is no key in it");
  await assertRejects(() => NetPubSub.fromFile(`${folder.path}/x.json`), TypeError, "holds no key");
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
  assertStringIncludes((await fails({ args })).err, "keys: No such file");
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
  await Deno.chmod(`${folder.path}/keys`, 0o640);
  assertStringIncludes((await fails({ args })).err, "chmod 600");
  assertEquals(folder.names, ["keys"]);
});

Deno.test("cli key says what is missing", async () => {
  await using folder = await TempFolder.make();
  await writeKeys(`${folder.path}/keys`, [ANN, BOB]);
  const keys = ["--keys", `${folder.path}/keys`];
  for (
    const [args, status, problem] of [
      [["key"], 2, "give its NAME"],
      [["key", "ann"], 2, "give --keys PATH"],
      [["key", "eve", ...keys], 1, "it has ann, bob"],
      [["key", "ann", ...keys, `${folder.path}/x.json`], 1, "Cannot read"],
      [["key", "ann", ...keys, "one", "two"], 2, "give one FILE"],
    ] as const
  ) {
    const { code, err } = await fails({ args: [...args] });
    assertEquals(code, status);
    assertStringIncludes(err, problem);
  }
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
