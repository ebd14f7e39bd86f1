import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { TextLineStream } from "@std/streams/text-line-stream";
import { hasNatsServer, NatsCluster, NatsServer } from "../tools/harness/nats_server.ts";
import { until } from "../tools/harness/until.ts";

/** A test that needs nats-server; if that is not here, its name says so, also with `--quiet`. */
function test(name: string, fn: () => Promise<void>): void {
  const note = hasNatsServer ? "" : " (ignored: there is no nats-server here)";
  Deno.test({ name: name + note, ignore: !hasNatsServer, fn });
}

/** What the server answers to a request; all in its own protocol. */
async function request(server: NatsServer, subject: string, body = ""): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const lines = ["CONNECT {}", "SUB answer 1", `PUB ${subject} answer ${body.length}`, body, ""];
  await connection.write(new TextEncoder().encode(lines.join("\r\n")));
  const decoder = new TextDecoder();
  const bytes = new Uint8Array(4096);
  let text = "";
  for (;;) {
    const length = await connection.read(bytes);
    if (length === null) throw new Error(`closed after ${text}`);
    text += decoder.decode(bytes.subarray(0, length), { stream: true });
    // Some answers have two spaces before their length.
    const message = /^MSG answer 1 +(\d+)\r\n/m.exec(text);
    const answer = message && text.slice(message.index + message[0].length);
    if (answer && answer.length >= Number(message[1])) return answer.slice(0, Number(message[1]));
  }
}

/** Whether somebody listens at this port. */
async function listens(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch (error) {
    const isGone = error instanceof Deno.errors.ConnectionRefused ||
      error instanceof Deno.errors.ConnectionReset; // It went at this moment.
    if (!isGone) throw error;
    return false;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return false;
  }
}

test("NatsServer starts, answers, and leaves nothing behind when it is disposed", async () => {
  const server = await NatsServer.start({ config: "max_payload: 1234" });
  assertEquals(server.url, `nats://127.0.0.1:${server.port}`);
  const { max_payload } = await server.monitor("/varz") as { max_payload: number };
  assertEquals(max_payload, 1234);
  await server[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  assertEquals([server.state, exists(server.folder)], ["ended", false]);
  assertEquals(await listens(server.port), false);
  await assertRejects(() => server.restart(), Error, "disposed");
});

test("NatsServer says why it does not start", async () => {
  const error = await assertRejects(() => NatsServer.start({ config: "no_such_setting: 1" }));
  assertStringIncludes((error as Error).message, "no_such_setting");
});

test("NatsServer keeps port, files and streams when it is killed and started again", async () => {
  await using server = await NatsServer.start({ jetstream: true });
  const { port, pid, folder } = server;
  await request(server, "$JS.API.STREAM.CREATE.S", `{"name":"S","subjects":["s.*"]}`);
  assertEquals(JSON.parse(await request(server, "s.1", "kept")).seq, 1);
  await server.kill();
  assertEquals([server.state, await listens(port)], ["ended", false]);
  await server.restart();
  assertEquals([server.port, server.folder, server.state], [port, folder, "running"]);
  assert(server.pid !== pid);
  assertEquals(JSON.parse(await request(server, "$JS.API.STREAM.INFO.S")).state.messages, 1);
});

test("NatsServer ends in order, also while it is paused", async () => {
  await using server = await NatsServer.start();
  server.pause();
  // A signal takes a moment to reach all of its threads.
  await until(() => Deno.readTextFileSync(`/proc/${server.pid}/stat`).includes(") T "));
  assertEquals([server.state, await listens(server.port)], ["paused", true]);
  assertEquals(await server.monitor("/varz"), undefined);
  server.resume();
  assertEquals(await server.isHealthy(), true);
  server.pause();
  await server.terminate();
  assertEquals(server.state, "ended");
  assertStringIncludes(await server.log(), "Server Exiting..");
});

test("NatsServer ends when the process that started it is killed", async () => {
  const module = new URL("../tools/harness/nats_server.ts", import.meta.url).href;
  const script = `
      import { NatsServer } from "${module}";
      const { port, folder } = await NatsServer.start();
      console.log(JSON.stringify({ port, folder }));`;
  const process = new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const lines = process.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream());
  let seen = 0;
  for await (const line of lines) {
    const { port, folder } = JSON.parse(line);
    assert(await listens(port));
    process.kill("SIGKILL");
    await until(() => !exists(folder));
    // It has its signal, but may not be gone yet.
    for (let looks = 0; await listens(port); looks++) assert(looks < 10_000);
    seen++;
  }
  await process.status;
  assertEquals(seen, 1);
});

test("NatsCluster has routes, elects a leader, and takes a node back", async () => {
  await using cluster = await NatsCluster.start(3, { jetstream: true });
  assertEquals(new Set(cluster.urls).size, 3);
  const leader = (await cluster.leader())!;
  const node = cluster.nodes.find((node) => node !== leader)!;
  await node.kill();
  await cluster.ready();
  await node.restart();
  await cluster.ready();
  const stream = `{"name":"S","subjects":["s.*"],"num_replicas":3}`;
  const answer = JSON.parse(await request(node, "$JS.API.STREAM.CREATE.S", stream));
  assertEquals(answer.config.num_replicas, 3);
});

test("NatsCluster needs no JetStream", async () => {
  await using cluster = await NatsCluster.start(2);
  assertEquals(await cluster.leader(), undefined);
  await assertRejects(() => NatsCluster.start(1), RangeError, "2 is the least");
});
