/**
 * The handshake over a stream of bytes, for both sides: sends and receives what `handshake.ts` makes.
 */
import {
  BROKER_ID_BYTES,
  BrokerHandshake,
  CHALLENGE_HEAD_BYTES,
  CHALLENGE_TAIL_BYTES,
  ClientHandshake,
  HELLO_HEAD_BYTES,
  PROOF_BYTES,
  type Proven,
  randomBytes,
  Refusal,
  type Secret,
} from "./handshake.ts";
import { concat, writeAll } from "../base/bytes.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "../errors.ts";
import type { ByteStream } from "./link.ts";

/** The first byte of what a TLS server answers to bytes that are not TLS. */
const TLS_ALERT = 0x15;
/** The first byte of what an HTTP server answers. */
const HTTP = 0x48;

/**
 * The client's side of the handshake over `stream`.
 *
 * @param heard Called as soon as anything answers.
 * @returns The broker's id.
 * @throws {AuthError} If either side could not prove that it has the key.
 * @throws {ProtocolError} If the other side is not a broker with which this client can speak.
 * @throws {ConnectionLostError} If the other side is busy or closes.
 */
export async function authenticateToBroker(
  stream: ByteStream,
  key: Uint8Array,
  keyName: string,
  heard: () => void = () => {},
): Promise<Uint8Array> {
  const handshake = new ClientHandshake(key, keyName);
  const challenge = await challengeOf(stream, handshake, heard);
  await writeAll(stream, await handshake.prove(challenge));
  handshake.checkAnswer((await readExactly(stream, new Uint8Array(1)))[0]!);
  return await handshake.verify(await readExactly(stream, new Uint8Array(PROOF_BYTES)));
}

/**
 * Asks who answers, and proves nothing; the broker takes this for a client that gave up.
 *
 * @returns The id that the broker says it has.
 * @throws {VersionError} If it is a broker that speaks other versions of the protocol.
 * @throws {ProtocolError} If it is no broker.
 * @throws {ConnectionLostError} If the other side is busy or closes.
 */
export async function askForId(stream: ByteStream): Promise<Uint8Array> {
  const challenge = await challengeOf(stream, new ClientHandshake(randomBytes(1), ""));
  return challenge.subarray(CHALLENGE_HEAD_BYTES, CHALLENGE_HEAD_BYTES + BROKER_ID_BYTES);
}

/** Sends the hello, and reads the challenge. */
async function challengeOf(
  stream: ByteStream,
  handshake: ClientHandshake,
  heard?: () => void,
): Promise<Uint8Array<ArrayBuffer>> {
  await writeAll(stream, handshake.hello);
  const challenge = new Uint8Array(CHALLENGE_HEAD_BYTES + CHALLENGE_TAIL_BYTES);
  await readExactly(stream, challenge.subarray(0, 1));
  heard?.();
  if (challenge[0] === TLS_ALERT) {
    throw new ProtocolError(
      "Cannot connect: what answers speaks TLS; use an address that begins with tls://",
    );
  }
  if (challenge[0] === HTTP) {
    throw new ProtocolError(
      "Cannot connect: what answers speaks HTTP; use an address that begins with ws://, or wss://",
    );
  }
  // What is no broker may say less than a broker does.
  handshake.checkMagic(challenge.subarray(0, 1));
  await readExactly(stream, challenge.subarray(1, CHALLENGE_HEAD_BYTES));
  handshake.checkChallengeHead(challenge);
  await readExactly(stream, challenge.subarray(CHALLENGE_HEAD_BYTES));
  return challenge;
}

/** What a broker brings into each handshake. */
export interface Authentication<K extends Secret> {
  /** The random id of the broker, 16 bytes. */
  readonly brokerId: Uint8Array;
  /** The key of that name. */
  keyOf(name: string): K | undefined;
  /** Whether nobody more is let in, whatever key it has. */
  isBusy(): boolean;
  /** Waits before a client is told that its proof is wrong. */
  delay(): Promise<void>;
}

/**
 * The broker's side of the handshake over `stream`.
 *
 * @returns What the client has proved to have.
 * @throws {AuthError} If the client could not prove that it has the key, or its ticket has expired.
 * @throws {ProtocolError} If it does not speak the protocol.
 * @throws {ConnectionLostError} If it closes, or the broker is busy.
 */
export async function authenticateClient<K extends Secret>(
  stream: ByteStream,
  authentication: Authentication<K>,
): Promise<Proven<K>> {
  const handshake = new BrokerHandshake(
    authentication.brokerId,
    (name) => authentication.keyOf(name),
  );
  const head = await readExactly(stream, new Uint8Array(HELLO_HEAD_BYTES));
  const tail = await readExactly(stream, new Uint8Array(handshake.helloTail(head)));
  const hello = concat(head, tail);
  if (!handshake.speaks(hello)) {
    await writeAll(stream, handshake.refuse(Refusal.VERSION));
    throw new ProtocolError(
      `Cannot authenticate a client: it speaks versions ${hello[8]} to ${hello[9]} of the protocol`,
    );
  }
  if (authentication.isBusy()) {
    await writeAll(stream, handshake.refuse(Refusal.BUSY));
    throw new BusyError("the broker is shutting down");
  }
  await writeAll(stream, handshake.challenge(hello));
  const proof = await readExactly(stream, new Uint8Array(PROOF_BYTES));
  const { proven, isExpired, answer } = await handshake.answer(proof);
  if (proven === undefined && !isExpired) await authentication.delay();
  await writeAll(stream, answer);
  if (proven !== undefined) return proven;
  const { keyName } = handshake;
  const why = isExpired ? "its ticket has expired" : "its proof is wrong";
  throw new AuthError(`Cannot authenticate a client: ${why}`, { keyName, expired: isExpired });
}

/** A client has a key, but there is no place for it. */
export class BusyError extends ConnectionLostError {
  /** Why there is none, as the client is told. */
  readonly why: string;

  /** Makes an error that says so. */
  constructor(why: string) {
    super(`Cannot accept a client: ${why}`);
    this.why = why;
  }
}

async function readExactly(
  stream: ByteStream,
  into: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < into.length;) {
    const count = await stream.read(into.subarray(at));
    if (count === null) {
      throw new ConnectionLostError("Cannot connect: the other side closed during the handshake");
    }
    at += count;
  }
  return into;
}
