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
 * - Each broker knows what each other one wants, and sends nothing else. Of each topic that somebody
 *   wants it counts the messages for it and all below it. A packet tells the counts that it is part
 *   of, so the next one shows whether one before is missing.
 * - Every beat tells the number of the latest packet. Who has not heard all of them, perhaps because
 *   some were for others, asks for the counts. NATS delivers the answer behind all that was sent before.
 * - Packets are numbered, and kept until the server has confirmed that it has them; over a new
 *   connection they are sent again. Whoever has heard one with that number or a later one ignores it.
 * - Over a new connection nothing is sent until all others were heard there, or some seconds have
 *   passed: when all of NATS was away, those who come back first would speak to nobody.
 * - When one cover takes the place of another, both are subscribed to until all others know the new
 *   one. What comes twice has the same number.
 */
import { BytesCache } from "../base/bytes_cache.ts";
import { Fifo } from "../base/fifo.ts";
import { ProtocolError } from "../errors.ts";
import { runAt } from "../protocol/run.ts";
import { decodeTopic } from "../protocol/topic_block.ts";
import { type CoverChange, Covers } from "../routing/covers.ts";
import { TopicTree } from "../routing/topic_tree.ts";
import { type TopicPath, topicPath } from "../topic.ts";
import {
  type ControlMessage,
  type NumberedCount,
  type NumberedTopic,
  partsOf,
} from "./control_message.ts";
import type { ExchangeContext } from "./exchange_context.ts";
import type { Exchange } from "./mode.ts";
import { Packer } from "./packer.ts";
import { type PacketCount, type PacketHeader, sealPacket, TOPIC_LIMITS } from "./packet.ts";
import { Reassembly } from "./reassembly.ts";
import { patternOf, subjectOf, subjectProblem } from "./subject.ts";

/** A connection to NATS, as far as it is needed here. */
export interface Wire {
  publish(subject: string, bytes: Uint8Array): void;
  /** Hears a subject or a pattern; each packet goes where all packets go. */
  subscribe(subject: string): { unsubscribe(): void } | undefined;
  /** Resolves when the server has taken all that was published; rejects when the connection is lost. */
  flush(): Promise<void>;
}

/** How many bytes may be unconfirmed. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** The same, as a part of what may wait. */
const WINDOW_PART = 1 / 2;
const ROUTES_MAX = 4096;
/** For so long others are waited for over a new connection. */
const AWAIT_MS = 5000;
/** So many brokers that are gone are remembered, since they may come back. */
const GONE_MAX = 1024;
/** So many are known at all, and each may want so much. */
const REMOTES_MAX = 8192;
const WANTS_MAX = 2 ** 17;
/** It is known of so many answers what they told. */
const ANSWERS_MAX = 16;

/** The messages that were sent for a topic that others want, and all below it. */
interface Counter {
  /** The topic; `null`: broadcasts. */
  readonly path: TopicPath | null;
  readonly depth: number;
  /** How many brokers want it. */
  holders: number;
  count: number;
}

/** Where the messages of a topic go, and where they count. */
interface OutRoute {
  readonly path: TopicPath;
  readonly subject: string;
  counters: readonly Counter[];
  /** The state of what others want that those are of. */
  state: number;
}

/** A packet that the server has not confirmed. */
interface Sent {
  readonly subject: string;
  readonly bytes: Uint8Array;
  readonly number: number;
  readonly since: number;
}

/** A topic that our clients want, and no topic above it; `null`: broadcasts. */
interface Interest {
  readonly id: number;
  readonly path: TopicPath | null;
  subscription: { unsubscribe(): void } | undefined;
  /** If it is leaving: it goes when all know the wants of this version. */
  goesAfter: number;
}

/** A change of what a broker wants, as far as it has come. */
interface Loading {
  readonly version: number;
  readonly add: Map<number, TopicPath | null>;
  remove: number[];
  /** Which part is next. */
  part: number;
}

/** Something that another broker wants. */
interface Want {
  readonly counter: Counter;
  /** The count that it is known to have; -1: none. */
  told: number;
}

/** Another broker: what it wants from us, and what we want from it. */
interface Remote {
  readonly id: string;
  isGone: boolean;

  /** What it wants, by its numbers; and the version of that, 0: nothing is known. */
  readonly wants: Map<number, Want>;
  version: number;
  /** What came so far of a change in several messages. */
  loading: Loading | undefined;
  /** Told with our counts: another number when they began anew. */
  since: number;
  /** How many answers it was sent, what the latest told, and what it is not known to have of it. */
  answers: number;
  readonly told: Map<number, readonly NumberedCount[]>;
  readonly fresh: Map<number, Want>;

  /** The version of our wants that it knows; and that of its latest full answer. */
  confirmed: number;
  checked: number;
  /** Whether a beat passed since it should have known the latest. */
  isLate: boolean;
  /** Of its answers: what it told as `since`, the number of the latest, and how many parts are here. */
  countsSince: number | undefined;
  answer: number;
  parts: number;
  /** Whether the latest answer was of what is new only. */
  isUnsettled: boolean;
  /** By our numbers: how many of its messages we know of. */
  readonly counts: Map<number, number>;
  /** The number of its latest packet that was heard; and up to which its counts have told of all. */
  heard: number;
  sure: number;
  readonly reassembly: Reassembly;
}

/** The exchange; see the module. */
export class CoreExchange implements Exchange {
  readonly #context: ExchangeContext;
  #wire: Wire | undefined;

  readonly #covers = new Covers();
  readonly #interests = new Map<string, Interest>();
  readonly #interestIds = new Map<number, Interest>();
  /** Those that go once their successors are known everywhere. */
  readonly #leaving = new Set<Interest>();
  #interestId = 0;
  #version = 1;
  #added: NumberedTopic[] = [];
  #removed: number[] = [];
  #announcing = false;
  /** By topic: our interests that cover it, the widest in front. */
  readonly #inRoutes = new BytesCache<readonly Interest[]>(ROUTES_MAX);

  readonly #remotes = new Map<string, Remote>();
  #registrations = 0;
  readonly #counters = new TopicTree<Counter>();
  /** Changes with what others want. */
  #wantsState = 0;
  readonly #broadcasts: Counter = { path: null, depth: 0, holders: 0, count: 0 };
  readonly #outRoutes = new BytesCache<OutRoute>(ROUTES_MAX);

  readonly #packer = new Packer<OutRoute>();
  readonly #unconfirmed = new Fifo<Sent>();
  #unconfirmedBytes = 0;
  #number = 0;
  #flushing: Wire | undefined;
  /** Over this connection: who is not heard of yet; `undefined`: nobody is waited for. */
  #awaited: Set<Remote> | undefined;
  #awaiting: Disposable | undefined;
  /** Who is told our counts when that is over, since some of those may come again before. */
  readonly #countsDue = new Set<Remote>();
  #onEmpty: (() => void) | undefined;

  /** Makes one without a connection. */
  constructor(context: ExchangeContext) {
    this.#context = context;
  }

  /** How many topics are subscribed to. */
  get subscriptions(): number {
    return this.#interests.size;
  }

  /** How many others may not know yet what is wanted here. */
  get unaware(): number {
    const isUnaware = ({ isGone, confirmed }: Remote) =>
      !isGone && (confirmed < this.#version || this.#announcing);
    return this.#remotes.values().filter(isUnaware).toArray().length;
  }

  /** How many bytes wait, or are not confirmed. */
  get queuedBytes(): number {
    return this.#packer.bytes + this.#unconfirmedBytes;
  }

  /** Since when the oldest of these has been waiting. */
  get waitingSince(): number | undefined {
    return this.#unconfirmed.at(0)?.since ?? this.#packer.first?.since;
  }

  /** What it tells with each beat. */
  get beat(): { sent: number; wants: number } {
    return { sent: this.#number, wants: this.#version };
  }

  /** Notes that a client wants a topic, or wants it no more. */
  wants(path: TopicPath, wants: boolean): void {
    if (subjectProblem(this.#context.prefix, path) !== undefined) return; // Nobody can publish to it.
    const change = wants ? this.#covers.add(path) : this.#covers.remove(path);
    if (change !== undefined) this.#change(change);
  }

  #change({ added, removed }: CoverChange): void {
    for (const path of added) this.#addInterest(path);
    for (const path of removed) this.#leave(path, added.length > 0);
    if (this.#covers.size > 0) this.#addInterest(null);
    else this.#leave(null, false);
    this.#announce();
  }

  #addInterest(path: TopicPath | null): void {
    const key = JSON.stringify(path);
    const known = this.#interests.get(key);
    if (known !== undefined) {
      this.#leaving.delete(known);
      return;
    }
    const interest: Interest = {
      id: this.#interestId++,
      path,
      subscription: undefined,
      goesAfter: 0,
    };
    this.#interests.set(key, interest);
    this.#interestIds.set(interest.id, interest);
    this.#subscribe(interest);
    this.#added.push([interest.id, path]);
    this.#inRoutes.clear();
  }

  #subscribe(interest: Interest): void {
    const { path } = interest;
    const { prefix } = this.#context;
    const subject = path === null ? subjectOf(prefix, []) : patternOf(prefix, path);
    interest.subscription = this.#wire?.subscribe(subject);
  }

  /** Lets go of a cover; if others take its place, when they are known everywhere. */
  #leave(path: TopicPath | null, isReplaced: boolean): void {
    const interest = this.#interests.get(JSON.stringify(path));
    if (interest === undefined) return;
    if (isReplaced) {
      interest.goesAfter = this.#version + 1;
      this.#leaving.add(interest);
    } else this.#removeInterest(interest);
  }

  #removeInterest(interest: Interest): void {
    const { id, path, subscription } = interest;
    this.#leaving.delete(interest);
    this.#interests.delete(JSON.stringify(path));
    this.#interestIds.delete(id);
    subscription?.unsubscribe();
    for (const { counts } of this.#remotes.values()) counts.delete(id);
    const isUnknown = this.#added.some(([added]) => added === id);
    if (isUnknown) this.#added = this.#added.filter(([added]) => added !== id);
    else this.#removed.push(id);
    this.#inRoutes.clear();
  }

  /** Tells all others what changed, together with what else changes in this turn. */
  #announce(): void {
    if (this.#announcing) return;
    this.#announcing = true;
    queueMicrotask(() => {
      this.#announcing = false;
      const [add, remove] = [this.#added, this.#removed];
      [this.#added, this.#removed] = [[], []];
      const base = this.#version++;
      if (this.#wire !== undefined) this.#sayWants(base, add, remove);
      this.#retire();
    });
  }

  #sayWants(
    base: number | null,
    add: readonly NumberedTopic[],
    remove: readonly number[],
    to?: string,
  ): void {
    const { id: from, say } = this.#context;
    const parts = partsOf([...add, ...remove]);
    for (const [part, entries] of parts.entries()) {
      const more = part < parts.length - 1;
      const changes = {
        add: entries.filter((entry) => typeof entry !== "number"),
        remove: entries.filter((entry) => typeof entry === "number"),
      };
      say({ type: "wants", from, version: this.#version, base, ...changes, part, more }, to);
    }
  }

  /** Tells one, or all, everything that we want. */
  #sayAll(to?: string): void {
    const all = this.#interestIds.values().map(({ id, path }): NumberedTopic => [id, path]);
    this.#sayWants(null, [...all], [], to);
  }

  /** Lets go of the covers whose successors are known everywhere. */
  #retire(): void {
    let known = this.#version;
    for (const { isGone, checked } of this.#remotes.values()) {
      if (!isGone && checked < known) known = checked;
    }
    let isChanged = false;
    for (const interest of [...this.#leaving]) {
      if (interest.goesAfter > known) continue;
      this.#removeInterest(interest);
      isChanged = true;
    }
    if (isChanged) this.#announce();
  }

  /** Goes on over a connection. */
  connected(wire: Wire): void {
    this.#wire = wire;
    for (const interest of this.#interests.values()) this.#subscribe(interest);
    this.#awaited = new Set(
      this.#remotes.values().filter(({ isGone, wants }) => !isGone && wants.size > 0),
    );
    this.#awaiting = this.#context.later(() => this.#goOn(), AWAIT_MS);
    // It is answered with counts: what was missed meanwhile shows.
    this.#sayAll();
    if (this.#awaited.size === 0) this.#goOn();
  }

  /** All others are here: sends what waits. */
  #goOn(): void {
    this.#awaiting?.[Symbol.dispose]();
    this.#awaited = undefined;
    for (let i = 0; i < this.#unconfirmed.length; i++) {
      const { subject, bytes } = this.#unconfirmed.at(i)!;
      this.#wire?.publish(subject, bytes);
    }
    for (const remote of this.#countsDue) this.#sayCounts(remote, true);
    this.#countsDue.clear();
    this.#pump();
  }

  /** The connection is lost. */
  disconnected(): void {
    this.#wire = undefined;
    this.#awaiting?.[Symbol.dispose]();
    for (const interest of this.#interests.values()) interest.subscription = undefined;
  }

  /** Takes messages of our clients that others want. */
  take(frames: Uint8Array): void {
    for (let at = 0; at < frames.length;) {
      const { topic, payload, end, frames: messages } = runAt(frames, at);
      const route = this.#outRoute(frames, topic, payload);
      if (route.counters.length > 0) this.#packer.add(route, frames, at, end, messages);
      at = end;
    }
    this.#bound();
    this.#pump();
  }

  #outRoute(bytes: Uint8Array, start: number, end: number): OutRoute {
    let route = this.#outRoutes.get(bytes, start, end);
    if (route === undefined) {
      const path = decodeTopic(bytes, start, end, TOPIC_LIMITS);
      const subject = subjectOf(this.#context.prefix, path);
      route = { path, subject, counters: this.#countersOf(path), state: this.#wantsState };
      this.#outRoutes.set(bytes, start, end, route);
    }
    return route;
  }

  /** Where messages that leave, or are dropped, count now; they may have waited for long. */
  #count(route: OutRoute, messages: number): readonly Counter[] {
    if (route.state !== this.#wantsState) {
      route.counters = this.#countersOf(route.path);
      route.state = this.#wantsState;
    }
    for (const counter of route.counters) counter.count += messages;
    return route.counters;
  }

  #countersOf(path: TopicPath): readonly Counter[] {
    if (path.length === 0) return this.#broadcasts.holders > 0 ? [this.#broadcasts] : [];
    const counters: Counter[] = [];
    const deepest = this.#counters.deepest(path);
    for (let node: typeof deepest | undefined = deepest; node !== undefined; node = node.parent) {
      counters.push(...node.values);
    }
    return counters;
  }

  /** Drops the oldest messages that wait when there are too many; the counts tell it. */
  #bound(): void {
    const { queueBytes, counts } = this.#context;
    while (this.queuedBytes > queueBytes) { // What is unconfirmed is less, so something waits.
      for (const packet of this.#packer.drop()) {
        this.#number++;
        this.#count(packet.route, packet.messages);
        counts.dropped += packet.messages;
      }
    }
  }

  /** Sends as much as the window allows; what is not full waits while something is unconfirmed. */
  #pump(): void {
    const wire = this.#wire;
    if (wire === undefined || this.#awaited !== undefined) return;
    const { id, counts, queueBytes } = this.#context;
    const window = Math.min(WINDOW_BYTES, queueBytes * WINDOW_PART);
    while (this.#unconfirmedBytes < window) {
      const packet = this.#packer.next(this.#unconfirmed.length === 0);
      if (packet === undefined) break;
      const { route, messages, since } = packet;
      const { subject } = route;
      const counters = this.#count(route, messages);
      counts.sent += messages;
      const number = ++this.#number;
      const bytes = sealPacket(packet, { broker: id, number, counts: counters });
      this.#unconfirmed.push({ subject, bytes, number, since });
      this.#unconfirmedBytes += bytes.length;
      wire.publish(subject, bytes);
    }
    if (this.#unconfirmed.length > 0) this.#confirm(wire);
    else if (this.#packer.bytes === 0) this.#onEmpty?.();
  }

  #confirm(wire: Wire): void {
    if (this.#flushing === wire) return;
    this.#flushing = wire;
    const number = this.#number;
    const done = () => {
      if (this.#flushing === wire) this.#flushing = undefined;
    };
    wire.flush().then(() => {
      done();
      if (this.#wire !== wire) return;
      for (let sent = this.#unconfirmed.at(0); sent !== undefined; sent = this.#unconfirmed.at(0)) {
        if (sent.number > number) break;
        this.#unconfirmed.shift();
        this.#unconfirmedBytes -= sent.bytes.length;
        this.#packer.recycle(sent.bytes);
      }
      this.#pump();
    }, done); // Rejects when the connection is lost: all goes over the next one.
  }

  /** Resolves when nothing waits any more. */
  async drained(signal: AbortSignal): Promise<void> {
    if (this.queuedBytes === 0 || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    signal.addEventListener("abort", () => resolve(), { once: true });
    this.#pump();
    await promise;
  }

  /**
   * Takes a packet from NATS.
   *
   * @throws {ProtocolError} When it is of a broker that uses a stream.
   */
  packet(header: PacketHeader, body: Uint8Array): void {
    const { broker, lane, number, counts, messages } = header;
    if (lane > 0) {
      throw new ProtocolError("Cannot take a packet: its broker sends for a stream");
    }
    const remote = this.#remote(broker);
    if (number <= remote.heard) return;
    const isNext = remote.sure === number - 1;
    remote.heard = number;
    const frames = remote.reassembly.take(header, body);
    if (frames === "lost") return; // The counts tell it, when they are asked for.
    if (isNext) remote.sure = number;
    if (frames === undefined || messages === 0) return;
    const { topic, payload } = runAt(frames, 0, 0); // The first is enough: all have one topic.
    if (!this.#check(remote, this.#inRoute(frames, topic, payload), counts, messages)) return;
    this.#context.counts.received += messages;
    this.#context.deliver(frames);
  }

  /** Compares the counts of a packet with what was heard; whether it is new. */
  #check(
    remote: Remote,
    interests: readonly Interest[],
    counts: readonly PacketCount[],
    messages: number,
  ): boolean {
    let told = 0;
    for (const { id, path } of interests) {
      const count = counts.find(({ depth }) => depth === (path?.length ?? 0))?.count;
      const known = remote.counts.get(id);
      if (count === undefined || known === undefined) continue;
      if (count <= known) return false; // It was told to be lost before.
      remote.counts.set(id, count);
      const missing = count - messages - known;
      // Who wants the wider topic was told of those that it knows of, too.
      if (missing > told) this.#lose(path, missing - told);
      told = Math.max(told, missing);
    }
    return true;
  }

  #lose(path: TopicPath | null, messages: number): void {
    const { counts, bus } = this.#context;
    if (messages === 0) counts.gaps++;
    else counts.lost += messages;
    bus.lost(path ?? [], messages);
  }

  /** Our interests that cover the topic of a block. */
  #inRoute(bytes: Uint8Array, start: number, end: number): readonly Interest[] {
    let interests = this.#inRoutes.get(bytes, start, end);
    if (interests === undefined) {
      const path = decodeTopic(bytes, start, end, TOPIC_LIMITS);
      const keys = path.length === 0
        ? ["null"]
        : Array.from({ length: path.length + 1 }, (_, n) => JSON.stringify(path.slice(0, n)));
      interests = keys.map((key) => this.#interests.get(key)).filter((one) => one !== undefined);
      this.#inRoutes.set(bytes, start, end, interests);
    }
    return interests;
  }

  /** The broker of this id; one that is new is told what we want. */
  #remote(id: string): Remote {
    let remote = this.#remotes.get(id);
    if (remote === undefined) {
      if (this.#remotes.size >= REMOTES_MAX) {
        throw new ProtocolError(`Cannot take one more broker: ${REMOTES_MAX} are known`);
      }
      remote = remoteOf(id, ++this.#registrations, this.#context.bus.messageBytes);
      this.#remotes.set(id, remote);
      if (this.#wire !== undefined) this.#sayAll(id);
    }
    return remote;
  }

  /** Takes what another broker says. */
  hear(control: ControlMessage): void {
    if (control.type === "bye") return this.gone(control.from, true);
    const remote = this.#remote(control.from);
    if (remote.isGone) {
      remote.isGone = false;
      this.#sayAll(remote.id);
    }
    if (this.#awaited?.delete(remote) && this.#awaited.size === 0) this.#goOn();
    if (control.type === "beat") {
      if (control.sent > remote.sure || remote.isUnsettled) this.#ask(remote);
      if (control.wants !== remote.version) this.#sayCounts(remote, false);
    } else if (control.type === "ask") {
      this.#commit(remote, control.got);
      this.#sayCounts(remote, true);
    } else if (control.type === "got") this.#commit(remote, control.got);
    else if (control.type === "wants") this.#takeWants(remote, control);
    else this.#takeCounts(remote, control);
  }

  #ask({ id, answer }: Remote): void {
    this.#context.say({ type: "ask", from: this.#context.id, got: answer }, id);
  }

  /** Tells one our counts: those that it may not know; without `isFull` only of what it wants newly. */
  #sayCounts(remote: Remote, isFull: boolean): void {
    if (this.#awaited !== undefined) {
      this.#countsDue.add(remote);
      return;
    }
    const { id, version, since, wants, fresh } = remote;
    const { id: from, say } = this.#context;
    const all: NumberedCount[] = [];
    for (const [number, { counter: { count }, told }] of isFull ? wants : fresh) {
      if (count !== told) all.push([number, count]);
    }
    const answer = ++remote.answers;
    remote.told.set(answer, all);
    remote.told.delete(answer - ANSWERS_MAX);
    const sent = this.#number;
    const parts = partsOf(all);
    for (const [part, counts] of parts.entries()) {
      const more = part < parts.length - 1;
      say(
        { type: "counts", from, version, since, answer, sent, counts, isFull, part, more },
        id,
      );
    }
  }

  /** The other side has this answer; 0: it has none, and knows nothing any more. */
  #commit({ wants, fresh, told }: Remote, got: number): void {
    for (const [number, count] of told.get(got) ?? []) {
      const want = wants.get(number);
      if (want !== undefined) want.told = count;
      fresh.delete(number);
    }
    if (got > 0) return;
    for (const [number, want] of wants) {
      want.told = -1;
      fresh.set(number, want);
    }
  }

  #takeWants(remote: Remote, control: ControlMessage & { type: "wants" }): void {
    const { version, base, add, remove, part, more } = control;
    if (part === 0) remote.loading = { version, part, add: new Map(), remove: [] };
    const { loading } = remote;
    if (loading?.version !== version || loading.part !== part) return; // One was lost; it comes again.
    loading.part++;
    for (const [id, path] of add) loading.add.set(id, path && topicPath(path));
    loading.remove.push(...remove);
    const wants = loading.add.size + (base === null ? 0 : remote.wants.size);
    if (Math.max(wants, loading.remove.length) > WANTS_MAX) {
      remote.loading = undefined;
      throw new ProtocolError(`Cannot take what a broker wants: more than ${WANTS_MAX} topics`);
    }
    if (more) return;
    remote.loading = undefined;
    if (base === null) {
      loading.remove = [...remote.wants].flatMap(([id, { counter: { path } }]) =>
        JSON.stringify(loading.add.get(id)) === JSON.stringify(path) ? [] : [id]
      );
    }
    if (base === null || base === remote.version) {
      this.#changeWants(remote, loading.add, loading.remove);
      remote.version = version;
    }
    this.#sayCounts(remote, base === null);
  }

  #changeWants(
    { wants, fresh }: Remote,
    add: ReadonlyMap<number, TopicPath | null>,
    remove: Iterable<number>,
  ): void {
    for (const id of remove) {
      const want = wants.get(id);
      if (want !== undefined) this.#release(want.counter);
      wants.delete(id);
      fresh.delete(id);
    }
    for (const [id, path] of add) {
      if (wants.has(id)) continue;
      const want = { counter: this.#hold(path), told: -1 };
      wants.set(id, want);
      fresh.set(id, want);
    }
    this.#outRoutes.clear();
    this.#wantsState++;
  }

  #hold(path: TopicPath | null): Counter {
    const counter = path === null ? this.#broadcasts : this.#counters.get(path)?.values[0];
    if (counter !== undefined) {
      counter.holders++;
      return counter;
    }
    const topic = path!;
    const made = { path: topic, depth: topic.length, holders: 1, count: 0 };
    this.#counters.add(topic, made);
    this.#context.bus.want(topic, true);
    return made;
  }

  #release(counter: Counter): void {
    const { path } = counter;
    if (--counter.holders > 0 || path === null) return;
    this.#counters.remove(path, counter);
    this.#context.bus.want(path, false);
  }

  #takeCounts(remote: Remote, control: ControlMessage & { type: "counts" }): void {
    const { version, since, answer, sent, counts, isFull, part, more } = control;
    if (remote.countsSince !== since) {
      const isFirst = remote.countsSince === undefined;
      remote.countsSince = since;
      remote.counts.clear();
      // It had forgotten us: what it sent since then was not for us.
      if (!isFirst) this.#lose(null, 0);
    }
    for (const [id, count] of counts) {
      const interest = this.#interestIds.get(id);
      if (interest === undefined) continue;
      const known = remote.counts.get(id);
      remote.counts.set(id, Math.max(count, known ?? 0));
      if (known !== undefined && count > known) this.#lose(interest.path, count - known);
    }
    remote.parts = part === 0 ? 1 : remote.parts + 1;
    if (more || remote.parts !== part + 1) return; // If one was lost, all is told again.
    remote.answer = answer;
    const { id: from, say } = this.#context;
    if (part > 0 || counts.length > 0) say({ type: "got", from, got: answer }, remote.id);
    remote.isUnsettled = !isFull;
    if (version === 0) this.#sayAll(remote.id);
    remote.confirmed = Math.max(remote.confirmed, version);
    if (isFull) {
      remote.sure = Math.max(remote.sure, sent);
      remote.checked = remote.confirmed;
      this.#retire();
    } else if (this.#leaving.size > 0) {
      this.#ask(remote); // What goes is looked at for the last time.
    }
  }

  /** Time has passed: tells those again what we want who do not know it yet. */
  tick(): void {
    if (this.#wire === undefined) return;
    for (const remote of this.#remotes.values()) {
      if (remote.isGone || remote.confirmed >= this.#version) remote.isLate = false;
      else if (remote.isLate) this.#sayAll(remote.id);
      else remote.isLate = true;
    }
  }

  /** A broker has not been heard of for long, or said goodbye. */
  gone(id: string, saidGoodbye: boolean): void {
    const remote = this.#remotes.get(id);
    if (remote === undefined || remote.isGone) return;
    remote.isGone = true;
    this.#countsDue.delete(remote);
    if (this.#awaited?.delete(remote) && this.#awaited.size === 0) this.#goOn();
    this.#changeWants(remote, new Map(), [...remote.wants.keys()]);
    remote.version = remote.confirmed = remote.checked = 0;
    remote.since = ++this.#registrations;
    if (!saidGoodbye && remote.countsSince !== undefined) this.#lose(null, 0);
    this.#retire();
    // One that was only cut off may come back, and send again what was heard of it.
    this.#remotes.delete(id);
    if (!saidGoodbye) this.#remotes.set(id, remote);
    const gone = this.#remotes.values().filter(({ isGone }) => isGone).toArray();
    for (const { id } of gone.slice(0, Math.max(0, gone.length - GONE_MAX))) {
      this.#remotes.delete(id);
    }
  }
}

function remoteOf(id: string, since: number, messageBytes: number): Remote {
  return {
    id,
    isGone: false,
    wants: new Map(),
    version: 0,
    loading: undefined,
    since,
    answers: 0,
    told: new Map(),
    fresh: new Map(),
    confirmed: 0,
    checked: 0,
    isLate: false,
    countsSince: undefined,
    answer: 0,
    parts: 0,
    isUnsettled: false,
    counts: new Map(),
    heard: 0,
    sure: 0,
    reassembly: new Reassembly(messageBytes),
  };
}
