/**
 * One authenticated peer: frames in both directions over a stream of bytes, messages counted each
 * way and acknowledged, and an end with a reason.
 *
 * Both sides run the same code. The count of a message is its place in its direction of this
 * connection, from 1; it stands in no frame. A side acknowledges after {@linkcode ACK_BYTES}, and
 * when asked: an ACK says how many messages, and how many requests, have arrived, so the answer to a
 * request covers everything that was sent before it.
 *
 * A side that ends the session says GOODBYE and then only reads, so that the reason arrives even
 * when the other side is in the middle of sending.
 */
import { BrokerHandshake, ClientHandshake, Refusal } from "./auth.ts";
import {
  CHALLENGE_HEAD_BYTES,
  CHALLENGE_TAIL_BYTES,
  HELLO_HEAD_BYTES,
  PROOF_BYTES,
} from "./auth.ts";
import { AuthError, ConnectionLostError, ProtocolError } from "./errors.ts";
import {
  decodeAck,
  decodeGoodbye,
  encodeAck,
  encodeFrame,
  encodeGoodbye,
  FrameError,
  type FrameLimits,
  FrameReader,
  FrameType,
  Reason,
  sizeLength,
  writeSize,
} from "./frame.ts";
import { type ByteStream, Outbox } from "./outbox.ts";

/** A side acknowledges when this many bytes of messages have arrived since it last did. */
export const ACK_BYTES = 64 * 1024;
/** How long a side that ended the session waits for the other to close. */
const LINGER_MS = 1000;
/** From this size on a message gets a buffer of its own. */
const OWN_BUFFER_BYTES = 16 * 1024;
/** How exactly unacknowledged bytes are known: one mark for so many. */
const MARK_BYTES = 16 * 1024;

/** What the owner of a session does with what arrives. */
export interface SessionHandler {
  /**
   * Takes the reader's current frame. A promise holds the session back: nothing more is read until
   * it resolves. A `ProtocolError` ends the session.
   */
  frame(reader: FrameReader): void | Promise<void>;
  /** All frames of one read were given to `frame`. */
  batch?(): void;
}

/** How a session ended; without an error one of the sides wanted it to. */
export interface SessionEnd {
  /** What went wrong. */
  readonly error?: Error;
}

/** The frames of one authenticated connection; see the module. */
export class Session {
  /** Resolves when the connection is closed; never rejects. */
  readonly finished: Promise<SessionEnd>;
  readonly #stream: ByteStream;
  readonly #handler: SessionHandler;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  readonly #header = new Uint8Array(6);
  #end: SessionEnd | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;

  #received = 0;
  #receivedBytes = 0;
  #asked = 0;
  #asksAnswered = 0;

  #sent = 0;
  #sentBytes = 0;
  #acknowledged = 0;
  #acknowledgedBytes = 0;
  #marks: { messages: number; bytes: number }[] = [];
  #asks = 0;
  #waiting: { ask: number; resolve: () => void; reject: (reason: unknown) => void }[] = [];

  /** Begins to read from `stream`, which is this session's from now on. */
  constructor(stream: ByteStream, limits: FrameLimits, handler: SessionHandler) {
    this.#stream = stream;
    this.#handler = handler;
    this.#reader = new FrameReader(limits);
    this.#outbox = new Outbox(stream, (error) => this.#lose(error));
    this.finished = this.#run();
  }

  /** Messages sent and not acknowledged. */
  get unacknowledged(): number {
    return this.#sent - this.#acknowledged;
  }

  /** Bytes of messages sent and not acknowledged, to within 16 KiB. */
  get pending(): number {
    return this.#sentBytes - this.#acknowledgedBytes;
  }

  /** Bytes that wait to be written. */
  get queued(): number {
    return this.#outbox.queued;
  }

  /** Replaces what this side takes, as of the next frame. */
  set limits(limits: FrameLimits) {
    this.#reader.limits = limits;
  }

  /** Sends a frame that is not counted. */
  send(type: FrameType, ...parts: readonly Uint8Array[]): void {
    if (this.#end === undefined) this.#outbox.push(encodeFrame(type, ...parts));
  }

  /** Sends a message; both parts may be changed afterwards. */
  publish(topic: Uint8Array, payload: Uint8Array): void {
    if (this.#end !== undefined) return;
    const size = 1 + topic.length + payload.length;
    if (size >= OWN_BUFFER_BYTES) {
      this.#outbox.push(encodeFrame(FrameType.PUBLISH, topic, payload));
    } else {
      const at = writeSize(this.#header, 0, size);
      this.#header[at] = FrameType.PUBLISH;
      this.#outbox.push(this.#header.subarray(0, at + 1));
      this.#outbox.push(topic);
      this.#outbox.push(payload);
    }
    this.#count(1, sizeLength(size) + size);
  }

  /** Sends a slice of `messages` whole PUBLISH frames, whose bytes stay as they are. */
  forward(frames: Uint8Array, messages: number): void {
    if (this.#end !== undefined) return;
    this.#outbox.push(frames);
    this.#count(messages, frames.length);
  }

  #count(messages: number, bytes: number): void {
    this.#sent += messages;
    this.#sentBytes += bytes;
    const last = this.#marks.at(-1);
    if (last === undefined || this.#sentBytes - last.bytes >= MARK_BYTES) {
      this.#marks.push({ messages: this.#sent, bytes: this.#sentBytes });
    }
  }

  /**
   * Asks for an acknowledgement of everything sent so far.
   *
   * @returns Resolves when it has come; rejects when the session ends before.
   */
  ask(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#end === undefined) {
      this.send(FrameType.ASK);
      this.#waiting.push({ ask: ++this.#asks, resolve, reject });
    } else reject(this.#end.error ?? new ConnectionLostError("The session has ended"));
    return promise;
  }

  /** Ends the session: sends what is queued, then the reason. A second call changes nothing. */
  end(reason: Reason, text: string, error?: Error): void {
    if (this.#end !== undefined) return;
    this.send(FrameType.GOODBYE, encodeGoodbye(reason, text));
    this.#end = error === undefined ? {} : { error };
    this.#linger = setTimeout(() => this.#stream.close(), LINGER_MS);
    this.#rejectWaiting();
    this.#outbox.drained().then(() => this.#stream.closeWrite()).catch(() => {
      // The other side closed first: what was to be told has nobody to hear it.
      this.#stream.close();
    });
  }

  /** Closes the connection at once, without a word. */
  abort(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#rejectWaiting();
    this.#outbox.close();
    this.#stream.close();
  }

  #lose(cause: unknown): void {
    this.abort(lostError(cause));
  }

  async #run(): Promise<SessionEnd> {
    try {
      for (;;) {
        const count = await this.#stream.read(this.#reader.space());
        if (count === null) break;
        if (this.#end !== undefined) continue;
        this.#reader.wrote(count);
        await this.#takeFrames();
      }
      this.#end ??= { error: lostError(undefined) };
    } catch (error) { // Whatever the stream throws: the connection is gone.
      this.#end ??= { error: lostError(error) };
    }
    clearTimeout(this.#linger);
    this.#rejectWaiting();
    this.#outbox.close();
    this.#stream.close();
    return this.#end;
  }

  async #takeFrames(): Promise<void> {
    try {
      while (this.#end === undefined && this.#reader.next()) {
        const held = this.#takeFrame();
        if (held !== undefined) await held;
      }
      this.#handler.batch?.();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#handler.batch?.();
      this.end(error instanceof FrameError ? error.reason : Reason.PROTOCOL, error.message, error);
    }
    if (this.#receivedBytes >= ACK_BYTES || this.#asked > this.#asksAnswered) {
      this.#receivedBytes = 0;
      this.#asksAnswered = this.#asked;
      this.send(FrameType.ACK, encodeAck(this.#received, this.#asked));
    }
  }

  #takeFrame(): void | Promise<void> {
    const reader = this.#reader;
    switch (reader.type) {
      case FrameType.PUBLISH:
        this.#received++;
        this.#receivedBytes += reader.end - reader.start;
        return this.#handler.frame(reader);
      case FrameType.ASK:
        this.#asked = (this.#asked + 1) >>> 0;
        return;
      case FrameType.ACK:
        return this.#takeAck(reader.buffer.subarray(reader.body, reader.end));
      case FrameType.GOODBYE:
        return this.#takeGoodbye(reader.buffer.subarray(reader.body, reader.end));
      default:
        return this.#handler.frame(reader);
    }
  }

  #takeAck(body: Uint8Array): void {
    const { messages, asks } = decodeAck(body);
    if (messages < this.#acknowledged || messages > this.#sent) {
      throw new ProtocolError(
        `Cannot take ACK ${messages}: ${this.#sent} messages were sent, ${this.#acknowledged} are acknowledged`,
      );
    }
    if (asks > this.#asks) {
      throw new ProtocolError(`Cannot take ACK: it answers ${asks} requests of ${this.#asks}`);
    }
    this.#acknowledged = messages;
    if (messages === this.#sent) {
      this.#acknowledgedBytes = this.#sentBytes;
      this.#marks = [];
    } else {
      const covered = this.#marks.findLastIndex((mark) => mark.messages <= messages);
      if (covered >= 0) {
        this.#acknowledgedBytes = this.#marks[covered]!.bytes;
        this.#marks.splice(0, covered + 1);
      }
    }
    while (this.#waiting.length > 0 && this.#waiting[0]!.ask <= asks) {
      this.#waiting.shift()!.resolve();
    }
  }

  #takeGoodbye(body: Uint8Array): void {
    const { reason, text } = decodeGoodbye(body);
    this.#end = goodbyeEnd(reason, text);
    this.#rejectWaiting();
    this.#stream.close();
  }

  #rejectWaiting(): void {
    const reason = this.#end?.error ?? new ConnectionLostError("The session has ended");
    for (const { reject } of this.#waiting.splice(0)) reject(reason);
  }
}

function goodbyeEnd(reason: number, text: string): SessionEnd {
  switch (reason) {
    case Reason.DONE:
      return {};
    case Reason.SHUTDOWN:
    case Reason.TOO_SLOW:
      return { error: new ConnectionLostError(`The other side ended the session: ${text}`) };
    default:
      return { error: new ProtocolError(`The other side ended the session: ${text}`) };
  }
}

function lostError(cause: unknown): ConnectionLostError {
  const how = cause instanceof Error ? cause.message : "the other side closed it";
  return new ConnectionLostError(`The connection was lost: ${how}`, { cause });
}

/**
 * The client's side of the handshake over `stream`.
 *
 * @returns The broker's id.
 * @throws {AuthError} When either side could not prove that it has the key.
 * @throws {ProtocolError} When the other side is no broker that this client can speak to.
 * @throws {ConnectionLostError} When the other side is busy or closes.
 */
export async function greetBroker(
  stream: ByteStream,
  key: Uint8Array<ArrayBuffer>,
  keyName: string,
): Promise<Uint8Array> {
  const handshake = new ClientHandshake(key, keyName);
  await writeAll(stream, handshake.hello);
  const challenge = new Uint8Array(CHALLENGE_HEAD_BYTES + CHALLENGE_TAIL_BYTES);
  await readExactly(stream, challenge.subarray(0, CHALLENGE_HEAD_BYTES));
  handshake.checkChallengeHead(challenge);
  await readExactly(stream, challenge.subarray(CHALLENGE_HEAD_BYTES));
  await writeAll(stream, await handshake.prove(challenge));
  handshake.checkAnswer((await readExactly(stream, new Uint8Array(1)))[0]!);
  return await handshake.verify(await readExactly(stream, new Uint8Array(PROOF_BYTES)));
}

/** What a broker brings into each handshake. */
export interface Greeter {
  /** The random id of the broker, 16 bytes. */
  readonly brokerId: Uint8Array;
  /** The key of that name. */
  keyOf(name: string): Uint8Array<ArrayBuffer> | undefined;
  /** Whether to refuse whoever comes. */
  readonly busy: boolean;
}

/**
 * The broker's side of the handshake over `stream`.
 *
 * @returns The name of the client's key.
 * @throws {AuthError} When the client could not prove that it has the key.
 * @throws {ProtocolError} When it does not speak the protocol.
 * @throws {ConnectionLostError} When it closes, or the broker is busy.
 */
export async function greetClient(
  stream: ByteStream,
  greeter: Greeter,
): Promise<string> {
  const handshake = new BrokerHandshake(greeter.brokerId, (name) => greeter.keyOf(name));
  const head = await readExactly(stream, new Uint8Array(HELLO_HEAD_BYTES));
  const tail = await readExactly(stream, new Uint8Array(handshake.helloTail(head)));
  const hello = new Uint8Array(head.length + tail.length);
  hello.set(head);
  hello.set(tail, head.length);
  if (!handshake.speaks(hello)) {
    await writeAll(stream, handshake.refuse(Refusal.VERSION));
    throw new ProtocolError(
      `Cannot authenticate a client: it speaks versions ${hello[8]} to ${hello[9]} of the protocol`,
    );
  }
  if (greeter.busy) {
    await writeAll(stream, handshake.refuse(Refusal.BUSY));
    throw new ConnectionLostError("Cannot take a client: there are as many as there may be");
  }
  await writeAll(stream, handshake.challenge(hello));
  const proof = await readExactly(stream, new Uint8Array(PROOF_BYTES));
  const { granted, answer } = await handshake.answer(proof);
  await writeAll(stream, answer);
  if (!granted) {
    throw new AuthError("Cannot authenticate a client: its proof is wrong", {
      keyName: handshake.keyName,
    });
  }
  return handshake.keyName;
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

async function writeAll(stream: ByteStream, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await stream.write(bytes.subarray(at));
}
