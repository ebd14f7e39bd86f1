/**
 * What somebody gets of a topic that is not granted as a whole.
 */
import type { TopicPattern } from "../topic.ts";

/** Topics, each with all below it; the same object for those who get the same of the same topic. */
export class Share {
  /** The topics: below the one that is wanted, or where this and what is granted meet. */
  readonly topics: readonly TopicPattern[];
  /** What these take of memory that is made for this share alone, in bytes. */
  readonly bytes: number;

  /** Makes one; `topics` must be frozen. */
  constructor(topics: readonly TopicPattern[], bytes = 0) {
    this.topics = topics;
    this.bytes = bytes;
  }

  /** Whether it is nothing. */
  get isEmpty(): boolean {
    return this.topics.length === 0;
  }
}

/** Nothing of a topic. */
export const NOTHING = new Share(Object.freeze([]));
