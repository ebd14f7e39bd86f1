import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { readConnectionFile, writeConnectionFile } from "../io/connection_file.ts";
import type { ConnectionInfo } from "../io/connection_info.ts";
import { TempFolder } from "./helpers/folder.ts";

const CONTENT: ConnectionInfo = {
  address: "tcp://127.0.0.1:7411",
  authkey: Uint8Array.of(0, 255, 62, 63),
  pid: 42,
};

Deno.test("readConnectionFile reads what writeConnectionFile wrote", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus`;
  await writeConnectionFile(path, CONTENT, { replace: false });
  assertEquals(await readConnectionFile(path), CONTENT);
  assertEquals(await readConnectionFile(new URL(`file://${path}`)), CONTENT);
});

Deno.test("writeConnectionFile writes JSON with the key in base64, for nobody else to read", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus`;
  await writeConnectionFile(path, CONTENT, { replace: false });
  assertEquals(JSON.parse(await Deno.readTextFile(path)), {
    version: 1,
    address: "tcp://127.0.0.1:7411",
    authkey: "AP8+Pw==",
    pid: 42,
  });
  assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
  assertEquals(folder.names, ["bus"]);
});

for (const replace of [false, true]) {
  Deno.test(`writeConnectionFile never writes in place when replace is ${replace}`, async () => {
    await using folder = await TempFolder.make();
    const path = `${folder.path}/bus`;
    using watcher = Deno.watchFs(folder.path);
    const remove = await writeConnectionFile(path, CONTENT, { replace });
    await remove();
    for await (const { kind, paths } of watcher) {
      if (paths[0] !== path) continue;
      assert(kind !== "modify", "the file was written to at its path");
      if (kind === "remove") break;
    }
  });
}

Deno.test("writeConnectionFile leaves a file that is there, and no draft, unless it may replace", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus`;
  await Deno.writeTextFile(path, "precious");
  const write = () => writeConnectionFile(path, CONTENT, { replace: false });
  await assertRejects(write, Deno.errors.AlreadyExists);
  assertEquals(await Deno.readTextFile(path), "precious");
  assertEquals(folder.names, ["bus"]);
});

Deno.test("writeConnectionFile leaves a link that leads nowhere unless it may replace", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus`;
  await Deno.symlink(`${folder.path}/elsewhere`, path);
  const write = () => writeConnectionFile(path, CONTENT, { replace: false });
  await assertRejects(write, Deno.errors.AlreadyExists);
  assertEquals(folder.names, ["bus"]);
});

Deno.test("writeConnectionFile replaces a file, with mode 0600 whatever it had", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus`;
  await Deno.writeTextFile(path, "old");
  await Deno.chmod(path, 0o644);
  await writeConnectionFile(path, CONTENT, { replace: true });
  assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
  assertEquals(await readConnectionFile(path), CONTENT);
  assertEquals(folder.names, ["bus"]);
});

Deno.test("writeConnectionFile leaves no draft where it cannot replace", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus`;
  await Deno.mkdir(path);
  await assertRejects(() => writeConnectionFile(path, CONTENT, { replace: true }));
  assertEquals(folder.names, ["bus"]);
});

Deno.test("writeConnectionFile returns what removes the file, once or twice", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus`;
  const remove = await writeConnectionFile(path, CONTENT, { replace: false });
  await remove();
  assertEquals(folder.names, []);
  await remove();
});

Deno.test("writeConnectionFile returns what leaves a file that another broker wrote since", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus`;
  const remove = await writeConnectionFile(path, CONTENT, { replace: false });
  await writeConnectionFile(path, { ...CONTENT, pid: 43 }, { replace: true });
  await remove();
  assertEquals((await readConnectionFile(path)).pid, 43);
});

for (
  const [what, make] of Object.entries({
    "a FIFO": (path: string) => new Deno.Command("mkfifo", { args: [path] }).output(),
    "a link": async (path: string) => {
      await Deno.rename(path, `${path}.kept`);
      await Deno.symlink(`${path}.kept`, path);
    },
  })
) {
  Deno.test(`writeConnectionFile returns what leaves ${what} that has taken its place`, async () => {
    await using folder = await TempFolder.make();
    const path = `${folder.path}/bus`;
    const remove = await writeConnectionFile(path, CONTENT, { replace: false });
    if (what === "a FIFO") await Deno.remove(path);
    await make(path);
    const { names } = folder;
    await remove();
    assertEquals(folder.names, names);
  });
}

for (const mode of [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666]) {
  Deno.test(`readConnectionFile refuses a file of mode ${mode.toString(8)}`, async () => {
    await using folder = await TempFolder.make();
    const path = `${folder.path}/bus`;
    await writeConnectionFile(path, CONTENT, { replace: false });
    await Deno.chmod(path, mode);
    const error = await assertRejects(
      () => readConnectionFile(path),
      Deno.errors.PermissionDenied,
    );
    assertStringIncludes(error.message, `(mode ${mode.toString(8)}); make it private`);
  });
}

for (const mode of [0o600, 0o400, 0o700]) {
  Deno.test(`readConnectionFile reads a file of mode ${mode.toString(8)}`, async () => {
    await using folder = await TempFolder.make();
    const path = `${folder.path}/bus`;
    await writeConnectionFile(path, CONTENT, { replace: false });
    await Deno.chmod(path, mode);
    assertEquals(await readConnectionFile(path), CONTENT);
  });
}

Deno.test("readConnectionFile tells when there is no file", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/bus`;
  await assertRejects(() => readConnectionFile(path), Deno.errors.NotFound);
});

Deno.test("readConnectionFile refuses a folder", async () => {
  await using folder = await TempFolder.make();
  await assertRejects(() => readConnectionFile(folder.path), Deno.errors.IsADirectory);
});

Deno.test("readConnectionFile reads what writeConnectionFile wrote, with or without each part", async () => {
  const addresses = [CONTENT.address, "wss://bus.example.org/bus"];
  const parts = [
    { authkey: Uint8Array.of(1) },
    { keyName: "ann" },
    { ca: "PEM" },
    { pid: 7 },
    { addresses },
  ];
  for (let chosen = 0; chosen < 2 ** parts.length; chosen++) {
    const content = Object.assign(
      { address: CONTENT.address },
      ...parts.filter((_, bit) => (chosen >> bit & 1) === 1),
    );
    await using folder = await TempFolder.make();
    const path = `${folder.path}/bus`;
    await writeConnectionFile(path, content, { replace: false });
    assertEquals(await readConnectionFile(path), content);
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
    "has its addresses as a text": { addresses: CONTENT.address },
    "has null as its addresses": { addresses: null },
    "has no address in its list": { addresses: [] },
    "has an array in its list of addresses": { addresses: [["127.0.0.1", 7411]] },
    "has a bad address in its list": { addresses: [CONTENT.address, "ws://"] },
    "has a list of addresses, but no address": { address: undefined, addresses: ["h:1"] },
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
    await using folder = await TempFolder.make();
    const path = `${folder.path}/bus`;
    await Deno.writeTextFile(path, text, { mode: 0o600 });
    const problem = `Cannot use "${path}": it is not a connection file (`;
    await assertRejects(() => readConnectionFile(path), TypeError, problem);
  });
}
