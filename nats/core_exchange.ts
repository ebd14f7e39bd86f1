/**
 * Brokers joined through plain NATS subjects. Knows no connection.
 *
 * ```
 *  here ── what our clients want: covers, each a subscription ──▶ told to all: "wants"
 *  there ─ counts for each topic that others want what it sends ─▶ in each packet, and when asked
 * ```
 *
 * NATS delivers at most once, so every loss has to be noticed:
 *
 * - Each broker knows what each other one wants, and sends nothing else. For each topic that somebody
 *   wants, it counts the messages for it and all below it. A packet carries the counts that it belongs
 *   to, so the next one shows whether one before is missing.
 * - Every beat has the number of the latest packet. A broker that has not heard them all, perhaps
 *   because some were for others, asks for the counts. NATS delivers the answer after all that was sent
 *   before.
 * - Packets are numbered, and kept until the server has confirmed that it has them; over a new
 *   connection they are sent again. Whoever has heard one with that number or a later one ignores it.
 * - Over a new connection nothing is sent until all others were heard there, or some seconds have
 *   passed: after an outage of all of NATS, the brokers that come back first would send to nobody.
 * - When one cover replaces another, both are subscribed to until all others know the new one. What
 *   comes twice has the same number.
 *
 * This module has what brokers say to each other, and when. Others have the rest: our interests
 * (core_own_wants.ts), what others want and know of our counts (core_remote_wants.ts, core_sent_counts.ts),
 * what was heard against their counts (core_losses.ts), and numbered packets (core_sender.ts).
 */
import { ProtocolError } from "../errors.ts";
import { runAt } from "../protocol/topic_run.ts";
import type { TopicPath } from "../topic.ts";
import { type ControlMessage, partsOf } from "./control_message.ts";
import { LossDetector } from "./core_losses.ts";
import { Interests } from "./core_own_wants.ts";
import { RemoteWants } from "./core_remote_wants.ts";
import { CoreSender } from "./core_sender.ts";
import { SentCounts } from "./core_sent_counts.ts";
import type { Wire } from "./core_wire.ts";
import { type ExchangeContext, lose } from "./exchange_context.ts";
import { HeldBytes } from "./held_bytes.ts";
import type { Exchange } from "./mode.ts";
import type { PacketHeader } from "./packet.ts";
import { Reassembly } from "./reassembly.ts";

/** How long to wait for the others over a new connection. */
const AWAIT_MS = 5000;
/** How many brokers that are gone are remembered, because they may come back. */
const GONE_MAX = 1024;
/** How many brokers are remembered in all. */
const REMOTES_MAX = 8192;

/** Another broker. */
interface Remote {
  readonly id: string;
  isGone: boolean;
  /** What it wants from us. */
  readonly wants: RemoteWants;
  /** What we heard of it. */
  readonly losses: LossDetector;
  /** The version of our interests that it knows; and that of its latest full answer. */
  confirmed: number;
  checked: number;
  /** Whether a beat passed since it should have known the latest. */
  isLate: boolean;
}

/** Exchanges messages with other brokers, over whatever connection there is. */
export class CoreExchange implements Exchange {
  readonly #context: ExchangeContext;
  #wire: Wire | undefined;
  readonly #interests: Interests;
  readonly #counts: SentCounts;
  readonly #sender: CoreSender;
  readonly #remotes = new Map<string, Remote>();
  readonly #held: HeldBytes;
  #registrations = 0;
  /** The brokers that were not heard over this connection yet; `undefined`: it waits for nobody. */
  #awaited: Set<Remote> | undefined;
  #awaiting: Disposable | undefined;
  /** The brokers that get our counts after that wait, because some messages may come again before. */
  readonly #countsDue = new Set<Remote>();

  /** Makes one without a connection. */
  constructor(context: ExchangeContext) {
    this.#context = context;
    this.#interests = new Interests(context, {
      knownByAll: () =>
        this.#present().reduce((known, { checked }) => Math.min(known, checked), Infinity),
      removed: (id) => {
        for (const { losses } of this.#remotes.values()) losses.forget(id);
      },
    });
    this.#held = new HeldBytes(context.queueBytes);
    this.#counts = new SentCounts(context.bus, context.prefix);
    this.#sender = new CoreSender(context, this.#counts);
  }

  get subscriptions(): number {
    return this.#interests.size;
  }

  get queuedBytes(): number {
    return this.#sender.queuedBytes;
  }

  get waitingSince(): number | undefined {
    return this.#sender.waitingSince;
  }

  /** How many others may not know yet what is wanted here. */
  get unaware(): number {
    return this.#present().filter(({ confirmed }) => !this.#interests.isLatest(confirmed)).length;
  }

  /** What each beat tells. */
  get beat(): { sent: number; wants: number } {
    return { sent: this.#sender.number, wants: this.#interests.version };
  }

  /** Notes that a client wants a topic, or no longer wants it. */
  wants(path: TopicPath, wants: boolean): void {
    this.#interests.wants(path, wants);
  }

  take(frames: Uint8Array): void {
    this.#sender.take(frames);
  }

  drained(signal: AbortSignal): Promise<void> {
    return this.#sender.drained(signal);
  }

  /** Goes on over a connection. */
  connected(wire: Wire): void {
    this.#wire = wire;
    this.#interests.connected(wire);
    this.#awaited = new Set(this.#present().filter(({ wants }) => wants.size > 0));
    this.#awaiting = this.#context.later(() => this.#goOn(), AWAIT_MS);
    // The answers have counts, which show what was missed meanwhile.
    this.#interests.sayAll();
    if (this.#awaited.size === 0) this.#goOn();
  }

  /** All others are here: sends what waits. */
  #goOn(): void {
    this.#awaiting?.[Symbol.dispose]();
    this.#awaited = undefined;
    if (this.#wire !== undefined) this.#sender.connected(this.#wire);
    for (const remote of this.#countsDue) this.#sayCounts(remote, true);
    this.#countsDue.clear();
    this.#sender.sendMore();
  }

  disconnected(): void {
    this.#wire = undefined;
    this.#sender.disconnected();
    this.#awaiting?.[Symbol.dispose]();
    this.#interests.disconnected();
  }

  /**
   * Takes a packet from NATS.
   *
   * @throws {ProtocolError} If it is from a broker that uses a stream.
   */
  packet(header: PacketHeader, body: Uint8Array): void {
    const { broker, lane, messages } = header;
    if (lane > 0) {
      throw new ProtocolError("Cannot take a packet: its broker sends for a stream");
    }
    const { losses } = this.#remote(broker);
    const frames = losses.assemble(header, body);
    if (frames === undefined || messages === 0) return;
    const { topic, payload } = runAt(frames, 0, 0); // The first is enough: all have one topic.
    if (!losses.check(this.#interests.covering(frames, topic, payload), header)) return;
    this.#context.counts.received += messages;
    this.#context.deliver(frames);
  }

  /** The others that are not gone. */
  #present(): Remote[] {
    return [...this.#remotes.values()].filter(({ isGone }) => !isGone);
  }

  /** The broker with this id; a new one is told what we want. */
  #remote(id: string): Remote {
    let remote = this.#remotes.get(id);
    if (remote === undefined) {
      if (this.#remotes.size >= REMOTES_MAX) {
        throw new ProtocolError(`Cannot take one more broker: ${REMOTES_MAX} are known`);
      }
      remote = this.#makeRemote(id);
      this.#remotes.set(id, remote);
      if (this.#wire !== undefined) this.#interests.sayAll(id);
    }
    return remote;
  }

  #makeRemote(id: string): Remote {
    const context = this.#context;
    const lost = (path: TopicPath | null, messages: number) => lose(context, path ?? [], messages);
    return {
      id,
      isGone: false,
      wants: new RemoteWants(this.#counts, ++this.#registrations),
      losses: new LossDetector(
        this.#interests,
        new Reassembly(context.bus.messageBytes, this.#held),
        lost,
      ),
      confirmed: 0,
      checked: 0,
      isLate: false,
    };
  }

  /** Takes what another broker says. */
  hear(message: ControlMessage): void {
    if (message.type === "bye") return this.gone(message.from, true);
    const remote = this.#remote(message.from);
    if (remote.isGone) {
      remote.isGone = false;
      this.#interests.sayAll(remote.id);
    }
    this.#noLongerAwaited(remote);
    if (message.type === "beat") {
      if (remote.losses.hasToAsk(message.sent)) this.#ask(remote);
      if (message.wants !== remote.wants.version) this.#sayCounts(remote, false);
    } else if (message.type === "ask") {
      remote.wants.commit(message.got);
      this.#sayCounts(remote, true);
    } else if (message.type === "got") remote.wants.commit(message.got);
    else if (message.type === "counts") this.#takeCounts(remote, message);
    else if (remote.wants.take(message)) this.#sayCounts(remote, message.base === null);
  }

  /** A broker that was waited for was heard, or is gone. */
  #noLongerAwaited(remote: Remote): void {
    if (this.#awaited?.delete(remote) && this.#awaited.size === 0) this.#goOn();
  }

  #ask({ id, losses: { answer } }: Remote): void {
    this.#context.say({ type: "ask", from: this.#context.id, got: answer }, id);
  }

  /** Tells a broker the counts that it may not know; without `isFull`, only of what it newly wants. */
  #sayCounts(remote: Remote, isFull: boolean): void {
    if (this.#awaited !== undefined) {
      this.#countsDue.add(remote);
      return;
    }
    const { id, wants } = remote;
    const { version, since } = wants;
    const { id: from, say } = this.#context;
    const { answer, counts: all } = wants.nextAnswer(isFull);
    const sent = this.#sender.number;
    const parts = partsOf(all);
    for (const [part, counts] of parts.entries()) {
      const more = part < parts.length - 1;
      say({ type: "counts", from, version, since, answer, sent, counts, isFull, part, more }, id);
    }
  }

  #takeCounts(remote: Remote, message: ControlMessage & { type: "counts" }): void {
    const { version, answer, counts, isFull, part } = message;
    if (!remote.losses.take(message)) return;
    const { id: from, say } = this.#context;
    if (part > 0 || counts.length > 0) say({ type: "got", from, got: answer }, remote.id);
    if (version === 0) this.#interests.sayAll(remote.id);
    remote.confirmed = Math.max(remote.confirmed, version);
    if (isFull) {
      remote.checked = remote.confirmed;
      this.#interests.retire();
    } else if (this.#interests.areSomeLeaving) {
      this.#ask(remote); // A last look at the interests that leave.
    }
  }

  /** A beat has passed: tells what we want again to those who do not know it yet. */
  tick(): void {
    if (this.#wire === undefined) return;
    for (const remote of this.#remotes.values()) {
      if (remote.isGone || remote.confirmed >= this.#interests.version) remote.isLate = false;
      else if (remote.isLate) this.#interests.sayAll(remote.id);
      else remote.isLate = true;
    }
  }

  /** A broker gave no sign of life for long, or said goodbye. */
  gone(id: string, saidGoodbye: boolean): void {
    const remote = this.#remotes.get(id);
    if (remote === undefined || remote.isGone) return;
    remote.isGone = true;
    this.#countsDue.delete(remote);
    this.#noLongerAwaited(remote);
    remote.wants.clear(++this.#registrations);
    remote.confirmed = remote.checked = 0;
    if (!saidGoodbye && remote.losses.hasAnswered) lose(this.#context, [], 0);
    this.#interests.retire();
    // If it was only cut off, it may come back, and send again what was heard before.
    this.#remotes.delete(id);
    if (!saidGoodbye) this.#remotes.set(id, remote);
    const gone = this.#remotes.values().filter(({ isGone }) => isGone).toArray();
    for (const { id } of gone.slice(0, Math.max(0, gone.length - GONE_MAX))) {
      this.#remotes.delete(id);
    }
  }
}
