import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type Address,
  addressBeside,
  type Endpoint,
  formatEndpoint,
  isExposed,
  parseAddress,
} from "../io/address.ts";
import {
  type ConnectionFile,
  readConnectionFile,
  writeConnectionFile,
} from "../io/connection_file.ts";

const CONTENT: ConnectionFile = {
  address: "tcp://127.0.0.1:7411",
  authkey: Uint8Array.of(0, 255, 62, 63),
  pid: 42,
};

function tcp(hostname: string, port: number): Endpoint {
  return { transport: "tcp", hostname, port };
}

function unix(path: string): Endpoint {
  return { transport: "unix", path };
}

const PATH_107 = `/${"p".repeat(104)}é`;

const GOOD: readonly (readonly [address: Address, endpoint: Endpoint, formatted: string])[] = [
  ["unix:///run/bus.sock", unix("/run/bus.sock"), "unix:///run/bus.sock"],
  ["unix://bus.sock", unix("bus.sock"), "unix://bus.sock"],
  ["unix:///a b:1/é", unix("/a b:1/é"), "unix:///a b:1/é"],
  [`unix://${PATH_107}`, unix(PATH_107), `unix://${PATH_107}`],
  ["tcp://127.0.0.1:7411", tcp("127.0.0.1", 7411), "tcp://127.0.0.1:7411"],
  ["127.0.0.1:7411", tcp("127.0.0.1", 7411), "tcp://127.0.0.1:7411"],
  ["localhost:0", tcp("localhost", 0), "tcp://localhost:0"],
  ["bus.example.org:65535", tcp("bus.example.org", 65535), "tcp://bus.example.org:65535"],
  ["tcp://[::1]:7411", tcp("::1", 7411), "tcp://[::1]:7411"],
  ["[2001:db8::1]:1", tcp("2001:db8::1", 1), "tcp://[2001:db8::1]:1"],
  ["[::ffff:127.0.0.1]:1", tcp("::ffff:127.0.0.1", 1), "tcp://[::ffff:127.0.0.1]:1"],
  ["[fe80::1%eth0]:1", tcp("fe80::1%eth0", 1), "tcp://[fe80::1%eth0]:1"],
  [["127.0.0.1", 7411], tcp("127.0.0.1", 7411), "tcp://127.0.0.1:7411"],
  [["localhost", 0], tcp("localhost", 0), "tcp://localhost:0"],
  [["::1", 65535], tcp("::1", 65535), "tcp://[::1]:65535"],
  [["[::1]", 1], tcp("::1", 1), "tcp://[::1]:1"],
];

for (const [address, endpoint, formatted] of GOOD) {
  Deno.test(`parseAddress takes ${JSON.stringify(address)}`, () => {
    assertEquals(parseAddress(address), endpoint);
  });

  Deno.test(`formatEndpoint gives back the address of ${JSON.stringify(address)}`, () => {
    assertEquals(formatEndpoint(endpoint), formatted);
    assertEquals(parseAddress(formatted), endpoint);
  });
}

const BAD: readonly (readonly [address: unknown, type: typeof TypeError | typeof RangeError])[] = [
  ["", TypeError],
  ["127.0.0.1", TypeError],
  ["127.0.0.1:", TypeError],
  [":7411", TypeError],
  ["tcp://", TypeError],
  ["tcp://:7411", TypeError],
  ["tcp://127.0.0.1", TypeError],
  ["tcp://127.0.0.1:7411/", TypeError],
  ["tcp://127.0.0.1:x", TypeError],
  ["127.0.0.1:-1", TypeError],
  ["127.0.0.1:1.5", TypeError],
  ["127.0.0.1:1e3", TypeError],
  ["127.0.0.1: 1", TypeError],
  ["127.0.0.1:1\n", TypeError],
  ["a b:1", TypeError],
  ["::1:7411", TypeError],
  ["[::1]", TypeError],
  ["[]:1", TypeError],
  ["[::1:1", TypeError],
  ["http://127.0.0.1:80", TypeError],
  ["unix:/run/bus.sock", TypeError],
  ["unix://", TypeError],
  ["unix:///run/\0", TypeError],
  ["127.0.0.1:65536", RangeError],
  ["127.0.0.1:99999999999999999999", RangeError],
  [`unix://${PATH_107}x`, RangeError],
  [["127.0.0.1", -1], RangeError],
  [["127.0.0.1", 65536], RangeError],
  [["127.0.0.1", 1.5], RangeError],
  [["127.0.0.1", NaN], RangeError],
  [["127.0.0.1", "7411"], TypeError],
  [["127.0.0.1"], TypeError],
  [["", 7411], TypeError],
  [[7411, "127.0.0.1"], TypeError],
  [[], TypeError],
  [undefined, TypeError],
  [null, TypeError],
  [7411, TypeError],
  [{ hostname: "127.0.0.1", port: 7411 }, TypeError],
];

for (const [address, type] of BAD) {
  Deno.test(`parseAddress refuses ${JSON.stringify(address)} with a ${type.name}`, () => {
    const error = assertThrows(() => parseAddress(address as Address), type);
    assertEquals(error.name, type.name);
    assertStringIncludes(error.message, `Cannot use address ${JSON.stringify(address)}: `);
  });
}

for (
  const [endpoint, loopback] of [
    [unix("/run/bus.sock"), true],
    [tcp("localhost", 1), true],
    [tcp("127.0.0.1", 1), true],
    [tcp("127.255.255.254", 1), true],
    [tcp("::1", 1), true],
    [tcp("0.0.0.0", 1), false],
    [tcp("::", 1), false],
    [tcp("10.0.0.1", 1), false],
    [tcp("128.0.0.1", 1), false],
    [tcp("1127.0.0.1", 1), false],
    [tcp("127.0.0.1.example.org", 1), false],
    [tcp("localhost.example.org", 1), false],
    [tcp("127.example.org", 1), false],
    [tcp("example.org", 1), false],
    [tcp("fe80::1", 1), false],
    [tcp("::ffff:10.0.0.1", 1), false],
  ] as const
) {
  Deno.test(`isExposed is false for ${formatEndpoint(endpoint)} with TLS`, () => {
    if (endpoint.transport === "unix") return;
    assertEquals(isExposed({ ...endpoint, transport: "tls" }), false);
  });

  Deno.test(`isExposed is ${!loopback} for ${formatEndpoint(endpoint)}`, () => {
    assertEquals(isExposed(endpoint), !loopback);
  });
}

Deno.test("addressBeside names a new socket beside the file each time", () => {
  const [one, two] = [addressBeside("/run/bus"), addressBeside("/run/bus")];
  assert(/^unix:\/\/\/run\/bus\.[0-9a-f]{8}\.sock$/.test(one!), one);
  assert(one !== two);
});

Deno.test("addressBeside makes the path of a file absolute", () => {
  assert(addressBeside("bus")?.startsWith(`unix://${Deno.cwd()}/bus.`));
});

Deno.test("addressBeside names a socket of 107 bytes and none that is longer", () => {
  const file = `/${"é".repeat(46)}`;
  assertEquals(parseAddress(addressBeside(file)!).transport, "unix");
  assertEquals(new TextEncoder().encode(addressBeside(file)).length, "unix://".length + 107);
  assertEquals(addressBeside(`${file}x`), undefined);
});

/** Gives `body` a path in a folder that is removed afterwards. */
async function inFolder(body: (path: string, folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "mpubsub-test-" });
  try {
    await body(`${folder}/bus`, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
}

Deno.test("readConnectionFile reads what writeConnectionFile wrote", async () => {
  await inFolder(async (path) => {
    await writeConnectionFile(path, CONTENT, { replace: false });
    assertEquals(await readConnectionFile(path), CONTENT);
    assertEquals(await readConnectionFile(new URL(`file://${path}`)), CONTENT);
  });
});

Deno.test("writeConnectionFile writes JSON with the key in base64, for nobody else to read", async () => {
  await inFolder(async (path, folder) => {
    await writeConnectionFile(path, CONTENT, { replace: false });
    assertEquals(JSON.parse(await Deno.readTextFile(path)), {
      version: 1,
      address: "tcp://127.0.0.1:7411",
      authkey: "AP8+Pw==",
      pid: 42,
    });
    assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
    assertEquals(await namesIn(folder), ["bus"]);
  });
});

for (const replace of [false, true]) {
  Deno.test(`writeConnectionFile never writes in place when replace is ${replace}`, async () => {
    await inFolder(async (path, folder) => {
      using watcher = Deno.watchFs(folder);
      const remove = await writeConnectionFile(path, CONTENT, { replace });
      await remove();
      for await (const { kind, paths } of watcher) {
        if (paths[0] !== path) continue;
        assert(kind !== "modify", "the file was written to at its path");
        if (kind === "remove") break;
      }
    });
  });
}

Deno.test("writeConnectionFile leaves a file that is there, and no draft, unless it may replace", async () => {
  await inFolder(async (path, folder) => {
    await Deno.writeTextFile(path, "precious");
    const write = () => writeConnectionFile(path, CONTENT, { replace: false });
    await assertRejects(write, Deno.errors.AlreadyExists);
    assertEquals(await Deno.readTextFile(path), "precious");
    assertEquals(await namesIn(folder), ["bus"]);
  });
});

Deno.test("writeConnectionFile leaves a link that leads nowhere unless it may replace", async () => {
  await inFolder(async (path, folder) => {
    await Deno.symlink(`${folder}/elsewhere`, path);
    const write = () => writeConnectionFile(path, CONTENT, { replace: false });
    await assertRejects(write, Deno.errors.AlreadyExists);
    assertEquals(await namesIn(folder), ["bus"]);
  });
});

Deno.test("writeConnectionFile replaces a file, with mode 0600 whatever it had", async () => {
  await inFolder(async (path, folder) => {
    await Deno.writeTextFile(path, "old");
    await Deno.chmod(path, 0o644);
    await writeConnectionFile(path, CONTENT, { replace: true });
    assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
    assertEquals(await readConnectionFile(path), CONTENT);
    assertEquals(await namesIn(folder), ["bus"]);
  });
});

Deno.test("writeConnectionFile leaves no draft where it cannot replace", async () => {
  await inFolder(async (path, folder) => {
    await Deno.mkdir(path);
    await assertRejects(() => writeConnectionFile(path, CONTENT, { replace: true }));
    assertEquals(await namesIn(folder), ["bus"]);
  });
});

Deno.test("writeConnectionFile returns what removes the file, once or twice", async () => {
  await inFolder(async (path, folder) => {
    const remove = await writeConnectionFile(path, CONTENT, { replace: false });
    await remove();
    assertEquals(await namesIn(folder), []);
    await remove();
  });
});

Deno.test("writeConnectionFile returns what leaves a file that another broker wrote since", async () => {
  await inFolder(async (path) => {
    const remove = await writeConnectionFile(path, CONTENT, { replace: false });
    await writeConnectionFile(path, { ...CONTENT, pid: 43 }, { replace: true });
    await remove();
    assertEquals((await readConnectionFile(path)).pid, 43);
  });
});

for (const mode of [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666]) {
  Deno.test(`readConnectionFile refuses a file of mode ${mode.toString(8)}`, async () => {
    await inFolder(async (path) => {
      await writeConnectionFile(path, CONTENT, { replace: false });
      await Deno.chmod(path, mode);
      const error = await assertRejects(
        () => readConnectionFile(path),
        Deno.errors.PermissionDenied,
      );
      assertStringIncludes(error.message, `(mode ${mode.toString(8)}), make it private`);
    });
  });
}

for (const mode of [0o600, 0o400, 0o700]) {
  Deno.test(`readConnectionFile reads a file of mode ${mode.toString(8)}`, async () => {
    await inFolder(async (path) => {
      await writeConnectionFile(path, CONTENT, { replace: false });
      await Deno.chmod(path, mode);
      assertEquals(await readConnectionFile(path), CONTENT);
    });
  });
}

Deno.test("readConnectionFile tells when there is no file", async () => {
  await inFolder(async (path) => {
    await assertRejects(() => readConnectionFile(path), Deno.errors.NotFound);
  });
});

Deno.test("readConnectionFile refuses a folder", async () => {
  await inFolder(async (_, folder) => {
    await assertRejects(() => readConnectionFile(folder), Deno.errors.IsADirectory);
  });
});

Deno.test("readConnectionFile reads what writeConnectionFile wrote, with or without each part", async () => {
  const parts = [{ authkey: Uint8Array.of(1) }, { keyName: "ann" }, { ca: "PEM" }, { pid: 7 }];
  for (let chosen = 0; chosen < 2 ** parts.length; chosen++) {
    const content = Object.assign(
      { address: CONTENT.address },
      ...parts.filter((_, bit) => (chosen >> bit & 1) === 1),
    );
    await inFolder(async (path) => {
      await writeConnectionFile(path, content, { replace: false });
      assertEquals(await readConnectionFile(path), content);
    });
  }
});

const NO_FILES: readonly (readonly [what: string, text: string])[] = [
  ["is empty", ""],
  ["is not JSON", "{"],
  ["is null", "null"],
  ["is a text", '"text"'],
  ...Object.entries({
    "has no version": { version: undefined },
    "has another version": { version: 2 },
    "has its version as a text": { version: "1" },
    "has no address": { address: undefined },
    "has a bad address": { address: "nowhere" },
    "has its address as an array": { address: ["127.0.0.1", 7411] },
    "has an empty key": { authkey: "" },
    "has a key that is not base64": { authkey: "*" },
    "has null as its key": { authkey: null },
    "has a number as its key": { authkey: 1234 },
    "has an array as its key": { authkey: ["AP8="] },
    "has its pid as a text": { pid: "42" },
    "has a pid that is no integer": { pid: 1.5 },
    "has a number as the name of its key": { keyName: 1 },
    "has null as its certificate": { ca: null },
  }).map(([what, change]) => {
    const content = { version: 1, address: CONTENT.address, authkey: "AP8=", pid: 42 };
    return [what, JSON.stringify({ ...content, ...change })] as const;
  }),
];

for (const [what, text] of NO_FILES) {
  Deno.test(`readConnectionFile refuses a file that ${what}`, async () => {
    await inFolder(async (path) => {
      await Deno.writeTextFile(path, text, { mode: 0o600 });
      const problem = `Cannot use "${path}": it is not a connection file (`;
      await assertRejects(() => readConnectionFile(path), TypeError, problem);
    });
  });
}
