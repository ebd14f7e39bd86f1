import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  CHALLENGE_HEAD_BYTES,
  CHALLENGE_TAIL_BYTES,
  ClientHandshake,
  HELLO_HEAD_BYTES,
  keyBytes,
  PROOF_BYTES,
  Refusal,
} from "../protocol/handshake.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import {
  authenticateClient,
  authenticateToBroker,
  type Authentication,
} from "../protocol/authenticate.ts";
import { sealed } from "../protocol/create_ticket.ts";
import { TICKET_SKEW_MS } from "../protocol/ticket.ts";
import type { ByteStream } from "../protocol/link.ts";
import { fromBase64 } from "../base/base64.ts";
import { writeAll } from "../base/bytes.ts";
import { streamPair } from "../tools/harness/memory_streams.ts";

const KEY = keyBytes("secret");
const LONG_KEY = keyBytes("a secret of 20 bytes");
const OTHER_KEY = keyBytes("another of 20 bytes.");
const ANN = { bytes: KEY };
const BROKER_ID = Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i);

function authenticationOf(
  options: Partial<Authentication<typeof ANN>> = {},
): Authentication<typeof ANN> {
  const keyOf = (name: string) => name === "ann" ? ANN : undefined;
  const delay = () => Promise.resolve();
  return { brokerId: BROKER_ID, keyOf, isBusy: () => false, delay, ...options };
}

/** What becomes of both sides of a handshake; a side that fails closes. */
async function authenticate(
  client: ByteStream,
  broker: ByteStream,
  authentication = authenticationOf(),
  key = KEY,
) {
  const [atClient, atBroker] = await Promise.allSettled([
    authenticateToBroker(client, key, "ann").catch(closing(client)),
    authenticateClient(broker, authentication).catch(closing(broker)),
  ]);
  return { atClient, atBroker };
}

function closing(stream: ByteStream): (error: unknown) => never {
  return (error) => {
    stream.close();
    throw error;
  };
}

/** A stream whose direction out ends after so many bytes, whatever is written. */
function cutAfter(stream: ByteStream, count: number): ByteStream {
  let left = count;
  return {
    read: (into) => stream.read(into),
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
    async write(bytes) {
      const part = bytes.subarray(0, left);
      left -= part.length;
      await writeAll(stream, part);
      if (left === 0) await stream.closeWrite();
      return bytes.length;
    },
  };
}

function reasonOf(result: PromiseSettledResult<unknown>): unknown {
  return result.status === "rejected" ? result.reason : "it succeeded";
}

Deno.test("authenticateToBroker and authenticateClient agree wherever their streams are split", async () => {
  for (let readMax = 1; readMax <= 60; readMax++) {
    const { atClient, atBroker } = await authenticate(...streamPair(readMax));
    assertEquals(atClient, { status: "fulfilled", value: BROKER_ID }, `at most ${readMax} bytes`);
    assertEquals(
      atBroker,
      { status: "fulfilled", value: { key: ANN, ticket: undefined } },
      `at most ${readMax} bytes`,
    );
  }
});

Deno.test("authenticateToBroker and authenticateClient read nothing past the handshake", async () => {
  const [client, broker] = streamPair();
  await authenticate(client, broker);
  const into = new Uint8Array(10);
  const read = broker.read(into);
  await writeAll(client, Uint8Array.of(1, 2, 3));
  assertEquals([await read, ...into.subarray(0, 3)], [3, 1, 2, 3]);
});

Deno.test("authenticateToBroker and authenticateClient both tell that the keys differ", async () => {
  const { atClient, atBroker } = await authenticate(
    ...streamPair(),
    authenticationOf(),
    keyBytes("other"),
  );
  assertInstanceOf(reasonOf(atClient), AuthError);
  const reason = reasonOf(atBroker);
  assertInstanceOf(reason, AuthError);
  assertEquals(reason.keyName, "ann");
});

for (
  const [what, ms, key, delays, isExpired] of [
    ["at once that its ticket has expired to who proves that", 0, LONG_KEY, 0, true],
    ["late to who does not prove an expired ticket", 0, OTHER_KEY, 1, false],
    ["late to who does not prove a ticket", 1e6, OTHER_KEY, 1, false],
  ] as const
) {
  Deno.test(`authenticateClient tells ${what}`, async () => {
    const expires = Date.now() - TICKET_SKEW_MS + ms;
    const ticket = await sealed(key, { name: "ann", expires, for: undefined, narrow: {} });
    let count = 0;
    const authentication = authenticationOf({
      keyOf: () => ({ bytes: LONG_KEY }),
      delay: () => Promise.resolve(void count++),
    });
    const [client, broker] = streamPair();
    const { keyName, authkey } = ticket;
    const [atClient, atBroker] = await Promise.allSettled([
      authenticateToBroker(client, fromBase64(authkey), keyName).catch(closing(client)),
      authenticateClient(broker, authentication).catch(closing(broker)),
    ]);
    for (const error of [atClient, atBroker].map(reasonOf)) {
      assertInstanceOf(error, AuthError);
      assertEquals([error.expired, error.keyName], [isExpired, "ann"]);
    }
    assertEquals(count, delays);
  });
}

Deno.test("authenticateToBroker and authenticateClient both tell that the broker is busy", async () => {
  const { atClient, atBroker } = await authenticate(
    ...streamPair(),
    authenticationOf({ isBusy: () => true }),
  );
  for (const result of [atClient, atBroker]) {
    assertInstanceOf(reasonOf(result), ConnectionLostError);
  }
});

Deno.test("authenticateToBroker is lost when the broker ends after any byte", async () => {
  for (
    let count = 0;
    count < CHALLENGE_HEAD_BYTES + CHALLENGE_TAIL_BYTES + 1 + PROOF_BYTES;
    count++
  ) {
    const [client, broker] = streamPair();
    const { atClient } = await authenticate(client, cutAfter(broker, count));
    assertInstanceOf(reasonOf(atClient), ConnectionLostError, `after ${count} bytes`);
  }
});

Deno.test("authenticateClient is lost when the client ends after any byte", async () => {
  for (let count = 0; count < HELLO_HEAD_BYTES + "ann".length + PROOF_BYTES; count++) {
    const [client, broker] = streamPair();
    const { atBroker } = await authenticate(cutAfter(client, count), broker);
    assertInstanceOf(reasonOf(atBroker), ConnectionLostError, `after ${count} bytes`);
  }
});

Deno.test("authenticateClient refuses versions that it does not speak, even when it is busy", async () => {
  const [client, broker] = streamPair();
  const refused = assertRejects(
    () => authenticateClient(broker, authenticationOf({ isBusy: () => true })),
    ProtocolError,
    "versions 2 to 3",
  );
  const hello = new Uint8Array(new ClientHandshake(KEY, "ann").hello);
  hello.set([2, 3], 8);
  await writeAll(client, hello);
  const refusal = new Uint8Array(20);
  const count = await client.read(refusal);
  assertEquals([...refusal.subarray(8, count!)], [Refusal.VERSION, 1]);
  await refused;
});

Deno.test("authenticateClient answers nothing to what is not a hello", async () => {
  const [client, broker] = streamPair();
  const refused = assertRejects(
    () => authenticateClient(broker, authenticationOf()),
    ProtocolError,
    "mpubsub",
  );
  const http = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
  await writeAll(client, http.subarray(0, HELLO_HEAD_BYTES));
  await refused;
  broker.close();
  assertEquals(await client.read(new Uint8Array(1)), null);
});

Deno.test("authenticateToBroker sends no proof to what is not a broker", async () => {
  const [client, broker] = streamPair();
  const refused = assertRejects(
    () => authenticateToBroker(client, KEY, "ann"),
    ProtocolError,
    "not an mpubsub broker",
  );
  await broker.read(new Uint8Array(100));
  // It may say less than a broker does.
  await writeAll(broker, new TextEncoder().encode("-"));
  await refused;
  client.close();
  assertEquals(await broker.read(new Uint8Array(1)), null);
});
