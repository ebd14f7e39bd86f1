/** What clients call themselves, and where a broker shows it. */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { type ClientEvent, NetPubSub } from "../mod.ts";
import { FrameType, Reason } from "../protocol/frame.ts";
import { decodeGoodbye, encodeOpening } from "../protocol/frame_bodies.ts";
import { encodeNumber } from "../protocol/job_bodies.ts";
import { Peer } from "../tools/harness/peer.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";
import { started } from "./helpers/program.ts";
import { Scene } from "./helpers/scene.ts";

const NET = JSON.stringify(new URL("../net.ts", import.meta.url).href);

/** A scene whose broker notes what happens to clients. */
async function scene(): Promise<{ scene: Scene; events: ClientEvent[] }> {
  const events: ClientEvent[] = [];
  const scene = await Scene.start({
    address: "tcp://127.0.0.1:0",
    onClient: (event) => void events.push(event),
  });
  return { scene, events };
}

/** What a broker publishes about its clients. */
async function namesAt(bus: NetPubSub): Promise<string[]> {
  using reports = bus.subscribe(["*broker", "clients"]);
  for await (const { message } of reports) {
    return message.clients.map(({ name }: { name: string }) => name).sort();
  }
  return [];
}

Deno.test("Broker tells what clients call themselves, in onClient and in its reports", async () => {
  const { scene: stage, events } = await scene();
  await using _stage = stage;
  const alice = await stage.connected({ name: "alice é" });
  await stage.connected({ name: "" });
  await stage.connected({ name: "x".repeat(64) });
  assertEquals(await namesAt(alice), ["", "alice é", "x".repeat(64)]);
  assertEquals(events.map(({ type, name }) => [type, name]), [
    ["joined", "alice é"],
    ["joined", ""],
    ["joined", "x".repeat(64)],
  ]);
});

Deno.test("Broker takes another name at each connection of a session", async () => {
  const { scene: stage, events } = await scene();
  await using _stage = stage;
  const { broker } = stage;
  let session: Uint8Array | undefined;
  for (const name of ["first", "second"]) {
    await using peer = await Peer.authenticate(broker);
    session = (await peer.sendOpen([], { session, name })).session;
  }
  await until(() => broker.stats().detached === 1);
  assertEquals(
    events.map(({ type, client, name }) => [type, client, name]),
    [
      ["joined", 1, "first"],
      ["lost", 1, "first"],
      ["resumed", 1, "second"],
      ["lost", 1, "second"],
    ].filter(([type]) => type !== "lost" || events.some((event) => event.type === type)),
  );
});

for (
  const [what, bytes] of [
    ["of 65 bytes", new Uint8Array(65).fill(0x78)],
    ["that is not UTF-8", Uint8Array.of(0x78, 0xff)],
    ["longer than its frame", undefined],
  ] as const
) {
  Deno.test(`Broker ends a connection whose client gives a name ${what}`, async () => {
    await using stage = await Scene.start();
    await using peer = await Peer.authenticate(stage.broker);
    const opening = { session: undefined, taken: 0, calls: 0, wait: false, patience: 0, name: "" };
    const head = encodeOpening(opening);
    head[37] = bytes?.length ?? 1;
    await peer.send(FrameType.OPEN, head, bytes ?? encodeNumber(0));
    assertEquals(decodeGoodbye(await peer.expect(FrameType.GOODBYE)).reason, Reason.PROTOCOL);
    await until(() => stage.broker.stats().endings.protocol === 1);
    assertEquals(stage.broker.stats().sessions, 0);
  });
}

Deno.test("NetPubSub refuses a name that cannot be one", () => {
  const named = (name: unknown) => () =>
    new NetPubSub("127.0.0.1:1", "k", { name: name as string });
  assertThrows(named("é".repeat(33)), RangeError, "it has 66 bytes; the limit is 64");
  for (const wrong of [1, null, {}, "\ud800"]) {
    assertThrows(named(wrong), TypeError, "must be a well-formed string");
  }
});

/** What a program that is run so, without any permission but the network, is called by default. */
async function defaultName(run: (code: string, folder: string) => Promise<string[]>) {
  const { scene: stage, events } = await scene();
  await using _stage = stage;
  await using folder = await TempFolder.make();
  const { address, authkey } = stage.broker;
  const code = `
    import { NetPubSub } from ${NET};
    const bus = new NetPubSub("${address}", Uint8Array.from([${authkey}]));
    await bus.connect();
    await bus.disconnect();
    console.log(Deno.pid);
  `;
  const args = await run(code, folder.path);
  const { code: status, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: args.toSpliced(1, 0, "--quiet"),
    signal: AbortSignal.timeout(20_000),
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim());
  assertEquals([status, err], [0, ""]);
  return { name: events[0]!.name, pid: out! };
}

const PERMISSIONS = ["--no-prompt", "--allow-net=127.0.0.1"];

for (
  const [file, expected] of [
    ["logger.ts", "logger.ts"],
    ["log ger%20é.ts", "log ger%20é.ts"],
    [`${"é".repeat(60)}.ts`, undefined],
  ] as const
) {
  Deno.test(`NetPubSub is called by default as its program ${file}, without a permission`, async () => {
    const { name, pid } = await defaultName(async (code, folder) => {
      await Deno.writeTextFile(`${folder}/${file}`, code);
      return ["run", ...PERMISSIONS, `${folder}/${file}`];
    });
    const cut = "é".repeat(Math.floor((64 - 1 - pid.length) / 2));
    assertEquals(name, `${expected ?? cut} ${pid}`);
    assert(new TextEncoder().encode(name).length <= 64);
  });
}

Deno.test("NetPubSub is called by default as deno where the program is not a file", async () => {
  const { name, pid } = await defaultName((code) => Promise.resolve(["eval", code]));
  assertEquals(name, `deno ${pid}`);
});

Deno.test("mpubsub-broker logs what clients call themselves, and makes it safe to show", async () => {
  for (const log of [[], ["--log", "json"]]) {
    await using folder = await TempFolder.make();
    const file = `${folder.path}/x.json`;
    await using program = await started({ args: ["--verbose", ...log, file] });
    const bus = await NetPubSub.fromFile(file, { name: '"a" \u001b[2J\u202e' });
    await bus.connect();
    await bus.disconnect();
    await program.until(log.length > 0 ? `"left"` : "left");
    assertMatch(program.said, /\\"a\\" \\u001b\[2J/);
    assertStringIncludes(program.said, "\\u202e");
    program.kill("SIGTERM");
    await program.end();
  }
});
