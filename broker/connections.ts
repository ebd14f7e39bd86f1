/**
 * The connections of a broker, each from its first byte to its last:
 *
 * ```
 *  Listener ──▶ Admission ── handshake ──▶ Link ── OPEN ──▶ Sessions.open
 *                   │                       │
 *                   └── refused             └── ended ────▶ Sessions.connectionEnded
 * ```
 *
 * One without a session is in an admission, for its number to be limited: in one until it is authenticated,
 * and in another from then until it has a session, and when that is taken from it.
 */
import type { Background } from "../base/background.ts";
import { Rounds } from "../base/rounds.ts";
import { Ticker } from "../base/ticker.ts";
import { later, type Timer } from "../base/timers.ts";
import { AuthError, ProtocolError } from "../errors.ts";
import type { Connection } from "../io/connection.ts";
import type { Listener } from "../io/listener.ts";
import { authenticateClient, BusyError } from "../protocol/authenticate.ts";
import { type Frame, FrameError, type FrameLimits, FrameType, Reason } from "../protocol/frame.ts";
import { clientFrameLimits, decodeOpening, type Opening } from "../protocol/frame_bodies.ts";
import { decodeNumber } from "../protocol/job_bodies.ts";
import { BROKER_ID_BYTES, randomBytes } from "../protocol/handshake.ts";
import { Link, type LinkEnd, TICKS } from "../protocol/link.ts";
import { type Ticket, TICKET_SKEW_MS } from "../protocol/ticket.ts";
import { decodePattern, topicEnd } from "../protocol/topic_block.ts";
import { interestBytes } from "../routing/interest_bytes.ts";
import { Pace } from "../routing/pace.ts";
import type { TopicPattern } from "../topic.ts";
import { Access, ticketOf } from "./access.ts";
import { Admission, type Entrant } from "./admission.ts";
import { type Holder, type Memory, MEMORY_FULL } from "./memory.ts";
import type { Callbacks } from "./callbacks.ts";
import { checkSubscriptions, type ClientPeer } from "./client_peer.ts";
import type { Counters } from "./counters.ts";
import { Expiries, type Expiring } from "./expiries.ts";
import { type Joining, joiningBytes, readJoining } from "./joining.ts";
import type { Key, Keyring } from "./keys.ts";
import type { CheckedOptions } from "./options.ts";
import type { Sessions } from "./sessions.ts";

/** How far connections are trusted to know how much work a frame is. */
const TRUST = 8;
/** How long a client waits until it hears that its proof is wrong. */
const REFUSAL_DELAY_MS = 500;

/** What {@linkcode Connections} need from their broker. */
export interface ConnectionsContext {
  readonly options: Pick<CheckedOptions, "limits" | "authTimeout" | "heartbeat">;
  readonly keyring: Keyring;
  readonly sessions: Sessions;
  readonly memory: Memory;
  readonly counters: Counters;
  readonly callbacks: Callbacks;
  /** Where what takes long is done. */
  readonly background: Background;
  /** Whether the broker shuts down: nobody more is let in then. */
  readonly isStopping: () => boolean;
  /** Called {@linkcode TICKS} times in each heartbeat. */
  readonly onTick: () => void;
}

/** An authenticated connection. */
interface Client {
  readonly stream: Connection;
  readonly access: Access;
  /** Ends it when its ticket expires. */
  expiring?: Expiring | undefined;
  /** What it is among those without a session; `undefined` while it has one. */
  entrant: Entrant<Connection> | undefined;
  /** Once it has opened a session. */
  peer: ClientPeer | undefined;
  /** Ends it, unless OPEN comes. */
  tooLate?: Timer | undefined;
  /** Resolves when its OPEN, which has come, is done. */
  opened?: Promise<void>;
}

/** Accepts, authenticates and serves the connections of one broker. */
export class Connections {
  readonly #context: ConnectionsContext;
  readonly #frameLimits: FrameLimits;
  /** Whatever connects is told it first. */
  readonly brokerId = randomBytes(BROKER_ID_BYTES);
  /** The turns of all that are authenticated. */
  readonly #rounds = new Rounds(undefined, TRUST);
  /** Those that are not authenticated yet. */
  readonly #admission: Admission<Connection>;
  /** Those that are, and have no session: not yet, or not any more, or there is no place. */
  readonly #unplaced: Admission<Connection>;
  /** All that are authenticated. */
  readonly #clients = new Map<Link, Client>();
  /** When their tickets end. */
  readonly #expiries: Expiries;
  /** What is under way: accepting, authenticating, serving. */
  readonly #tasks = new Set<Promise<void>>();
  #listeners: readonly Listener[] = [];
  #ticker: Ticker | undefined;
  #keepsAlive = true;

  /** Makes one that accepts nothing yet. */
  constructor(context: ConnectionsContext) {
    this.#context = context;
    this.#frameLimits = clientFrameLimits(context.options.limits);
    const { limits } = context.options;
    this.#expiries = new Expiries(context.background);
    this.#admission = new Admission(limits);
    this.#unplaced = new Admission({ ...limits, halfOpenPerAddress: Infinity });
  }

  /** How many there are. */
  get size(): number {
    let size = this.#admission.size + this.#unplaced.size;
    // All others are among the unplaced, or were closed as one too many of them.
    for (const { entrant } of this.#clients.values()) if (entrant === undefined) size++;
    return size;
  }

  /** Whether they keep the program running. */
  set keepsAlive(keeps: boolean) {
    this.#keepsAlive = keeps;
    for (const listener of this.#listeners) listener.keepsAlive = keeps;
    for (const { caller } of this.#admission.entrants()) caller.keepsAlive = keeps;
    for (const { stream } of this.#clients.values()) stream.keepsAlive = keeps;
  }

  /** Accepts connections from now on. */
  listen(listeners: readonly Listener[]): void {
    this.#listeners = listeners;
    this.#ticker = new Ticker(
      this.#context.options.heartbeat / TICKS,
      (passed) => this.#tick(passed),
    );
    for (const listener of listeners) {
      listener.keepsAlive = this.#keepsAlive;
      this.#track(this.#accept(listener));
    }
  }

  #tick(passed: number): void {
    for (const link of this.#clients.keys()) link.tick(passed);
    this.#context.onTick();
  }

  /** Remembers a task until it ends, so that closing can wait for it. */
  #track(task: Promise<void>): void {
    this.#tasks.add(task);
    const done = () => this.#tasks.delete(task);
    task.then(done, (error) => {
      done();
      this.#context.callbacks.warn(error);
    });
  }

  async #accept(listener: Listener): Promise<void> {
    const failed = (error: Error) => {
      this.#shed();
      this.#context.callbacks.warn(error);
    };
    for await (const stream of listener.connections(failed)) {
      stream.keepsAlive = this.#keepsAlive;
      this.take(stream);
    }
  }

  /** Takes a connection that was accepted here or elsewhere. */
  take(stream: Connection): void {
    this.#track(this.#admit(stream));
  }

  async #admit(stream: Connection): Promise<void> {
    const { options: { authTimeout }, keyring, counters, callbacks, isStopping } = this.#context;
    const entrant = this.#admission.enter(stream);
    const timeout = later(
      () => entrant.refuse("timeout", `it took longer than ${authTimeout} ms`),
      authTimeout,
    );
    try {
      const { key, ticket } = await authenticateClient(stream, {
        brokerId: this.brokerId,
        keyOf: (name) => keyring.get(name),
        isBusy: isStopping,
        delay: () => entrant.pause(REFUSAL_DELAY_MS),
      });
      if (isStopping()) throw new BusyError("the broker is shutting down");
      this.#admission.leave(entrant);
      stream.trust();
      const access = new Access(key, ticket);
      this.#track(
        this.#serve({ stream, access, entrant: this.#unplaced.enter(stream), peer: undefined }),
      );
    } catch (thrown) { // A wrong key, bytes that are not a handshake, or what the stream throws.
      this.#admission.leave(entrant);
      if (hasNoDescriptors(thrown)) this.#shed();
      const { kind, error } = entrant.refusal(thrown);
      counters.refusals[kind]++;
      stream.close();
      callbacks.error(error);
    } finally {
      timeout.cancel();
    }
  }

  #shed(): void {
    this.#admission.shed();
    this.#unplaced.shed();
  }

  /** Serves an authenticated connection; resolves at its end. Little is held until then: most are idle. */
  #serve(client: Client): Promise<void> {
    const { options, memory, background } = this.#context;
    const link = new Link(client.stream, this.#frameLimits, undefined, {
      rounds: this.#rounds,
      account: memory.account,
    });
    client.tooLate = later(
      () => link.fail(new ProtocolError("Cannot wait longer: no OPEN came")),
      options.authTimeout,
    );
    link.expect({
      [FrameType.OPEN]: (reader) => {
        client.tooLate?.cancel();
        client.tooLate = undefined;
        // Many may come at the same time, each with many topics. What is behind it waits.
        client.opened = background.run(this.#open(link, client, reader));
        return client.opened;
      },
    });
    this.#clients.set(link, client);
    const { ticket } = client.access;
    if (ticket !== undefined) {
      client.expiring = this.#expiries.add(ticket.expires + TICKET_SKEW_MS, () => {
        client.expiring = undefined;
        this.#expire(link, ticket);
      });
    }
    return link.finished.then((end) => this.#ended(link, client, end));
  }

  /** Ends a connection whose ticket has expired; its client may come back with another. */
  #expire(link: Link, { name }: Ticket): void {
    if (link.ended) return;
    this.#context.counters.expired++;
    const text = `The ${ticketOf(name)} has expired`;
    link.end(Reason.EXPIRED, text, new AuthError(text, { keyName: name, expired: true }));
  }

  async #ended(link: Link, client: Client, end: LinkEnd): Promise<void> {
    const { sessions, counters, callbacks } = this.#context;
    await client.opened;
    client.tooLate?.cancel();
    if (client.expiring !== undefined) this.#expiries.remove(client.expiring);
    this.#clients.delete(link);
    const { entrant: last } = client;
    if (last !== undefined) this.#unplaced.leave(last);
    counters.countEnd(end);
    let { error } = end;
    if (client.peer !== undefined) sessions.connectionEnded(client.peer, link, end);
    else if (last?.isRefused) {
      const refusal = last.refusal(error);
      counters.refusals[refusal.kind]++;
      error = refusal.error;
    }
    if (error !== undefined) callbacks.error(error);
  }

  *#open(link: Link, client: Client, frame: Frame): Generator<void, void, undefined> {
    const { keyring, sessions, options: { limits } } = this.#context;
    const { stream: { remoteAddress: address }, access } = client;
    try {
      const { opening, topics, members } = yield* readOpen(frame, limits);
      if (link.ended) return; // Nobody would hear of a session.
      if (!keyring.has(access.key)) throw revoked(access.key);
      const placed = () => {
        this.#unplaced.leave(client.entrant!);
        client.entrant = undefined;
      };
      const arrival = { access, opening, topics, members, address };
      client.peer = yield* sessions.open(link, arrival, placed);
    } catch (error) {
      // A ProtocolError: what the client says cannot be, or its key is gone.
      if (error instanceof ProtocolError) link.fail(error);
      else if (error instanceof BusyError) this.#refuse(link, error);
      else link.close(error as Error);
    }
  }

  /** Ends a connection for which there is no place. */
  #refuse(link: Link, error: BusyError): void {
    if (!link.ended) this.#context.counters.refusals.busy++;
    link.end(Reason.BUSY, error.why, error);
  }

  /** A connection has lost its session to another, or to nobody; for a moment it is still there. */
  unplace(link: Link): void {
    const client = this.#clients.get(link);
    if (client !== undefined) client.entrant = this.#unplaced.enter(client.stream);
  }

  /**
   * Those that have no session yet, as those for whom memory is kept; and those that have ended, for what
   * goes when the frames are taken that have come.
   */
  *holders(): Generator<Holder, void, undefined> {
    for (const [link, { access: { key, holder }, peer }] of this.#clients) {
      if (link.ended) {
        yield { owner: key, of: holder, keptBytes: link.keptBytes, losses: [] };
        continue;
      }
      if (peer !== undefined) continue;
      yield {
        owner: key,
        of: holder,
        get keptBytes() {
          return link.ended ? 0 : link.keptBytes; // It may be ended here.
        },
        losses: [() => {
          link.end(Reason.CUT_OFF, MEMORY_FULL);
          link.hurry();
          return link.keptBytes;
        }],
      };
    }
  }

  /** Ends connections whose key is gone. */
  endRevoked(): void {
    const { keyring, counters } = this.#context;
    for (const [link, { access: { key } }] of this.#clients) {
      if (keyring.has(key)) continue;
      if (!link.ended) counters.endings.revoked++;
      link.end(Reason.KEY_REVOKED, revoked(key).message);
    }
  }

  /**
   * Accepts no more connections, and ends those without a session; the sessions end the others.
   *
   * @param why What clients are told.
   * @returns Resolves when all have ended; never rejects.
   */
  async close(why: string): Promise<void> {
    const closed = this.#listeners.map((listener) => listener.close());
    for (const entrant of this.#admission.entrants()) entrant.refuse("busy", why);
    for (const [link, { peer }] of this.#clients) {
      if (peer === undefined) link.end(Reason.SHUTDOWN, why);
    }
    await Promise.allSettled([...closed, ...this.#tasks]);
    this.#ticker?.end();
  }

  /** Closes all connections at once, without a GOODBYE. */
  abort(): void {
    for (const link of this.#clients.keys()) link.close();
  }
}

/** What an OPEN says. */
interface Open {
  readonly opening: Opening;
  readonly topics: readonly TopicPattern[];
  readonly members: readonly Joining[];
}

/**
 * Reads an OPEN, in steps. It has as many topics and members as there may be at most, also if a topic
 * comes twice.
 */
function* readOpen(
  { buffer, body, end }: Frame,
  limits: CheckedOptions["limits"],
): Generator<void, Open, undefined> {
  const whole = buffer.subarray(body, end);
  const { opening, topics: start } = decodeOpening(whole);
  const count = decodeNumber(whole, start);
  const topics: TopicPattern[] = [];
  const members: Joining[] = [];
  let bytes = 0;
  const pace = new Pace();
  let at = body + start + 4;
  while (topics.length < count) {
    checkSubscriptions(topics.length + 1, bytes, limits);
    const next = topicEnd(buffer, at, end);
    const path = decodePattern(buffer, at, next, limits);
    bytes += interestBytes(path);
    topics.push(path);
    at = next;
    if (pace.isStep(path)) yield;
  }
  while (at < end) {
    checkSubscriptions(count + members.length + 1, bytes, limits);
    const { member, end: next } = readJoining(whole, at - body, limits);
    at = body + next;
    bytes += joiningBytes(member);
    members.push(member);
    if (pace.isStep(member.path)) yield;
  }
  checkSubscriptions(count + members.length, bytes, limits);
  return { opening, topics, members };
}

/** Whether TLS could not begin because too many files are open. */
function hasNoDescriptors(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EMFILE";
}

function revoked({ name }: Key): FrameError {
  return new FrameError(
    `The key ${JSON.stringify(name)} is no longer one of the broker's`,
    Reason.KEY_REVOKED,
  );
}
