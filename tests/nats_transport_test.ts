/** The connections of NATS's client: over servers that do what they should not, and real ones. */
import { assert, assertEquals, assertInstanceOf, assertMatch, assertRejects } from "@std/assert";
import { delay } from "@std/async/delay";
import type { ConnectionOptions } from "@nats-io/nats-core";
import { hash } from "../base/bytes.ts";
import { connect } from "../nats/transport.ts";
import { Proxy } from "../testing.ts";
import { NatsServer } from "../tools/harness/nats_server.ts";
import { connected, natsTest } from "./helpers/nats.ts";
import { randomOf } from "../tools/harness/random.ts";
import { pathOf, SELF_SIGNED, SIGNED } from "./helpers/tls.ts";
import { until } from "../tools/harness/until.ts";

/** For how long a server that answers is waited for: the machine may be busy. */
const PATIENCE_MS = 20_000;
/** The same where another one says nothing, which takes as long. */
const SILENCE_MS = 2000;
const INFO = { server_id: "ID", version: "2.9.10", proto: 1, headers: true, max_payload: 1048576 };

/** What a server says first. */
function info(more: Record<string, unknown> = {}): string {
  return `INFO ${JSON.stringify({ ...INFO, ...more })}\r\n`;
}

/** One connection of a server that is not NATS. */
interface Visit {
  say(text: string): Promise<void>;
  /** Resolves when the client has said that; with all that it has said. */
  hear(text: string): Promise<string>;
  /** Takes so many bytes, or all until the client is gone; how many there were. */
  take(count: number): Promise<number>;
  /** Resolves when the client is gone. */
  left(): Promise<void>;
  /** Ends the connection in order; with something unread the system resets it. */
  close(): void;
}

/** A server that answers each connection as told; closes it afterwards. */
class Impostor implements AsyncDisposable {
  visits = 0;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #visits = new Set<Promise<void>>();
  readonly #open = new Set<Deno.TcpConn>();
  readonly #accepting: Promise<void>;

  constructor(receive: (visit: Visit, number: number) => Promise<void> | void) {
    this.#accepting = (async () => {
      for await (const conn of this.#listener) {
        const visit = this.#receive(conn, receive, this.visits++);
        this.#visits.add(visit);
        visit.then(() => this.#visits.delete(visit));
      }
    })();
  }

  get server(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  async #receive(
    conn: Deno.TcpConn,
    receive: (visit: Visit, number: number) => Promise<void> | void,
    number: number,
  ): Promise<void> {
    this.#open.add(conn);
    const bytes = new Uint8Array(64);
    let heard = "";
    const read = async () => {
      const count = await conn.read(bytes);
      if (count !== null) heard += new TextDecoder().decode(bytes.subarray(0, count));
      return count !== null;
    };
    try {
      await receive({
        say: async (text) => {
          const said = new TextEncoder().encode(text);
          for (let at = 0; at < said.length;) at += await conn.write(said.subarray(at));
        },
        hear: async (text) => {
          while (!heard.includes(text) && await read());
          return heard;
        },
        take: async (limit) => {
          const into = new Uint8Array(64 * 1024);
          let taken = 0;
          while (taken < limit) {
            const count = await conn.read(into);
            if (count === null) break;
            taken += count;
          }
          return taken;
        },
        left: async () => {
          while (await read());
        },
        close: () => this.#close(conn),
      }, number);
    } catch (error) { // The client is gone, or this is disposed of.
      const isExpected = error instanceof Deno.errors.ConnectionReset ||
        error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.BadResource ||
        error instanceof Deno.errors.Interrupted;
      if (!isExpected) throw error;
    }
    this.#close(conn);
  }

  #close(conn: Deno.TcpConn): void {
    if (this.#open.delete(conn)) conn.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    for (const conn of this.#open) this.#close(conn);
    await Promise.all(this.#visits);
  }
}

/** The options of an uplink, with less patience. */
function options(
  servers: string | readonly string[],
  more: ConnectionOptions = {},
): ConnectionOptions {
  return {
    servers: typeof servers === "string" ? servers : [...servers],
    noEcho: true,
    noRandomize: true,
    reconnect: false,
    timeout: PATIENCE_MS,
    ...more,
  };
}

/** An address where nobody listens. */
function nowhere(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return `127.0.0.1:${listener.addr.port}`;
}

/** The bytes of a message, other ones for each number. */
function payload(size: number, number: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(size / 4));
  for (let i = 0, word = number + 1; i < words.length; i++) {
    word = Math.imul(word, 0x9e3779b1) + i | 0;
    words[i] = word;
  }
  return new Uint8Array(words.buffer, 0, size);
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** A real server, as an address without a protocol. */
function hostOf(server: NatsServer): string {
  return server.url.replace("nats://", "");
}

for (
  const [what, receive, timeout = PATIENCE_MS] of [
    ["closes at once", () => {}],
    ["closes after it has introduced itself", (visit) => visit.say(info())],
    ["resets the connection", async (visit) => {
      await visit.say(info());
      await visit.hear("CONNECT");
    }],
    ["refuses the user", async (visit) => {
      await visit.say(info());
      await visit.hear("PING");
      await visit.say("-ERR 'Authorization Violation'\r\n");
    }],
    ["speaks another protocol", (visit) => visit.say("SSH-2.0-OpenSSH_9.2\r\n")],
    ["says no JSON", (visit) => visit.say("INFO {no}\r\n")],
    ["says nothing", (visit) => visit.left(), SILENCE_MS],
    ["says half of what it should", async (visit) => {
      await visit.say(info().slice(0, 40));
      await visit.left();
    }, SILENCE_MS],
    ["says garbage later", async (visit) => {
      await visit.say(`${info()}\0\0\0`);
      await visit.left();
    }],
    ["does not answer", async (visit) => {
      await visit.say(info());
      await visit.left();
    }, SILENCE_MS],
    ["knows others, and refuses", async (visit) => {
      await visit.say(info({ connect_urls: ["127.0.0.1:1", "127.0.0.1:2"] }));
      await visit.hear("PING");
      await visit.say("-ERR 'Authorization Violation'\r\n");
    }],
  ] as readonly [string, (visit: Visit) => Promise<void> | void, number?][]
) {
  natsTest(`connect goes on to the next server when the first ${what}`, async () => {
    await using server = await NatsServer.start();
    await using impostor = new Impostor(receive);
    const servers = [impostor.server, hostOf(server)];
    const connection = await connect(options(servers, { timeout }));
    assertEquals(connection.getServer(), hostOf(server));
    await connection.flush();
    assertEquals(connection.isClosed(), false);
    assertEquals(impostor.visits, 1);
    await connection.close();
  });
}

natsTest("connect goes on to the next server when nobody listens at the first", async () => {
  await using server = await NatsServer.start();
  const connection = await connect(options([nowhere(), hostOf(server)]));
  assertEquals(connection.getServer(), hostOf(server));
  await connection.flush();
  await connection.close();
});

for (
  const [what, message, receive] of [
    ["closes at once", /^the server closed the connection$/, () => {}],
    [
      "closes later",
      /^(connection refused|the server closed the connection)$/,
      (visit) => visit.say(info()),
    ],
    ["refuses the user", /Authorization Violation/, async (visit) => {
      await visit.say(info());
      await visit.hear("PING");
      await visit.say("-ERR 'Authorization Violation'\r\n");
    }],
    ["speaks another protocol", /^it is not a NATS server$/, (visit) => visit.say("SSH-2.0-x\r\n")],
    ["says no JSON", /^it is not a NATS server$/, (visit) => visit.say("INFO {no}\r\n")],
    [
      "says JSON that is no object",
      /^it is not a NATS server$/,
      (visit) => visit.say("INFO null\r\n"),
    ],
    ["says nothing", /^timeout$/, (visit) => visit.left()],
    ["says half of what it should", /^timeout$/, async (visit) => {
      await visit.say(info().slice(0, 40));
      await visit.left();
    }],
    ["does not end its line", /^it is not a NATS server$/, async (visit) => {
      for (;;) await visit.say("INFO ".repeat(10_000));
    }],
    [
      "says garbage after its introduction",
      /^what the server sent could not be read$/,
      async (visit) => {
        await visit.say(`${info()}\0\0\0`);
        await visit.left();
      },
    ],
    ["says garbage later", /^what the server sent could not be read$/, async (visit) => {
      await visit.say(info());
      await visit.hear("PING");
      await visit.say("SSH-2.0-x\r\n");
      await visit.left();
    }],
    ["knows no noEcho", /noEcho/, (visit) => visit.say(info({ proto: 0 }))],
  ] as readonly [string, RegExp, (visit: Visit) => Promise<void> | void][]
) {
  Deno.test(`connect says what is wrong with a server that ${what}`, async () => {
    await using impostor = new Impostor(receive);
    const error = await assertRejects(() => connect(options(impostor.server, { timeout: 1000 })));
    assertInstanceOf(error, Error);
    assertMatch(error.message, message);
  });
}

Deno.test("connect survives servers that reset the connection after a wrong password", async () => {
  await using impostor = new Impostor(async (visit, number) => {
    await visit.say(info());
    await visit.hear("CONNECT"); // PING stays unread at times, so that the system resets.
    if (number % 2 === 0) await visit.say("-ERR 'Authorization Violation'\r\n");
  });
  for (let i = 0; i < 50; i++) {
    const error = await assertRejects(() =>
      connect(options(impostor.server, { user: "u", pass: "wrong" }))
    );
    assertInstanceOf(error, Error);
  }
  assertEquals(impostor.visits, 50);
});

natsTest("connect passes large messages of many sizes both ways as they are", async () => {
  await using server = await NatsServer.start();
  await using alice = await connected(server.url);
  await using bob = await connected(server.url);
  const sizes = [
    0,
    1,
    4095,
    4096,
    16_383,
    16_384,
    65_537,
    524_288,
    1_000_003,
    2 ** 20 - 1,
    2 ** 20,
  ];
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 32));
  const random = randomOf(seed);
  while (sizes.length < 60) sizes.push(random.int(2 ** random.int(21)));
  const pairs = [[alice.connection, bob.connection, "up"], [
    bob.connection,
    alice.connection,
    "down",
  ]] as const;
  const counts = { up: 0, down: 0 };
  const faults: string[] = [];
  for (const [, to, direction] of pairs) {
    to.subscribe(direction, {
      callback: (_error, { data }) => {
        const number = counts[direction]++;
        if (!isSame(data, payload(sizes[number]!, number))) faults.push(`${direction} ${number}`);
      },
    });
    await to.flush();
  }
  for (const [number, size] of sizes.entries()) {
    for (const [from, , direction] of pairs) from.publish(direction, payload(size, number));
    if (number % 7 === 0) await alice.connection.flush();
  }
  await until(() => counts.up === sizes.length && counts.down === sizes.length, 30_000);
  assertEquals(faults, [], `seed ${seed}`);
});

natsTest("NatsConnection.close sends what was published before", async () => {
  // The server may hold all of it for a client that reads late, on a busy machine.
  const config = 'max_payload: 16MB\nmax_pending: 256MB\nwrite_deadline: "60s"';
  await using server = await NatsServer.start({ config });
  await using bob = await connected(server.url);
  for (const size of [10, 1000, 100_000, 2 ** 20, 2 ** 24]) {
    for (const count of [1, 2, 10]) {
      let got = 0;
      const subject = `s.${size}.${count}`;
      bob.connection.subscribe(subject, { callback: () => void got++ });
      await bob.connection.flush();
      const connection = await connect(options(hostOf(server)));
      for (let i = 0; i < count; i++) connection.publish(subject, payload(size, i));
      await connection.close();
      await until(() => got === count);
    }
  }
});

Deno.test("NatsConnection.close waits for a server that takes a little now and then", async () => {
  const all = Promise.withResolvers<number>();
  await using impostor = new Impostor(async (visit) => {
    await visit.say(info());
    await visit.hear("PING");
    await visit.say("PONG\r\n");
    let taken = 0;
    for (let time = 0; time < 4; time++) {
      await delay(700);
      taken += await visit.take(2 ** 20);
    }
    all.resolve(taken + await visit.take(Infinity));
  });
  const connection = await connect(options(impostor.server));
  // More than the system holds for the server.
  for (let i = 0; i < 32; i++) connection.publish("a", payload(2 ** 20, i));
  await connection.close();
  assert(await all.promise > 32 * 2 ** 20);
});

Deno.test("NatsConnection.close does not wait for a server that takes nothing", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using impostor = new Impostor(async (visit) => {
    await visit.say(info());
    await visit.hear("PING");
    await visit.say("PONG\r\n");
    await promise;
  });
  const connection = await connect(options(impostor.server));
  for (let i = 0; i < 50; i++) connection.publish("a", payload(2 ** 20, i));
  await connection.close();
  resolve();
});

natsTest("NatsConnection.flush is answered whatever comes meanwhile", async () => {
  await using server = await NatsServer.start();
  await using alice = await connected(server.url);
  await using bob = await connected(server.url);
  const one = payload(100, 0);
  let heard = 0;
  bob.connection.subscribe("a", {
    callback: () => {
      heard++;
      bob.connection.publish("b", one);
    },
  });
  await bob.connection.flush();
  const flushed = { alice: 0, bob: 0 };
  const ping = async (who: "alice" | "bob") => {
    const { connection } = who === "alice" ? alice : bob;
    for (let i = 0; i < 1000; i++) {
      connection.publish("a", one);
      await connection.flush();
      flushed[who]++;
    }
  };
  await Promise.all([ping("alice"), ping("bob"), ping("bob"), ping("alice")]);
  assertEquals(flushed, { alice: 2000, bob: 2000 });
  await until(() => heard === 4000);
});

natsTest(
  "NatsConnection lets everything else have its turn while a server sends without end",
  async () => {
    const count = 10_000;
    await using server = new Impostor(async ({ say, hear, left }) => {
      await say(info());
      await hear("PING");
      await say("PONG\r\n");
      await hear("SUB a");
      await say(`MSG a 1 100\r\n${"x".repeat(100)}\r\n`.repeat(count));
      await left();
    });
    const nc = await connect(options(server.server));
    let [taken, turns] = [0, 0];
    const work = new Uint8Array(60_000);
    const others = setInterval(() => turns++, 0);
    nc.subscribe("a", {
      callback: () => {
        hash(work, 0, work.length); // Something is done with each.
        taken++;
      },
    });
    await until(() => taken === count);
    clearInterval(others);
    assert(turns >= 12, `${turns} turns for others`);
    await nc.close();
  },
);

natsTest(
  "connect reads what a server says first wherever it is cut, and no more than that may be",
  async () => {
    await using server = new Impostor(async ({ say, left }, number) => {
      if (number > 0) return await say("INFO ".padEnd(70_000, "x"));
      for (const letter of info()) await say(letter);
      await left();
    });
    const waiting = connect(options(server.server, { timeout: 300 }));
    await assertRejects(() => waiting, Error, "timeout"); // It was read, and PING is not answered.
    await assertRejects(() => connect(options(server.server)), Error, "it is not a NATS server");
  },
);

natsTest("NatsConnection notices that nothing passes any more", async () => {
  await using server = await NatsServer.start();
  for (const isWriting of [false, true]) {
    await using proxy = new Proxy({
      target: ["127.0.0.1", server.port],
      address: "tcp://127.0.0.1:0",
    });
    await proxy.start();
    const patience = { pingInterval: 100, maxPingOut: 1 };
    const connection = await connect(options(proxy.address.replace("tcp://", ""), patience));
    await connection.flush();
    proxy.freeze(60_000);
    if (isWriting) { for (let i = 0; i < 50; i++) connection.publish("a", payload(2 ** 20, i)); }
    const start = performance.now();
    await connection.closed();
    assert(performance.now() - start < 5000);
  }
});

/** The configuration of a server with TLS. */
const TLS = `tls { cert_file: "${pathOf("cert.pem")}", key_file: "${pathOf("key.pem")}" }`;

natsTest("connect begins TLS where the server requires it, whatever it was told", async () => {
  await using server = await NatsServer.start({ config: TLS });
  const error = await assertRejects(() => connect(options(hostOf(server))), Error);
  assertMatch(error.message, /certificate/);
  const connection = await connect(options(hostOf(server), { tls: { ca: SIGNED.ca } }));
  await connection.flush();
  await connection.close();
  const other = await assertRejects(
    () => connect(options(hostOf(server), { tls: { ca: SELF_SIGNED.ca } })),
    Error,
  );
  assertMatch(other.message, /certificate/);
});

natsTest("connect says that a server has no TLS when it was told to use it", async () => {
  await using server = await NatsServer.start();
  await assertRejects(
    () => connect(options(hostOf(server), { tls: {} })),
    Error,
    "server does not support 'tls'",
  );
});

for (
  const [what, message, receive] of [
    [
      "goes on before it",
      /^the server goes on before TLS has begun$/,
      (visit) => visit.say(`${info({ tls_required: true })}+OK\r\n`),
    ],
    [
      "closes instead",
      /^unexpected end of file$/,
      (visit) => visit.say(info({ tls_required: true })),
    ],
    ["says garbage instead", /^received corrupt message/, async (visit) => {
      await visit.say(info({ tls_required: true }));
      await visit.hear("\x16");
      await visit.say("garbage ".repeat(100));
      await visit.left();
    }],
    ["says nothing instead", /^timeout$/, async (visit) => {
      await visit.say(info({ tls_required: true }));
      await visit.left();
    }],
  ] as readonly [string, RegExp, (visit: Visit) => Promise<void> | void][]
) {
  Deno.test(`connect does not take a server that requires TLS and ${what}`, async () => {
    await using impostor = new Impostor(receive);
    const error = await assertRejects(
      () => connect(options(impostor.server, { timeout: 1000, tls: { ca: SIGNED.ca } })),
      Error,
    );
    assertMatch(error.message, message);
  });
}

natsTest("connect passes large messages through TLS as they are", async () => {
  await using server = await NatsServer.start({ config: TLS });
  const secure = options(hostOf(server), { tls: { ca: SIGNED.ca } });
  const [alice, bob] = await Promise.all([connect(secure), connect(secure)]);
  let [got, faults] = [0, 0];
  bob.subscribe("a", {
    callback: (_error, { data }) => {
      if (!isSame(data, payload(2 ** 20 - got, got))) faults++;
      got++;
    },
  });
  await bob.flush();
  for (let i = 0; i < 12; i++) alice.publish("a", payload(2 ** 20 - i, i));
  await alice.flush();
  await alice.close();
  await until(() => got === 12);
  assertEquals(faults, 0);
  await bob.close();
});
