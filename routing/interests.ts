/**
 * What one peer wants: mostly whole topics, which are found by their places; those of which it gets
 * less are found by a text.
 */
import type { Account } from "../base/account.ts";
import { StringMap } from "../base/string_map.ts";
import { any, type TopicPattern } from "../topic.ts";
import { type Audience, type Member, Place, Scope } from "./audience.ts";
import {
  interestBytes,
  MEMBER_BYTES,
  NARROWED_BYTES,
  nodeBytes,
  PLACE_BYTES,
} from "./interest_bytes.ts";

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
  /** What they would take of memory if nobody else wanted any of it. */
  bytes = 0;
  readonly #account: Account;
  /** What they keep alive, as it was worked out last; `undefined` when they have changed since. */
  #keptBytes: number | undefined;
  /** Made with the first of each, because most peers have few, and none that are narrowed. */
  #whole: Map<Audience<P>, Member<P>> | undefined;
  #narrowed: StringMap<Member<P>> | undefined;

  /** Makes those of a peer that wants nothing; what the peer takes for itself of each counts there. */
  constructor(peer: P, account: Account) {
    this.alone = [peer];
    this.#account = account;
  }

  /** How many there are. */
  get size(): number {
    return (this.#whole?.size ?? 0) + (this.#narrowed?.size ?? 0);
  }

  /** How much memory they keep alive; of what others want, too, only a share. */
  get keptBytes(): number {
    return this.#keptBytes ??= this.#sumUp();
  }

  #sumUp(): number {
    let sum = 0;
    for (const { node, size } of (this.#whole?.keys() ?? []) as Iterable<Place<P>>) {
      sum += MEMBER_BYTES + PLACE_BYTES / Math.max(1, size);
      if (size > 1) continue;
      // The nodes that lead to nothing else.
      for (let at = node; at.parent !== undefined; at = at.parent) {
        sum += nodeBytes(at.path.at(-1)!);
        if (at.parent.isFork) break;
      }
    }
    for (const [text, { audience }] of this.#narrowed?.entries() ?? []) {
      sum += narrowedBytes(text) + shareBytes(audience) / Math.max(1, audience.size);
    }
    return sum;
  }

  #changed(bytes: number, own: number): void {
    this.bytes += bytes;
    this.#keptBytes = undefined;
    this.#account.add(own);
  }

  /** As what the peer gets a topic, if it wants that; `place` is the topic's, if it has one. */
  get(path: TopicPattern, place: Place<P> | undefined): Member<P> | undefined {
    const whole = place && this.#whole?.get(place);
    if (whole !== undefined || this.#narrowed === undefined) return whole;
    return this.#narrowed.get(textOf(path));
  }

  /** The peer gets a topic as this member. */
  set(path: TopicPattern, member: Member<P>): void {
    const { audience } = member;
    if (audience instanceof Place) {
      (this.#whole ??= new Map()).set(audience, member);
      return this.#changed(interestBytes(path), MEMBER_BYTES);
    }
    const text = textOf(path);
    (this.#narrowed ??= new StringMap()).set(text, member);
    this.#changed(narrowedBytes(text) + shareBytes(audience), narrowedBytes(text));
  }

  /** The peer no longer gets a topic as this member. */
  delete(path: TopicPattern, { audience }: Member<P>): void {
    if (audience instanceof Place) {
      this.#whole?.delete(audience);
      return this.#changed(-interestBytes(path), -MEMBER_BYTES);
    }
    const text = textOf(path);
    this.#narrowed?.delete(text);
    this.#changed(-narrowedBytes(text) - shareBytes(audience), -narrowedBytes(text));
  }

  /** All topics, with the members; what comes or goes meanwhile may be among them. */
  *entries(): Generator<[TopicPattern, Member<P>], void, undefined> {
    for (const [audience, member] of this.#whole ?? []) {
      yield [(audience as Place<P>).node.path, member];
    }
    for (const [text, member] of this.#narrowed?.entries() ?? []) {
      yield [patternOf(text), member];
    }
  }
}

function narrowedBytes(text: string): number {
  return NARROWED_BYTES + text.length;
}

function shareBytes<P>(audience: Audience<P>): number {
  return audience instanceof Scope ? audience.share.bytes : 0;
}

/** A text that no other topic has; `any` is `null` in it. */
function textOf(path: TopicPattern): string {
  return JSON.stringify(path);
}

function patternOf(text: string): TopicPattern {
  const elements = JSON.parse(text) as (string | null)[];
  return Object.freeze(elements.map((element) => element ?? any));
}
