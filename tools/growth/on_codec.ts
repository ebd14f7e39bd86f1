/** What a message can cause in whoever encodes or decodes it. */
import { ProtocolError } from "../../mod.ts";
import { Decoder } from "../../codec/codec.ts";
import { join, payload, payloadOf, size, small } from "../attacks/raw_client.ts";
import { decode, encode } from "../harness/payload.ts";
import type { Operation } from "./operation.ts";

const LIMIT = 2 ** 30;
/** How long colliding members may take before they are noticed, with what else a message takes. */
const NOTICED_MS = 600;
/** Members whose hashes have these bits in common have few places in a table. */
const HASH_BITS = 0x3fff;

/** Members of one kind. */
interface Kind {
  readonly name: string;
  member(i: number): unknown;
  /**
   * The like of those whose hashes are the same in every process, and chosen to collide, that do not
   * collide.
   */
  readonly harmless?: string;
}

const KINDS: readonly Kind[] = [
  { name: "numbers", member: (i) => i },
  { name: "strings", member: (i) => `member ${i}` },
  { name: "big integers", member: (i) => BigInt(i) + 2n ** 70n },
  { name: "strings that look like indexes", member: (i) => String(i) },
  { name: "numbers that collide", member: colliding, harmless: "numbers" },
  {
    name: "big integers that collide",
    member: (i) => (BigInt(i) + 1n) << 64n,
    harmless: "big integers",
  },
  {
    name: "strings that look like indexes and collide",
    member: (i) => String((i + 1) * 16_384),
    harmless: "strings that look like indexes",
  },
];

/** Integers whose hashes end in the same bits. */
const COLLIDING: number[] = [];

/** One of them. */
export function colliding(i: number): number {
  for (let next = (COLLIDING.at(-1) ?? 0) + 1; COLLIDING.length <= i; next++) {
    if ((hashOf(next) & HASH_BITS) === 77) COLLIDING.push(next);
  }
  return COLLIDING[i]!;
}

/** V8's hash of a small integer. */
function hashOf(integer: number): number {
  let hash = (~integer + (integer << 15)) | 0;
  hash ^= hash >>> 12;
  hash = (hash + (hash << 2)) | 0;
  hash ^= hash >>> 4;
  hash = Math.imul(hash, 2057);
  return (hash ^ (hash >>> 16)) & 0x3fffffff;
}

/** What holds the members: as a message, and as bytes, which are made without hashing any. */
interface Container {
  readonly name: string;
  make(members: readonly unknown[]): object;
  payload(members: readonly unknown[]): Uint8Array;
}

const SET: Container = {
  name: "a Set",
  make: (members) => ({ v: new Set(members) }),
  payload: (members) => tagged(0xb3, members.length, members.map(valueOf)),
};
const MAP: Container = {
  name: "a Map",
  make: (members) => ({ v: new Map(members.map((key) => [key, 1])) }),
  payload: (members) => tagged(0xb2, members.length, members.flatMap((m) => [valueOf(m), ONE])),
};
const OBJECT: Container = {
  name: "an object",
  make: (members) => ({ v: Object.fromEntries(members.map((name) => [String(name), 1])) }),
  payload: (names) => payloadOf(names.map((name) => [String(name), ONE])),
};
const CONTAINERS = [SET, MAP];
const ONE = small(1);

function tagged(tag: number, count: number, values: readonly Uint8Array[]): Uint8Array {
  return payload({ v: join(Uint8Array.of(tag), size(count), ...values) });
}

/** A value as it stands in a message: behind its name, which has one letter. */
function valueOf(value: unknown): Uint8Array {
  return encode({ v: value }).subarray(3);
}

function nameOf(where: string, kind: string): string {
  return `${where} of ${kind} is decoded`;
}

function decoding({ name: where, payload }: Container, kind: Kind): Operation {
  return {
    name: nameOf(where, kind.name),
    of: "members",
    per: "member",
    from: 5000,
    few: 500,
    isClockStill: true,
    ...(kind.harmless !== undefined && {
      without: "counts",
      refusedWithin: NOTICED_MS,
      comparedWith: nameOf(where, kind.harmless),
    }),
    prepare(n) {
      const bytes = payload(Array.from({ length: n }, (_, i) => kind.member(i)));
      const decoder = new Decoder();
      let isRefused = false;
      return {
        units: n,
        run() {
          try {
            decode(bytes, decoder);
          } catch (error) { // They were noticed.
            if (!(error instanceof ProtocolError) || kind.harmless === undefined) throw error;
            isRefused = true;
          }
        },
        isRefused: () => isRefused,
      };
    },
  };
}

function encoding({ name: where, make }: Container, kind: Kind): Operation {
  return {
    name: `${where} of ${kind.name} is encoded`,
    of: "members",
    per: "member",
    from: 5000,
    few: 500,
    prepare(n) {
      const message = make(Array.from({ length: n }, (_, i) => kind.member(i)));
      return { units: n, run: () => void encode(message, { limit: LIMIT }) };
    },
  };
}

const NAMES = KINDS.filter(({ name }) => name.includes("string"));
const FAIR = KINDS.filter(({ harmless }) => harmless === undefined);

const NESTED: Operation = {
  name: "arrays of objects whose names do not come again are decoded",
  of: "objects",
  per: "object",
  from: 4000,
  few: 500,
  prepare(n) {
    const list = Array.from({ length: n }, (_, i) => ({ [`name ${i}`]: i, same: i }));
    const payload = encode({ list }, { limit: LIMIT });
    const decoder = new Decoder();
    return { units: n, run: () => void decode(payload, decoder) };
  },
};

/** All of them. */
export const ON_CODEC: readonly Operation[] = [
  ...CONTAINERS.flatMap((container) => KINDS.map((kind) => decoding(container, kind))),
  ...NAMES.map((kind) => decoding(OBJECT, kind)),
  ...CONTAINERS.flatMap((container) => FAIR.map((kind) => encoding(container, kind))),
  ...NAMES.map((kind) => encoding(OBJECT, kind)),
  NESTED,
];
