/**
 * The library where there is no Deno: all of it can be loaded, a bus within the process works, a client
 * connects where there are sockets, and what needs Deno says so.
 */
import { assert, assertEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { writeConnectionFile } from "../io/connection_file.ts";
import { TempFolder } from "./helpers/folder.ts";
import { type Runtime, RUNTIMES } from "./helpers/runtimes.ts";
import { Scene } from "./helpers/scene.ts";

const ROOT = new URL("../", import.meta.url).pathname;
/** The modules of the entry points, without that of the program. */
const ENTRIES = Object.values(manifest.exports).filter((path) => path !== "./cli.ts");
/** Needs packages that not every runtime finds by itself. */
const WITH_PACKAGES = "./nats.ts";
const NO_SOCKETS =
  "this needs Deno, Node or Bun; in a page, use the NetPubSub of @mpubsub/mpubsub/web, and " +
  "addresses that begin with ws:// or wss://";
const NEEDS_DENO =
  "Broker and Proxy need Deno; without it, run the program mpubsub-broker, and connect to that";

/**
 * What is run: it has `entries`, all entry points by their modules, the `address` and `key` of a broker,
 * and its connection file, `file`, if the runtime may have files.
 */
const SCRIPT = `
const { PubSub, NetPubSub, Broker } = entries["./mod.ts"];
const { NatsUplink } = entries["./nats.ts"] ?? {};
const { Proxy } = entries["./testing.ts"];
for (const [path, names] of Object.entries(entries)) console.log(path, Object.keys(names).length > 0);

const bus = new PubSub();
const messages = bus.subscribe(["foo"], { accepts: ["n"] });
bus.addSubscriber(null, (topic, { n }) => console.log("called", topic.join(), n));
bus.publish(["foo", "bar"], { n: 1 });
bus.publish("other", { n: 2 });
bus.publish("foo", { n: 3 });
for await (const { topic, message: { n } } of messages) {
  console.log("took", topic.join(), n);
  if (n === 3) break;
}

const ask = async (client, options) => {
  client.addSubscriber("foo", (topic, { n }) => console.log("heard", topic.join(), n));
  try {
    await client.connect(options);
    const answers = client.subscribe("answer");
    client.publish("ask", { bytes: Uint8Array.of(1, 2), big: 3n });
    for await (const { message: { bytes, big } } of answers) {
      console.log("answered", bytes.join(), typeof big, String(big));
      break;
    }
    await client.disconnect();
  } finally {
    client.publish("foo", { n: 4 });
  }
};
const tls = { cert: "-----BEGIN CERTIFICATE-----", key: "-----BEGIN PRIVATE KEY-----" };
const servers = "nats://127.0.0.1:4222";
const target = "tcp://127.0.0.1:7411";
const calls = {
  ...address && {
    connect: () => ask(new NetPubSub(address, key)),
    "connect and wait": () => ask(new NetPubSub(address, key), { wait: true }),
  },
  ...file && { fromFile: async () => ask(await NetPubSub.fromFile(file)) },
  start: () => new Broker().start(),
  "start at": () => new Broker({ address: "unix:///run/bus.sock" }).start(),
  "start with TLS": () => new Broker({ address: "tls://127.0.0.1:7411", tls }).start(),
  "start a proxy": () => new Proxy({ target }).start(),
  ...NatsUplink && {
    "start with an uplink": () => new Broker({ uplink: new NatsUplink({ servers }) }).start(),
  },
};
for (const [what, call] of Object.entries(calls)) {
  await call().then(
    () => console.log(what, "went well"),
    ({ name, message }) => console.log(what, "->", name, message),
  );
}
`;

/** What that logs. */
function expected(
  entries: readonly string[],
  { hasSockets, hasFiles }: Runtime,
  { address, file }: Given,
): string {
  const refusals = {
    ...hasSockets === false && {
      connect: `Cannot connect to ${address}`,
      "connect and wait": `Cannot connect to ${address}`,
    },
    ...hasFiles === false && { fromFile: `Cannot read "${file}"` },
    start: "Cannot listen",
    "start at": "Cannot listen at unix:///run/bus.sock",
    "start with TLS": "Cannot listen at tls://127.0.0.1:7411",
    "start a proxy": "Cannot listen",
    ...entries.includes(WITH_PACKAGES) && { "start with an uplink": "Cannot listen" },
  };
  const answered = "answered 1,2 bigint 3";
  return [
    ...entries.map((path) => `${path} true`),
    "called foo,bar 1",
    "called other 2",
    "called foo 3",
    "took foo,bar 1",
    "took foo 3",
    ...[...hasSockets ? ["connect", "connect and wait"] : [], ...hasFiles ? ["fromFile"] : []]
      .flatMap((what) => [answered, "heard foo 4", `${what} went well`]),
    ...Object.entries(refusals).flatMap(([what, why]) => [
      ...what.startsWith("connect") ? ["heard foo 4"] : [],
      `${what} -> NotSupportedError ${why}: ${
        why.startsWith("Cannot listen") ? NEEDS_DENO : NO_SOCKETS
      }`,
    ]),
    "",
  ].join("\n");
}

/** What the script is given. */
interface Given {
  readonly address: string | undefined;
  readonly file: string | undefined;
}

/** Runs the script in a folder where there is a broker that answers it. */
async function check(
  folder: TempFolder,
  entries: readonly string[],
  runtime: Runtime,
  run: (script: string) => Promise<string>,
  hrefOf: (path: string) => string,
): Promise<void> {
  await using scene = await Scene.start({ address: "tcp://127.0.0.1:0" });
  const { broker: { address, authkey } } = scene;
  const path = `${folder.path}/x.json`;
  await writeConnectionFile(path, { address, authkey }, { replace: false });
  const { hasSockets } = runtime;
  const given = {
    address: hasSockets === undefined ? undefined : address,
    file: runtime.hasFiles === undefined ? undefined : path,
  };
  const here = await scene.connected();
  here.addSubscriber("ask", (_, message) => here.publish("answer", message));
  await here.flush();
  const imports = entries.map((path) => `"${path}": await import("${hrefOf(path)}"),\n`);
  const output = await run(`
    const entries = {\n${imports.join("")}};
    const { address, file } = ${JSON.stringify(given)};
    const key = Uint8Array.of(${authkey});
    ${SCRIPT}`);
  assertEquals(output, expected(entries, runtime, given));
}

/** Makes JavaScript of the entry points and of all that they need. */
async function bundle(folder: string, platform: "browser" | "deno"): Promise<void> {
  const flags = ["--quiet", "--no-lock", "--platform", platform];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", ...flags, "--code-splitting", "--outdir", folder, ...ENTRIES],
    cwd: ROOT,
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  await Deno.writeTextFile(`${folder}/package.json`, '{ "type": "module" }');
}

for (const runtime of RUNTIMES) {
  const { name, note, platform, run } = runtime;
  const options = { ignore: note !== "" };
  Deno.test(`the library, bundled, is loaded and works in ${name}${note}`, options, async () => {
    await using folder = await TempFolder.make();
    await bundle(folder.path, platform);
    const runScript = async (script: string) => {
      await Deno.writeTextFile(`${folder.path}/main.js`, script);
      return await run(folder.path, "main.js");
    };
    await check(folder, ENTRIES, runtime, runScript, (path) => path.replace(/ts$/, "js"));
  });
}

for (const runtime of RUNTIMES.filter(({ readsTypeScript }) => readsTypeScript)) {
  const { name, note, run } = runtime;
  const options = { ignore: note !== "" };
  Deno.test(`the library is loaded as it is and works in ${name}${note}`, options, async () => {
    await using folder = await TempFolder.make();
    const entries = ENTRIES.filter((path) => path !== WITH_PACKAGES);
    const runScript = async (script: string) => {
      await Deno.writeTextFile(`${folder.path}/main.mjs`, script);
      return await run(folder.path, "main.mjs");
    };
    await check(folder, entries, runtime, runScript, (path) => `file://${ROOT}${path.slice(2)}`);
  });
}
