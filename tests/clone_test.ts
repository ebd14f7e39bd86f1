/** What stands in the root of a clone beside the project changes nothing that the project does. */
import { assertEquals } from "@std/assert";
import manifest from "../deno.json" with { type: "json" };

const ROOT = new URL("../", import.meta.url);
/** What the documentation has its readers write, and what they are likely to write. */
const STRAYS = [
  ".mpubsub.json",
  "cert.pem",
  "key.pem",
  "key.txt",
  "keys.json",
  "kitchen.json",
  "nats.txt",
  "publisher.ts",
  "subscriber.ts",
  "x.json",
];

async function git(...args: string[]): Promise<string[]> {
  const { stdout } = await new Deno.Command("git", { args, cwd: ROOT }).output();
  return new TextDecoder().decode(stdout).split("\n").filter(Boolean);
}

/** What a list of files and folders has of these files. */
function listed(files: readonly string[], include: readonly string[]): string[] {
  return files.filter((file) =>
    include.some((entry) => entry.endsWith("/") ? file.startsWith(entry) : file === entry)
  );
}

/** What a task names: files and folders; all files of a folder stand as `folder/*.ts`. */
function named(command: string): string[] {
  return command.split(" ").filter((word) => /^[\w./*-]*(\/|\.(ts|md|json))$/.test(word));
}

Deno.test("git ignores what a reader of the documentation writes in the root of a clone", async () => {
  assertEquals(await git("check-ignore", "--no-index", ...STRAYS), STRAYS);
  const tracked = await git("ls-files", "-ci", "--exclude-standard");
  assertEquals(tracked, [], "git ignores a file of the project");
});

Deno.test("deno.json formats, lints and publishes only what it names, and forgets no file", async () => {
  const { fmt, lint, publish } = manifest;
  const files = await git("ls-files", "-co", "--exclude-standard");
  for (const include of [fmt.include, lint.include, publish.include]) {
    assertEquals(include.filter((entry) => /[*?]|^\.?\.?\/?$/.test(entry)), []);
  }
  const modules = files.filter((file) => file.endsWith(".ts"));
  assertEquals(listed(modules, lint.include), modules);
  const formatted = files.filter((file) => /\.(ts|js|md|json|yml)$/.test(file));
  assertEquals(listed(formatted, fmt.include), formatted);
});

Deno.test("deno task test and deno task check name each file and folder that they look at", () => {
  const { test, "test:portable": portable, check } = manifest.tasks;
  for (const { command } of [test, portable, check]) {
    for (const part of command.split(" && ")) {
      if (!/deno (test|check|doc) |tools\/test\//.test(part)) continue;
      const words = named(part);
      assertEquals(
        words.filter((word) => STRAYS.includes(word) || /^(\.?\/?|\*.*)$/.test(word)),
        [],
      );
      assertEquals(words.length > 0, true, part);
    }
  }
});
