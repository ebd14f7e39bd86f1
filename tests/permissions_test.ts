/**
 * Each command with exactly the permissions that it needs, and with each of them missing: then it
 * says which in one line.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Bus } from "./helpers/bus.ts";
import { TempFolder } from "./helpers/folder.ts";
import { COMPILED, fails, output, PERMISSIONS, Program, started } from "./helpers/program.ts";
import { pathOf } from "./helpers/tls.ts";

/** A command: its permissions, by what is missing without one, and its arguments. */
interface Command {
  readonly permissions: Readonly<Record<string, string>>;
  readonly args: readonly string[];
  readonly env?: Record<string, string>;
  /** Ends by itself. */
  readonly isBrief?: boolean;
}

// Deno 2.6.8 cannot name a Unix socket in a permission, and needs none of the network's for one.
const CAN_NAME_UNIX = Deno.version.deno.localeCompare("2.9", "en", { numeric: true }) > 0;

/** What a broker says whose NATS is not there, when it may look for it. */
const REFUSED =
  "mpubsub: Cannot connect to NATS at 127.0.0.1:1: Connection refused (os error 111)\n";
const ROOT = new URL("../", import.meta.url).pathname;

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

function commandsIn(folder: string): Record<string, Command> {
  const read = `--allow-read=${folder}`;
  const write = `--allow-write=${folder}`;
  const port = freePort();
  const [net, , , env] = PERMISSIONS;
  const tls = ["--tls-cert", `${folder}/cert.pem`, "--tls-key", `${folder}/key.pem`];
  return {
    "the broker at TCP": {
      permissions: { net: `--allow-net=127.0.0.1:${port}`, read, write },
      args: ["--address", `tcp://127.0.0.1:${port}`, `${folder}/x`],
    },
    ...CAN_NAME_UNIX && {
      "the broker at a Unix socket": {
        permissions: { net: `--allow-net=unix:${folder}/s`, read, write },
        args: ["--address", `unix://${folder}/s`, `${folder}/x`],
      },
    },
    "the broker with TLS": {
      permissions: { net: "--allow-net=127.0.0.1", read, write },
      args: [...tls, "--address", `tls://127.0.0.1:${port}`, `${folder}/x`],
    },
    "the broker with keys": {
      permissions: { net: `--allow-net=127.0.0.1:${port}`, read, write },
      args: ["--keys", `${folder}/keys`, "--address", `tcp://127.0.0.1:${port}`, `${folder}/x`],
    },
    "the broker as the tasks run it": {
      permissions: {
        ...CAN_NAME_UNIX && { net: net! },
        read: "--allow-read",
        write: "--allow-write",
        env: env!,
      },
      args: [],
      env: { MPUBSUB_FILE: `${folder}/x` },
    },
    // NATS is not there, but everything that it takes to look for it.
    "the broker with an uplink": {
      permissions: {
        net: `--allow-net=127.0.0.1:${port},127.0.0.1:1`,
        read: `--allow-read=${folder},${ROOT}`,
        write,
      },
      args: [
        ...["--uplink", "nats://127.0.0.1:1", "--address"],
        ...[`tcp://127.0.0.1:${port}`, `${folder}/x`],
      ],
    },
    "the command key file": {
      permissions: { read },
      args: ["key", "file", "ann", "--keys", `${folder}/keys`, "--address", "tcp://127.0.0.1:7411"],
      isBrief: true,
    },
    "the command key ticket": {
      permissions: { read },
      args: [
        ...["key", "ticket", "ann", "--keys", `${folder}/keys`, "--expire-in", "1h"],
        ...["--address", "tcp://127.0.0.1:7411"],
      ],
      isBrief: true,
    },
    "the command key list": {
      permissions: { read },
      args: ["key", "list", "--keys", `${folder}/keys`],
      isBrief: true,
    },
    "the command key new": {
      permissions: { read, write },
      args: ["key", "new", crypto.randomUUID(), "--publish", "a", "--keys", `${folder}/keys`],
      isBrief: true,
    },
    "the command key file with a connection file": {
      permissions: { read },
      args: ["key", "file", "ann", "--keys", `${folder}/keys`, `${folder}/written`],
      isBrief: true,
    },
  };
}

async function writeFiles(folder: string): Promise<void> {
  const files = {
    "cert.pem": await Deno.readTextFile(pathOf("self.pem")),
    "key.pem": await Deno.readTextFile(pathOf("self-key.pem")),
    keys: JSON.stringify({ keys: [{ name: "ann", key: btoa("a key of 16 bytes") }] }),
    written: JSON.stringify({ version: 1, address: "tcp://127.0.0.1:7411", pid: 1 }),
  };
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${folder}/${name}`, text, { mode: 0o600 });
  }
}

for (const what of Object.keys(commandsIn("/"))) {
  // The compiled program has those that it was compiled with.
  const options = { ignore: COMPILED !== undefined };
  Deno.test(
    `cli runs ${what} with exactly its permissions, and names each that is missing`,
    options,
    async (t) => {
      await using folder = await TempFolder.make();
      await writeFiles(folder.path);
      const { permissions, args, env = {}, isBrief } = commandsIn(folder.path)[what]!;
      const run = { args: [...args], env };
      await t.step("with all", async () => {
        const all = { ...run, permissions: Object.values(permissions) };
        await using program = isBrief ? new Program(all) : await started(all);
        if (!isBrief) program.kill("SIGTERM");
        const { code, err } = await program.end();
        assertEquals(code, 0);
        assertEquals(err.replace(REFUSED, ""), "");
      });
      for (const missing of Object.keys(permissions)) {
        await t.step(`without ${missing}`, async () => {
          const { [missing]: _, ...others } = permissions;
          const { code, err } = await fails({ ...run, permissions: Object.values(others) });
          assertEquals(code, 1);
          assertStringIncludes(err, `--allow-${missing}`);
        });
      }
    },
  );
}

for (
  const [command, ...args] of [
    ["pub", "a", "n=1"],
    ["sub", "--timeout", "1ms"],
    ["ping", "--count", "1"],
    ["stats"],
    ["top", "--count", "1"],
  ]
) {
  const options = { ignore: COMPILED !== undefined };
  Deno.test(
    `cli ${command} takes the address and its file, and names what is missing`,
    options,
    async () => {
      await using bus = await Bus.start({ address: "tcp://127.0.0.1:0" });
      const { broker, file, folder } = bus;
      const permissions: Record<string, string> = {
        net: `--allow-net=${broker.address.slice("tcp://".length)}`,
        read: `--allow-read=${folder}`,
      };
      const run = { args: [command!, "-c", file, ...args] };
      await output({ ...run, permissions: Object.values(permissions) });
      for (const missing of Object.keys(permissions)) {
        const { [missing]: _, ...others } = permissions;
        const { code, err } = await fails({ ...run, permissions: Object.values(others) });
        assertEquals(code, 1);
        assertStringIncludes(err, `--allow-${missing}`);
      }
    },
  );
}
