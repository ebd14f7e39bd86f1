/** Connection files in Node and Bun: checked as in Deno, with errors of the same names. */
import { assert, assertEquals } from "@std/assert";
import { readConnectionFile, writeConnectionFile } from "../io/connection_file.ts";
import { Broker, NetPubSub } from "../mod.ts";
import { until } from "../tools/harness/until.ts";
import { TempFolder } from "./helpers/folder.ts";
import { RUNTIMES } from "./helpers/runtimes.ts";

const ROOT = new URL("../", import.meta.url).href;
const OTHER_USER = 12345;
const IS_ROOT = Deno.build.os !== "windows" && Deno.uid() === 0;
const WITH_FILES = RUNTIMES.filter(({ hasFiles }) => hasFiles);

/** Makes files of all kinds in a folder, and returns their names. */
async function makeFiles({ path }: TempFolder): Promise<string[]> {
  const text = JSON.stringify({ version: 1, address: "tcp://127.0.0.1:1", authkey: "c2VjcmV0" });
  const make = (name: string, mode: number, content = text) =>
    Deno.writeTextFile(`${path}/${name}`, content, { mode }).then(() =>
      Deno.chmod(`${path}/${name}`, mode)
    );
  await make("private", 0o600);
  await make("read-only", 0o400);
  await make("of a group", 0o640);
  await make("of all", 0o644);
  await make("written by all", 0o602);
  await make("no connection file", 0o600, "secret");
  await make("no connection file, of all", 0o644, "secret");
  await make("too long", 0o600, "x".repeat(2 ** 21));
  await Deno.mkdir(`${path}/folder`);
  await Deno.symlink("private", `${path}/link`);
  await Deno.symlink("of all", `${path}/link to one of all`);
  await Deno.symlink("loop", `${path}/loop`);
  await new Deno.Command("mkfifo", { args: [`${path}/fifo`] }).output();
  if (IS_ROOT) {
    await make("of another user", 0o600);
    await Deno.chown(`${path}/of another user`, OTHER_USER, OTHER_USER);
    await Deno.symlink("of another user", `${path}/link to one of another user`);
  }
  const names = [...Deno.readDirSync(path)].map(({ name }) => name).sort();
  return [...names, "not there", "private/within a file"].map((name) => `${path}/${name}`);
}

/** What comes of reading each. */
type Outcome = readonly [name: string, message: string];

/** Reads all of them; it is run elsewhere, too. */
async function readAll(
  read: (path: string) => Promise<object>,
  paths: readonly string[],
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const path of paths) {
    try {
      outcomes.push(["read", Object.keys(await read(path)).join()]);
    } catch (error) {
      const { name, message } = error as Error;
      outcomes.push([name, message]);
    }
  }
  return outcomes;
}

for (const { name, note, run } of WITH_FILES) {
  const options = { ignore: note !== "" || Deno.build.os === "windows" };
  const runIn = async (folder: string, script: string) => {
    const head = `
      import { readConnectionFile } from "${ROOT}io/connection_file.ts";
      import { NetPubSub } from "${ROOT}net.ts";
      ${readAll}
    `;
    await Deno.writeTextFile(`${folder}/main.mjs`, head + script);
    return await run(folder, "main.mjs");
  };

  Deno.test(
    `readConnectionFile refuses in ${name} what it refuses in Deno${note}`,
    options,
    async () => {
      await using folder = await TempFolder.make();
      await using files = await TempFolder.make();
      const paths = await makeFiles(files);
      const expected = await readAll(readConnectionFile, paths);
      assert(expected.filter(([name]) => name === "read").length === 3, "it reads some");
      const script = `
      const outcomes = await readAll(readConnectionFile, ${JSON.stringify(paths)});
      console.log(JSON.stringify(outcomes));`;
      const outcomes: Outcome[] = JSON.parse(await runIn(folder.path, script));
      for (const [i, path] of paths.entries()) {
        const [expectedName, says] = expected[i]!;
        // What the system says is told in other words, but with the path.
        const isOurs = says.includes("Cannot use") || expectedName === "read";
        if (isOurs) assertEquals(outcomes[i], expected[i], path);
        else assertEquals([outcomes[i]![0], outcomes[i]![1].includes(path)], [expectedName, true]);
      }
    },
  );

  Deno.test({
    name: `readConnectionFile knows in ${name} who it runs as${note}`,
    ignore: options.ignore || !IS_ROOT,
    fn: async () => {
      await using folder = await TempFolder.make();
      await using files = await TempFolder.make();
      await Deno.chmod(files.path, 0o755);
      const names = (await makeFiles(files)).map((path) => path.slice(files.path.length + 1));
      const script = `
        process.chdir("${files.path}"); // That user cannot enter the folders above.
        process.setuid(${OTHER_USER});
        const names = ${JSON.stringify(names)};
        const outcomes = await readAll(readConnectionFile, names);
        for (const i in names) console.log(outcomes[i][0] + "/" + names[i]);`;
      const lines = (await runIn(folder.path, script)).split("\n");
      const nameOf = (file: string) =>
        lines.find((line) => line.endsWith(`/${file}`))?.split("/")[0];
      assertEquals(nameOf("of another user"), "read");
      assertEquals(nameOf("link to one of another user"), "read");
      assertEquals(nameOf("private"), "PermissionDenied");
      assertEquals(nameOf("of all"), "PermissionDenied");
      assertEquals(nameOf("not there"), "NotFound");
    },
  });

  Deno.test(`the paths that Windows has are absolute in ${name}${note}`, options, async () => {
    await using folder = await TempFolder.make();
    const script = `
      import { absolute } from "${ROOT}io/address.ts";
      const paths = ["C:\\\\a", "c:/a", "\\\\a", "\\\\\\\\a\\\\b", "/a", "a", "C:a"];
      const shown = () => console.log(paths.filter((path) => absolute(path) === path).join(" "));
      shown();
      Object.defineProperty(process, "platform", { value: "win32" });
      shown();`;
    const expected = `/a\n${String.raw`C:\a c:/a \a \\a\b /a`}\n`;
    assertEquals(await runIn(folder.path, script), expected);
  });

  Deno.test(
    `NetPubSub.fromFile waits in ${name} for its file, and reads it again${note}`,
    options,
    async () => {
      await using folder = await TempFolder.make();
      const file = `${folder.path}/x.json`;
      const script = `
      const bus = await NetPubSub.fromFile(${JSON.stringify(file)}, {
        onState() {},
        onGap: ({ reason }) => console.log(reason),
      });
      await bus.connect().catch(({ name, message }) => console.log(name, message));
      (await import("node:fs")).writeFileSync("${file}.asked", "");
      const heard = bus.subscribe("hello")[Symbol.asyncIterator]();
      await bus.connect({ wait: true });
      for (let i = 0; i < 2; i++) {
        const { value: { message: { n } } } = await heard.next();
        console.log(n);
        bus.publish("done");
        await bus.flush();
      }
      await bus.disconnect();`;
      const output = runIn(folder.path, script);
      await until(() => folder.names.includes("x.json.asked"));
      for (const n of [1, 2]) {
        // Another broker each time, with another key.
        await using broker = new Broker({ address: "tcp://127.0.0.1:0" });
        await broker.start();
        const { address, authkey } = broker;
        const remove = await writeConnectionFile(file, { address, authkey }, { replace: true });
        await until(() => broker.stats().sessions > 0);
        await using here = new NetPubSub(address, authkey);
        await here.connect();
        using done = here.subscribe("done");
        await here.flush();
        here.publish("hello", { n });
        for await (const _ of done) break;
        await remove();
      }
      const missing =
        `Cannot connect: there is no connection file ${file}; start a broker with it, ` +
        "or wait for one with connect({ wait: true })";
      assertEquals(await output, `ConnectionLostError ${missing}\n1\nnew broker\n2\n`);
    },
  );
}
