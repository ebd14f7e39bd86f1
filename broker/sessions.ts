/**
 * The sessions of a broker, and what happens to them when a connection is lost: the session stays, and
 * queues what its client subscribed to, until the client comes back or is forgotten.
 *
 * ```
 *              OPEN, new               connection lost           resumeWindow is over,
 *  (nothing) ───────────▶ connected ───────────────────▶ away ─────────────────────────▶ forgotten
 *                             ▲                            │     place is another's, key
 *                             └──────────── OPEN, resumed ─┘     revoked, shutdown
 * ```
 *
 * - When a client says GOODBYE, or the broker says it to the client, the session is forgotten at once. A
 *   client that was cut off may still come to ask how much it missed.
 * - When the ticket of a client expires, it may come back with another one for the same holder.
 * - When the broker's memory is full, a session loses what waits for it, then its connection and whatever
 *   it holds, and is forgotten at last; memory.ts says which.
 */
import { later, type Timer } from "../base/timers.ts";
import { ConnectionLostError } from "../errors.ts";
import { FrameType, Reason } from "../protocol/frame.ts";
import {
  encodeOpened,
  type Opening,
  Resumption,
  SESSION_ID_BYTES,
} from "../protocol/frame_bodies.ts";
import { randomBytes } from "../protocol/handshake.ts";
import type { Link, LinkEnd } from "../protocol/link.ts";
import { WINDOW_BYTES } from "../protocol/session.ts";
import type { TopicPattern } from "../topic.ts";
import type { Access } from "./access.ts";
import type { Callbacks } from "./callbacks.ts";
import { ClientPeer, type PeerContext } from "./client_peer.ts";
import type { Joining } from "./joining.ts";
import type { Key, Keyring } from "./keys.ts";
import { type Holder, type Memory, MEMORY_FULL } from "./memory.ts";
import { type Loser, Places } from "./places.ts";
import type { CheckedOptions, ClientEvent } from "./options.ts";
import type { ClientStats } from "./stats.ts";

/** What a session and its connection take of memory, besides what else counts. */
const SESSION_BYTES = 6 * 1024;

/** What {@linkcode Sessions} need from their broker. */
export interface SessionsContext extends Omit<PeerContext, "onBytes" | "account"> {
  readonly options: Pick<CheckedOptions, "limits" | "heartbeat" | "resumeWindow">;
  readonly callbacks: Callbacks;
  /** Where what is kept for the clients counts. */
  readonly memory: Memory;
  /** A connection has no session any more, and is about to end. */
  readonly onUnplaced: (link: Link) => void;
  /** Whether the broker shuts down: nobody can come back then. */
  readonly isStopping: () => boolean;
}

/** What a client says when it opens a connection. */
export interface Arrival {
  readonly access: Access;
  readonly opening: Opening;
  readonly topics: readonly TopicPattern[];
  readonly members: readonly Joining[];
  /** The IP address from which it came. */
  readonly address: string | undefined;
}

/** Keeps the sessions of one broker, within its memory. */
export class Sessions {
  readonly #context: SessionsContext;
  readonly #peerContext: PeerContext;
  /** By their secret id. */
  readonly #all = new Map<string, ClientPeer>();
  /** Those without a connection, the longest away first, each with the timer that forgets it. */
  readonly #away = new Map<ClientPeer, Timer>();
  /** Those that are being opened over a connection: neither away nor connected. */
  readonly #opening = new Map<ClientPeer, { readonly link: Link; readonly isNew: boolean }>();
  /** Those that are forgotten, while their subscriptions still are in memory. */
  readonly #leaving = new Set<ClientPeer>();
  readonly #places: Places<ClientPeer>;
  /** How many there have been. */
  #begun = 0;
  #queuedBytes = 0;

  /** Makes one without sessions. */
  constructor(context: SessionsContext) {
    this.#context = context;
    this.#places = new Places(context.options.limits.connections, context.now);
    this.#peerContext = {
      ...context,
      account: context.memory.account,
      onBytes: (change) => {
        this.#queuedBytes += change;
        if (change > 0) context.memory.settle();
      },
    };
  }

  /** How many there are. */
  get size(): number {
    return this.#all.size;
  }

  /** How many of them have no connection. */
  get away(): number {
    return this.#away.size;
  }

  /** How many of them hold back those who publish to them. */
  get waiting(): number {
    let waiting = 0;
    for (const peer of this.#all.values()) if (peer.holdsBack) waiting++;
    return waiting;
  }

  /** Bytes that are queued for their clients, or not acknowledged by them. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** What is published about each client. */
  clients(): Iterable<ClientStats> {
    return this.#all.values().map((peer) => peer.stats());
  }

  /**
   * Resumes a client's session over a new connection, or begins one.
   *
   * @param placed Called when the connection has a session, before that is open.
   * @returns Does that, in steps; returns the client, or nothing when meanwhile its session was forgotten
   * or is opened over another connection.
   * @throws {ProtocolError} If the client claims to have taken what it was not sent.
   * @throws {BusyError} If there is no place for a new session.
   */
  *open(
    link: Link,
    arrival: Arrival,
    placed: () => void = () => {},
  ): Generator<void, ClientPeer | undefined, undefined> {
    const { access, opening, topics, members, address } = arrival;
    const { options: { heartbeat, limits }, counters } = this.#context;
    const known = this.#find(opening.session, access);
    const isResumed = known !== undefined && !known.isCutOff;
    const isCutOff = known !== undefined && !isResumed;
    // It goes on counting until it is forgotten: this answer may not arrive.
    const missed = isCutOff ? known.missedSince(opening.taken) : 0;
    // Its connection is over, whether the broker has noticed that or not.
    if (isCutOff) this.#places.mark(known, false);
    const peer = isResumed ? known : this.#begin(access);
    if (isResumed) this.#reclaim(peer);
    try {
      peer.open(isResumed ? opening : { ...opening, taken: 0, calls: 0 }, access);
    } catch (error) { // ProtocolError: an impossible count, so the session is of no use.
      this.#forget(peer);
      throw error;
    }
    this.#opening.set(peer, { link, isNew: !isResumed });
    placed();
    for (const _step of peer.want(topics, members, link)) {
      yield;
      if (this.#opening.get(peer)?.link !== link) return undefined;
    }
    this.#opening.delete(peer);
    peer.name = opening.name;
    peer.address = address;
    if (isResumed) counters.resumed++;
    this.#report(isResumed ? "resumed" : "joined", peer);
    const { session } = peer;
    link.send(
      FrameType.OPENED,
      encodeOpened({
        outcome: isResumed ? Resumption.RESUMED : isCutOff ? Resumption.CUT_OFF : Resumption.NEW,
        session: peer.id,
        taken: session.taken,
        calls: session.takenCalls,
        missed,
        heartbeat,
        window: WINDOW_BYTES,
        limits,
      }),
    );
    peer.attach(link);
    // It may have happened while nobody was connected who could have been told.
    if (peer.whyCutOff !== undefined) link.end(Reason.CUT_OFF, peer.whyCutOff);
    return peer;
  }

  /** The session with that id, if it is that of the same holder. */
  #find(id: Uint8Array | undefined, access: Access): ClientPeer | undefined {
    const peer = id && this.#all.get(textOf(id));
    return peer?.access.isSameHolder(access) ? peer : undefined;
  }

  /** Begins a session, for which another one may have to go. */
  #begin(access: Access): ClientPeer {
    const loser = this.#places.loserFor(access);
    if (loser !== undefined) this.#evict(loser);
    const id = randomBytes(SESSION_ID_BYTES);
    const peer = new ClientPeer(id, access, ++this.#begun, this.#peerContext);
    this.#all.set(textOf(id), peer);
    this.#context.memory.account.add(SESSION_BYTES);
    this.#places.take(peer);
    return peer;
  }

  /** Forgets a session, whose place is needed. */
  #evict({ holder: peer, why }: Loser<ClientPeer>): void {
    const link = this.#opening.get(peer)?.link ?? peer.session.link;
    // The reason first: a session that is over closes its connection.
    if (link !== undefined) this.#endUnplaced(link, Reason.BUSY, `${why}; try again later`);
    this.#context.counters.endings.crowded++;
    this.#forget(peer, new ConnectionLostError(`The session gave up its place: ${why}`));
  }

  #endUnplaced(link: Link, reason: Reason, text: string): void {
    link.end(reason, text);
    this.#context.onUnplaced(link);
  }

  /** Takes a session back: from those away, or from a connection that is ignored from now on. */
  #reclaim(peer: ClientPeer): void {
    const link = this.#opening.get(peer)?.link ?? peer.session.link;
    if (link !== undefined) {
      this.#endUnplaced(link, Reason.REPLACED, "the session goes on over another connection");
    }
    peer.detach();
    this.#awaitNoMore(peer);
    this.#places.mark(peer, true);
  }

  #awaitNoMore(peer: ClientPeer): void {
    this.#away.get(peer)?.cancel();
    this.#away.delete(peer);
  }

  /** The connection of a session has ended; the session may go on over another already. */
  connectionEnded(peer: ClientPeer, link: Link, { reason, isTheirs, error }: LinkEnd): void {
    const { session } = peer;
    if (session.link !== link) return;
    peer.detach();
    const isExpired = reason === Reason.EXPIRED && !isTheirs;
    const mayReturn = reason === undefined || isExpired || peer.isCutOff;
    if (mayReturn && !this.#context.isStopping()) this.#awaitReturn(peer, error);
    else this.#forget(peer, error);
  }

  #awaitReturn(peer: ClientPeer, error: Error | undefined): void {
    this.#report("lost", peer, error);
    this.#places.mark(peer, false);
    const forget = later(() => this.#forget(peer), this.#context.options.resumeWindow);
    this.#away.set(peer, forget);
  }

  #forget(peer: ClientPeer, error?: Error): void {
    this.#awaitNoMore(peer);
    const isUnknown = this.#opening.get(peer)?.isNew ?? false;
    this.#opening.delete(peer);
    this.#places.leave(peer);
    const isKnown = this.#all.delete(textOf(peer.id));
    if (isKnown) this.#context.memory.account.add(-SESSION_BYTES);
    this.#leaving.add(peer);
    peer.remove(error).then(() => this.#leaving.delete(peer));
    if (isKnown && !isUnknown) this.#report("left", peer, error);
  }

  #report(
    type: ClientEvent["type"],
    { number: client, name, key, access, address }: ClientPeer,
    error?: Error,
  ): void {
    this.#context.callbacks.client({
      type,
      client,
      name,
      keyName: key.name,
      ...(access.for !== undefined && { for: access.for }),
      ...(address !== undefined && { address }),
      ...(error !== undefined && { reason: error.message }),
    });
  }

  /**
   * Forgets the sessions of keys that are gone, and those that are more than their key may have now;
   * applies the rights that have changed.
   */
  applyKeys(keyring: Keyring, changed: ReadonlySet<Key>): void {
    for (const peer of this.#all.values()) {
      if (!keyring.has(peer.key)) this.#forget(peer);
      else if (changed.has(peer.key)) peer.narrow();
    }
    for (const key of changed) {
      for (let loser; (loser = this.#places.loserOf(key)) !== undefined;) this.#evict(loser);
    }
  }

  /** All sessions, as those for whom memory is kept. */
  *holders(): Generator<Holder, void, undefined> {
    for (const peer of this.#leaving) {
      yield { owner: peer.key, of: peer.access.holder, keptBytes: peer.interestBytes, losses: [] };
    }
    for (const peer of this.#all.values()) {
      yield {
        owner: peer.key,
        of: peer.access.holder,
        get keptBytes() {
          return SESSION_BYTES + peer.keptBytes;
        },
        losses: [
          (bytes) => {
            peer.free(bytes);
            return 0;
          },
          () => {
            const { link } = peer.session;
            peer.cutOff(MEMORY_FULL);
            link?.hurry();
            return link?.keptBytes ?? 0; // While it takes frames.
          },
          () => {
            this.#forget(peer);
            return peer.interestBytes;
          },
        ],
      };
    }
  }

  /**
   * Ends all sessions, after sending what waits for those clients that are connected.
   *
   * @param why What the clients are told.
   */
  close(why: string): void {
    for (const peer of this.#away.keys()) this.#forget(peer);
    for (const { session } of this.#all.values()) session.close();
    for (const { session } of this.#all.values()) {
      const end = () => session.link?.end(Reason.SHUTDOWN, why);
      if (session.unacknowledged === 0) end();
      // Rejects when the connection is lost: then there is nobody to tell.
      else session.flush().then(end, () => {});
    }
  }
}

/** An id as a short text, one character a byte. */
function textOf(id: Uint8Array): string {
  return String.fromCharCode(...id);
}
