/** Brokers as programs, joined through a real NATS. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { NetPubSub } from "../mod.ts";
import { hasNatsServer, NatsServer, type NatsServerOptions } from "../tools/harness/nats_server.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, output, Program, started } from "./helpers/program.ts";
import { pathOf } from "./helpers/tls.ts";

const PASSWORD = "p@ss:w/ %$&";
const AUTHORIZATION = `authorization { user: "ann", password: ${JSON.stringify(PASSWORD)} }`;

interface Scene {
  readonly server: NatsServer;
  readonly folder: string;
  /** Runs a broker whose file is `name`, until it listens. */
  broker(name: string, ...args: string[]): Promise<Program>;
}

/** A test that needs nats-server; if that is not here, its name says so, also with `--quiet`. */
function test(
  name: string,
  fn: (scene: Scene) => Promise<void>,
  options: NatsServerOptions = {},
): void {
  const note = hasNatsServer ? "" : " (ignored: there is no nats-server here)";
  Deno.test({
    name: name + note,
    ignore: !hasNatsServer,
    fn: async () => {
      await using folder = await TempFolder.make();
      await using server = await NatsServer.start(options);
      await fn({
        server,
        folder: folder.path,
        broker: (name, ...args) => started({ args: [...args, `${folder.path}/${name}`] }),
      });
    },
  });
}

/** Waits until a broker is connected to NATS; throws with the reason when it cannot be. */
async function connected(broker: Program): Promise<void> {
  const refused = broker.untilError("Cannot connect to NATS").then(() => {
    throw new Error(broker.complained);
  });
  await Promise.race([broker.until("Connected to NATS"), refused]);
}

/** Publishes at one broker until `sub` at another prints it: what is wanted there is not known at once. */
async function passes(folder: string, from: string, to: string): Promise<void> {
  await using sub = new Program({ args: ["sub", "-c", `${folder}/${to}`, "--count", "1", "a b"] });
  await using _pub = new Program({
    args: [
      "pub",
      "-c",
      `${folder}/${from}`,
      "a b/c",
      "n=1",
      "--count",
      "2000",
      "--interval",
      "5ms",
    ],
  });
  const { code, out, err } = await sub.end();
  assertEquals([code, out, err], [0, '{"topic":["a b","c"],"message":{"n":1}}\n', ""]);
}

async function uplinkOf(folder: string, name: string): Promise<Record<string, unknown>> {
  return JSON.parse(await output({ args: ["stats", "-c", `${folder}/${name}`] })).uplink;
}

/** The events that a broker has logged as JSON, those of uplinks only. */
function eventsIn(text: string): { level: string; event: string; message: string }[] {
  const events = text.trim().split("\n").map((line) => JSON.parse(line));
  return events.filter(({ event }) => event.startsWith("uplink-"));
}

async function writeSecret(path: string, text: string): Promise<string> {
  await Deno.writeTextFile(path, text, { mode: 0o600 });
  return path;
}

for (const [how, args] of [["", []], ["-stream", ["--uplink-stream", "all"]]] as const) {
  test(
    `cli --uplink${how} passes a message from pub at one broker to sub at another`,
    async (scene) => {
      const { server, folder } = scene;
      const all = ["--uplink", server.url, "--bus", "plant", ...args];
      await using here = await scene.broker("here", ...all);
      await using there = await scene.broker("there", ...all);
      await using _other = await scene.broker("other", "--uplink", server.url, "--bus", "other");
      for (const broker of [here, there]) await broker.until("is on the bus");
      assertStringIncludes(
        here.said,
        `Connected to NATS at 127.0.0.1:${server.port}, bus plant\n`,
      );
      await passes(folder, "here", "there");
      await passes(folder, "there", "here");
      const { state, bus, stream, brokers, lost, gaps } = await uplinkOf(folder, "here");
      assertEquals([state, bus, stream, brokers, lost, gaps], [
        "connected",
        "plant",
        args[1] ?? null,
        1,
        0,
        0,
      ]);
      assertEquals((await uplinkOf(folder, "other")).received, 0);
      for (const broker of [here, there]) {
        broker.kill("SIGTERM");
        const { code, err } = await broker.end();
        assertEquals([code, err], [0, ""]);
      }
      assertMatch(there.said, /Broker [0-9a-f]{16} said goodbye\n/);
    },
    { jetstream: true },
  );
}

test("cli --uplink may come several times, and one of them has to be there", async (scene) => {
  const none = "nats://127.0.0.1:1";
  const args = ["--uplink", none, "--uplink", scene.server.url];
  await using broker = await scene.broker("x", ...args);
  await connected(broker);
});

test("cli logs in to NATS with what stands in a private file, or in the URL", async (scene) => {
  const { server, folder } = scene;
  const file = await writeSecret(`${folder}/login`, `ann:${PASSWORD}\n`);
  const inUrl = server.url.replace("//", `//ann:${encodeURIComponent(PASSWORD)}@`);
  for (const args of [["--uplink", server.url, "--uplink-creds", file], ["--uplink", inUrl]]) {
    await using broker = await scene.broker("x", ...args);
    await connected(broker);
    assert(!broker.said.includes("ann"), broker.said);
    broker.kill("SIGTERM");
    assertEquals((await broker.end()).err, "");
  }
}, { config: AUTHORIZATION });

test("cli logs in to NATS with a token from a private file", async (scene) => {
  const file = await writeSecret(`${scene.folder}/login`, "se/cret%");
  const args = ["--uplink", scene.server.url, "--uplink-creds", file];
  await using broker = await scene.broker("x", ...args);
  await connected(broker);
}, { config: `authorization { token: "se/cret%" }` });

test(
  "cli says that NATS refuses it, tells no password, and serves those who are here",
  async (scene) => {
    const { server, folder } = scene;
    const file = await writeSecret(`${folder}/login`, "ann:hidden");
    const url = server.url.replace("//", "//ann:hidden@");
    for (const args of [["--uplink", server.url, "--uplink-creds", file], ["--uplink", url]]) {
      await using broker = await scene.broker("x", ...args);
      await broker.untilError("uthorization");
      await passes(folder, "x", "x");
      const { state, server } = await uplinkOf(folder, "x");
      assertEquals([state, server], ["connecting", null]);
      broker.kill("SIGTERM");
      const { code, out, err } = await broker.end();
      assertEquals(code, 0);
      assertMatch(err, /^\S+: Cannot connect to NATS at 127\.0\.0\.1:\d+: [^\n]+\n$/);
      assert(!`${out}${err}`.includes("hidden"), `${out}${err}`);
    }
  },
  { config: AUTHORIZATION },
);

const TLS = `tls { cert_file: "${pathOf("cert.pem")}", key_file: "${pathOf("key.pem")}" }`;

test("cli --uplink-ca says who vouches for NATS", async (scene) => {
  const url = scene.server.url.replace("nats:", "tls:");
  await using broker = await scene.broker("x", "--uplink", url, "--uplink-ca", pathOf("ca.pem"));
  await connected(broker);
  await using stranger = await scene.broker("y", "--uplink", url);
  await stranger.untilError("Cannot connect to NATS");
  await using misled = await scene.broker("z", "--uplink", url, "--uplink-ca", pathOf("self.pem"));
  await misled.untilError("Cannot connect to NATS");
}, { config: TLS });

test("cli --uplink tls:// speaks to no NATS without TLS", async (scene) => {
  const url = scene.server.url.replace("nats:", "tls:");
  await using broker = await scene.broker("x", "--uplink", url);
  await broker.untilError("Cannot connect to NATS");
});

test("cli --log json has an event for each change of the uplink", async (scene) => {
  const { server, folder } = scene;
  const args = ["--uplink", server.url, "--log", "json", `${folder}/x`];
  await using broker = new Program({ args });
  await broker.until("uplink-connected");
  {
    await using other = await scene.broker("y", "--uplink", server.url);
    await broker.until("uplink-joined");
    await other.until("is on the bus");
    other.kill("SIGTERM");
    await broker.until("uplink-left");
  }
  await server.kill();
  await broker.untilError("uplink-disconnected");
  await broker.untilError("uplink-unreachable");
  await server.restart();
  await output({ args: ["ping", "-c", `${folder}/x`, "--count", "1"] });
  while ((await uplinkOf(folder, "x")).state !== "connected");
  broker.kill("SIGTERM");
  const { code, out, err } = await broker.end();
  assertEquals(code, 0);
  assertEquals(eventsIn(out).map(({ level, event }) => `${level} ${event}`), [
    "info uplink-connected",
    "info uplink-joined",
    "info uplink-left",
    "info uplink-connected",
  ]);
  const problems = eventsIn(err).map(({ level, event }) => `${level} ${event}`);
  assertEquals([...new Set(problems)], ["warn uplink-disconnected", "warn uplink-unreachable"]);
});

test("cli tells of messages for other brokers that it dropped, and of those that it missed", async (scene) => {
  const { server, folder } = scene;
  const all = ["--uplink", server.url, "--log", "json"];
  await using here = await scene.broker("here", ...all);
  await using there = await scene.broker("there", ...all);
  for (const broker of [here, there]) await broker.until("uplink-joined");
  const missed = Promise.withResolvers<void>();
  await using subscriber = await NetPubSub.fromFile(`${folder}/there`, {
    onGap: () => missed.resolve(),
  });
  const heard = Promise.withResolvers<void>();
  subscriber.addSubscriber("a", () => heard.resolve());
  await subscriber.connect();
  await using publisher = await NetPubSub.fromFile(`${folder}/here`);
  await publisher.connect();
  const timer = setInterval(() => publisher.publish("a", {}), 5);
  await heard.promise;
  clearInterval(timer);
  await server.kill();
  // More than may wait for NATS.
  for (let n = 0; n < 70; n++) {
    publisher.publish("a", { data: new Uint8Array(1_000_000) });
    await publisher.flush();
  }
  await server.restart();
  await missed.promise;
  const said: string[] = [];
  for (const broker of [here, there]) {
    broker.kill("SIGTERM");
    said.push((await broker.end()).err);
  }
  const [dropped] = eventsIn(said[0]!).filter(({ event }) => event === "uplink-dropped");
  assertMatch(
    dropped!.message,
    /^Dropped \d+ messages for other brokers: too many waited for NATS$/,
  );
  const [lost] = eventsIn(said[1]!).filter(({ event }) => event === "uplink-lost");
  assertMatch(lost!.message, /^Missed messages of other brokers \(lost \d+.*\)$/);
});

test("cli top shows the uplink, where there is one", async (scene) => {
  const { server, folder } = scene;
  await using broker = await scene.broker("x", "--uplink", server.url, "--bus", "plant");
  await connected(broker);
  const line = await output({ args: ["top", "-c", `${folder}/x`, "--count", "1"] });
  assertMatch(line, / {2}dropped 0 {2}uplink connected {2}lag 0 ms {2}lost 0\n$/);
  await using top = new Program({
    args: ["top", "-c", `${folder}/x`],
    onTerminal: true,
    input: "open",
    env: { NO_COLOR: "1" },
  });
  await top.until("CLIENT");
  await top.write("q");
  const { out } = await top.end();
  assertStringIncludes(
    out,
    `uplink plant connected to 127.0.0.1:${server.port}  brokers 0  in – msg/s  out – msg/s`,
  );
  assertStringIncludes(out, "uplink queued 0 B  lag 0 ms  behind 0  dropped 0  lost 0");
});

Deno.test("cli refuses wrong options of an uplink with status 2, and prints no password", async () => {
  const nats = "nats://ann:hidden@127.0.0.1:4222";
  const cases: [string[], string][] = [
    [["--bus", "a"], "--bus alone: give --uplink nats://host:4222, too"],
    [["--uplink-stream", "a"], "--uplink-stream alone"],
    [["--uplink-creds", "a"], "--uplink-creds alone"],
    [["--uplink-ca", "a"], "--uplink-ca alone"],
    [["--uplink"], "--uplink needs a value"],
    [["--uplink", "http://127.0.0.1"], "it must be like nats://host:4222"],
    [
      ["--uplink", "ann:hidden@127.0.0.1:4222"],
      `the server "…@127.0.0.1:4222": it must be like nats://host:4222`,
    ],
    [["--uplink", "nats:ann:hidden@127.0.0.1"], "it must be like nats://host:4222"],
    [["--uplink", "nats://ann:hidden@127.0.0.1:x"], "it must be like nats://host:4222"],
    [["--uplink", "nats://ann:hidden%zz@127.0.0.1"], "%25"],
    [["--uplink", "nats://ann:hidden@127.0.0.1/path"], "nats://host:4222"],
    [["--uplink", nats, "--uplink", "nats://127.0.0.1:4223"], "different users"],
    [["--uplink", nats, "--uplink-creds", "a"], "both --uplink-creds and a user"],
    [["--uplink", nats, "--bus", "a b"], '"a b" as the name of a bus'],
    [["--uplink", nats, "--uplink-stream", "a b"], '"a b" as the name of a stream'],
  ];
  for (const [args, text] of cases) {
    const { code, err } = await fails({ args: ["none/x.json", ...args] });
    assertEquals(code, 2, err);
    assertStringIncludes(err, text);
    assert(!err.includes("hidden"), err);
  }
});

Deno.test("cli refuses files of an uplink that it cannot use, and prints nothing of them", async () => {
  await using folder = await TempFolder.make();
  const open = `${folder.path}/open`;
  await Deno.writeTextFile(open, "ann:hidden", { mode: 0o644 });
  const cases: [string[], string][] = [
    [["--uplink-creds", open], "chmod 600"],
    [["--uplink-creds", `${folder.path}/none`], "none: there is no such file"],
    [
      ["--uplink-creds", await writeSecret(`${folder.path}/lines`, "hidden\nann\n")],
      "or one line",
    ],
    [["--uplink-creds", await writeSecret(`${folder.path}/half`, "hidden:\n")], "or one line"],
    [["--uplink-creds", await writeSecret(`${folder.path}/empty`, "")], "or one line"],
    [["--uplink-ca", open], "there is no certificate in it"],
    [["--uplink-ca", `${folder.path}/none`], "none: there is no such file"],
  ];
  for (const [args, text] of cases) {
    const { code, err } = await fails({
      args: ["--uplink", "nats://127.0.0.1:4222", ...args, `${folder.path}/x.json`],
    });
    assertEquals(code, 1, err);
    assertStringIncludes(err, text);
    assert(!err.includes("hidden"), err);
  }
});
