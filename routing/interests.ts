/**
 * What one peer wants: mostly whole topics, which are found by their places; those of which it gets
 * less are found by a text.
 */
import { StringMap } from "../base/string_map.ts";
import type { TopicPath } from "../topic.ts";
import { type Audience, type Member, Place } from "./audience.ts";

/** The interests of one peer, by topic: as what it gets each. */
export class Interests<P> {
  /** It alone, in a list. */
  readonly alone: readonly P[];
  /** How many of them are for more than what the broker itself publishes. */
  wide = 0;
  /** As what it gets broadcasts, if there are any such. */
  broadcast: Member<P> | undefined;
  /** How often all of them were replaced. */
  round = 0;
  /** Whether they are being forgotten, and nothing may come any more. */
  isGone = false;
  readonly #whole = new Map<Audience<P>, Member<P>>();
  readonly #narrowed = new StringMap<Member<P>>();

  /** Makes those of a peer that wants nothing. */
  constructor(peer: P) {
    this.alone = [peer];
  }

  /** How many there are. */
  get size(): number {
    return this.#whole.size + this.#narrowed.size;
  }

  /** As what the peer gets a topic, if it wants that; `place` is the topic's, if it has one. */
  get(path: TopicPath, place: Place<P> | undefined): Member<P> | undefined {
    const whole = place && this.#whole.get(place);
    if (whole !== undefined || this.#narrowed.size === 0) return whole;
    return this.#narrowed.get(textOf(path));
  }

  /** The peer gets a topic as this member. */
  set(path: TopicPath, member: Member<P>): void {
    const { audience } = member;
    if (audience instanceof Place) this.#whole.set(audience, member);
    else this.#narrowed.set(textOf(path), member);
  }

  /** The peer no longer gets a topic as this member. */
  delete(path: TopicPath, { audience }: Member<P>): void {
    if (audience instanceof Place) this.#whole.delete(audience);
    else this.#narrowed.delete(textOf(path));
  }

  /** All topics, with the members; what comes or goes meanwhile may be among them. */
  *entries(): Generator<[TopicPath, Member<P>], void, undefined> {
    for (const [audience, member] of this.#whole) {
      yield [(audience as Place<P>).node.path, member];
    }
    for (const [text, member] of this.#narrowed.entries()) {
      yield [Object.freeze(JSON.parse(text)) as TopicPath, member];
    }
  }
}

function textOf(path: TopicPath): string {
  return JSON.stringify(path);
}
