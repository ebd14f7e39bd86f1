/**
 * Random topics with and without `any`, and what is true of them by definition: an oracle that knows no
 * tree. Topics are short and of few names, so that they often meet.
 */
import { Rights } from "../../broker/rights.ts";
import type { Narrowing } from "../../protocol/ticket.ts";
import { any, isBrokerPath, type TopicPath, type TopicPattern } from "../../topic.ts";
import type { Random } from "../../tools/harness/random.ts";

const NAMES = ["a", "b"];
const ANY_MAX = 3;

/** What a client holds: a key, and perhaps a ticket of it. */
export interface Holding {
  readonly key: readonly TopicPattern[];
  readonly ticket: readonly TopicPattern[] | undefined;
}

/** Mostly short; sometimes as long as a topic may be. */
function lengthOf(random: Random): number {
  return random.int(50) === 0 ? 16 : random.int(6);
}

/** A topic to subscribe to, or to grant. */
export function patternOf(random: Random): TopicPattern {
  const length = lengthOf(random);
  const pattern: TopicPattern[number][] = [];
  let anys = 0;
  for (let depth = 0; depth < length; depth++) {
    const isAny = anys < ANY_MAX && random.int(3) === 0;
    if (isAny) anys++;
    pattern.push(isAny ? any : nameAt(random, depth));
  }
  return Object.freeze(pattern);
}

/** A topic to publish to: mostly one that some of these patterns lead to, or nearly. */
export function pathOf(random: Random, patterns: readonly TopicPattern[]): TopicPath {
  const pattern = patterns.length === 0 || random.int(4) === 0
    ? patternOf(random)
    : random.pick(patterns);
  const path = pattern.map((name, depth) => name === any ? nameAt(random, depth) : name as string);
  while (path.length < 16 && random.int(3) === 0) path.push(nameAt(random, path.length));
  if (path.length > 0 && random.int(6) === 0) {
    const depth = random.int(path.length);
    path[depth] = nameAt(random, depth);
  }
  return Object.freeze(path);
}

/** Up to so many patterns. */
export function patternsOf(random: Random, most: number): TopicPattern[] {
  return Array.from({ length: random.int(most + 1) }, () => patternOf(random));
}

/** What some client holds. */
export function holdingOf(random: Random): Holding {
  const key = patternsOf(random, 5);
  return { key, ticket: random.int(3) === 0 ? patternsOf(random, 3) : undefined };
}

/** What the broker makes of that: the right to publish and to subscribe to the same topics. */
export function rightsOf({ key, ticket }: Holding): Rights {
  // Nobody may publish what the broker itself does.
  const publish = key.filter((topic) => !isBrokerPath(topic));
  const rights = new Rights({ publish, subscribe: key });
  if (ticket === undefined) return rights;
  return rights.narrowedTo({ publish: ticket, subscribe: ticket } as Narrowing);
}

function nameAt(random: Random, depth: number): string {
  return depth === 0 && random.int(4) === 0 ? "*broker" : random.pick(NAMES);
}

/** Whether what a pattern stands for has all that a topic stands for, and what is below that. */
export function covers(pattern: TopicPattern, topic: TopicPattern): boolean {
  return pattern.length <= topic.length &&
    pattern.every((name, depth) =>
      name === topic[depth] || name === any && !(depth === 0 && isBrokerPath(topic))
    );
}

/** Whether who subscribes to a pattern hears what is published to a path. */
export function hears(pattern: TopicPattern, path: TopicPath): boolean {
  if (path.length === 0) return !isBrokerPath(pattern);
  return covers(pattern, path) && (pattern.length > 0 || !isBrokerPath(path));
}

/** Whether somebody may have what is published to a path. */
export function grants({ key, ticket }: Holding, topic: TopicPattern): boolean {
  const isIn = (some: readonly TopicPattern[]) => some.some((one) => covers(one, topic));
  return isIn(key) && (ticket === undefined || isIn(ticket));
}

/** What two topics have in common, if anything. */
function common(one: TopicPattern, other: TopicPattern): TopicPattern | undefined {
  const longer = one.length < other.length ? other : one;
  const shorter = longer === one ? other : one;
  const both = longer.map((name, depth) => name === any ? shorter[depth] ?? any : name);
  return covers(one, both) && covers(other, both) ? both : undefined;
}

/** What a subscriber gets of a topic: topics, none of which another one covers. */
export function narrowed(holding: Holding, wanted: TopicPattern): readonly TopicPattern[] {
  if (grants(holding, wanted)) return [wanted];
  let met: TopicPattern[] = [wanted];
  for (const side of [holding.key, holding.ticket ?? [[]]]) {
    met = met.flatMap((one) => side.map((topic) => common(one, topic))).filter((one) => !!one);
  }
  if (wanted.length === 0) met = met.filter((topic) => !isBrokerPath(topic));
  return met.filter((one, at) =>
    !met.some((other, i) => i !== at && covers(other, one) && (i < at || !covers(one, other)))
  );
}

/** In which order subscribers get messages: by their topics, and then as they have subscribed. */
export function compare(one: TopicPattern, other: TopicPattern): number {
  if (one.length !== other.length) return other.length - one.length;
  const depth = one.findIndex((name, at) => name !== other[at]);
  return depth < 0 ? 0 : Number(one[depth] === any) - Number(other[depth] === any);
}

/** A text that no other topic has. */
export function textOf(topic: TopicPattern): string {
  return JSON.stringify(topic);
}
