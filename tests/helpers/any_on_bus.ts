/**
 * A bus beside a list of its subscribers, to which the same happens; each call must be the one that the
 * list expects next.
 */
import { assert, assertEquals } from "@std/assert";
import { Dispatcher } from "../../pubsub/dispatcher.ts";
import type { LocalRoute } from "../../pubsub/local_route.ts";
import type { Handle } from "../../pubsub/subscriber.ts";
import type { TopicPath, TopicPattern } from "../../topic.ts";
import type { Random } from "../../tools/harness/random.ts";
import { compare, hears, pathOf, patternOf, textOf } from "./patterns.ts";

/** How many actions subscribers may take in one case. */
const ACTIONS_MAX = 30;

interface Listed {
  readonly number: number;
  readonly pattern: TopicPattern;
  readonly once: boolean;
  readonly subscriber: () => void;
  handle: Handle | undefined;
}

/** One bus. */
export class BusCase {
  readonly #random: Random;
  readonly #bus: Dispatcher;
  /** Those who are there, in the order in which they came. */
  #listed: Listed[] = [];
  /** Some routes that are used again and again. */
  readonly #routes: LocalRoute[] = [];
  /** What has been published and not begun. */
  readonly #waiting: TopicPath[] = [];
  /** Whom the delivery under way has yet to call. */
  #ahead: Listed[] = [];
  readonly #interests: Set<string> = new Set();
  /** What went wrong in a subscriber. */
  #failure: unknown;
  #number = 0;
  #actions = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#bus = new Dispatcher({
      onError(error) {
        throw error;
      },
      onInterest: (path, wanted) => {
        const { size } = this.#interests;
        if (wanted) this.#interests.add(textOf(path));
        else this.#interests.delete(textOf(path));
        assert(size !== this.#interests.size, `${textOf(path)} ${wanted}`);
      },
    });
  }

  /** Does something, and looks at the outcome. */
  step(): void {
    for (let n = 0; n < 3; n++) this.#change();
    this.#publish();
    if (this.#failure !== undefined) throw this.#failure;
    this.#begin();
    assertEquals(this.#ahead.map(({ pattern }) => textOf(pattern)), [], "they were not called");
    const topics = new Set(this.#listed.map(({ pattern }) => textOf(pattern)));
    assertEquals([...this.#interests].sort(), [...topics].sort());
    assertEquals([...this.#bus.interests()].map(textOf).sort(), [...topics].sort());
    assertEquals(this.#bus.interestCount, topics.size);
    for (const route of this.#routes) {
      const isHeard = this.#listed.some(({ pattern }) => hears(pattern, route.path));
      assertEquals(this.#bus.wants(route), isHeard, textOf(route.path));
    }
  }

  #change(): void {
    const random = this.#random;
    const kind = random.int(20);
    if (kind < 12) this.#add();
    else if (kind < 19) this.#remove();
    else this.#clear();
  }

  #add(): void {
    const random = this.#random;
    const listed: Listed = {
      number: this.#number++,
      pattern: random.int(2) === 0 && this.#listed.length > 0
        ? random.pick(this.#listed).pattern
        : patternOf(random),
      once: random.int(6) === 0,
      subscriber: () => this.#called(listed),
      handle: undefined,
    };
    this.#listed.push(listed);
    const { pattern, subscriber, once } = listed;
    listed.handle = this.#bus.add(pattern, subscriber, { once });
  }

  #remove(): void {
    if (this.#listed.length === 0) return;
    const listed = this.#random.pick(this.#listed);
    this.#forget(listed);
    if (this.#random.int(2) === 0) listed.handle!.remove();
    else assert(this.#bus.remove(listed.pattern, listed.subscriber));
  }

  #clear(): void {
    this.#listed = [];
    this.#ahead = [];
    this.#bus.clear();
  }

  #forget(listed: Listed): void {
    this.#listed = this.#listed.filter((one) => one !== listed);
    this.#ahead = this.#ahead.filter((one) => one !== listed);
  }

  #publish(): void {
    const random = this.#random;
    let route = this.#routes.length > 0 && random.int(3) > 0
      ? random.pick(this.#routes)
      : undefined;
    if (route === undefined) {
      route = this.#bus.routeOf(pathOf(random, this.#listed.map(({ pattern }) => pattern)));
      this.#routes.push(route);
    }
    this.#waiting.push(route.path);
    this.#bus.deliver(route, {});
  }

  /** Begins the next delivery in which somebody is called, if there is one and none is under way. */
  #begin(): void {
    while (this.#ahead.length === 0 && this.#waiting.length > 0) {
      const path = this.#waiting.shift()!;
      const hearers = this.#listed.filter(({ pattern }) => hears(pattern, path));
      if (path.length > 0) hearers.sort((a, b) => compare(a.pattern, b.pattern));
      this.#ahead = hearers;
    }
  }

  #called(listed: Listed): void {
    try {
      this.#begin();
      const next = this.#ahead.shift();
      assertEquals([listed.number, listed.pattern], [next?.number, next?.pattern]);
      if (listed.once) this.#forget(listed);
    } catch (error) { // Kept for `step`: a bus goes on when a subscriber throws.
      this.#failure ??= error;
      return;
    }
    if (this.#failure !== undefined || this.#actions++ >= ACTIONS_MAX) return;
    const kind = this.#random.int(8);
    if (kind === 0) this.#publish();
    else if (kind < 3) this.#change();
  }
}
