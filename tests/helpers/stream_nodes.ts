/** Simulated brokers that are joined through a simulated stream. */
import { assert } from "@std/assert";
import { JetStreamExchange } from "../../nats/jetstream_exchange.ts";
import { readPacket } from "../../nats/packet.ts";
import type { Random } from "../../tools/harness/random.ts";
import type { TopicPath } from "../../topic.ts";
import type { SimulatedBroker } from "../conformance/exchange.ts";
import { contextOf, frameOf, Heard, type Message } from "./exchange.ts";

interface Stored {
  readonly subject: string;
  readonly bytes: Uint8Array;
}

/** A stream that stores, or does not, and confirms what it stored, or does not. */
export class FakeStream {
  readonly stored: Stored[] = [];
  readonly #ids = new Set<string>();
  readonly #random: Random;
  /** In how many of a hundred cases something goes wrong. */
  faults: number;
  /** Throws if it refuses a packet for good. */
  refuse: (subject: string, bytes: Uint8Array) => void = () => {};

  constructor(random: Random, faults: number) {
    this.#random = random;
    this.faults = faults;
  }

  async publish(subject: string, bytes: Uint8Array, id: string): Promise<void> {
    const goesWrong = () => this.#random.int(100) < this.faults;
    await Promise.resolve();
    if (goesWrong()) throw new Error("there is no leader");
    this.refuse(subject, bytes);
    if (!this.#ids.has(id)) this.stored.push({ subject, bytes: bytes.slice() });
    this.#ids.add(id);
    for (let n = this.#random.int(4); n > 0; n--) await Promise.resolve();
    if (goesWrong()) throw new Error("the confirmation was lost");
  }
}

/** A broker, which reads all of the stream, or what it wants of it. */
export class Node extends Heard implements SimulatedBroker {
  readonly exchange: JetStreamExchange;
  readonly id: string;
  readonly timers: (() => void)[] = [];
  readonly warnings: string[] = [];
  readonly #stream: FakeStream;
  readonly #isFiltered: boolean;
  isConnected = false;
  #connection = 0;
  position = 0;

  constructor(
    stream: FakeStream,
    index: number,
    { isFiltered = false, queueBytes = 2 ** 20 } = {},
  ) {
    super();
    this.#stream = stream;
    this.#isFiltered = isFiltered;
    this.id = index.toString(16).padStart(16, "0");
    this.exchange = new JetStreamExchange(contextOf(this, {
      id: this.id,
      queueBytes,
      messageBytes: 2 ** 21,
      warn: (message) => this.warnings.push(message),
      later: (callback) => {
        this.timers.push(callback);
        return {
          cancel: () => this.timers.splice(this.timers.indexOf(callback) >>> 0, 1),
        };
      },
    }));
  }

  connect(): void {
    this.isConnected = true;
    const connection = ++this.#connection;
    this.exchange.connected({
      publish: async (...packet) => {
        await Promise.resolve();
        if (!this.isConnected || this.#connection !== connection) throw new Error("cut");
        await this.#stream.publish(...packet);
      },
    });
  }

  disconnect(): void {
    this.isConnected = false;
    this.exchange.disconnected();
  }

  wants(path: TopicPath, wants: boolean): void {
    if (this.exchange.wants(path, wants)) this.exchange.chosenAnew();
  }

  take(message: Message, bytes = 0, publisher: object = this): void {
    this.exchange.take(frameOf(message, bytes), publisher);
  }

  hear(subject: string, bytes: Uint8Array): void {
    const { header, body } = readPacket(bytes);
    this.exchange.packet(subject, header, body);
  }

  /** Reads the next packet of the stream; whether there was one. */
  read(): boolean {
    const next = this.#stream.stored[this.position];
    if (next === undefined) return false;
    this.position++;
    const { subject, bytes } = next;
    const isWanted = this.exchange.wanted().some((pattern) =>
      pattern.endsWith(".>") ? subject.startsWith(pattern.slice(0, -1)) : pattern === subject
    );
    if (!this.#isFiltered || isWanted) this.hear(subject, bytes);
    return true;
  }
}

/** Lets what is under way go on. */
export async function settle(): Promise<void> {
  for (let n = 0; n < 8; n++) await Promise.resolve();
}

/** Lets what is sent reach the stream, and reads all of it. */
export async function drain(stream: FakeStream, nodes: readonly Node[]): Promise<void> {
  const isSending = ({ isConnected, exchange }: Node) => isConnected && exchange.queuedBytes > 0;
  for (let round = 0; nodes.some(isSending); round++) {
    assert(round < 10_000, "what waits is not sent");
    for (const { timers } of nodes) timers.shift()?.();
    await settle();
  }
  for (const node of nodes) while (node.position < stream.stored.length) node.read();
}
