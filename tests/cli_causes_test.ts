/** What is wrong with an option or a file is named, with what to do. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { certificateAdvice } from "../io/certificate.ts";
import { parseAddress, reachNotice } from "../io/address.ts";
import { listen } from "../io/listener.ts";
import { Broker, NetPubSub } from "../mod.ts";
import { TempFolder } from "./helpers/folder.ts";
import { fails, NAME, started } from "./helpers/program.ts";
import { pathOf, SELF_SIGNED, SIGNED, WRONG } from "./helpers/tls.ts";

/** Files with these contents, for this user alone. */
async function write(folder: string, files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${folder}/${name}`, text, { mode: 0o600 });
  }
}

const { cert: CERT, key: KEY } = SIGNED;
const TLS = ["--address", "tls://127.0.0.1:0"];

for (
  const [what, args, status, expected] of [
    ["an empty --keys", ["--keys", "", "x.json"], 2, "Option --keys needs a value, PATH"],
    ["an empty --authkey-file", ["--authkey-file=", "x.json"], 2, "--authkey-file needs a value"],
    ["an empty -c", ["sub", "-c", ""], 2, "Option --connect needs a value, FILE"],
    [
      "an empty --publish among others",
      ["key", "new", "a", "--publish", "a", "--publish", ""],
      2,
      "--publish needs a value",
    ],
    [
      "an address of another machine",
      ["--address", "tcp://192.0.2.1:7411", "x.json"],
      1,
      "Cannot listen at tcp://192.0.2.1:7411: this machine has no such address; listen at one that it has",
    ],
    ["a file that is no connection file", ["public.txt"], 1, "it is not a connection file"],
    [
      "a file that is no connection file, as a client",
      ["sub", "-c", "public.txt"],
      1,
      "it is not a connection file",
    ],
    ["a file that is no keys file", ["--keys", "public.txt", "x.json"], 1, "it is not JSON"],
    [
      "a key with a byte order mark",
      ["--authkey-file", "bom.key", "x.json"],
      1,
      "it begins with a byte order mark",
    ],
    [
      "a certificate in an empty file",
      [...TLS, "--tls-cert", "empty.pem", "--tls-key", "key.pem", "x.json"],
      1,
      "empty.pem: there is no certificate in it",
    ],
    [
      "a key in an empty file",
      [...TLS, "--tls-cert", "cert.pem", "--tls-key", "empty.pem", "x.json"],
      1,
      "tls.key: there is no private key in it",
    ],
    [
      "a key of another certificate",
      [...TLS, "--tls-cert", "cert.pem", "--tls-key", "other.pem", "x.json"],
      1,
      "the key is that of another certificate",
    ],
    [
      "a grant that never leaves a process",
      ["--keys", "local.keys", "x.json"],
      1,
      'publish has ["t","*local"], which grants nothing: what ends with *local never leaves',
    ],
    [
      "a grant of what the broker publishes",
      ["--keys", "broker.keys", "x.json"],
      1,
      'publish has ["*broker","stats"], which grants nothing: only the broker publishes',
    ],
  ] as const
) {
  Deno.test(`cli names the cause: ${what}`, async () => {
    await using folder = await TempFolder.make();
    const key = { name: "ann", key: btoa("secret of ann") };
    await write(folder.path, {
      "bom.key": "\ufeffsecret",
      "empty.pem": "",
      "cert.pem": CERT,
      "key.pem": KEY,
      "other.pem": SELF_SIGNED.key,
      "local.keys": JSON.stringify({ keys: [{ ...key, publish: [["t", "*local"]] }] }),
      "broker.keys": JSON.stringify({ keys: [{ ...key, publish: [["*broker", "stats"]] }] }),
    });
    await Deno.writeTextFile(`${folder.path}/public.txt`, "vm\n", { mode: 0o644 });
    const { code, err } = await fails({ args: [...args], cwd: folder.path });
    assertEquals(code, status, err);
    assertStringIncludes(err, expected);
    assert(!err.includes("chmod"), err);
    assert(!folder.names.includes("x.json"));
  });
}

Deno.test("cli says that a keys file is UTF-16, as some editors of Windows save it", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/keys.json`;
  const text = Uint16Array.from('\ufeff{ "keys": [] }', (letter) => letter.charCodeAt(0));
  await Deno.writeFile(path, new Uint8Array(text.buffer), { mode: 0o600 });
  const { err } = await fails({ args: ["--keys", path, `${folder.path}/x.json`] });
  assertStringIncludes(err, "it is UTF-16; save it as UTF-8");
});

Deno.test("cli says that another program listens at an address, and what to do", async () => {
  await using folder = await TempFolder.make();
  using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = `tcp://127.0.0.1:${other.addr.port}`;
  const { err } = await fails({ args: ["--address", address, `${folder.path}/x.json`] });
  const why = "another program listens there; end it, or take another port";
  assertEquals(err, `${NAME}: Cannot listen at ${address}: ${why}\n`);
});

Deno.test("listen says that a port is not for this user, and which are", async () => {
  const { listen: real } = Deno;
  Deno.listen = () => { // Root, who may run this, can listen at all ports.
    throw new Deno.errors.PermissionDenied("Permission denied (os error 13)");
  };
  try {
    await assertRejects(
      () => listen("tcp://127.0.0.1:80"),
      Deno.errors.PermissionDenied,
      "this user may not listen at a port below 1024; take a higher one",
    );
  } finally {
    Deno.listen = real;
  }
});

for (const [end, what] of [["\n", "a newline"], ["\r\n", "a newline of Windows"]]) {
  Deno.test(`cli takes a key from a file that ends with ${what}`, async () => {
    await using folder = await TempFolder.make();
    await write(folder.path, { key: `secret${end}` });
    const path = `${folder.path}/s`;
    await using _program = await started({
      args: ["--authkey-file", `${folder.path}/key`, "--address", `unix://${path}`, `${path}.json`],
    });
    await using bus = new NetPubSub(`unix://${path}`, "secret");
    await bus.connect();
  });
}

Deno.test("cli reads a certificate and its key that begin with byte order marks", async () => {
  await using folder = await TempFolder.make();
  const path = `${folder.path}/x.json`;
  await write(folder.path, {
    "cert.pem": `\ufeff${SELF_SIGNED.cert}`,
    "key.pem": `\ufeff${SELF_SIGNED.key}`,
  });
  const tls = ["--tls-cert", `${folder.path}/cert.pem`, "--tls-key", `${folder.path}/key.pem`];
  await using _program = await started({ args: ["--address", "tls://localhost:0", ...tls, path] });
  await using bus = await NetPubSub.fromFile(path);
  await bus.connect();
});

Deno.test("cli says at the start why clients will refuse a certificate", async () => {
  await using folder = await TempFolder.make();
  const tls = ["--tls-cert", pathOf("authority.pem"), "--tls-key", `${folder.path}/key.pem`];
  await write(folder.path, { "key.pem": SELF_SIGNED.key });
  await using program = await started({ args: [...TLS, ...tls, `${folder.path}/x.json`] });
  await program.untilError("\n");
  assertMatch(
    program.complained,
    new RegExp(
      `^${NAME}: Clients will refuse the certificate: it is that of an authority`,
    ),
  );
});

Deno.test("certificateAdvice names what clients refuse, and nothing else", () => {
  for (const { cert, key } of [SIGNED, SELF_SIGNED]) {
    assertEquals(certificateAdvice({ cert, key }), undefined);
  }
  assertMatch(certificateAdvice(WRONG.expired!)!, /it expired on 20\d\d-/);
  assertMatch(certificateAdvice(WRONG.future!)!, /it is not valid before \d{4}-/);
  assertMatch(certificateAdvice(WRONG.authority!)!, /that of an authority/);
  const nameless = Deno.readTextFileSync(pathOf("nameless.pem"));
  assertMatch(certificateAdvice({ cert: nameless, key: "" })!, /it names no host, and its CN/);
  const unreadable = SIGNED.cert.replace(/\n.*\n/, "\n");
  assertEquals(certificateAdvice({ cert: unreadable, key: "" }), undefined);
});

Deno.test("a broker refuses a certificate that is none before it listens", () => {
  const trusted = SIGNED.cert.replaceAll(" CERTIFICATE", " TRUSTED CERTIFICATE");
  for (const cert of ["", "x", SIGNED.key, trusted]) {
    let message = "";
    try {
      new Broker({ address: "tls://127.0.0.1:0", tls: { cert, key: SIGNED.key } });
    } catch (error) {
      message = (error as Error).message;
    }
    assertMatch(message, /^Cannot use tls.cert: there is no certificate in it; give the text/);
  }
});

for (
  const key of [
    SIGNED.key.replaceAll(" PRIVATE KEY", " ENCRYPTED PRIVATE KEY"),
    "-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\n\r\nAA==\r\n" +
    "-----END RSA PRIVATE KEY-----\r\n",
  ]
) {
  Deno.test(`a broker says that its private key is encrypted: ${key.slice(0, 30)}`, () => {
    const tls = { cert: SIGNED.cert, key };
    assertThrows(
      () => new Broker({ address: "tls://127.0.0.1:0", tls }),
      TypeError,
      "Cannot use tls.key: it is encrypted; openssl pkey prints it without its password",
    );
  });
}

Deno.test("a broker says that its certificate is of a version that TLS no longer takes", async () => {
  const [cert, key] = ["version1.pem", "self-key.pem"].map((name) =>
    Deno.readTextFileSync(pathOf(name))
  );
  await using broker = new Broker({
    address: "tls://127.0.0.1:0",
    tls: { cert: cert!, key: key! },
  });
  await assertRejects(
    () => broker.start(),
    Deno.errors.InvalidData,
    "the certificate is of version 1",
  );
});

Deno.test("reachNotice tells of what a name stands for, where that is not plain", () => {
  for (
    const [address, ip, notice] of [
      ["tcp://host:1", "127.0.1.1", /which is 127.0.1.1 on this machine: no other can connect/],
      ["tls://host:1", "127.0.1.1", /no other can connect/],
      ["tcp://host:1", "10.0.0.1", /without TLS/],
      ["tcp://0.0.0.0:1", "0.0.0.0", /without TLS/],
      ["tls://host:1", "10.0.0.1", undefined],
      ["tcp://localhost:1", "127.0.0.1", undefined],
      ["tcp://localhost:1", "::1", undefined],
      ["tcp://127.0.0.2:1", "127.0.0.2", undefined],
      ["tcp://[::1]:1", "::1", undefined],
      ["tcp://[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", undefined],
      ["tcp://[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", /without TLS/],
      ["unix:///a", undefined, undefined],
    ] as const
  ) {
    const found = reachNotice(parseAddress(address), ip);
    if (notice === undefined) assertEquals(found, undefined, address);
    else assertMatch(found ?? "", notice, address);
  }
});
