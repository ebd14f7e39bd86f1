/** What a client says when it cannot connect: the same in Deno, Node and Bun, but for what they say themselves. */
import type { EventEmitter } from "node:events";
import { checkServerIdentity } from "node:tls";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { parseAddress } from "../io/address.ts";
import { dial } from "../io/dial.ts";
import { node } from "../io/node.ts";
import { type NodeProcess, nodeProcess } from "../io/process.ts";
import { TempFolder } from "./helpers/folder.ts";
import { RUNTIMES } from "./helpers/runtimes.ts";
import { pathOf, SELF_SIGNED, SIGNED, WRONG } from "./helpers/tls.ts";

const ROOT = new URL("../", import.meta.url).href;

/** An attempt to connect, and what comes of it. */
interface Case {
  readonly address: string;
  readonly caCerts?: readonly string[];
  /** The error's name, what is wrong with a certificate, and a part of the message; none if it connects. */
  readonly fails?: readonly [name: string, certificate: string | null, says: RegExp];
  /** Where it is otherwise, by the name of the runtime; `null` for connects. */
  readonly but?: Readonly<Record<string, null>>;
}

/** Servers for the cases; they only ever close. */
class Servers implements Disposable {
  readonly #listeners: Deno.Listener[] = [];
  readonly #conns = new Set<Deno.Conn>();

  tls({ cert, key }: { cert: string; key: string }, hostname = "127.0.0.1"): number {
    const listener = Deno.listenTls({ hostname, port: 0, cert, key });
    this.#serve(listener, async (conn) => void await (conn as Deno.TlsConn).handshake());
    return listener.addr.port;
  }

  /** Says this once something has come, then closes. */
  tcp(text: string, hostname = "127.0.0.1"): number {
    const listener = Deno.listen({ hostname, port: 0 });
    this.#serve(listener, async (conn) => {
      await conn.read(new Uint8Array(1000));
      if (text !== "") await conn.write(new TextEncoder().encode(text));
      conn.close();
      this.#conns.delete(conn);
    });
    return listener.addr.port;
  }

  #serve(listener: Deno.Listener, greet: (conn: Deno.Conn) => Promise<void>): void {
    this.#listeners.push(listener);
    (async () => {
      for await (const conn of listener) {
        this.#conns.add(conn);
        greet(conn).catch(() => {}); // What the client does not like.
      }
    })();
  }

  [Symbol.dispose](): void {
    for (const one of [...this.#listeners, ...this.#conns]) one.close();
  }
}

/** A certificate that is none, however it looks. */
function junk(content: string): string {
  return `-----BEGIN CERTIFICATE-----\n${content}\n-----END CERTIFICATE-----\n`;
}

const TRUST = /is not trusted.*as the option tls\.caCerts/;

function casesFor(servers: Servers, folder: string): Readonly<Record<string, Case>> {
  const signed = servers.tls(SIGNED, "0.0.0.0");
  const self = servers.tls(SELF_SIGNED);
  const plain = servers.tcp("");
  const at = (port: number, scheme = "tls", host = "127.0.0.1") => `${scheme}://${host}:${port}`;
  const wrong = (name: string, trusted = true) => ({
    address: at(servers.tls(WRONG[name]!)),
    caCerts: trusted ? [WRONG[name]!.ca] : [],
  });
  return {
    "one that an authority vouches for": { address: at(signed), caCerts: [SIGNED.ca] },
    "one that an authority vouches for, by its name": {
      address: at(signed, "tls", "localhost"),
      caCerts: [SIGNED.ca],
    },
    "one among others": { address: at(self), caCerts: [SIGNED.ca + "\n" + SELF_SIGNED.ca] },
    "nobody vouches for it": { address: at(signed), fails: ["AuthError", "untrusted", TRUST] },
    "somebody else vouches for it": {
      address: at(signed),
      caCerts: [SELF_SIGNED.ca],
      fails: ["AuthError", "untrusted", TRUST],
    },
    "it vouches for itself": { address: at(self), fails: ["AuthError", "untrusted", TRUST] },
    "it is for another name": {
      address: at(signed, "tls", "127.0.0.2"),
      caCerts: [SIGNED.ca],
      fails: ["AuthError", "other name", /is for another name.*localhost|127\.0\.0\.1, ::1/],
    },
    "it has expired": {
      ...wrong("expired"),
      fails: ["AuthError", "expired", /has expired.*clock/],
    },
    "it is not valid yet": {
      ...wrong("future"),
      fails: ["AuthError", "not yet valid", /is not valid yet.*clocks/],
    },
    "it is an authority's": {
      ...wrong("authority"),
      fails: ["AuthError", "other use", /that of an authority.*CA:FALSE/],
      // OpenSSL takes it for what is trusted, which it is.
      but: { "Node 22": null, "Node 24": null, "Bun": null },
    },
    "it is a client's": {
      ...wrong("client"),
      fails: ["AuthError", "other use", /not one for a server.*serverAuth/],
    },
    "who answers does not speak TLS": {
      address: at(servers.tcp("HTTP/1.1 400 Bad Request\r\n\r\n")),
      fails: ["ProtocolError", null, /does not speak TLS \([^:]*\); if it is a broker, use tcp:/],
    },
    "who answers closes before TLS": {
      address: at(plain),
      fails: ["ConnectionLostError", null, /closed the connection before TLS began/],
    },
    "what is to be trusted is no certificate": {
      address: at(self),
      caCerts: [SELF_SIGNED.ca, junk("AAAA")],
      fails: ["TypeError", null, /a certificate to trust cannot be used/],
    },
    "what is to be trusted is not even base64": {
      address: at(self),
      caCerts: [SELF_SIGNED.ca, junk("!")],
      fails: ["TypeError", null, /a certificate to trust cannot be used/],
    },
    "what is to be trusted has no end": {
      address: at(self),
      caCerts: ["-----BEGIN CERTIFICATE-----\nAAAA"],
      fails: ["TypeError", null, /a certificate to trust cannot be used/],
    },
    "nobody listens there": {
      address: at(1, "tcp"),
      fails: [
        "ConnectionLostError",
        null,
        /tcp:\/\/127\.0\.0\.1:1: no broker answers \(.*refused/i,
      ],
    },
    "nobody listens there with TLS": {
      address: at(1),
      fails: ["ConnectionLostError", null, /no broker answers \(.*refused/i],
    },
    "nobody knows the host": {
      address: "tcp://no.such.invalid:1",
      fails: ["ConnectionLostError", null, /no broker answers \(.*(ENOTFOUND|lookup)/],
    },
    "there is no socket": {
      address: `unix://${folder}/none.sock`,
      fails: ["ConnectionLostError", null, /no broker answers \(.*no such file|ENOENT/i],
    },
    "it is a file, and no socket": {
      address: `unix://${folder}/main.mjs`,
      fails: ["ConnectionLostError", null, /no broker answers \(.*refused/i],
    },
    "the path is too long for a socket": {
      address: `unix:///${"x".repeat(108)}`,
      fails: ["RangeError", null, /more than 10\d bytes/],
    },
  };
}

/** What one attempt gave: nothing, or the error. */
type Outcome = null | readonly [name: string, certificate: string | null, message: string];

/** Tries all; it is also run elsewhere, so it uses only what it is given. */
async function tryCases(
  connect: (address: string, caCerts?: readonly string[]) => Promise<{ close(): void }>,
  cases: readonly (readonly [address: string, caCerts: readonly string[]])[],
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const [address, caCerts] of cases) {
    try {
      (await connect(address, caCerts)).close();
      outcomes.push(null);
    } catch (error) {
      const { name, certificate = null, message } = error as Error & { certificate?: string };
      outcomes.push([name, certificate, message]);
    }
  }
  return outcomes;
}

function check(runtime: string, cases: Readonly<Record<string, Case>>, outcomes: Outcome[]): void {
  for (const [i, [what, { address, fails, but }]] of Object.entries(cases).entries()) {
    const outcome = outcomes[i]!;
    if (fails === undefined || but?.[runtime] === null) {
      assertEquals(outcome, null, what);
      continue;
    }
    const [name, certificate, says] = fails;
    assertEquals(outcome?.slice(0, 2), [name, certificate], `${what}: ${outcome?.[2]}`);
    assertMatch(outcome![2], says, what);
    if (name !== "RangeError" && name !== "TypeError") {
      assertEquals(outcome![2].startsWith(`Cannot connect to ${address}: `), true, outcome![2]);
    }
  }
}

const argsOf = (cases: Readonly<Record<string, Case>>) =>
  Object.values(cases).map(({ address, caCerts = [] }) => [address, caCerts] as const);

const NEVER = new AbortController().signal;

// Deno 2.6 leaves something of a signal where a host is not known.
const sanitizeResources = !Deno.version.deno.startsWith("2.6.");
Deno.test("dial says why there is no connection", { sanitizeResources }, async () => {
  await using folder = await TempFolder.make();
  await Deno.writeTextFile(`${folder.path}/main.mjs`, "");
  using servers = new Servers();
  const cases = casesFor(servers, folder.path);
  const connect = (address: string, caCerts?: readonly string[]) => dial(address, NEVER, caCerts);
  check("Deno", cases, await tryCases(connect, argsOf(cases)));
});

const DIAL = `
  import { dial } from "${ROOT}io/dial.ts";
  const never = new AbortController().signal;
  const connect = (address, caCerts) => dial(address, never, caCerts);
  const tryCases = ${tryCases};
`;

for (const { name, note, run } of RUNTIMES.filter(({ hasFiles }) => hasFiles)) {
  const options = { ignore: note !== "" };
  const runIn = async (folder: string, script: string, runOptions = {}) => {
    await Deno.writeTextFile(`${folder}/main.mjs`, DIAL + script);
    return JSON.parse(await run(folder, "main.mjs", runOptions));
  };
  // What trusts everybody must not be obeyed.
  for (const env of [{}, { NODE_TLS_REJECT_UNAUTHORIZED: "0", NODE_NO_WARNINGS: "1" }]) {
    const which = "NODE_NO_WARNINGS" in env ? ", though told to trust everybody" : "";
    Deno.test(
      `dial says in ${name} why there is no connection${which}${note}`,
      options,
      async () => {
        await using folder = await TempFolder.make();
        using servers = new Servers();
        const cases = casesFor(servers, folder.path);
        const script = `console.log(JSON.stringify(await tryCases(connect, ${
          JSON.stringify(argsOf(cases))
        })));`;
        check(name, cases, await runIn(folder.path, script, { env }));
      },
    );
  }

  Deno.test(
    `dial trusts in ${name} what the system does besides what it is given${note}`,
    options,
    async () => {
      await using folder = await TempFolder.make();
      using servers = new Servers();
      const cases = [SIGNED, SELF_SIGNED].map((tls) =>
        [`tls://127.0.0.1:${servers.tls(tls)}`, [SELF_SIGNED.ca]] as const
      );
      const script = `console.log(JSON.stringify(await tryCases(connect, ${
        JSON.stringify(cases)
      })))`;
      assertEquals(await runIn(folder.path, script, { ca: pathOf("ca.pem") }), [null, null]);
    },
  );

  Deno.test(
    `dial tries in ${name} all addresses that a name stands for${note}`,
    options,
    async () => {
      await using folder = await TempFolder.make();
      using servers = new Servers();
      const cases = [servers.tcp(""), 1].map((port) => [`tcp://both.invalid:${port}`, []]);
      const script = `
      import dns from "node:dns";
      const both = [{ address: "::1", family: 6 }, { address: "127.0.0.1", family: 4 }];
      dns.lookup = (name, options, found) => {
        if (options.all) found(null, both);
        else found(null, both[0].address, 6);
      };
      console.log(JSON.stringify(await tryCases(connect, ${JSON.stringify(cases)})));`;
      const [connected, refused] = await runIn(folder.path, script);
      assertEquals(connected, null);
      assertMatch(refused[2], /both\.invalid:1: no broker answers \(.*ECONNREFUSED/);
    },
  );
}

Deno.test("dial says in Node and Bun on Windows that there are no Unix sockets", async () => {
  const windows = {
    platform: "win32",
    getBuiltinModule: () => ({}),
  } as unknown as NodeProcess;
  const error = await assertRejects(
    () => node(windows)!.connect(parseAddress("unix:///run/bus.sock"), NEVER, []),
    DOMException,
    "Cannot connect to unix:///run/bus.sock: Node and Bun have no Unix sockets on Windows",
  );
  assertEquals(error.name, "NotSupportedError");
});

for (
  const [what, certificate, name, says] of [
    ["for another name", { subjectaltname: "DNS:other.example" }, "AuthError", "for another name"],
    ["that did not come", undefined, "ConnectionLostError", "no certificate came"],
  ] as const
) {
  Deno.test(`a client of Node and Bun refuses a certificate ${what}, although TLS takes it`, async () => {
    using servers = new Servers();
    // TLS as versions of Bun before 1.4 have it for IP addresses.
    const tls = {
      rootCertificates: [],
      checkServerIdentity: checkServerIdentity as (...args: unknown[]) => unknown,
      connect({ socket }: { socket: EventEmitter }) {
        queueMicrotask(() => socket.emit("secureConnect"));
        return Object.assign(socket, { getPeerCertificate: () => certificate });
      },
    };
    const real = nodeProcess() as NodeProcess;
    const runtime = node({
      ...real,
      getBuiltinModule: (name) => name === "node:tls" ? tls : real.getBuiltinModule!(name),
    })!;
    const endpoint = parseAddress(`tls://127.0.0.1:${servers.tcp("")}`);
    const error = await assertRejects(
      () => runtime.connect(endpoint, NEVER, []),
      Error,
      says,
    );
    assertEquals(error.name, name);
  });
}
