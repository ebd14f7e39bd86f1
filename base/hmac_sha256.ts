/**
 * HMAC-SHA-256 (RFC 2104, FIPS 180-4): that of `crypto.subtle`, or one in JavaScript where there is none.
 * Browsers keep it from pages that came by `http://` from another host than localhost.
 */

const BLOCK_BYTES = 64;
const ROUNDS = 64;

/** What signs with a key. */
export interface Hmac {
  /** The 32 bytes of the HMAC of `text`. */
  sign(text: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
  /** Whether `signature` is that of `text`; how long it takes says nothing about where it differs. */
  verify(signature: Uint8Array<ArrayBuffer>, text: Uint8Array<ArrayBuffer>): Promise<boolean>;
}

/** What signs with this key. */
export async function hmacOf(key: Uint8Array<ArrayBuffer>): Promise<Hmac> {
  const { subtle } = crypto as { subtle?: SubtleCrypto };
  if (subtle === undefined) return new ScriptHmac(key);
  const imported = await subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
    "verify",
  ]);
  return {
    sign: async (text) => new Uint8Array(await subtle.sign("HMAC", imported, text)),
    verify: (signature, text) => subtle.verify("HMAC", imported, signature, text),
  };
}

class ScriptHmac implements Hmac {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  sign(text: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    return Promise.resolve(hmacSha256(this.#key, text));
  }

  verify(signature: Uint8Array, text: Uint8Array): Promise<boolean> {
    const right = hmacSha256(this.#key, text);
    let different = signature.length ^ right.length;
    for (const [i, byte] of right.entries()) different |= byte ^ signature[i]!;
    return Promise.resolve(different === 0);
  }
}

/** The 32 bytes of HMAC-SHA-256 of `text` under `key`, in JavaScript. */
export function hmacSha256(key: Uint8Array, text: Uint8Array): Uint8Array<ArrayBuffer> {
  const short = key.length > BLOCK_BYTES ? sha256(key) : key;
  const pass = (mask: number, rest: Uint8Array): Uint8Array<ArrayBuffer> => {
    const bytes = new Uint8Array(BLOCK_BYTES + rest.length).fill(mask, 0, BLOCK_BYTES);
    for (const [i, byte] of short.entries()) bytes[i] = byte ^ mask;
    bytes.set(rest, BLOCK_BYTES);
    return sha256(bytes);
  };
  return pass(0x5c, pass(0x36, text));
}

/** The constants: the first 32 bits behind the point of roots of the first primes. */
interface Constants {
  readonly state: Int32Array;
  readonly rounds: Int32Array;
}

/** Made when they are needed. */
let constants: Constants | undefined;

function constantsOfSha256(): Constants {
  const primes: number[] = [];
  for (let n = 2; primes.length < ROUNDS; n++) {
    if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  }
  return {
    state: Int32Array.from(primes.slice(0, 8), (prime) => fractionOfRoot(prime, 2n)),
    rounds: Int32Array.from(primes, (prime) => fractionOfRoot(prime, 3n)),
  };
}

/**
 * The first 32 bits behind the point of a root of a prime below 512, in integers: engines round
 * `Math.cbrt` in ways of their own.
 */
function fractionOfRoot(prime: number, degree: bigint): number {
  const scaled = BigInt(prime) << 32n * degree;
  let root = 0n;
  for (let bit = 1n << 36n; bit > 0n; bit >>= 1n) {
    if ((root | bit) ** degree <= scaled) root |= bit;
  }
  return Number(BigInt.asIntN(32, root));
}

function rotate(word: number, bits: number): number {
  return (word >>> bits) | (word << (32 - bits));
}

function sha256(data: Uint8Array): Uint8Array<ArrayBuffer> {
  const { state: initial, rounds } = constants ??= constantsOfSha256();
  const padded = new Uint8Array(Math.ceil((data.length + 9) / BLOCK_BYTES) * BLOCK_BYTES);
  padded.set(data);
  padded[data.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(data.length) * 8n);
  const state = initial.slice();
  const words = new Int32Array(ROUNDS);
  for (let start = 0; start < padded.length; start += BLOCK_BYTES) {
    for (let i = 0; i < ROUNDS; i++) {
      words[i] = i < 16 ? view.getInt32(start + i * 4) : nextWord(words, i);
    }
    mix(state, words, rounds);
  }
  const digest = new Uint8Array(32);
  const out = new DataView(digest.buffer);
  state.forEach((word, i) => out.setInt32(i * 4, word));
  return digest;
}

function nextWord(words: Int32Array, i: number): number {
  const x = words[i - 15]!;
  const y = words[i - 2]!;
  return words[i - 16]! + words[i - 7]! + (rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3)) +
    (rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10));
}

/** Works the words of one block into the state. */
function mix(state: Int32Array, words: Int32Array, rounds: Int32Array): void {
  const mixed = state.slice();
  for (let i = 0; i < ROUNDS; i++) {
    const [a, b, c, d, e, f, g, h] = mixed as unknown as Eight;
    const first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) +
      rounds[i]! + words[i]!;
    const second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    mixed.copyWithin(1, 0, 7);
    mixed[0] = first + second;
    mixed[4] = d + first;
  }
  mixed.forEach((word, i) => state[i]! += word);
}

type Eight = [number, number, number, number, number, number, number, number];
