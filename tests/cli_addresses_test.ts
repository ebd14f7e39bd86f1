/** Addresses on the command line, WebSockets among them, each command a process of its own. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { TempFolder } from "./helpers/folder.ts";
import { fails, NAME, output, Program, started } from "./helpers/program.ts";

/** A folder with the key of a broker that listens at these addresses, by its program. */
async function served(...addresses: readonly string[]) {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await TempFolder.make());
  const [file, key] = [`${path}/x.json`, `${path}/key`];
  await Deno.writeTextFile(key, "secret", { mode: 0o600 });
  const args = addresses.map((address) => ["--address", address.replace("FOLDER", path)]).flat();
  const broker = stack.use(
    await started({ args: ["--verbose", "--authkey-file", key, ...args, file] }),
  );
  const content = JSON.parse(await Deno.readTextFile(file));
  const moved = stack.move();
  return {
    path,
    file,
    broker,
    content,
    access: ["--authkey-file", key],
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

const DEAD = ["--address", "tcp://127.0.0.1:1"];

Deno.test("cli broker listens at each --address, and its file and its log have them all", async () => {
  await using bus = await served("ws://127.0.0.1:0/bus", "unix://FOLDER/s", "tcp://127.0.0.1:0");
  const { broker, path, file, content } = bus;
  const [ws, unix, tcp] = content.addresses;
  assertEquals(content.address, ws);
  assertEquals(unix, `unix://${path}/s`);
  const port = /^ws:\/\/127\.0\.0\.1:([1-9]\d*)\/bus$/.exec(ws)?.[1];
  assertEquals(tcp, `tcp://127.0.0.1:${port}`);
  await broker.until(`Listening at ${ws}, ${unix}, ${tcp}, connection file ${file}\n`);
  for (const address of content.addresses) {
    await output({
      args: ["ping", "--quiet", "--count", "1", "--address", address, ...bus.access],
    });
  }
});

Deno.test("cli commands work over a WebSocket: sub, pub, ping, bench, stats, top, and the log", async () => {
  await using bus = await served("ws://127.0.0.1:0/bus");
  const { broker, file, content } = bus;
  assertEquals(content.addresses, undefined);
  await using sub = new Program({ args: ["sub", "-c", file, "--count", "1", "--name", "ear"] });
  await broker.until(/\bear\b/);
  await output({ args: ["pub", "-c", file, "a", "n=1"] });
  const { code, out, err } = await sub.end();
  assertEquals([code, out, err], [0, '{"topic":["a"],"message":{"n":1}}\n', ""]);
  const { count } = JSON.parse(await output({ args: ["ping", "-c", file, "--json"] }));
  assertEquals(count, 5);
  const bench = ["bench", "-c", file, "--messages", "10", "--json"];
  assertStringIncludes(await output({ args: bench }), '"received":10,');
  const stats = JSON.parse(await output({ args: ["stats", "-c", file] }));
  assertEquals(stats.address, content.address);
  assertEquals(stats.clients[0].address, "127.0.0.1");
  assertMatch(
    await output({ args: ["top", "-c", file, "--count", "1"] }),
    /^[\d:.]+ {2}clients 1 /,
  );
});

Deno.test("cli commands try each --address in its order, and name all where nobody answers", async () => {
  await using bus = await served("ws://127.0.0.1:0/bus");
  const here = [...DEAD, "--address", bus.content.address, ...bus.access];
  await output({ args: ["pub", ...here, "a", "n=1"] });
  const bench = ["bench", ...here, "--messages", "10", "--json"];
  assertStringIncludes(await output({ args: bench }), '"received":10,');
  const nobody = [...DEAD, "--address", "ws://127.0.0.1:1/bus", ...bus.access];
  const { code, err } = await fails({ args: ["pub", ...nobody, "a"] });
  assertEquals(code, 1);
  assertStringIncludes(err, "tcp://127.0.0.1:1: no broker answers");
  assertStringIncludes(err, "ws://127.0.0.1:1/bus: no broker answers");
  const [tls, plain] = ["wss://127.0.0.1:1", "ws://192.0.2.1:1"];
  const secured = ["pub", "--address", tls, "--address", plain, ...bus.access, "a"];
  const refused = await fails({ args: secured });
  assertStringIncludes(refused.err, `${tls}: no broker answers`);
  assertStringIncludes(refused.err, `${plain}: not tried without TLS`);
});

Deno.test("cli commands refuse an --address that is none, and --tls-ca where none is with TLS", async () => {
  const key = ["--authkey-file", "key"];
  const cases: [string[], string][] = [
    [[...DEAD, "--address", "ws:/127.0.0.1", ...key], "Cannot use --address ws:/127.0.0.1: write"],
    [[...DEAD, "--address", "ws://h/a?b", ...key], "Cannot use --address ws://h/a?b: write"],
    [[...DEAD, "--address", "ws://h/", ...key, "--tls-ca", "x"], "tcp://127.0.0.1:1, ws://h/"],
    [["-c", "x.json", ...DEAD, ...key], "Give --connect FILE, or both"],
    [DEAD, "Give --connect FILE, or both"],
  ];
  for (const [args, text] of cases) {
    const { code, err } = await fails({ args: ["ping", ...args] });
    assertEquals(code, 2, err);
    assertStringIncludes(err, text);
  }
});

const NO_ORIGINS: readonly (readonly [origin: string, says: string])[] = [
  ["https://app.example.org/", "write https://app.example.org "],
  ["https://app.example.org/a?b", "write https://app.example.org "],
  ["https://app.example.org:443", "write https://app.example.org "],
  ["HTTPS://App.example.org:8443", "write https://app.example.org:8443 "],
  ["app.example.org", "scheme, host and port alone, such as https://"],
  ["app.example.org:8443", "scheme, host and port alone, such as https://"],
  ["*", "scheme, host and port alone, such as https://"],
  ["null", "scheme, host and port alone, such as https://"],
];

Deno.test("cli broker refuses an --origin that is none, and says what is right", async () => {
  for (const [origin, says] of NO_ORIGINS) {
    const args = ["--origin", "https://a.example", "--origin", origin, "x.json"];
    const { code, err } = await fails({ args });
    assertEquals(code, 2, err);
    assertStringIncludes(err, `Cannot use --origin ${origin}: `);
    assertStringIncludes(err, says);
  }
});

Deno.test("cli broker refuses a port that would be with TLS and without", async () => {
  const [one, two] = ["ws://127.0.0.1:7411/bus", "wss://127.0.0.1:7411/bus"];
  const { code, err } = await fails({ args: ["--address", one, "--address", two, "x.json"] });
  assertEquals(code, 2);
  assertStringIncludes(err, `Cannot listen at ${one} and ${two}: one port serves all with TLS`);
});

Deno.test("cli broker --origin lets pages of each connect, and no others", async () => {
  await using folder = await TempFolder.make();
  const file = `${folder.path}/x.json`;
  const origins = ["--origin", "https://a.example", "--origin", "https://b.example:8443"];
  await using _broker = await started({
    args: ["--address", "ws://127.0.0.1:0/bus", ...origins, file],
  });
  const { address } = JSON.parse(await Deno.readTextFile(file));
  const port = Number(new URL(address).port);
  const statusFor = async (origin: string) => {
    using conn = await Deno.connect({ hostname: "127.0.0.1", port });
    const lines = [
      "GET /bus HTTP/1.1",
      "host: 127.0.0.1",
      "upgrade: websocket",
      "connection: upgrade",
      "sec-websocket-version: 13",
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
      `origin: ${origin}`,
    ];
    await conn.write(new TextEncoder().encode([...lines, "", ""].join("\r\n")));
    const bytes = new Uint8Array(12);
    await conn.read(bytes);
    return new TextDecoder().decode(bytes);
  };
  assertEquals(await statusFor("https://a.example"), "HTTP/1.1 101");
  assertEquals(await statusFor("https://b.example:8443"), "HTTP/1.1 101");
  assertEquals(await statusFor("https://b.example"), "HTTP/1.1 403");
});

Deno.test("cli key file takes each --address for the clients, the first as the first", async () => {
  await using bus = await served("ws://127.0.0.1:0/bus", "unix://FOLDER/s");
  const keys = ["--keys", `${bus.path}/keys.json`];
  await output({ args: ["key", "new", "ann", "--publish", "/", ...keys] });
  const fileOf = async (...args: string[]) => {
    const { address, addresses } = JSON.parse(
      await output({ args: ["key", "file", "ann", ...keys, ...args] }),
    );
    return [address, addresses];
  };
  const { address, addresses } = bus.content;
  assertEquals(await fileOf(bus.file), [address, addresses]);
  const [one, two] = ["wss://bus.example.org/bus", "tls://bus.example.org:7411"];
  for (const more of [[], [bus.file]]) {
    assertEquals(await fileOf("--address", one, ...more), [one, undefined]);
    assertEquals(await fileOf("--address", one, "--address", two, ...more), [one, [one, two]]);
  }
});

Deno.test("cli broker tells by a WebSocket whether the broker of a file is alive", async () => {
  await using bus = await served("ws://127.0.0.1:0/bus", "unix://FOLDER/s");
  const { file, content, path } = bus;
  const { err } = await fails({ args: [file] });
  assertEquals(
    err,
    `${NAME}: Cannot use ${file}: its broker is alive at ${content.address} (process ${content.pid})\n`,
  );
  bus.broker.kill("SIGKILL");
  await bus.broker.end();
  assert([...Deno.readDirSync(path)].some(({ name }) => name === "s"));
  await using next = await started({ args: [file] });
  assertStringIncludes(next.said, "whose broker is gone");
  assert(![...Deno.readDirSync(path)].some(({ name }) => name === "s"), "its socket is removed");
});
