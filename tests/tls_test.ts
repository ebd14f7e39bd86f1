/** Brokers and clients that speak TLS, and those that should. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { writeConnectionFile } from "../io/connection_file.ts";
import { AuthError, Broker, ConnectionLostError, NetPubSub, ProtocolError } from "../mod.ts";
import { ClientHandshake, keyBytes } from "../protocol/handshake.ts";
import { TempFolder } from "./helpers/folder.ts";
import { SELF_SIGNED, SIGNED, WRONG } from "./helpers/tls.ts";
import { Warnings } from "./helpers/warnings.ts";
import { dialBroker } from "../tools/harness/peer.ts";
import { until } from "../tools/harness/until.ts";

const ADDRESS = "tls://127.0.0.1:0";

async function started(tls = SIGNED, address = ADDRESS): Promise<Broker> {
  const broker = new Broker({ address, tls });
  await broker.start();
  return broker;
}

for (const [what, tls] of Object.entries({ "an authority": SIGNED, "itself": SELF_SIGNED })) {
  Deno.test(`NetPubSub passes messages over TLS, with a certificate that is signed by ${what}`, async () => {
    await using broker = await started(tls);
    assert(broker.address.startsWith("tls://127.0.0.1:"), broker.address);
    const options = { tls: { caCerts: [tls.ca] } };
    await using one = new NetPubSub(broker.address, broker.authkey, options);
    await using two = new NetPubSub(broker.address, broker.authkey, options);
    using subscription = two.subscribe("a");
    await Promise.all([one.connect(), two.connect()]);
    one.publish("a", { data: new Uint8Array(1_000_000) });
    one.publish("a", { n: 2 });
    const messages = subscription[Symbol.asyncIterator]();
    assertEquals(((await messages.next()).value!.message.data as Uint8Array).length, 1_000_000);
    assertEquals((await messages.next()).value!.message, { n: 2 });
  });
}

for (
  const [what, tls, caCerts, certificate, says] of [
    ["nobody vouches for", SIGNED, [], "untrusted", "as the option tls.caCerts"],
    ["somebody else vouches for", SIGNED, [SELF_SIGNED.ca], "untrusted", "not trusted"],
    [
      "has expired",
      WRONG.expired!,
      [WRONG.expired!.ca],
      "expired",
      "after 2021-01-01T00:00:00.000Z",
    ],
    ["is not valid yet", WRONG.future!, [WRONG.future!.ca], "not yet valid", "check the clocks"],
    ["is an authority's", WRONG.authority!, [], "other use", "basicConstraints=CA:FALSE"],
  ] as const
) {
  Deno.test(`NetPubSub.connect says what is wrong with a certificate that ${what}`, async () => {
    await using broker = await started(tls);
    const options = { tls: { caCerts: [...caCerts] }, onError() {} };
    await using bus = new NetPubSub(broker.address, broker.authkey, options);
    const error = await assertRejects(() => bus.connect(), AuthError, says);
    assertEquals([error.certificate, bus.state], [certificate, "disconnected"]);
    assertStringIncludes(error.message, broker.address);
  });
}

Deno.test("NetPubSub.connect rejects with AuthError when the certificate is for another name", async () => {
  await using broker = await started();
  const { port } = new URL(broker.address.replace("tls:", "http:"));
  const options = { tls: { caCerts: [SIGNED.ca] } };
  await using bus = new NetPubSub(`tls://127.0.0.2:${port}`, broker.authkey, options);
  // Nothing listens at 127.0.0.2, unless the broker listens everywhere.
  await assertRejects(() => bus.connect(), ConnectionLostError);
  await using everywhere = await started(SIGNED, "tls://0.0.0.0:0");
  const other = new URL(everywhere.address.replace("tls:", "http:")).port;
  await using lost = new NetPubSub(`tls://127.0.0.2:${other}`, everywhere.authkey, options);
  const error = await assertRejects(() => lost.connect(), AuthError, "for another name");
  assertEquals(error.certificate, "other name");
  assertStringIncludes(error.message, "localhost", "it says for which");
});

Deno.test("NetPubSub takes as caCerts nothing but certificates", async () => {
  const trusting = (caCerts: unknown) => () =>
    new NetPubSub("tls://127.0.0.1:1", "k", { tls: { caCerts: caCerts as string[] } });
  assertThrows(trusting(["ca.pem"]), TypeError, 'entry 0 is "ca.pem"; it must be the text');
  assertThrows(trusting([SIGNED.ca, 1]), TypeError, "entry 1 is number");
  assertThrows(trusting(SIGNED.ca), TypeError, "must be an array");
  await using broker = await started();
  for (const content of ["AAAA", "!"]) {
    const wrong = `-----BEGIN CERTIFICATE-----\n${content}\n-----END CERTIFICATE-----\n`;
    await using bus = new NetPubSub(broker.address, "k", { tls: { caCerts: [wrong] } });
    await assertRejects(() => bus.connect(), TypeError, "a certificate to trust cannot be used");
  }
});

/** Something that answers whatever comes with the same bytes, or closes. */
function answering(bytes: Uint8Array): AsyncDisposable & { readonly address: string } {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    for await (const conn of listener) {
      await conn.read(new Uint8Array(1000));
      if (bytes.length > 0) await conn.write(bytes);
      conn.close();
    }
  })();
  return {
    address: `tls://127.0.0.1:${listener.addr.port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

Deno.test("NetPubSub says that what answers does not speak TLS", async () => {
  await using http = answering(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await using bus = new NetPubSub(http.address, "k");
  const error = await assertRejects(() => bus.connect(), ProtocolError, "does not speak TLS");
  assertStringIncludes(error.message, http.address.replace("tls", "tcp"));
  await using silent = answering(new Uint8Array(0));
  await using other = new NetPubSub(silent.address, "k");
  await assertRejects(() => other.connect(), ConnectionLostError, "before TLS began");
});

Deno.test("NetPubSub and Broker prove the key to each other inside TLS all the same", async () => {
  await using broker = await started();
  const options = { tls: { caCerts: [SIGNED.ca] } };
  await using bus = new NetPubSub(broker.address, "another key", options);
  await assertRejects(() => bus.connect(), AuthError, "refused the key");
  assertEquals(broker.stats().refusals.key, 1);
});

Deno.test("NetPubSub says that a broker speaks TLS when its own address does not", async () => {
  await using broker = await started();
  await using bus = new NetPubSub(broker.address.replace("tls:", "tcp:"), broker.authkey);
  await assertRejects(() => bus.connect(), ProtocolError, "begins with tls://");
});

Deno.test("NetPubSub finds no broker where one does not speak TLS", async () => {
  await using broker = new Broker({ address: "tcp://127.0.0.1:0" });
  await broker.start();
  await using bus = new NetPubSub(broker.address.replace("tcp:", "tls:"), broker.authkey);
  const error = await assertRejects(() => bus.connect(), ConnectionLostError, "without TLS");
  assertStringIncludes(error.message, broker.address, "it says what to use instead");
  await until(() => broker.stats().refusals.protocol === 1);
});

Deno.test("Broker closes who says nothing, and who stops in the middle of TLS, after authTimeout", async () => {
  await using broker = new Broker({ address: ADDRESS, tls: SIGNED, authTimeout: 100 });
  await broker.start();
  for (const bytes of [[], [22, 3, 1, 2, 0, 1]]) {
    using conn = await dialBroker(broker);
    if (bytes.length > 0) await conn.write(Uint8Array.from(bytes));
    assertEquals(await conn.read(new Uint8Array(1)).catch(() => null), null);
  }
  assertEquals(broker.stats().refusals.timeout, 2);
});

Deno.test("Broker is not held up by those who begin TLS and say nothing", async () => {
  await using broker = await started();
  using silent = new DisposableStack();
  for (let i = 0; i < 20; i++) silent.use(await dialBroker(broker));
  const options = { tls: { caCerts: [SIGNED.ca] } };
  await using bus = new NetPubSub(broker.address, broker.authkey, options);
  await bus.connect();
});

/** A connection with TLS that sends nothing by itself. */
async function dialTls(broker: Broker): Promise<Deno.TlsConn> {
  const { port } = new URL(broker.address.replace("tls:", "http:"));
  const conn = await Deno.connectTls({
    hostname: "127.0.0.1",
    port: Number(port),
    caCerts: [SIGNED.ca],
  });
  await conn.handshake();
  return conn;
}

/** A program that takes a message over TLS, and ends without reading what else was sent to it. */
function subscriberThatDies(broker: Broker): Deno.ChildProcess {
  const net = new URL("../net.ts", import.meta.url).href;
  const code = `
    import { NetPubSub } from "${net}";
    const bus = new NetPubSub("${broker.address}", "secret", { tls: { caCerts: [Deno.args[0]] } });
    bus.addSubscriber("a", () => Deno.kill(Deno.pid, "SIGKILL"));
    await bus.connect();
    console.log("connected");
  `;
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--allow-all",
      `data:text/typescript,${encodeURIComponent(code)}`,
      SIGNED.ca,
    ],
    stdout: "piped",
  }).spawn();
}

Deno.test("Broker is not troubled by connections with TLS that are reset, before and while it refuses them", async () => {
  const errors: unknown[] = [];
  await using broker = new Broker({
    address: ADDRESS,
    tls: SIGNED,
    authTimeout: 300,
    limits: { halfOpen: 2 },
    onError: (error) => errors.push(error),
  });
  await broker.start();
  const hello = new ClientHandshake(keyBytes("wrong"), "").hello;
  for (const proof of [new Uint8Array(0), new Uint8Array(32)]) {
    const conn = await dialTls(broker);
    await conn.write(hello);
    if (proof.length > 0) await conn.write(proof);
    await until(() => broker.stats().connections > 0);
    // It has not read the challenge, so the system resets the connection.
    conn.close();
  }
  await until(() => broker.stats().connections === 0);
  const options = { tls: { caCerts: [SIGNED.ca] } };
  await using bus = new NetPubSub(broker.address, broker.authkey, options);
  await bus.connect();
  assertEquals(broker.stats().refused, 2);
  for (const error of errors) assert(!String(error).includes("Bad resource"), String(error));
});

Deno.test("Broker keeps the session of a client with TLS that lost its process, and nothing else of it", async () => {
  await using broker = new Broker({ address: ADDRESS, tls: SIGNED, authkey: "secret" });
  await broker.start();
  const program = subscriberThatDies(broker);
  const said = program.stdout.getReader();
  await said.read();
  const options = { tls: { caCerts: [SIGNED.ca] } };
  await using bus = new NetPubSub(broker.address, "secret", options);
  await bus.connect();
  for (let n = 0; n < 100; n++) bus.publish("a", { data: new Uint8Array(50_000) });
  await program.status;
  await said.cancel();
  await bus.flush();
  await until(() => broker.stats().detached === 1);
  assertEquals(broker.stats().connections, 1);
});

Deno.test("NetPubSub comes back over TLS when its broker was started again", async () => {
  await using first = await started();
  const { address, authkey } = first;
  await using bus = new NetPubSub(address, authkey, { tls: { caCerts: [SIGNED.ca] } });
  await bus.connect();
  await first.shutdown();
  await using second = new Broker({ address, authkey, tls: SIGNED });
  await second.start();
  await until(() => bus.state === "connected");
});

Deno.test("Broker needs a certificate for a tls:// address, and only for one", () => {
  assertThrows(() => new Broker({ address: ADDRESS }), TypeError, "give the certificate");
  for (const address of ["tcp://127.0.0.1:0", "unix:///tmp/x"]) {
    assertThrows(() => new Broker({ address, tls: SIGNED }), TypeError, "must begin with tls://");
  }
  assertThrows(() => new Broker({ tls: SIGNED }), TypeError, "must begin with tls://");
});

const NO_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

Deno.test("Broker.start rejects when its certificate is not a valid one", async () => {
  await using broker = new Broker({ address: ADDRESS, tls: { ...SIGNED, cert: NO_CERTIFICATE } });
  await assertRejects(() => broker.start(), Deno.errors.InvalidData, "Cannot use tls: ");
});

Deno.test("NetPubSub.fromFile trusts what the connection file vouches for", async () => {
  await using folder = await TempFolder.make();
  await using broker = await started();
  const { address, authkey } = broker;
  await writeConnectionFile(`${folder.path}/x`, { address, authkey, ca: SIGNED.ca }, {
    replace: false,
  });
  await using bus = await NetPubSub.fromFile(`${folder.path}/x`);
  await bus.connect();
});

Deno.test("Broker and NetPubSub warn, once each, of addresses beyond this machine without TLS", async () => {
  using warnings = new Warnings();
  await using broker = new Broker({ address: "tcp://0.0.0.0:0" });
  await broker.start();
  await using bus = new NetPubSub(broker.address, broker.authkey);
  await bus.connect();
  await bus.disconnect();
  await bus.connect();
  const { lines: said } = warnings;
  assertEquals(said.length, 2, said.join("\n"));
  assertStringIncludes(said[0]!, "Listening at tcp://0.0.0.0:");
  assertStringIncludes(said[1]!, "Connecting to tcp://0.0.0.0:");
  for (const line of said) assertStringIncludes(line, "without TLS");
});

Deno.test("Broker and NetPubSub do not warn of TLS, nor of this machine", async () => {
  using warnings = new Warnings();
  for (const address of ["tls://0.0.0.0:0", "tcp://127.0.0.1:0", "tcp://[::1]:0"]) {
    const tls = address.startsWith("tls") ? { tls: SIGNED } : {};
    await using broker = new Broker({ address, ...tls });
    await broker.start();
    const reached = broker.address.replace("0.0.0.0", "127.0.0.1");
    await using bus = new NetPubSub(reached, broker.authkey, { tls: { caCerts: [SIGNED.ca] } });
    await bus.connect();
  }
  assertEquals(warnings.lines, []);
});
