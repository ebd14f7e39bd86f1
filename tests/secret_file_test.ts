import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { readSecret } from "../io/secret_file.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, started } from "./helpers/program.ts";

const LIMIT = 100;
const textIn = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const OTHER_USER = 12345;
const IS_ROOT = Deno.build.os !== "windows" && Deno.uid() === 0;

/** A test with a file of another user, which only root can make and read. */
function rootTest(name: string, fn: (path: string) => Promise<void>): void {
  const note = IS_ROOT ? "" : " (ignored: only root can give a file to another user)";
  Deno.test({
    name: `${name}${note}`,
    ignore: !IS_ROOT,
    fn: async () => {
      await using folder = await TempFolder.make();
      const path = `${folder.path}/secret`;
      await Deno.writeTextFile(path, "secret", { mode: 0o600 });
      await Deno.chown(path, OTHER_USER, OTHER_USER);
      await fn(path);
    },
  });
}

Deno.test("readSecret reads a file of this user", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/secret`;
  await Deno.writeTextFile(path, "secret", { mode: 0o600 });
  assertEquals(await readSecret(path, LIMIT, textIn), "secret");
});

rootTest("readSecret refuses the file of another user, and says whose it is", async (path) => {
  const error = await assertRejects(
    () => readSecret(path, LIMIT, textIn),
    Deno.errors.PermissionDenied,
  );
  assertEquals(
    error.message,
    `Cannot use "${path}": it belongs to another user (uid ${OTHER_USER}), who can change it; ` +
      "take it over with chown, or run this as that user",
  );
});

rootTest("readSecret refuses a link to the file of another user", async (path) => {
  await Deno.symlink(path, `${path}.link`);
  await assertRejects(
    () => readSecret(`${path}.link`, LIMIT, textIn),
    Deno.errors.PermissionDenied,
  );
});

rootTest("readSecret reads the file of the user that it runs as, and of root", async (path) => {
  const as = (user: number | undefined) =>
    readSecret(path, LIMIT, textIn, () => Promise.resolve(user));
  assertEquals((await as(OTHER_USER)).length, 6);
  assertEquals((await as(undefined)).length, 6, "it is not known who that is");
  await assertRejects(() => as(OTHER_USER + 1), Deno.errors.PermissionDenied);
  await Deno.chown(path, 0, 0);
  assertEquals((await as(OTHER_USER)).length, 6);
});

rootTest(
  "cli refuses secrets of another user, whatever file they are in, with its permissions",
  async (path) => {
    const folder = path.slice(0, path.lastIndexOf("/"));
    const address = ["--address", "tcp://127.0.0.1:1"];
    for (
      const args of [
        ["--authkey-file", path, `${folder}/x.json`],
        ["--keys", path, `${folder}/x.json`],
        ["--uplink", "nats://127.0.0.1:1", "--uplink-creds", path, `${folder}/x.json`],
        ["pub", "-c", path, "a"],
        ["bench", "-c", path],
        ["pub", ...address, "--authkey-file", path, "a"],
        ["key", "file", "ann", "--keys", path, ...address],
        ["key", "list", "--keys", path],
        ["key", "new", "ann", "--keys", path],
        [path],
      ]
    ) {
      const { code, err } = await fails({ args });
      assertEquals(code, 1);
      assertStringIncludes(err, `Cannot use "${path}": it belongs to another user`);
    }
    await using _program = await started({ args: ["--overwrite", path] });
    assertEquals((await Deno.lstat(path)).uid, 0);
  },
);
