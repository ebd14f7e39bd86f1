import { assert, assertEquals } from "@std/assert";
import { fromBase64 } from "../base/base64.ts";
import { hmacOf, hmacSha256 } from "../base/hmac_sha256.ts";
import { createTicket } from "../protocol/create_ticket.ts";
import { BrokerHandshake, ClientHandshake, keyBytes } from "../protocol/handshake.ts";

async function expected(key: Uint8Array<ArrayBuffer>, data: Uint8Array<ArrayBuffer>) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, data));
}

function bytes(length: number, seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 167 + seed * 31 + (i >> 3)) & 255);
}

Deno.test("HMAC-SHA-256 without crypto.subtle equals that of crypto.subtle", async () => {
  for (let length = 0; length <= 300; length++) {
    const key = bytes(1 + length % 150, length);
    const data = bytes(length, length + 1);
    assertEquals(hmacSha256(key, data), await expected(key, data), `${length} bytes`);
  }
  for (const length of [63, 64, 65, 1000]) {
    const key = bytes(length, 7);
    const data = bytes(100_000, length);
    assertEquals(hmacSha256(key, data), await expected(key, data), `a key of ${length} bytes`);
  }
});

/** Runs something where there is no `crypto.subtle`, as in pages that came by http://. */
async function withoutSubtle<T>(run: () => Promise<T>): Promise<T> {
  Object.defineProperty(crypto, "subtle", { value: undefined, configurable: true });
  try {
    return await run();
  } finally {
    delete (crypto as { subtle?: unknown }).subtle;
  }
}

Deno.test("hmacOf signs alike with crypto.subtle and without it, and verifies what either has signed", async () => {
  const key = bytes(32, 1);
  const text = bytes(140, 2);
  const platform = await hmacOf(key);
  const script = await withoutSubtle(() => hmacOf(key));
  const signature = await platform.sign(text);
  assertEquals(await script.sign(text), signature);
  for (const hmac of [platform, script]) {
    assert(await hmac.verify(signature, text));
    assert(!await hmac.verify(signature, bytes(140, 3)));
    for (const at of [0, 15, 31]) {
      const wrong = signature.slice();
      wrong[at]! ^= 1;
      assert(!await hmac.verify(wrong, text), `byte ${at}`);
    }
    assert(!await hmac.verify(signature.slice(0, 31), text));
    assert(!await hmac.verify(new Uint8Array(33), text));
  }
});

Deno.test("createTicket and a client's handshake work without crypto.subtle", async () => {
  await withoutSubtle(async () => {
    const made = await createTicket("a key of 20 bytes...", { name: "", expireIn: 60_000 });
    const key = fromBase64(made.authkey);
    const nonce = new Uint8Array(32);
    const client = new ClientHandshake(key, made.keyName, nonce);
    const broker = new BrokerHandshake(
      new Uint8Array(16),
      (name) => name === "" ? { bytes: keyBytes("a key of 20 bytes...") } : undefined,
    );
    const proof = await client.prove(broker.challenge(client.hello) as Uint8Array<ArrayBuffer>);
    const { proven, answer } = await broker.answer(proof as Uint8Array<ArrayBuffer>);
    assertEquals(proven?.ticket?.expires, made.expires);
    client.checkAnswer(answer[0]!);
    assertEquals(await client.verify(answer.slice(1)), new Uint8Array(16));
  });
});
