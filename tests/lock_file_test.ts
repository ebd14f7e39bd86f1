import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { takeLock } from "../io/lock_file.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, NAME, Program, started } from "./helpers/program.ts";

/** Asserts that a lock can be taken, and leaves nothing. */
async function assertFree(folder: TempFolder, names: string[] = []): Promise<void> {
  const lock = await takeLock(`${folder.path}/lock`);
  assertEquals(await Deno.readTextFile(`${folder.path}/lock`), `${Deno.pid}\n`);
  assertEquals((await Deno.lstat(`${folder.path}/lock`)).mode! & 0o777, 0o600);
  lock[Symbol.dispose]();
  assertEquals(folder.names, names);
}

Deno.test("takeLock makes a file with the number of the process, and leaves none", async () => {
  await using folder = await TempFolder.make();
  await assertFree(folder);
});

const IN_THE_WAY: Readonly<Record<string, (path: string, target: string) => Promise<void>>> = {
  "a link": (path, target) => Deno.symlink(target, path),
  "a link that leads nowhere": async (path, target) => {
    await Deno.remove(target);
    await Deno.symlink(target, path);
  },
  "a folder": (path) => Deno.mkdir(path),
  "a FIFO": async (path) => void await new Deno.Command("mkfifo", { args: [path] }).output(),
};

for (const [what, make] of Object.entries(IN_THE_WAY)) {
  Deno.test(`takeLock refuses ${what}, and makes and changes nothing`, async () => {
    await using folder = await TempFolder.make();
    const [path, target] = [`${folder.path}/lock`, `${folder.path}/target`];
    await Deno.writeTextFile(target, "precious");
    await make(path, target);
    const { names } = folder;
    const error = await assertRejects(() => takeLock(path), Deno.errors.AlreadyExists);
    assertEquals(
      error.message,
      `Cannot take the lock "${path}": something that is not a file is there; remove it`,
    );
    assertEquals(folder.names, names);
    if (names.includes("target")) assertEquals(await Deno.readTextFile(target), "precious");
  });
}

Deno.test("takeLock does not lock what a link leads to that is put there while it looks", async () => {
  await using folder = await TempFolder.make();
  const [path, target] = [`${folder.path}/lock`, `${folder.path}/target`];
  await Deno.writeTextFile(path, "");
  await Deno.writeTextFile(target, "precious");
  using file = await Deno.open(target, { write: true });
  await file.lock(true);
  const { lstat } = Deno;
  using _restored = { [Symbol.dispose]: () => void (Deno.lstat = lstat) };
  Deno.lstat = async (asked) => {
    Deno.lstat = lstat;
    const found = await lstat(asked);
    await Deno.remove(path);
    await Deno.symlink(target, path);
    return found;
  };
  await assertRejects(() => takeLock(path, { patience: 1000 }), Deno.errors.AlreadyExists);
  assertEquals(await Deno.readTextFile(target), "precious");
});

Deno.test("takeLock takes the lock of a process that is dead at once, and never writes to its file", async () => {
  await using folder = await TempFolder.make();
  // Others may have made it a second name of a file of ours.
  await Deno.writeTextFile(`${folder.path}/precious`, "precious", { mode: 0o640 });
  await Deno.link(`${folder.path}/precious`, `${folder.path}/lock`);
  await assertFree(folder, ["precious"]);
  assertEquals(await Deno.readTextFile(`${folder.path}/precious`), "precious");
  assertEquals((await Deno.stat(`${folder.path}/precious`)).mode! & 0o777, 0o640);
});

Deno.test("takeLock says which process holds the lock for too long", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/lock`;
  {
    using _lock = await takeLock(path);
    const error = await assertRejects(() => takeLock(path, { patience: 30 }), Deno.errors.Busy);
    assertStringIncludes(error.message, `"${path}": process ${Deno.pid} has held it for 30 ms`);
  }
  await assertFree(folder);
});

Deno.test("takeLock says once which process it waits for, and nothing when it does not wait long", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/lock`;
  const { promise: told, resolve } = Promise.withResolvers<string>();
  const texts: string[] = [];
  const onWait = (text: string) => {
    texts.push(text);
    resolve(text);
  };
  {
    const first = await takeLock(path, { onWait });
    const waiting = takeLock(path, { onWait });
    assertEquals(await told, waitingText(path));
    first[Symbol.dispose]();
    using _second = await waiting;
  }
  assertEquals(texts.length, 1);
  await assertFree(folder);
});

Deno.test("takeLock looks again for the number of a process that has just taken the lock", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/lock`;
  const { promise: told, resolve } = Promise.withResolvers<string>();
  await Deno.writeTextFile(path, "");
  using file = await Deno.open(path, { read: true, write: true });
  await file.lock(true);
  const { open } = Deno;
  let looks = 0;
  using _restored = { [Symbol.dispose]: () => void (Deno.open = open) };
  const waiting = takeLock(path, { onWait: resolve });
  Deno.open = (...args) => {
    if (++looks === 2) Deno.writeTextFileSync(path, "4711\n");
    return open(...args);
  };
  assertStringIncludes(await told, "Waiting for process 4711, which holds");
  file.close();
  (await waiting)[Symbol.dispose]();
});

function waitingText(path: string): string {
  return `Waiting for process ${Deno.pid}, which holds the lock "${path}", up to 5000 ms`;
}

Deno.test("takeLock shows only a number of what stands in a lock that others made", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/lock`;
  await Deno.writeTextFile(path, "12\x1b[2J".padEnd(10_000));
  {
    using file = await Deno.open(path, { read: true, write: true });
    await file.lock(true);
    const error = await assertRejects(() => takeLock(path, { patience: 0 }), Deno.errors.Busy);
    assertStringIncludes(error.message, `"${path}": process 12 has held it for 0 ms`);
  }
  await assertFree(folder);
});

Deno.test("takeLock ends its wait with its signal", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/lock`;
  {
    using _lock = await takeLock(path);
    const stop = new AbortController();
    const reason = new Error("enough");
    const waiting = takeLock(path, { signal: stop.signal });
    stop.abort(reason);
    assertEquals(await waiting.catch((error) => error), reason);
  }
  await assertFree(folder);
  const aborted = AbortSignal.abort("enough");
  assertEquals(await takeLock(path, { signal: aborted }).catch((error) => error), "enough");
  assertEquals(folder.names, []);
});

Deno.test("takeLock gives the lock to one at a time, each when the one before is done", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/lock`;
  let holders = 0;
  let taken = 0;
  await Promise.all(Array.from({ length: 20 }, async () => {
    using _lock = await takeLock(path);
    assertEquals(++holders, 1);
    await Deno.stat(path);
    holders--;
    taken++;
  }));
  assertEquals(taken, 20);
  assertEquals(folder.names, []);
});

Deno.test("a lock that was removed by hand is not taken from who made it anew", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/lock`;
  const first = await takeLock(path);
  await Deno.remove(path);
  using _second = await takeLock(path);
  first[Symbol.dispose]();
  assertEquals(folder.names, ["lock"]);
});

Deno.test("cli follows no link at the lock of its file, and says what is in the way", async () => {
  await using folder = await TempFolder.make();
  const lock = `${folder.path}/x.json.broker-lock`;
  await Deno.symlink(`${folder.path}/made`, lock);
  const { code, err } = await fails({ args: [`${folder.path}/x.json`] });
  assertEquals(code, 1);
  assertStringIncludes(
    err,
    `Cannot take the lock "${lock}": something that is not a file is there`,
  );
  assertEquals(folder.names, ["x.json.broker-lock"]);
});

Deno.test("cli says who holds the lock of its file, and takes it when that one is done or dead", async () => {
  await using folder = await TempFolder.make();
  const file = `${folder.path}/x.json`;
  {
    using _lock = await takeLock(`${file}.broker-lock`);
    await using program = new Program({ args: [file] });
    await program.untilError(waitingText(`${file}.broker-lock`));
    const { code, err } = await program.end();
    assertEquals(code, 1);
    assertStringIncludes(err, `process ${Deno.pid} has held it for 5000 ms`);
    assertEquals(err.split("\n").length, 3);
  }
  await Deno.writeTextFile(`${file}.broker-lock`, "4711\n");
  await using _program = await started({ args: [file] });
  assert(!folder.names.includes("x.json.broker-lock"));
});

Deno.test("cli says who holds the lock of its socket, when it starts and when it ends", async () => {
  await using folder = await TempFolder.make();
  const socket = `${folder.path}/s`;
  const args = ["--address", `unix://${socket}`, `${folder.path}/x.json`];
  const lock = await takeLock(`${socket}.socket-lock`);
  await using program = new Program({ args });
  await program.untilError(waitingText(`${socket}.socket-lock`));
  lock[Symbol.dispose]();
  await program.until("Listening at");
  {
    using _again = await takeLock(`${socket}.socket-lock`);
    program.kill("SIGTERM");
    await program.untilError(`${waitingText(`${socket}.socket-lock`)}\n${NAME}: Waiting`);
  }
  assertEquals((await program.end()).code, 0);
});
