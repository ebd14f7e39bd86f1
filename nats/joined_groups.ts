/**
 * The groups of a bus: which broker has members of which, and messages that one broker hands over to the
 * members at another. It is the same in both modes, beside their messages.
 *
 * ```
 *  group() ─▶ .g          all groups here, when they change and with each beat ─▶ groupsAt() of the others
 *  handOver() ─▶ .j.<id>  a packet, to one broker ─▶ takeOver() there; at once it answers to
 *                .r.<id>  ◀─ whether it has taken that
 *                .l.<id>  ◀─ a message of it is given up; or all of it is finished
 * ```
 *
 * - A packet is sent once. Without an answer nobody knows whether it was taken.
 * - It is remembered until it is finished; if its broker is gone before, its messages count as lost.
 */
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import { fromBase64, toBase64 } from "../base/base64.ts";
import { concat } from "../base/bytes.ts";
import { clock } from "../base/clock.ts";
import { every, later, type Timer } from "../base/timers.ts";
import type { GroupName, HandedOver, TellLost, UplinkBus } from "../broker/uplink.ts";
import { ProtocolError } from "../errors.ts";
import { framesEnd, runAt } from "../protocol/topic_run.ts";

/** How often a broker tells of its groups. */
const BEAT_MS = 2000;
/** After so long without a word of it, nothing is handed over to a broker. */
const FRESH_MS = 3 * BEAT_MS;
/** How long the answer to a packet may take. */
const ANSWER_MS = 5000;
/** How many bytes may be handed over and not finished. */
const HELD_BYTES_MAX = 64 * 2 ** 20;
/** How many groups a broker may tell of, and how many brokers may. */
const GROUPS_MAX = 10_000;
const BROKERS_MAX = 4096;
/** Changes that come soon after each other are told together. */
const GATHER_MS = 20;
/** The status with which NATS answers where nobody listens. */
const NOBODY_LISTENS = 503;
/** Whether the broker has taken a packet. */
const [TAKEN, NOT_TAKEN] = [Uint8Array.of(1), Uint8Array.of(0)];
const HEAD_BYTES = 4;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** What {@linkcode JoinedGroups} need of their uplink. */
export interface JoinedGroupsContext {
  /** The id of this broker. */
  readonly id: string;
  /** What the subjects of the bus begin with. */
  readonly prefix: string;
  readonly bus: UplinkBus;
  /** Reads something of others; counts what no broker says. */
  read(take: () => void): void;
  warn(message: string): void;
}

/** What stands before the frames of a packet. */
interface PacketHead extends GroupName {
  readonly from: string;
  readonly packet: number;
}

/** A message that is given up. */
interface Lost {
  readonly packet: number;
  readonly why: "full" | "abandoned";
  /** The topic block, in base64. */
  readonly topic: string;
  readonly text: string;
}

/** A packet whose messages are all finished, or given up. */
interface Finished {
  readonly packet: number;
  readonly why: "finished";
}

/** What was handed over. */
interface Packet {
  readonly broker: string;
  readonly frames: Uint8Array;
  readonly tellLost: TellLost;
}

/** The groups of the brokers that NATS joins. */
export class JoinedGroups {
  readonly #context: JoinedGroupsContext;
  /** Those that have members here, by their texts. */
  readonly #here = new Map<string, GroupName>();
  /** When each other broker told of its groups last, and what. */
  readonly #heard = new Map<string, { readonly at: number; readonly text: string }>();
  /** Those that are not finished, by their numbers, the oldest first. */
  readonly #packets = new Map<number, Packet>();
  #heldBytes = 0;
  /** What takes the answers to packets, by the numbers of these. */
  readonly #answers = new Map<number, (outcome: HandedOver) => void>();
  #sent = 0;
  #connection: NatsConnection | undefined;
  #gathering: Timer | undefined;

  /** Makes it without groups. */
  constructor(context: JoinedGroupsContext) {
    this.#context = context;
  }

  /** A group has members here, or has none any more. */
  change(name: GroupName, isThere: boolean): void {
    const text = JSON.stringify([name.group, name.topic]);
    if (isThere) this.#here.set(text, name);
    else this.#here.delete(text);
    this.#gathering ??= later(() => {
      this.#gathering = undefined;
      this.#tell();
    }, GATHER_MS);
  }

  /** Tells and listens over a connection, until it is disposed. */
  begin(nc: NatsConnection): Timer {
    const { prefix, id } = this.#context;
    this.#connection = nc;
    const now = clock.now();
    for (const [broker, { text }] of this.#heard) this.#heard.set(broker, { at: now, text });
    this.#listen(`${prefix}.g`, (message) => this.#take(message));
    this.#listen(`${prefix}.j.${id}`, (message) => this.#takeOver(message));
    this.#listen(`${prefix}.r.${id}.*`, (message) => this.#takeAnswer(message));
    this.#listen(`${prefix}.l.${id}`, ({ data }) => this.#takeLost(data));
    this.#tell();
    return every(() => {
      this.#tell();
      this.#forgetSilent();
    }, BEAT_MS);
  }

  #listen(subject: string, take: (message: Msg) => void): void {
    this.#connection!.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) this.#context.warn(`NATS refuses a subscription: ${error.message}`);
        else this.#context.read(() => take(message));
      },
    });
  }

  /** Tells all others of the groups here. */
  #tell(): void {
    const groups = [...this.#here.values()].slice(0, GROUPS_MAX);
    this.#say(`${this.#context.prefix}.g`, { from: this.#context.id, groups });
  }

  #say(subject: string, what: unknown): void {
    const nc = this.#connection;
    if (nc?.isClosed() !== false) return;
    try {
      nc.publish(subject, encoder.encode(JSON.stringify(what)));
    } catch (error) { // It is longer than this server allows.
      this.#context.warn(`Cannot tell other brokers of groups: ${error}`);
    }
  }

  #take({ data }: Msg): void {
    const text = decoder.decode(data);
    const { from, groups } = JSON.parse(text);
    if (from === this.#context.id) return;
    if (typeof from !== "string" || !Array.isArray(groups) || groups.length > GROUPS_MAX) {
      throw new ProtocolError("Cannot read which groups a broker has");
    }
    if (!this.#heard.has(from) && this.#heard.size >= BROKERS_MAX) {
      throw new ProtocolError(`Cannot take groups of one more broker: there are ${BROKERS_MAX}`);
    }
    const before = this.#heard.get(from)?.text;
    if (before !== text) {
      for (const name of groups) checkName(name);
      this.#context.bus.groupsAt(from, groups);
    }
    this.#heard.set(from, { at: clock.now(), text });
    if (before === undefined && this.#here.size > 0) this.#tell();
  }

  #forgetSilent(): void {
    const now = clock.now();
    for (const [broker, { at }] of this.#heard) if (now - at > FRESH_MS) this.gone(broker);
  }

  /** Another broker is gone. */
  gone(broker: string): void {
    if (this.#heard.delete(broker)) this.#context.bus.groupsAt(broker, []);
    for (const [number, packet] of this.#packets) {
      if (packet.broker !== broker) continue;
      this.#forget(number);
      const text = `The broker that had it is gone: it may be finished, or not`;
      for (let at = 0; at < packet.frames.length;) {
        const { topic, payload } = runAt(packet.frames, at);
        at = framesEnd(packet.frames, at, 1);
        packet.tellLost("abandoned", packet.frames.slice(topic, payload), text);
      }
    }
  }

  /** Hands messages over to the members of a group at another broker. */
  async handOver(
    broker: string,
    { group, topic }: GroupName,
    frames: Uint8Array,
    tellLost: TellLost,
  ): Promise<HandedOver> {
    const nc = this.#connection;
    const isTooMuch = this.#heldBytes + frames.length > HELD_BYTES_MAX && this.#heldBytes > 0;
    if (nc?.isClosed() !== false || isTooMuch) return "not taken";
    const packet = ++this.#sent;
    const head: PacketHead = { from: this.#context.id, packet, group, topic };
    const text = encoder.encode(JSON.stringify(head));
    const size = new Uint8Array(HEAD_BYTES);
    new DataView(size.buffer).setUint32(0, text.length, true);
    this.#packets.set(packet, { broker, frames, tellLost });
    this.#held(frames.length);
    const outcome = await this.#send(nc, broker, packet, concat(size, text, frames));
    if (outcome !== "taken") this.#forget(packet);
    return outcome;
  }

  /** Sends a packet; resolves with what became of it. */
  #send(
    nc: NatsConnection,
    broker: string,
    packet: number,
    bytes: Uint8Array,
  ): Promise<HandedOver> {
    const { prefix, id } = this.#context;
    try {
      nc.publish(`${prefix}.j.${broker}`, bytes, { reply: `${prefix}.r.${id}.${packet}` });
    } catch { // It is longer than this server allows, or the connection is being closed.
      return Promise.resolve("not taken");
    }
    const { promise, resolve } = Promise.withResolvers<HandedOver>();
    const timer = later(() => this.#answers.get(packet)?.("unknown"), ANSWER_MS);
    this.#answers.set(packet, (outcome) => {
      this.#answers.delete(packet);
      timer.cancel();
      resolve(outcome);
    });
    return promise;
  }

  /** A broker answers, or NATS says that nobody listens there. */
  #takeAnswer({ subject, data, headers }: Msg): void {
    const isTaken = headers?.code !== NOBODY_LISTENS && data[0] === TAKEN[0];
    this.#answers.get(Number(subject.split(".").at(-1)))?.(isTaken ? "taken" : "not taken");
  }

  #held(change: number): void {
    this.#heldBytes += change;
    this.#context.bus.onBytes(change);
  }

  #forget(number: number): void {
    const packet = this.#packets.get(number);
    if (packet === undefined) return;
    this.#packets.delete(number);
    this.#held(-packet.frames.length);
  }

  /** Another broker hands messages over. */
  #takeOver(message: Msg): void {
    let isTaken = false;
    try {
      const { data } = message;
      if (data.length < HEAD_BYTES) throw new ProtocolError("Cannot read a packet for a group");
      const size = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
      const start = HEAD_BYTES + size;
      if (start > data.length) throw new ProtocolError("Cannot read a packet for a group");
      const head = JSON.parse(decoder.decode(data.subarray(HEAD_BYTES, start)));
      checkName(head);
      const { from, packet } = head as PacketHead;
      if (typeof from !== "string" || !/^[0-9a-f]+$/.test(from)) {
        throw new ProtocolError("Cannot read from whom a packet for a group is");
      }
      const say = (what: Lost | Finished) => this.#say(`${this.#context.prefix}.l.${from}`, what);
      isTaken = this.#context.bus.takeOver(
        head,
        data.slice(start),
        (why, topic, text) => say({ packet, why, topic: toBase64(topic), text }),
        () => say({ packet, why: "finished" }),
      );
    } finally {
      message.respond(isTaken ? TAKEN : NOT_TAKEN);
    }
  }

  #takeLost(data: Uint8Array): void {
    const said = JSON.parse(decoder.decode(data)) as Lost | Finished;
    if (said.why === "finished") return this.#forget(said.packet);
    const { packet, why, topic, text } = said;
    const isRight = (why === "full" || why === "abandoned") && typeof topic === "string" &&
      typeof text === "string";
    if (!isRight) throw new ProtocolError("Cannot read what a broker has given up");
    this.#packets.get(packet)?.tellLost(why, fromBase64(topic), text);
  }

  /** Tells the others that there are no groups here any more, and forgets what it handed over. */
  end(): void {
    this.#gathering?.cancel();
    for (const number of this.#packets.keys()) this.#forget(number);
    for (const take of this.#answers.values()) take("unknown");
    this.#here.clear();
    this.#tell();
  }
}

/**
 * Makes sure that something names a group.
 *
 * @throws {ProtocolError} If it does not.
 */
function checkName(name: unknown): asserts name is GroupName {
  const { group, topic } = name as GroupName ?? {};
  const isRight = typeof group === "string" && Array.isArray(topic) &&
    topic.every((element) => typeof element === "string" || element === null);
  if (!isRight) throw new ProtocolError("Cannot read the name of a group");
}
