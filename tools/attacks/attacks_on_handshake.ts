/**
 * Attacks of those who have no key, or not the one that they say: they get nowhere, and take little.
 */
import { delay } from "@std/async/delay";
import { ANSWER_MS, type Assault, type Attack, inParallel, within } from "./attack.ts";
import { median } from "../harness/median.ts";
import {
  bytesOf,
  type Credentials,
  type Handshake,
  hello,
  type HelloParts,
  join,
  openFrame,
  proofOf,
  random,
  type RawClient,
  Refusal,
  repeat,
} from "./raw_client.ts";

const HALF_OPEN = 5000;
/** How many connect at the same time. */
const DIALING = 64;
/** The broker's own limit of connections from one address that are not authenticated. */
const HALF_OPEN_PER_ADDRESS = 2048;
/** Honest clients that connect meanwhile, and connections that are ending. */
const OTHERS = 16;
const SLOW = 100;
/** How long the broker gives a client to authenticate, and some time to notice. */
const AUTH_MS = 5000;
const NOTICE_MS = 1500;
const REFUSAL_MS = 500;
const AT_ONCE = 16;
/** Medians of times to a refusal may differ so much by chance. */
const NOISE_MS = 25;
const PROOF_BYTES = 32;

/** Connects and says nothing. */
export const halfOpen: Attack = {
  name: "half-open",
  what: `${HALF_OPEN} connections that say nothing`,
  async run(assault) {
    let tried = 0;
    let open = 0;
    await inParallel(DIALING, async () => {
      while (!assault.isOver && tried < HALF_OPEN) {
        tried++;
        const client = await assault.dial();
        if (client === undefined) continue;
        assault.count("connected");
        assault.most("open at most", ++open);
        client.ended().then(() => open--);
      }
    });
    assault.note("tried", tried);
    await assault.over;
  },
  check: ({ counts, moved, halfOpenMax }) => ({
    "nobody connected": counts["connected"]! > 0,
    "more were half-open than may be": halfOpenMax <= HALF_OPEN_PER_ADDRESS + OTHERS,
    // A busy machine may not come to the limit in a second.
    "none had to go for a newer one": halfOpenMax < HALF_OPEN_PER_ADDRESS ||
      moved["refusals.crowded"]! > 0,
  }),
};

/** Says one byte a second. */
export const slowHello: Attack = {
  name: "slow-hello",
  what: `a hello of one byte a second on ${SLOW} connections, for as long as they stay open`,
  async run(assault) {
    await inParallel(SLOW, async () => {
      const client = await assault.dial();
      if (client === undefined) return;
      const began = performance.now();
      const ended = client.ended().then(() => performance.now() - began);
      drip(client, hello());
      const ms = await within(AUTH_MS + NOTICE_MS, ended);
      assault.expect("a slow client was not closed in time", ms !== undefined);
      assault.count("closed by the broker", ms === undefined ? 0 : 1);
      assault.most("ms until the last was", Math.round(ms ?? Infinity));
    });
    await assault.over;
  },
  check: ({ counts, moved }) => ({
    "a slow client was not counted": moved["refusals.timeout"]! >= counts["closed by the broker"]!,
  }),
};

async function drip(client: RawClient, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at++) {
    if (!await client.send(bytes.subarray(at, at + 1))) return;
    await delay(1000);
  }
}

/** Announces names that are longer than they may be, and sends what is no hello. */
export const helloBombs: Attack = {
  name: "hello-bombs",
  what: "hellos with a name of 1,025 to 65,535 bytes, other magics, random bytes, HTTP",
  async run(assault) {
    const bombs = [
      join(hello({ nameSize: 65_535 }), random(4096)),
      hello({ nameSize: 1025, name: random(1025) }),
      hello({ magic: bytesOf("mpubsub\0") }),
      hello({ magic: bytesOf("MPUBSUB\n") }),
      random(44),
      repeat(Uint8Array.of(255), 64 * 1024),
      bytesOf("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    ];
    await assault.keepOn(AT_ONCE, async () => {
      for (const bomb of bombs) {
        using client = await assault.dial();
        await client?.send(bomb);
        const answer = await within(ANSWER_MS, client?.read(1) ?? Promise.resolve(undefined));
        if (client === undefined) continue;
        assault.expect("what is no hello was answered", answer?.length === 0);
        assault.count("sent");
      }
    });
  },
  check: ({ counts, moved }) => ({
    "what is no hello was not counted": moved["refusals.protocol"]! >= counts["sent"]! / 2,
  }),
};

/** Sends what an honest client once sent. */
export const replay: Attack = {
  name: "replay",
  what: "hello and proof of a recorded handshake, at once or after the challenge",
  async run(assault) {
    const recorded = await record(assault);
    const nonces = new Set([nonceOf(recorded.challenge)]);
    await assault.keepOn(AT_ONCE, async () => {
      await tryProof(assault, "after the challenge", recorded.hello, () => recorded.proof, nonces);
      await tryProof(assault, "on a new hello", hello(), () => recorded.proof, nonces);
      await tryBlind(assault, recorded);
    });
  },
  check: ({ counts, moved }) => ({
    "nothing was replayed": counts["after the challenge"]! > 0 && counts["on a new hello"]! > 0,
    "a replay was not counted": moved["refusals.key"]! >=
      counts["after the challenge"]! + counts["on a new hello"]!,
  }),
};

async function record(assault: Assault): Promise<Handshake> {
  const client = await assault.dial();
  const recorded = await client!.authenticate(assault.keys.single);
  assault.expect("an honest client was refused", recorded.code === Refusal.NONE);
  assault.drop(client!);
  return recorded;
}

function nonceOf(challenge: Uint8Array): string {
  return challenge.subarray(-PROOF_BYTES).toHex();
}

/** Sends a hello, and the proof that is made of the challenge; it must be refused. */
export async function tryProof(
  assault: Assault,
  how: string,
  ours: Uint8Array<ArrayBuffer>,
  prove: (challenge: Uint8Array<ArrayBuffer>) => Uint8Array | Promise<Uint8Array>,
  nonces?: Set<string>,
): Promise<number | undefined> {
  const client = await assault.dial();
  if (client === undefined) return undefined;
  try {
    await client.send(ours);
    const { code, bytes } = await client.challenge();
    if (code === undefined) return undefined; // It was the oldest of too many.
    const nonce = nonceOf(bytes);
    assault.expect("the broker used a nonce twice", nonces?.has(nonce) !== true);
    nonces?.add(nonce);
    const proof = await prove(bytes);
    const began = performance.now();
    await client.send(proof);
    const answer = await within(ANSWER_MS, client.answer());
    const ms = performance.now() - began;
    assault.expect(`it was let in ${how}`, answer?.code !== Refusal.NONE);
    if (answer?.code === undefined) return undefined;
    assault.expect(`it was not refused for its key ${how}`, answer.code === Refusal.AUTH);
    assault.expect(`it was refused at once ${how}`, ms > REFUSAL_MS / 2);
    assault.count(how);
    return ms;
  } finally {
    assault.drop(client);
  }
}

/** Sends all that a client sends, without waiting for anything. */
async function tryBlind(assault: Assault, recorded: Handshake): Promise<void> {
  const client = await assault.dial();
  if (client === undefined) return;
  await client.send(recorded.hello, recorded.proof, openFrame());
  await client.challenge();
  const answer = await within(ANSWER_MS, client.answer());
  assault.expect("it was let in without waiting", answer?.code !== Refusal.NONE);
  assault.count("without waiting");
  assault.drop(client);
}

/** Lets the broker speak with itself. */
export const reflection: Attack = {
  name: "reflection",
  what: "the broker's challenge as hello, its proof as proof, two connections against each other",
  async run(assault) {
    await assault.keepOn(AT_ONCE, async () => {
      const recorded = await record(assault);
      const { hello: ours, challenge, brokerProof } = recorded;
      await echo(assault);
      await tryProof(
        assault,
        "with the broker's challenge",
        ours,
        (its) => its.slice(-PROOF_BYTES),
      );
      await tryProof(assault, "with the broker's proof", ours, () => brokerProof!);
      await tryProof(
        assault,
        "with a hello that is a challenge",
        asHello(challenge),
        () => brokerProof!,
      );
      await crossOver(assault);
    });
  },
  check: ({ counts }) => ({
    "nothing was reflected": counts["with the broker's proof"]! > 0,
    "no connections were played against each other": counts["crossed"]! > 0,
  }),
};

/** A challenge read as a hello, which begins alike: versions 0 to 1, and no name. */
function asHello(challenge: Uint8Array): Uint8Array<ArrayBuffer> {
  return join(challenge.subarray(0, 42), Uint8Array.of(0, 0));
}

/** Sends back what the broker sends, byte for byte. */
async function echo(assault: Assault): Promise<void> {
  const client = await assault.dial();
  if (client === undefined) return;
  await client.send(hello());
  const { bytes } = await client.challenge();
  await client.send(bytes, bytes, bytes);
  const answer = await within(ANSWER_MS, client.answer());
  assault.expect("an echo was let in", answer?.code !== Refusal.NONE);
  assault.count("echoed");
  assault.drop(client);
}

/** Gives each of two connections what belongs to the other: an honest client's proof, too. */
async function crossOver(assault: Assault): Promise<void> {
  const [left, right] = [await assault.dial(), await assault.dial()];
  if (left === undefined || right === undefined) return;
  const ours = hello();
  await Promise.all([left.send(ours), right.send(ours)]);
  const [a, b] = await Promise.all([left.challenge(), right.challenge()]);
  const { key } = assault.keys.single;
  await Promise.all([
    left.send(await proofOf(key, ours, b.bytes)),
    right.send(await proofOf(key, ours, a.bytes)),
  ]);
  for (const client of [left, right]) {
    const answer = await within(ANSWER_MS, client.answer());
    assault.expect("a proof for another connection was taken", answer?.code !== Refusal.NONE);
    assault.drop(client);
  }
  assault.count("crossed");
}

/** Asks for other versions. */
export const downgrade: Attack = {
  name: "downgrade",
  what: "ranges of versions without 1, and versions that are changed on the way",
  async run(assault) {
    const ranges = [[0, 0], [2, 255], [2, 1], [1, 0], [255, 255], [2, 0]] as const;
    await assault.keepOn(AT_ONCE, async () => {
      for (const [lowest, highest] of ranges) {
        const client = await assault.dial();
        if (client === undefined) continue;
        await client.send(hello({ lowest, highest }));
        const { code, version, bytes } = await client.challenge();
        assault.expect(
          `versions ${lowest} to ${highest} were not refused`,
          code === undefined || code === Refusal.VERSION && version === 1 && bytes.length === 10,
        );
        assault.count("refused", code === Refusal.VERSION ? 1 : 0);
        assault.drop(client);
      }
      await wide(assault);
      await changed(assault);
    });
  },
  check: ({ counts, moved }) => ({
    "nothing was refused": counts["refused"]! > 0,
    "a refusal was not counted": moved["refusals.protocol"]! >= counts["refused"]!,
  }),
};

/** Offers all versions: it gets 1, and is let in. */
async function wide(assault: Assault): Promise<void> {
  const client = await assault.dial();
  if (client === undefined) return;
  const { code, challenge } = await client.authenticate(assault.keys.single, {
    lowest: 0,
    highest: 255,
  });
  if (challenge.length > 0) {
    assault.expect("all versions were offered, and the broker did not take 1", challenge[9] === 1);
    assault.expect("who offers all versions is refused", code === Refusal.NONE);
    assault.count("let in with version 1");
  }
  assault.drop(client);
}

/** Somebody on the way changes the versions of an honest hello. */
async function changed(assault: Assault): Promise<void> {
  const nonce = random(32);
  const versions: HelloParts[] = [{ lowest: 0 }, { highest: 2 }, { lowest: 0, highest: 255 }];
  for (const other of versions) {
    const honest = hello({ nonce });
    await tryProof(
      assault,
      "after its versions were changed",
      hello({ nonce, ...other }),
      (challenge) => proofOf(assault.keys.single.key, honest, challenge),
    );
  }
}

/** Uses a key under the name of another, and names that nobody has. */
export const names: Attack = {
  name: "names",
  what:
    "right keys under other names, wrong keys, and names that are not known; how long each takes",
  async run(assault) {
    const { single, restricted, insider } = assault.keys;
    const times = { wrong: [] as number[], unknown: [] as number[] };
    const attempt = async (how: string, credentials: Credentials) => {
      const ours = hello({ name: bytesOf(credentials.name) });
      return await tryProof(assault, how, ours, (its) => proofOf(credentials.key, ours, its));
    };
    await assault.keepOn(AT_ONCE, async () => {
      await Promise.all([
        attempt("under another name", { name: insider.name, key: restricted.key }),
        attempt("under no name", { name: "", key: restricted.key }),
        attempt("with the single key under a name", { name: insider.name, key: single.key }),
      ]);
      await Promise.all([
        attempt("with a wrong key", { name: restricted.name, key: crypto.randomUUID() })
          .then((ms) => ms !== undefined && times.wrong.push(ms)),
        attempt("with an unknown name", { name: someName(), key: crypto.randomUUID() })
          .then((ms) => ms !== undefined && times.unknown.push(ms)),
      ]);
    });
    const [wrong, unknown] = [median(times.wrong), median(times.unknown)];
    assault.note("median ms to refuse a wrong key", Number(wrong.toFixed(2)));
    assault.note("median ms to refuse an unknown name", Number(unknown.toFixed(2)));
    assault.expect("names can be told by the time", Math.abs(wrong - unknown) < NOISE_MS);
  },
  check: ({ counts, moved }) => ({
    "no name was tried": counts["with an unknown name"]! > 0,
    "a wrong key was not counted": moved["refusals.key"]! >= counts["with a wrong key"]!,
  }),
};

/** A name as long as those that are known. */
function someName(): string {
  return crypto.randomUUID().slice(0, 10);
}
