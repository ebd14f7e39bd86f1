/**
 * The library where there is no Deno: all of it can be loaded, a bus within the process works, and what
 * needs Deno says so.
 */
import { assert, assertEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };
import { TempFolder } from "./helpers/folder.ts";
import { RUNTIMES } from "./helpers/runtimes.ts";

const ROOT = new URL("../", import.meta.url).pathname;
/** The modules of the entry points, without that of the program. */
const ENTRIES = Object.values(manifest.exports).filter((path) => path !== "./cli.ts");
/** Needs packages that not every runtime finds by itself. */
const WITH_PACKAGES = "./nats.ts";
const ELSEWHERE = "this needs Deno; elsewhere only PubSub works, within one process";

/** What is run: it has `entries`, all entry points by their modules. */
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

const client = new NetPubSub("tcp://127.0.0.1:7411", "secret");
client.addSubscriber("foo", (topic, { n }) => console.log("heard", topic.join(), n));
const tls = { cert: "-----BEGIN CERTIFICATE-----", key: "-----BEGIN PRIVATE KEY-----" };
const servers = "nats://127.0.0.1:4222";
const calls = {
  connect: () => client.connect(),
  "connect and wait": () => client.connect({ wait: true }),
  fromFile: () => NetPubSub.fromFile("x.json"),
  start: () => new Broker().start(),
  "start at": () => new Broker({ address: "unix:///run/bus.sock" }).start(),
  "start with TLS": () => new Broker({ address: "tls://127.0.0.1:7411", tls }).start(),
  "start a proxy": () => new Proxy({ target: "tcp://127.0.0.1:7411" }).start(),
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
client.publish("foo", { n: 4 });
`;

/** What that logs. */
function expected(entries: readonly string[]): string {
  const refusals = {
    connect: "Cannot connect to tcp://127.0.0.1:7411",
    "connect and wait": "Cannot connect to tcp://127.0.0.1:7411",
    fromFile: 'Cannot read "x.json"',
    start: "Cannot listen",
    "start at": "Cannot listen at unix:///run/bus.sock",
    "start with TLS": "Cannot listen at tls://127.0.0.1:7411",
    "start a proxy": "Cannot listen",
    ...entries.includes(WITH_PACKAGES) && { "start with an uplink": "Cannot listen" },
  };
  return [
    ...entries.map((path) => `${path} true`),
    "called foo,bar 1",
    "called other 2",
    "called foo 3",
    "took foo,bar 1",
    "took foo 3",
    ...Object.entries(refusals).map(([what, why]) =>
      `${what} -> NotSupportedError ${why}: ${ELSEWHERE}`
    ),
    "heard foo 4",
    "",
  ].join("\n");
}

/** The script, for entry points whose modules are at these paths or addresses. */
function scriptFor(modules: ReadonlyMap<string, string>): string {
  const imports = [...modules].map(([path, href]) => `"${path}": await import("${href}"),\n`);
  return `const entries = {\n${imports.join("")}};\n${SCRIPT}`;
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
  const modules = ENTRIES.map((path) => [path, path.replace(/ts$/, "js")] as const);
  await Deno.writeTextFile(`${folder}/main.js`, scriptFor(new Map(modules)));
}

for (const { name, note, platform, run } of RUNTIMES) {
  const options = { ignore: note !== "" };
  Deno.test(`the library, bundled, is loaded and works in ${name}${note}`, options, async () => {
    await using folder = await TempFolder.make();
    await bundle(folder.path, platform);
    assertEquals(await run(folder.path, "main.js"), expected(ENTRIES));
  });
}

for (const { name, note, run } of RUNTIMES.filter(({ readsTypeScript }) => readsTypeScript)) {
  const options = { ignore: note !== "" };
  Deno.test(`the library is loaded as it is and works in ${name}${note}`, options, async () => {
    await using folder = await TempFolder.make();
    const entries = ENTRIES.filter((path) => path !== WITH_PACKAGES);
    const modules = new Map(entries.map((path) => [path, `file://${ROOT}${path.slice(2)}`]));
    await Deno.writeTextFile(`${folder.path}/main.mjs`, scriptFor(modules));
    assertEquals(await run(folder.path, "main.mjs"), expected(entries));
  });
}
