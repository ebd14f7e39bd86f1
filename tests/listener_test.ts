import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { formatEndpoint, parseAddress, socketPathBytesMax } from "../io/address.ts";
import { groupsOf, listen, Listener } from "../io/listener.ts";
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
  const connections = new Listener(socket, [endpoint]).connections((error) =>
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
  const listener = new Listener({ accept, close() {} } as unknown as Deno.TcpListener, [endpoint]);
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
async function assertAlone(folder: string, name: string): Promise<void> {
  (await Deno.connect({ transport: "unix", path: `${folder}/${name}` })).close();
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), [name]);
}

Deno.test("listen gives the socket of a dead broker to one of several", async () => {
  await using folder = await TempFolder.make();
  for (let round = 0; round < 20; round++) {
    await leaveDeadSocket(`${folder.path}/s`);
    const all = Array.from({ length: 5 }, () => listen(`unix://${folder.path}/s`));
    const results = await Promise.allSettled(all);
    const errors = results.flatMap((result) => result.status === "rejected" ? result.reason : []);
    assertEquals(errors.map(({ name }) => name), Array(4).fill("AddrInUse"));
    await assertAlone(folder.path, "s");
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
    await assertAlone(folder.path, "s");
    for (const process of processes) {
      if (said[processes.indexOf(process)] === "listens") process.kill("SIGKILL");
      await process.status;
    }
  }
});

/** Where sockets are: in a folder, or so deep that no other folder fits beside them. */
const DEPTHS = {
  "a path": () => "",
  "the longest path": (folder: string) =>
    `/${"x".repeat(socketPathBytesMax() - `${folder}//s`.length)}`,
};

for (const [what, below] of Object.entries(DEPTHS)) {
  Deno.test(`Listener.close leaves the socket of another at ${what} to that one`, async () => {
    await using folder = await TempFolder.make();
    const path = `${folder.path}${below(folder.path)}`;
    await Deno.mkdir(path, { recursive: true });
    for (let round = 0; round < 20; round++) {
      const old = await listen(`unix://${path}/s`);
      const accepted = old.connections(() => {}).next();
      await Deno.remove(`${path}/s`);
      const current = await listen(`unix://${path}/s`);
      const closed = old.close();
      const others = Array.from({ length: 5 }, async (_, i) => {
        for (let n = 0; n < i; n++) await Deno.stat(path);
        await assertRejects(() => listen(`unix://${path}/s`), Deno.errors.AddrInUse);
      });
      await Promise.all([closed, accepted, ...others]);
      await assertAlone(path, "s");
      await current.close();
    }
    assertEquals([...Deno.readDirSync(path)], []);
  });

  Deno.test(`listen takes connections at ${what}, and leaves nothing in the end`, async () => {
    await using folder = await TempFolder.make();
    const path = `${folder.path}${below(folder.path)}`;
    await Deno.mkdir(path, { recursive: true });
    const listener = await listen(`unix://${path}/s`);
    assertEquals(listener.endpoint, { transport: "unix", path: `${path}/s` });
    assertEquals(Deno.lstatSync(`${path}/s`).mode! & 0o777, 0o600);
    const accepting = listener.connections(() => {}).next();
    await assertAlone(path, "s");
    (await accepting).value!.close();
    await listener.close();
    await listener.close();
    assertEquals([...Deno.readDirSync(path)], []);
  });
}

/** Calls `look` each time when a socket was bound, before anything else is done. */
function whenBound(look: (bound: string) => void): Disposable {
  const { listen } = Deno;
  const watched = (options: Deno.UnixListenOptions & { transport: "unix" }) => {
    const listener = listen(options);
    look(options.path);
    return listener;
  };
  Object.assign(Deno, { listen: watched });
  return { [Symbol.dispose]: () => void Object.assign(Deno, { listen }) };
}

for (const umask of [0o022, 0o000]) {
  Deno.test(`listen lets nobody else connect to a socket at any moment, with umask 0${umask.toString(8)}`, async () => {
    await using folder = await TempFolder.make();
    const path = `${folder.path}/s`;
    const before = Deno.umask(umask);
    using _restored = { [Symbol.dispose]: () => void Deno.umask(before) };
    const seen: unknown[] = [];
    using _watched = whenBound((bound) => {
      const beside = Deno.lstatSync(bound.slice(0, bound.lastIndexOf("/")));
      seen.push(folder.names.includes("s"), beside.mode! & 0o777);
    });
    const listener = await listen(`unix://${path}`);
    assertEquals(seen, [false, 0o700]);
    assertEquals(Deno.lstatSync(path).mode! & 0o777, 0o600);
    await listener.close();
  });
}

Deno.test("listen replaces nothing that appears at its path at the last moment", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/s`;
  using _watched = whenBound(() => Deno.writeTextFileSync(path, "precious"));
  const error = await assertRejects(() => listen(`unix://${path}`), Deno.errors.AddrInUse);
  assertEquals(
    error.message,
    `Cannot listen at unix://${path}: another program has made it in the meantime`,
  );
  assertEquals(folder.names, ["s"]);
  assertEquals(await Deno.readTextFile(path), "precious");
});

Deno.test("listen takes a socket at which too many wait for that of a live broker", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/s`;
  using _listener = Deno.listen({ transport: "unix", path });
  const { connect } = Deno;
  using _restored = { [Symbol.dispose]: () => void Object.assign(Deno, { connect }) };
  const busy = () => Promise.reject(new Deno.errors.WouldBlock("os error 11"));
  Object.assign(Deno, { connect: busy });
  const error = await assertRejects(() => listen(`unix://${path}`), Deno.errors.AddrInUse);
  assertEquals(error.message, `Cannot listen at unix://${path}: a live broker listens there`);
});

Deno.test("Listener.close ends well when its socket and its folder are gone", async () => {
  for (const address of [undefined, "given"]) {
    await using folder = await TempFolder.make();
    await Deno.mkdir(`${folder.path}/b`);
    const listener = await listen(address && `unix://${folder.path}/b/s`);
    const { path } = listener.endpoint as { path: string };
    await Deno.remove(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await listener.close();
  }
});

/** What is given, and what shares a port. */
const GROUPS: readonly (readonly string[])[][] = [
  [],
  [["unix:///a"], ["unix:///b"]],
  [["tcp://h:1", "ws://h:1/a", "ws://h:1/b"], ["tcp://h:2"], ["tcp://g:1", "ws://g:1"]],
  [["tls://h:1", "wss://h:1/a"], ["ws://h:2/a"]],
  // Of free ports there are enough: those with TLS get one of their own.
  [["tcp://h:0", "ws://h:0/a"], ["tls://h:0", "wss://h:0/a"]],
  [["wss://h:0"], ["ws://h:0"], ["ws://g:0"]],
];

Deno.test("groupsOf puts what has the same host and port together", () => {
  for (const groups of GROUPS) {
    const endpoints = groups.flat().map((address) => parseAddress(address));
    const found = groupsOf(endpoints).map((group) => group.map(formatEndpoint));
    const usual = groups.map((group) => group.map((one) => formatEndpoint(parseAddress(one))));
    assertEquals(found, usual);
  }
});

Deno.test("groupsOf refuses what would be with TLS and without at one port", () => {
  for (const [one, two] of [["tcp://h:1", "tls://h:1"], ["ws://h:1/a", "wss://h:1/b"]]) {
    assertThrows(
      () => groupsOf([parseAddress(one!), parseAddress(two!)]),
      TypeError,
      `Cannot listen at ${one} and ${two}: one port serves all with TLS, or all without`,
    );
  }
});
