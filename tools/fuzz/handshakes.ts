/**
 * Handshakes: whatever the other side sends, or somebody in between changes, nobody is let in who has
 * not proved the key, and no more is read than a handshake has.
 */
import {
  CHALLENGE_HEAD_BYTES,
  CHALLENGE_TAIL_BYTES,
  HELLO_HEAD_BYTES,
  HELLO_NAME_BYTES_MAX,
  KEY_NAME_BYTES_MAX,
  keyBytes,
  PROOF_BYTES,
} from "../../protocol/handshake.ts";
import { concat, writeAll } from "../../base/bytes.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../../errors.ts";
import { authenticateClient, authenticateToBroker } from "../../protocol/authenticate.ts";
import type { ByteStream } from "../../protocol/link.ts";
import { streamPair } from "../harness/memory_streams.ts";
import type { Random } from "../harness/random.ts";
import { isSame, mangle, must, type Notes, piecesOf, type Target } from "./target.ts";

const CHALLENGE_BYTES = CHALLENGE_HEAD_BYTES + CHALLENGE_TAIL_BYTES;
const ANSWER_BYTES = 1 + PROOF_BYTES;
const NAMES = ["", "ann", "é".repeat(KEY_NAME_BYTES_MAX / 2)];
const SECRETS = new Map(NAMES.map((name) => [name, { bytes: keyBytes(`secret of ${name}`) }]));
/** How long both sides may wait when something was changed on the way, and when nothing was. */
const WAIT_MS = 30;
const WAIT_WHOLE_MS = 10_000;
/** How the streams of `tools/harness/memory_streams.ts` fail when the other side closes. */
const STREAM_ERRORS = ["closed", "broken pipe"];

/** What both sides bring into a handshake. */
interface Handshake {
  readonly name: string;
  readonly isRightKey: boolean;
  readonly isBusy: boolean;
  readonly brokerId: Uint8Array;
}

function handshakeOf(random: Random): Handshake {
  return {
    name: random.int(10) === 0 ? "unknown" : random.pick(NAMES),
    isRightKey: random.int(6) > 0,
    isBusy: random.int(20) === 0,
    brokerId: random.bytes(16),
  };
}

/** How one side ended: with what it returned, or an error. */
type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/** Awaits one side, which closes when it fails, as both do where they are used. */
async function outcomeOf<T>(side: Promise<T>, stream: ByteStream): Promise<Outcome<T>> {
  try {
    return { value: await side };
  } catch (error) { // Looked at by `noteOutcome`.
    stream.close();
    return { error };
  }
}

function noteOutcome(notes: Notes, side: string, outcome: Outcome<unknown>): void {
  if ("value" in outcome) return notes.ended(`${side}: let in`);
  const { error } = outcome;
  if (isGone(error)) return notes.ended(`${side}: ${error}`);
  notes.failed(error, AuthError, ProtocolError, ConnectionLostError);
}

/** A stream of which no more may be asked for than a hello and a proof have. */
function bounded(stream: ByteStream): ByteStream {
  const head: number[] = [];
  let count = 0;
  return {
    write: (bytes) => stream.write(bytes),
    closeWrite: () => stream.closeWrite(),
    close: () => stream.close(),
    async read(into) {
      const isWhole = head.length === HELLO_HEAD_BYTES;
      const size = isWhole ? head.at(-2)! | head.at(-1)! << 8 : 0;
      const rest = isWhole ? Math.min(size, HELLO_NAME_BYTES_MAX) + PROOF_BYTES : 0;
      const isBounded = count + into.length <= HELLO_HEAD_BYTES + rest;
      must(isBounded, `${into.length} bytes are asked for after ${count}`);
      const got = await stream.read(into);
      if (got === null) return null;
      if (!isWhole) head.push(...into.subarray(0, got));
      count += got;
      return got;
    },
  };
}

function brokerSide(stream: ByteStream, { isBusy, brokerId }: Handshake) {
  return outcomeOf(
    authenticateClient(stream, {
      brokerId,
      keyOf: (name) => SECRETS.get(name),
      isBusy: () => isBusy,
      delay: () => Promise.resolve(),
    }),
    stream,
  );
}

function clientSide(stream: ByteStream, { name, isRightKey }: Handshake) {
  const key = isRightKey ? SECRETS.get(name)?.bytes : undefined;
  return outcomeOf(authenticateToBroker(stream, key ?? keyBytes("another"), name), stream);
}

/** What a stream gives, or `null` when the other side has closed. */
async function unlessGone<T>(given: Promise<T>): Promise<T | null> {
  try {
    return await given;
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && STREAM_ERRORS.includes(error.message);
}

/** What is done with one byte. */
type Edit = (byte: number) => readonly number[];

/** One direction of a connection, in which somebody may change what passes. */
class Direction {
  readonly sent: number[] = [];
  readonly passed: number[] = [];
  readonly #edits: ReadonlyMap<number, Edit>;
  readonly #cutAt: number;

  /** Makes one with these changes, by their places. */
  constructor(edits: ReadonlyMap<number, Edit> = new Map(), cutAt = Infinity) {
    this.#edits = edits;
    this.#cutAt = cutAt;
  }

  /** Makes one with a few changes in the first `length` bytes or behind them, or none. */
  static changing(random: Random, length: number): Direction {
    const kinds: readonly Edit[] = [
      (byte) => [byte ^ (1 << random.int(8))],
      () => [],
      (byte) => [byte, random.int(256)],
    ];
    const edits = new Map<number, Edit>();
    for (let left = random.pick([0, 0, 0, 0, 1, 2]); left > 0; left--) {
      edits.set(random.int(length + 2), random.pick(kinds));
    }
    return new Direction(edits, random.int(12) === 0 ? random.int(length + 2) : Infinity);
  }

  /** Whether anything is to be changed. */
  get changes(): boolean {
    return this.#edits.size > 0 || this.#cutAt < Infinity;
  }

  /** Passes everything on, as long as that is taken and not cut; then reads on to the end. */
  async pump(from: ByteStream, to: ByteStream): Promise<void> {
    const into = new Uint8Array(64);
    const read = () => unlessGone(from.read(into));
    for (let count = await read(); count !== null; count = await read()) {
      const bytes = this.#change(into.subarray(0, count));
      const isTaken = await unlessGone(writeAll(to, bytes).then(() => true)) !== null;
      if (isTaken && this.sent.length >= this.#cutAt) await to.closeWrite();
    }
    await to.closeWrite();
  }

  #change(bytes: Uint8Array): Uint8Array {
    const changed: number[] = [];
    for (const byte of bytes) {
      const at = this.sent.push(byte) - 1;
      if (at < this.#cutAt) changed.push(...this.#edits.get(at)?.(byte) ?? [byte]);
    }
    this.passed.push(...changed);
    return Uint8Array.from(changed);
  }

  /** Whether the first `count` bytes arrived as they were sent. */
  isWhole(count: number): boolean {
    const [sent, passed] = [this.sent, this.passed].map((list) =>
      Uint8Array.from(list.slice(0, count))
    );
    return sent!.length === count && isSame(sent!, passed!);
  }
}

/** A connection in memory whose both directions pass by somebody. */
class Relay {
  readonly client: ByteStream;
  readonly broker: ByteStream;
  readonly #pumps: readonly Promise<void>[];

  constructor(toBroker: Direction, toClient: Direction, readMax = Infinity) {
    const [client, left] = streamPair(readMax);
    const [right, broker] = streamPair(readMax);
    this.client = client;
    this.broker = broker;
    this.#pumps = [toBroker.pump(left, right), toClient.pump(right, left)];
  }

  async close(): Promise<void> {
    this.client.close();
    this.broker.close();
    await Promise.all(this.#pumps);
  }
}

/** Both sides as they are, and somebody in between. */
async function runRelay(random: Random, notes: Notes): Promise<void> {
  const handshake = handshakeOf(random);
  const { name, isRightKey, isBusy, brokerId } = handshake;
  const helloBytes = HELLO_HEAD_BYTES + new TextEncoder().encode(name).length;
  const toBroker = Direction.changing(random, helloBytes + PROOF_BYTES);
  const toClient = Direction.changing(random, CHALLENGE_BYTES + ANSWER_BYTES);
  const relay = new Relay(toBroker, toClient, random.pick([1, 9, Infinity]));
  let isLate = false;
  // Where bytes are missing both sides wait; a broker and a client then have a limit to that.
  const timer = setTimeout(() => {
    isLate = true;
    relay.close();
  }, toBroker.changes || toClient.changes ? WAIT_MS : WAIT_WHOLE_MS);
  const [atClient, atBroker] = await Promise.all([
    clientSide(relay.client, handshake),
    brokerSide(bounded(relay.broker), handshake),
  ]);
  clearTimeout(timer);
  await relay.close();
  notes.fed(Uint8Array.from(toBroker.passed));
  notes.fed(Uint8Array.from(toClient.passed));
  noteOutcome(notes, "client", atClient);
  noteOutcome(notes, "broker", atBroker);
  const isProved = isRightKey && SECRETS.has(name) && !isBusy &&
    toBroker.isWhole(helloBytes + PROOF_BYTES) && toClient.isWhole(CHALLENGE_BYTES);
  must("error" in atBroker || isProved, "a client was let in that has not proved its key");
  must(
    "value" in atBroker || !isProved || isLate,
    "a client was not let in that has proved its key",
  );
  const isAnswered = isProved && toClient.isWhole(CHALLENGE_BYTES + ANSWER_BYTES);
  must("error" in atClient || isAnswered, "a broker was taken that has not proved its key");
  must(
    "value" in atClient || !isAnswered || isLate,
    "a broker was not taken that has proved its key",
  );
  if ("value" in atClient) must(isSame(atClient.value, brokerId), "that is not the broker's id");
  if ("value" in atBroker) must(atBroker.value.key === SECRETS.get(name), "that is another key");
}

/** What the two sides sent in a handshake that went well, or failed for another reason. */
async function record(handshake: Handshake): Promise<{ client: Uint8Array; broker: Uint8Array }> {
  const [toBroker, toClient] = [new Direction(), new Direction()];
  const relay = new Relay(toBroker, toClient);
  await Promise.all([
    clientSide(relay.client, handshake),
    brokerSide(relay.broker, handshake),
  ]);
  await relay.close();
  return { client: Uint8Array.from(toBroker.passed), broker: Uint8Array.from(toClient.passed) };
}

/** Writes pieces while reading whatever comes. */
async function speak(stream: ByteStream, pieces: readonly Uint8Array[]): Promise<void> {
  const reading = (async () => {
    const into = new Uint8Array(100);
    while (await stream.read(into) !== null);
  })();
  const writing = (async () => {
    for (const piece of pieces) await writeAll(stream, piece);
    await stream.closeWrite();
  })();
  await Promise.all([unlessGone(reading), unlessGone(writing)]);
}

/** A client without a key, which has heard another handshake. */
async function runCaller(random: Random, notes: Notes): Promise<void> {
  const handshake = handshakeOf(random);
  const { client } = await record(handshakeOf(random));
  const bytes = mangle(random, client);
  notes.fed(bytes);
  const [ours, theirs] = streamPair(random.pick([1, 20, Infinity]));
  const speaking = speak(theirs, piecesOf(random, bytes));
  const outcome = await brokerSide(bounded(ours), handshake);
  ours.close();
  theirs.close();
  await speaking;
  must("error" in outcome, "a client was let in that has no key");
  noteOutcome(notes, "broker", outcome);
}

/** A broker without a key, which has heard another handshake, or gives the client's proof back. */
async function runImpostor(random: Random, notes: Notes): Promise<void> {
  const heard = await record({ ...handshakeOf(random), name: "", isRightKey: true, isBusy: false });
  const bytes = mangle(random, heard.broker);
  const reflects = random.int(4) === 0;
  notes.fed(reflects ? "the client's proof, given back" : bytes);
  const [ours, theirs] = streamPair(reflects ? Infinity : random.pick([1, 20, Infinity]));
  const answering = reflects
    ? reflect(theirs, heard.broker.subarray(0, CHALLENGE_BYTES))
    : speak(theirs, piecesOf(random, bytes));
  const outcome = await clientSide(ours, handshakeOf(random));
  ours.close();
  theirs.close();
  await answering;
  must("error" in outcome, "a broker was taken that has no key");
  noteOutcome(notes, "client", outcome);
}

/** Sends a challenge, and the client's own proof as the answer. */
async function reflect(stream: ByteStream, challenge: Uint8Array): Promise<void> {
  const into = new Uint8Array(HELLO_HEAD_BYTES + HELLO_NAME_BYTES_MAX);
  await stream.read(into);
  await writeAll(stream, challenge);
  const count = await stream.read(into);
  await writeAll(stream, concat(Uint8Array.of(0), into.subarray(0, count ?? 0)));
}

async function runHandshakes(random: Random, notes: Notes): Promise<void> {
  await random.pick([runRelay, runRelay, runCaller, runImpostor])(random, notes);
}

/** See the module. */
export const handshakes: Target = { name: "handshakes", run: runHandshakes };
