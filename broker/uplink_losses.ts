/**
 * Tells clients that messages of other brokers were lost: at once, and what is lost soon after that
 * together, a little later. Whoever is on the bus can make such losses, and to find all clients that may
 * have wanted something takes a while; so it is done in steps, and there is a rest of many times as long
 * in between.
 */
import type { Background } from "../base/background.ts";
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
/** How many clients are found, or told, in one step. */
const STEP_PEERS = 256;

/** What was lost. */
interface Loss {
  readonly path: TopicPath;
  /** How many messages, as far as that is known. */
  messages: number;
  /** Whether there may be more. */
  isUnknown: boolean;
}

/** What a client lost. */
type Sum = Omit<Loss, "path">;

/** Tells clients of losses. */
export class UplinkLosses {
  readonly #router: Router<Peer>;
  readonly #background: Background;
  /** What is to be told, by topic as a text. */
  #losses = new Map<string, Loss>();
  /** What is being told. */
  #telling: Generator<void, void, undefined> | undefined;
  #rest: Timer | undefined;
  #hasEnded = false;

  /** Makes one that has told nothing; the router knows who wants what. */
  constructor(router: Router<Peer>, background: Background) {
    this.#router = router;
    this.#background = background;
  }

  /** Messages of a topic, or of topics below it, were lost; 0: an unknown number. */
  add(path: TopicPath, messages: number): void {
    this.#note(path, messages, messages === 0);
    if (this.#losses.size > TOPICS_MAX) this.#merge();
    if (this.#telling === undefined && this.#rest === undefined) this.#tell();
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
    let ms = 0;
    const telling = this.#telling = this.#steps(this.#takeLosses(), (took) => ms += took);
    this.#background.run(telling).then(() => {
      this.#telling = undefined;
      if (!this.#hasEnded) this.#restFor(Math.max(REST_MS, REST * ms));
    });
  }

  #takeLosses(): Iterable<Loss> {
    const losses = this.#losses;
    this.#losses = new Map();
    return losses.values();
  }

  #restFor(ms: number): void {
    this.#rest = later(() => {
      this.#rest = undefined;
      if (this.#losses.size > 0) this.#tell();
    }, ms);
  }

  /** Tells of losses, in steps; says how long each took. */
  *#steps(
    losses: Iterable<Loss>,
    took: (ms: number) => void,
  ): Generator<void, void, undefined> {
    const work = this.#tellAll(losses);
    for (;;) {
      const began = clock.now();
      const { done } = work.next();
      took(clock.now() - began);
      if (done) return;
      yield;
    }
  }

  /** Tells each client of all that it lost, in steps. */
  *#tellAll(losses: Iterable<Loss>): Generator<void, void, undefined> {
    const byPeer = new Map<Peer, Sum>();
    for (const loss of losses) yield* this.#addUp(byPeer, loss);
    let count = 0;
    for (const [peer, { messages, isUnknown }] of byPeer) {
      if (messages > 0) peer.lose(messages);
      if (isUnknown) peer.lose(0);
      if (++count % STEP_PEERS === 0) yield;
    }
  }

  /** Adds a loss to what each peer lost. */
  *#addUp(
    byPeer: Map<Peer, Sum>,
    { path, messages, isUnknown }: Loss,
  ): Generator<void, void, undefined> {
    const around = path.length === 0 ? this.#router.peersOf(path) : this.#router.peersAround(path);
    let count = 0;
    for (const peer of around) {
      const sum = byPeer.get(peer) ?? { messages: 0, isUnknown: false };
      sum.messages = addCounts(sum.messages, messages);
      sum.isUnknown ||= isUnknown;
      byPeer.set(peer, sum);
      if (++count % STEP_PEERS === 0) yield;
    }
    yield;
  }

  /** Tells what is left, at once, and ends. */
  end(): void {
    this.#hasEnded = true;
    this.#rest?.cancel();
    for (const _step of this.#telling ?? []);
    for (const _step of this.#tellAll(this.#takeLosses()));
  }
}
