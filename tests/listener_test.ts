import { assert, assertEquals, assertRejects } from "@std/assert";
import { listen, Listener } from "../io/listener.ts";
import { TempFolder } from "./helpers/folder.ts";

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
    await using stack = new AsyncDisposableStack();
    const listener = stack.adopt(await listen("tcp://127.0.0.1:0"), (listener) => listener.close());
    const { port } = listener.endpoint as { port: number };
    for (let n = 0; n < CALLERS; n++) {
      // Who finds no room tries again after a second.
      stack.use(await Deno.connect({ port, signal: AbortSignal.timeout(900) }));
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
async function assertAlone(folder: TempFolder, name: string): Promise<void> {
  (await Deno.connect({ transport: "unix", path: `${folder.path}/${name}` })).close();
  assertEquals(folder.names, [name]);
}

Deno.test("listen gives the socket of a dead broker to one of several", async () => {
  await using folder = await TempFolder.make();
  for (let round = 0; round < 20; round++) {
    await leaveDeadSocket(`${folder.path}/s`);
    const all = Array.from({ length: 5 }, () => listen(`unix://${folder.path}/s`));
    const results = await Promise.allSettled(all);
    const errors = results.flatMap((result) => result.status === "rejected" ? result.reason : []);
    assertEquals(errors.map(({ name }) => name), Array(4).fill("AddrInUse"));
    await assertAlone(folder, "s");
    await (await Promise.any(all)).close();
  }
  assertEquals(folder.names, []);
});

Deno.test("listen gives the socket of a dead broker to one of several processes", async () => {
  await using folder = await TempFolder.make();
  const script = `
    import { listen } from ${JSON.stringify(new URL("../io/listener.ts", import.meta.url))};
    try {
      await listen("unix://${folder.path}/s");
      console.log("listens");
      setInterval(() => {}, 1000);
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      console.log("leaves it");
    }`;
  for (let round = 0; round < 5; round++) {
    await leaveDeadSocket(`${folder.path}/s`);
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
});

Deno.test("Listener.close leaves the socket of another at its path to that one", async () => {
  await using folder = await TempFolder.make();
  for (let round = 0; round < 20; round++) {
    const old = await listen(`unix://${folder.path}/s`);
    const accepted = old.connections(() => {}).next();
    await Deno.remove(`${folder.path}/s`);
    const current = await listen(`unix://${folder.path}/s`);
    const closed = old.close();
    const others = Array.from({ length: 5 }, async (_, i) => {
      for (let n = 0; n < i; n++) await Deno.stat(folder.path);
      await assertRejects(() => listen(`unix://${folder.path}/s`), Deno.errors.AddrInUse);
    });
    await Promise.all([closed, accepted, ...others]);
    await assertAlone(folder, "s");
    await current.close();
  }
  assertEquals(folder.names, []);
});
