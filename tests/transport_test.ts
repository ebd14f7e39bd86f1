import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Address, formatEndpoint, parseAddress } from "../io/address.ts";
import { listen, Listener } from "../io/listener.ts";
import { keyNameBytes } from "../protocol/handshake.ts";

Deno.test("parseAddress takes every form of an address", () => {
  const cases: [Address, string][] = [
    ["unix:///run/bus.sock", "unix:///run/bus.sock"],
    ["tcp://127.0.0.1:7411", "tcp://127.0.0.1:7411"],
    ["localhost:0", "tcp://localhost:0"],
    [["127.0.0.1", 7411], "tcp://127.0.0.1:7411"],
    [["::1", 7411], "tcp://[::1]:7411"],
    [["[::1]", 7411], "tcp://[::1]:7411"],
    ["[::1]:7411", "tcp://[::1]:7411"],
    ["tcp://[::ffff:10.0.0.1]:7411", "tcp://[::ffff:10.0.0.1]:7411"],
    ["[fe80::1%eth0]:7411", "tcp://[fe80::1%eth0]:7411"],
    ["[fe80::1%en-0.5]:7411", "tcp://[fe80::1%en-0.5]:7411"],
  ];
  for (const [address, formatted] of cases) {
    assertEquals(formatEndpoint(parseAddress(address)), formatted);
    assertEquals(parseAddress(formatted), parseAddress(address));
  }
});

Deno.test("parseAddress takes nothing in brackets but an IPv6 address", () => {
  const hosts = ["[hello]", "[127.0.0.1]", "[::1", "[::1%]", "[1::2::3]", "[fe80::1%a b]", "[]"];
  for (const host of hosts) {
    assertThrows(() => parseAddress(`${host}:80`), TypeError, '["127.0.0.1", 7411]');
    assertThrows(() => parseAddress([host, 80]), TypeError);
  }
});

Deno.test("keyNameBytes takes nothing but a string", () => {
  for (const name of [5, null, {}, ["a"]]) {
    assertThrows(() => keyNameBytes(name as unknown as string), TypeError, "keyName");
  }
});

Deno.test("Listener tells once that it cannot accept, until it can again", async () => {
  const full = new Error("Too many open files (os error 24)");
  const conn = {} as Deno.TcpConn;
  const results = [full, full, conn, full, full, conn];
  const accept = () => {
    const result = results.shift();
    return result instanceof Error ? Promise.reject(result) : Promise.resolve(result);
  };
  const endpoint = { transport: "tcp", hostname: "127.0.0.1", port: 1 } as const;
  const socket = { accept, close() {} } as unknown as Deno.TcpListener;
  const told: string[] = [];
  const connections = new Listener(socket, endpoint).connections((error) =>
    told.push(error.message)
  );
  await connections.next();
  assertEquals(told, [`Cannot accept a connection: ${full.message}`]);
  await connections.next();
  assertEquals(told.length, 2);
  await connections.return(undefined);
});

Deno.test("Listener leaves turns to everything else while many wait to be accepted", async () => {
  const endpoint = { transport: "tcp", hostname: "127.0.0.1", port: 1 } as const;
  const accept = () => Promise.resolve({} as Deno.TcpConn);
  const listener = new Listener({ accept, close() {} } as unknown as Deno.TcpListener, endpoint);
  let others = 0;
  // Set anew in each turn: an interval leaves some out when it is late.
  const next = () => {
    others++;
    timer = setTimeout(next, 0);
  };
  let timer = setTimeout(next, 0);
  let count = 0;
  for await (const _connection of listener.connections(() => {})) if (++count === 320) break;
  clearTimeout(timer);
  assert(others >= 5, `others had ${others} turns`);
});

/** How many connections Linux holds for a listener at most. */
async function backlogMax(): Promise<number> {
  if (Deno.build.os !== "linux") return 0;
  return Number(await Deno.readTextFile("/proc/sys/net/core/somaxconn"));
}

const CALLERS = 700; // Deno's own backlog is 511.

Deno.test({
  name: "listen has room for many who connect before they are accepted",
  ignore: await backlogMax() < CALLERS,
  async fn() {
    const listener = await listen("tcp://127.0.0.1:0");
    const { port } = listener.endpoint as { port: number };
    const conns: Deno.Conn[] = [];
    try {
      while (conns.length < CALLERS) {
        // Who finds no room tries again after a second.
        conns.push(await Deno.connect({ port, signal: AbortSignal.timeout(900) }));
      }
    } finally {
      for (const conn of conns) conn.close();
      await listener.close();
    }
  },
});

/** Leaves a socket at which nobody listens, as a broker that was killed does. */
async function leaveDeadSocket(path: string): Promise<void> {
  const listener = Deno.listen({ transport: "unix", path: `${path}.bound` });
  await Deno.rename(`${path}.bound`, path);
  listener.close();
}

/** Asserts that somebody listens there, and that the folder holds nothing else. */
async function assertAlone(folder: string, name: string): Promise<void> {
  (await Deno.connect({ transport: "unix", path: `${folder}/${name}` })).close();
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), [name]);
}

Deno.test("listen gives the socket of a dead broker to one of several", async () => {
  const folder = await Deno.makeTempDir();
  for (let round = 0; round < 20; round++) {
    await leaveDeadSocket(`${folder}/s`);
    const all = Array.from({ length: 5 }, () => listen(`unix://${folder}/s`));
    const results = await Promise.allSettled(all);
    const errors = results.flatMap((result) => result.status === "rejected" ? result.reason : []);
    assertEquals(errors.map(({ name }) => name), Array(4).fill("AddrInUse"));
    await assertAlone(folder, "s");
    await (await Promise.any(all)).close();
  }
  await Deno.remove(folder);
});

Deno.test("listen gives the socket of a dead broker to one of several processes", async () => {
  const folder = await Deno.makeTempDir();
  const script = `
    import { listen } from ${JSON.stringify(new URL("../io/listener.ts", import.meta.url))};
    try {
      await listen("unix://${folder}/s");
      console.log("listens");
      setInterval(() => {}, 1000);
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      console.log("leaves it");
    }`;
  for (let round = 0; round < 5; round++) {
    await leaveDeadSocket(`${folder}/s`);
    const processes = Array.from({ length: 3 }, () =>
      new Deno.Command(Deno.execPath(), {
        args: ["eval", "--quiet", "--ext=ts", script],
        stdin: "null",
        stdout: "piped",
      }).spawn());
    const said = await Promise.all(processes.map(async ({ stdout }) => {
      const reader = stdout.pipeThrough(new TextDecoderStream()).getReader();
      const { value } = await reader.read();
      await reader.cancel();
      return value?.trim();
    }));
    assertEquals(said.toSorted(), ["leaves it", "leaves it", "listens"]);
    await assertAlone(folder, "s");
    for (const process of processes) {
      if (said[processes.indexOf(process)] === "listens") process.kill("SIGKILL");
      await process.status;
    }
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("Listener.close leaves the socket of another at its path to that one", async () => {
  const folder = await Deno.makeTempDir();
  for (let round = 0; round < 20; round++) {
    const old = await listen(`unix://${folder}/s`);
    const accepted = old.connections(() => {}).next();
    await Deno.remove(`${folder}/s`);
    const current = await listen(`unix://${folder}/s`);
    const closed = old.close();
    const others = Array.from({ length: 5 }, async (_, i) => {
      for (let n = 0; n < i; n++) await Deno.stat(folder);
      await assertRejects(() => listen(`unix://${folder}/s`), Deno.errors.AddrInUse);
    });
    await Promise.all([closed, accepted, ...others]);
    await assertAlone(folder, "s");
    await current.close();
  }
  await Deno.remove(folder);
});
