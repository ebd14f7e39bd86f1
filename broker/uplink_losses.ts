/**
 * Tells clients that messages of other brokers were lost: at once, and what is lost soon after that
 * together, a little later. Whoever is on the bus can make such losses, and to find all clients that may
 * have wanted something takes a while; so there is a rest of many times as long in between.
 */
import { clock } from "../base/clock.ts";
import { addCounts } from "../base/count.ts";
import { later, type Timer } from "../base/timers.ts";
import type { Peer } from "../routing/peer.ts";
import type { Router } from "../routing/router.ts";
import { ROOT, type TopicPath } from "../topic.ts";

/** How long a rest is at least, and how many times as long as it took to tell. */
const REST_MS = 50;
const REST = 10;
/** For how many topics losses are kept apart meanwhile; beyond that they count for all. */
const TOPICS_MAX = 64;

/** What was lost. */
interface Loss {
  readonly path: TopicPath;
  /** How many messages, as far as that is known. */
  messages: number;
  /** Whether there may be more. */
  isUnknown: boolean;
}

/** Tells clients of losses. */
export class UplinkLosses {
  readonly #router: Router<Peer>;
  /** What is to be told, by topic as a text. */
  #losses = new Map<string, Loss>();
  #rest: Timer | undefined;

  /** Makes one that has told nothing; the router knows who wants what. */
  constructor(router: Router<Peer>) {
    this.#router = router;
  }

  /** Messages of a topic, or of topics below it, were lost; 0: an unknown number. */
  add(path: TopicPath, messages: number): void {
    this.#note(path, messages, messages === 0);
    if (this.#losses.size > TOPICS_MAX) this.#merge();
    if (this.#rest === undefined) this.#tell();
  }

  #note(path: TopicPath, messages: number, isUnknown: boolean): void {
    const key = JSON.stringify(path);
    const loss = this.#losses.get(key) ?? { path, messages: 0, isUnknown: false };
    loss.messages = addCounts(loss.messages, messages);
    loss.isUnknown ||= isUnknown;
    this.#losses.set(key, loss);
  }

  #merge(): void {
    const losses = this.#losses;
    this.#losses = new Map();
    for (const { messages, isUnknown } of losses.values()) this.#note(ROOT, messages, isUnknown);
  }

  #tell(): void {
    const began = clock.now();
    const losses = this.#losses;
    this.#losses = new Map();
    for (const [peer, { messages, isUnknown }] of this.#byPeer(losses.values())) {
      if (messages > 0) peer.lose(messages);
      if (isUnknown) peer.lose(0);
    }
    const rest = Math.max(REST_MS, REST * (clock.now() - began));
    this.#rest = later(() => {
      this.#rest = undefined;
      if (this.#losses.size > 0) this.#tell();
    }, rest);
  }

  /** What each peer lost. */
  #byPeer(losses: Iterable<Loss>): Map<Peer, Omit<Loss, "path">> {
    const byPeer = new Map<Peer, Omit<Loss, "path">>();
    for (const { path, messages, isUnknown } of losses) {
      const around = path.length === 0
        ? this.#router.peersOf(path)
        : this.#router.peersAround(path);
      for (const peer of around) {
        const sum = byPeer.get(peer) ?? { messages: 0, isUnknown: false };
        sum.messages = addCounts(sum.messages, messages);
        sum.isUnknown ||= isUnknown;
        byPeer.set(peer, sum);
      }
    }
    return byPeer;
  }

  /** Tells what is left, and ends. */
  end(): void {
    this.#rest?.cancel();
    if (this.#losses.size > 0) this.#tell();
    this.#rest?.cancel();
  }
}
