/**
 * A router beside a list of what each peer wants and holds, to which the same happens; and what an uplink
 * to other brokers is told to want.
 */
import { assert, assertEquals } from "@std/assert";
import { Account } from "../../base/account.ts";
import { Background } from "../../base/background.ts";
import { TopicCounts } from "../../broker/topic_counts.ts";
import type { Uplink } from "../../broker/uplink.ts";
import { UplinkPeer } from "../../broker/uplink_peer.ts";
import { subjectOf } from "../../nats/subject.ts";
import { WantedSubjects } from "../../nats/wanted_subjects.ts";
import { LIMITS_MAX } from "../../protocol/frame_bodies.ts";
import type { Rights } from "../../broker/rights.ts";
import { decodeTopic, encodeTopic } from "../../protocol/topic_block.ts";
import type { Peer } from "../../routing/peer.ts";
import { type Route, Router } from "../../routing/router.ts";
import { any, isBrokerPath, type TopicPath, type TopicPattern } from "../../topic.ts";
import type { Random } from "../../tools/harness/random.ts";
import {
  covers,
  grants,
  hears,
  type Holding,
  holdingOf,
  narrowed,
  pathOf,
  patternOf,
  patternsOf,
  rightsOf,
  textOf,
} from "./patterns.ts";

const PREFIX = "mpubsub.bus";
const ALL: Holding = { key: [[]], ticket: undefined };

/** A peer, what it wants and what it holds. */
class Client implements Peer {
  readonly name: string;
  readonly wanted = new Map<string, TopicPattern>();
  /** All that it gets of that. */
  topics: readonly TopicPattern[] = [];
  holding = ALL;
  rights = rightsOf(ALL);

  constructor(name: string) {
    this.name = name;
  }

  take(): void {}
  lose(): void {}
  room(): undefined {}

  /** Works out what it gets, after a change. */
  changed(): void {
    this.topics = [...this.wanted.values()].flatMap((topic) => narrowed(this.holding, topic));
  }

  /** Whether it gets what is published to a path. */
  gets(path: TopicPath): boolean {
    if (path.length === 0) return this.topics.some((topic) => !isBrokerPath(topic));
    return grants(this.holding, path) && this.wanted.values().some((topic) => hears(topic, path));
  }
}

/** One router. */
export class RouterCase {
  readonly #random: Random;
  readonly #account = new Account();
  readonly #router: Router<Peer>;
  readonly #uplink: UplinkPeer;
  readonly #elsewhere = new WantedSubjects(PREFIX);
  readonly #clients = ["ann", "bob", "cy"].map((name) => new Client(name));
  /** What clients may hold: often the same. */
  readonly #holdings: readonly { holding: Holding; rights: Rights }[];
  /** Some routes that are used again and again. */
  readonly #routes: Route<Peer>[] = [];

  constructor(random: Random) {
    this.#random = random;
    this.#holdings = [ALL, holdingOf(random), holdingOf(random)]
      .map((holding) => ({ holding, rights: rightsOf(holding) }));
    this.#router = new Router<Peer>({
      account: this.#account,
      onInterest: (peer, path, wants) => this.#uplink.wants(peer, path, wants),
    });
    const uplink: Partial<Uplink> = {
      join() {},
      wants: (path, wants) => void this.#elsewhere.change(path, wants),
    };
    this.#uplink = new UplinkPeer(uplink as Uplink, {
      memory: 2 ** 20,
      account: new Account(),
      router: this.#router,
      limits: LIMITS_MAX,
      background: new Background(),
      topicCounts: new TopicCounts(),
      decodeTopic: (bytes, start, end) => decodeTopic(bytes, start, end, LIMITS_MAX),
    });
    this.#uplink.join();
    for (const client of this.#clients) this.#give(client);
  }

  /** Does something, and looks at the outcome. */
  step(): void {
    const random = this.#random;
    const client = random.pick(this.#clients);
    const kind = random.int(20);
    if (kind < 9) this.#add(client);
    else if (kind < 12) this.#remove(client);
    else if (kind < 14) this.#replace(client, patternsOf(random, 4));
    else if (kind < 16) this.#narrow(client);
    else if (kind < 17) this.#clear(client);
    else for (let n = 0; n < 2; n++) finish(this.#router.sweep());
    client.changed();
    // What nobody asks for in between is not found again, and must be right all the same.
    const routes = random.int(6) === 0
      ? this.#routes
      : random.int(2) === 0
      ? [this.#anyRoute()]
      : [];
    for (const route of routes) this.#look(route);
    if (random.int(4) === 0) this.#lookElsewhere();
  }

  /** When all are gone, nothing is left. */
  end(): void {
    const router = this.#router;
    for (const client of this.#clients) {
      for (const topic of client.wanted.values()) assert(router.remove(client, topic));
      assertEquals([router.bytesOf(client), router.keptBytesOf(client)], [0, 0]);
      this.#clear(client);
    }
    for (let n = 0; n < 3; n++) finish(router.sweep());
    [...this.#elsewhere.settle()];
    assertEquals([this.#account.bytes, this.#elsewhere.size], [0, 0]);
    for (const route of this.#routes) assertEquals(router.peers(route), []);
  }

  #give(client: Client): void {
    const { holding, rights } = this.#random.pick(this.#holdings);
    client.holding = holding;
    client.rights = rights;
  }

  #add(client: Client): void {
    const { wanted } = this.#random.pick(this.#clients);
    const topic = this.#random.int(3) === 0 && wanted.size > 0
      ? this.#random.pick([...wanted.values()])
      : patternOf(this.#random);
    client.wanted.set(textOf(topic), topic);
    this.#router.add(client, topic, client.rights.narrow(topic));
  }

  #remove(client: Client): void {
    const topic = this.#random.int(4) > 0 && client.wanted.size > 0
      ? this.#random.pick([...client.wanted.values()])
      : patternOf(this.#random);
    const had = client.wanted.delete(textOf(topic));
    assertEquals(this.#router.remove(client, topic), had, textOf(topic));
  }

  #replace(client: Client, topics: readonly TopicPattern[]): void {
    client.wanted.clear();
    for (const topic of topics) client.wanted.set(textOf(topic), topic);
    finish(this.#router.replace(client, topics, (topic) => client.rights.narrow(topic)));
  }

  #narrow(client: Client): void {
    this.#give(client);
    finish(this.#router.narrow(client, (topic) => client.rights.narrow(topic), () => {}));
  }

  #clear(client: Client): void {
    client.wanted.clear();
    finish(this.#router.clear(client));
  }

  #anyRoute(): Route<Peer> {
    const random = this.#random;
    if (this.#routes.length > 0 && random.int(3) > 0) return random.pick(this.#routes);
    const patterns = this.#clients.flatMap(({ wanted, holding }) => [
      ...wanted.values(),
      ...holding.key,
    ]);
    const path = pathOf(random, patterns);
    const block = encodeTopic(path);
    const route = this.#router.route(block, 0, block.length, () => path);
    this.#routes.push(route);
    return route;
  }

  #look(route: Route<Peer>): void {
    const { path } = route;
    const told = this.#told(path);
    const names = this.#clients.filter((client) => client.gets(path)).map(({ name }) => name);
    assertEquals(namesOf(this.#router.peers(route)), names, told);
    assertEquals(namesOf(this.#router.peersOf(path)), names, told);
    const isAround = (topic: TopicPattern) =>
      topic.length >= path.length && covers(topic.slice(0, path.length), path);
    const below = this.#clients.filter(({ topics }) => topics.some(isAround));
    assertEquals(this.#router.isWanted(path), below.length > 0, told);
    const around = path.length === 0
      ? names
      : [...new Set([...names, ...below.map(({ name }) => name)])].sort();
    assertEquals(namesOf(this.#router.peersAround(path)), around, told);
    const counts = this.#clients.map((client) => this.#router.interestsOf(client));
    assertEquals(counts, this.#clients.map(({ wanted }) => wanted.size), told);
  }

  /** What somebody wants is wanted of other brokers, and comes once. */
  #lookElsewhere(): void {
    const random = this.#random;
    if (random.int(3) === 0) [...this.#elsewhere.settle()];
    const subjects = this.#elsewhere.subjects();
    const wanted = this.#clients.flatMap(({ topics }) => topics);
    for (let n = 0; n < 3; n++) {
      const path = pathOf(random, wanted);
      if (isBrokerPath(path)) continue;
      const subject = subjectOf(PREFIX, path);
      const count = subjects.filter((one) => isIn(subject, one)).length;
      assert(count <= 1, `${this.#told(path)} comes ${count} times: ${subjects}`);
      if (!this.#clients.some((client) => client.gets(path))) continue;
      assertEquals(count, 1, `${this.#told(path)} of ${subjects}`);
      assert(this.#elsewhere.has(path), this.#told(path));
    }
  }

  #told(path: TopicPath): string {
    const clients = this.#clients.map(({ name, wanted, holding }) => ({
      name,
      wanted: [...wanted.values()],
      holding,
    }));
    return JSON.stringify({ path, clients }, (_name, part) => part === any ? "any" : part);
  }
}

/** Whether NATS brings what is published to a subject to who subscribes to another one. */
function isIn(subject: string, subscribed: string): boolean {
  return subscribed.endsWith(".>")
    ? subject.startsWith(subscribed.slice(0, -1))
    : subject === subscribed;
}

function namesOf(peers: readonly Peer[]): string[] {
  const names = peers.map((peer) => (peer as Client).name);
  assertEquals(new Set(names).size, names.length, `${names}`);
  return names.sort();
}

/** Does all steps of something. */
function finish(steps: Iterable<void>): void {
  for (const _ of steps);
}
