/** As whom a broker joins NATS, and over TLS. */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { nkeys } from "@nats-io/nats-core";
import { NatsUplink } from "../nats.ts";
import { NatsServer } from "../tools/harness/nats_server.ts";
import { Machine, Machines } from "./helpers/machines.ts";
import { natsTest } from "./helpers/nats.ts";
import { pathOf, SIGNED } from "./helpers/tls.ts";
import { until } from "../tools/harness/until.ts";

type KeyPair = ReturnType<typeof nkeys.createUser>;

/** A token about `subject` that `issuer` has signed. */
function signed(
  issuer: KeyPair,
  subject: string,
  type: "operator" | "account" | "user",
  claims: { nats?: object; exp?: number } = {},
): string {
  const { nats, ...times } = claims;
  const part = (value: object) => encode(new TextEncoder().encode(JSON.stringify(value)));
  const encode = (bytes: Uint8Array) =>
    bytes.toBase64({ alphabet: "base64url", omitPadding: true });
  const text = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${
    part({
      jti: crypto.randomUUID(),
      iat: Math.floor(Date.now() / 1000),
      iss: issuer.getPublicKey(),
      name: type,
      sub: subject,
      nats: { ...nats, type, version: 2 },
      ...times,
    })
  }`;
  return `${text}.${encode(issuer.sign(new TextEncoder().encode(text)))}`;
}

/** What a credentials file holds, as `nsc generate creds` writes it. */
function credentialsOf(jwt: string, user: KeyPair): string {
  return `-----BEGIN NATS USER JWT-----
${jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
${new TextDecoder().decode(user.getSeed())}
------END USER NKEY SEED------

*************************************************************
`;
}

/** Limits that are none; without them an account may do nothing. */
const LIMITS = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, conn: -1, leaf: -1 };
const STREAM_LIMITS = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };

/** An operator with an account, and the configuration of a server that trusts it. */
class Realm implements AsyncDisposable {
  readonly config: string;
  readonly #account = nkeys.createAccount();
  readonly #path: string;

  private constructor(path: string) {
    const operator = nkeys.createOperator();
    const id = this.#account.getPublicKey();
    const system = nkeys.createAccount().getPublicKey();
    const account = (id: string, limits: object) =>
      signed(operator, id, "account", { nats: { limits: { ...LIMITS, ...limits } } });
    this.#path = path;
    Deno.writeTextFileSync(path, signed(operator, operator.getPublicKey(), "operator"));
    this.config = `operator: "${path}"
system_account: ${system}
resolver: MEMORY
resolver_preload: { ${id}: ${account(id, STREAM_LIMITS)}, ${system}: ${account(system, {})} }`;
  }

  static async make(): Promise<Realm> {
    return new Realm(await Deno.makeTempFile({ suffix: ".jwt" }));
  }

  /** The credentials of a new user. */
  user(claims: { nats?: object; exp?: number } = {}): string {
    const user = nkeys.createUser();
    const nats = { subs: -1, data: -1, payload: -1, ...claims.nats };
    return credentialsOf(
      signed(this.#account, user.getPublicKey(), "user", { ...claims, nats }),
      user,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#path);
  }
}

for (const [mode, stream] of [["core", undefined], ["stream", "BUS"]] as const) {
  natsTest(`Brokers with credentials of one account pass messages in ${mode} mode`, async () => {
    await using realm = await Realm.make();
    await using server = await NatsServer.start({ jetstream: true, config: realm.config });
    const servers = server.url;
    const uplink = { servers, ...(stream !== undefined && { stream }) };
    await using machines = await Machines.start([
      { uplink: { ...uplink, credentials: realm.user() } },
      { uplink: { ...uplink, credentials: new TextEncoder().encode(realm.user()) } },
    ]);
    await machines.subscriber("one", 1, [["a"]]);
    const publish = await machines.publisher("publisher", 0);
    publish(["a"]);
    await until(() => machines.seen.one!.length === 1);
    assertEquals(machines.faults(), []);
  });
}

natsTest("NatsUplink goes on trying when NATS does not know its credentials", async () => {
  await using realm = await Realm.make();
  await using elsewhere = await Realm.make();
  await using server = await NatsServer.start({ config: realm.config });
  const machine = new Machine({
    uplink: { servers: server.url, credentials: elsewhere.user() },
  });
  await machine.broker.start();
  await until(() => machine.events.length > 0);
  assertMatch(machine.events[0]!, /^unreachable: Cannot connect to NATS at 127.*uthorization/);
  const alice = await machine.client();
  const got: unknown[] = [];
  alice.addSubscriber("a", (_topic, { n }) => got.push(n));
  await alice.flush();
  alice.publish("a", { n: 1 });
  await until(() => got.length === 1);
  assertEquals(machine.uplink.state, "connecting");
  await machine.stop();
});

natsTest("NatsUplink goes on trying when its credentials are no longer valid", async () => {
  await using realm = await Realm.make();
  await using server = await NatsServer.start({ config: realm.config });
  const credentials = realm.user({ exp: Math.floor(Date.now() / 1000) + 2 });
  const machine = new Machine({ uplink: { servers: server.url, credentials } });
  await machine.broker.start();
  await until(() => machine.events.some((event) => event.startsWith("unreachable")));
  const events = machine.events.map((event) => event.replaceAll(/127\.0\.0\.1:\d+/g, "NATS"));
  assertEquals(events.slice(0, 3), [
    "connected: Connected to NATS at NATS, bus default",
    "warning: NATS refuses something: User Authentication Expired",
    "disconnected: The connection to NATS at NATS is lost: User Authentication Expired",
  ]);
  const last = events.find((event) => event.startsWith("unreachable"))!;
  assertMatch(last, /NATS: (User Authentication Expired|Authorization Violation)$/);
  await machine.stop();
});

natsTest("NatsUplink warns of what its credentials do not permit, and goes on", async () => {
  await using realm = await Realm.make();
  await using server = await NatsServer.start({ config: realm.config });
  const credentials = realm.user({ nats: { pub: { deny: ["mpubsub.default.m.>"] } } });
  await using machines = await Machines.start([
    { uplink: { servers: server.url, credentials } },
    { uplink: { servers: server.url, credentials: realm.user() } },
  ]);
  await machines.subscriber("here", 0, [["a"]]);
  await machines.subscriber("there", 1, [["a"]]);
  const [there, here] = [await machines.publisher("b", 1), await machines.publisher("a", 0)];
  here(["a"]);
  const [first] = machines.all;
  await until(() => first!.events.some((event) => event.startsWith("warning")));
  there(["a"]);
  await until(() => machines.seen.here!.length === 2);
  const warning = first!.events.find((event) => event.startsWith("warning"))!;
  assertMatch(warning, /^warning: NATS refuses something: Permissions Violation/);
  await until(() => machines.gaps.there!.length > 0); // And it is not lost in silence.
});

Deno.test("NatsUplink refuses credentials that are none, and shows nothing of them", async (t) => {
  const servers = "nats://127.0.0.1:4222";
  const user = nkeys.createUser();
  const [seed, id] = [new TextDecoder().decode(user.getSeed()), user.getPublicKey()];
  const good = credentialsOf(signed(nkeys.createAccount(), id, "user"), user);
  for (
    const [what, credentials] of [
      ["nothing", ""],
      ["garbage", "secret"],
      ["random bytes", crypto.getRandomValues(new Uint8Array(1000))],
      ["a seed alone", seed],
      ["a token alone", good.slice(0, good.indexOf("***"))],
      ["no seed where it should be", good.replace(seed, "secret")],
      [
        "a seed with a mistake",
        good.replace(seed, seed.slice(0, 20) + (seed[20] === "A" ? "B" : "A") + seed.slice(21)),
      ],
      ["a seed of small letters", good.replace(seed, seed.toLowerCase())],
      ["a public key instead of the seed", good.replace(seed, id)],
      ["a seed that is cut off", good.replace(seed, seed.slice(0, 30))],
    ] as const
  ) {
    await t.step(what, () => {
      const error = assertThrows(() => new NatsUplink({ servers, credentials }), TypeError);
      assertEquals(
        error.message,
        "Cannot use the credentials: they must be the content of a NATS credentials file, " +
          "a JWT and the seed of a key",
      );
      const shown = Deno.inspect(error);
      for (const secret of ["secret", seed, seed.slice(0, 20)]) {
        assert(!shown.includes(secret));
      }
    });
  }
});

Deno.test("NatsUplink takes credentials from Windows, and those whose last line does not end", () => {
  const user = nkeys.createUser();
  const good = credentialsOf(signed(nkeys.createAccount(), user.getPublicKey(), "user"), user);
  const short = good.slice(0, good.indexOf("\n\n****", good.indexOf("SEED-----\n")));
  assertStringIncludes(short, "END USER NKEY SEED------");
  for (const credentials of [good.replaceAll("\n", "\r\n"), short, `\ufeff${short}`]) {
    new NatsUplink({ servers: "nats://127.0.0.1:4222", credentials });
  }
});

for (
  const [how, config, user, wrong] of [
    [
      "a user and a password",
      `authorization { user: u, password: "p@:/" }`,
      "u:p%40%3A%2F@",
      "u:x@",
    ],
    ["a token", `authorization { token: "t/t" }`, "t%2Ft@", "x@"],
  ] as const
) {
  natsTest(
    `NatsUplink authenticates with ${how}, and goes on trying when that is wrong`,
    async () => {
      await using server = await NatsServer.start({ config });
      const at = (user: string) => ({ uplink: { servers: server.url.replace("//", `//${user}`) } });
      await using machines = await Machines.start([at(user), at(user)]);
      await machines.subscriber("one", 1, [["a"]]);
      const publish = await machines.publisher("publisher", 0);
      publish(["a"]);
      await until(() => machines.seen.one!.length === 1);
      const stranger = new Machine(at(wrong));
      await stranger.broker.start();
      await until(() => stranger.events.length > 0);
      assertMatch(stranger.events[0]!, /^unreachable: Cannot connect to NATS at 127.*uthorization/);
      await stranger.stop();
    },
  );
}

natsTest("NatsUplink speaks TLS with a server whose certificate it is told to trust", async () => {
  const [cert, key] = [pathOf("cert.pem"), pathOf("key.pem")];
  await using server = await NatsServer.start({
    config: `tls { cert_file: ${JSON.stringify(cert)}, key_file: ${JSON.stringify(key)} }`,
  });
  const servers = server.url.replace("nats:", "tls:").replace("127.0.0.1", "localhost");
  const one = { uplink: { servers, tls: { caCerts: [SIGNED.ca] } } };
  await using machines = await Machines.start([one, one]);
  await machines.subscriber("one", 1, [["a"]]);
  const publish = await machines.publisher("publisher", 0);
  publish(["a"]);
  await until(() => machines.seen.one!.length === 1);
  const stranger = new Machine({ uplink: { servers } });
  await stranger.broker.start();
  await until(() => stranger.events.length > 0);
  assertMatch(
    stranger.events[0]!,
    /^unreachable: Cannot connect to NATS at localhost.*certificate/i,
  );
  await stranger.stop();
});
