/**
 * A bounded cache of what was worked out from topics, by their bytes in frames.
 */
import { BytesCache } from "../base/bytes_cache.ts";
import { LIMITS_MAX } from "../protocol/frame_bodies.ts";
import { decodeTopic } from "../protocol/topic_block.ts";
import type { TopicPath } from "../topic.ts";

const TOPICS_MAX = 4096;

/** A bounded map from topic blocks to values, which are made again when needed. */
export class TopicBlockCache<V> {
  readonly #make: (path: TopicPath, block: Uint8Array) => V;
  readonly #values = new BytesCache<V>(TOPICS_MAX);

  /** `make` gets a topic, and its block, which is valid during the call only. */
  constructor(make: (path: TopicPath, block: Uint8Array) => V) {
    this.#make = make;
  }

  /**
   * The value of the topic whose block is in `bytes` from `start` to before `end`.
   *
   * @throws {ProtocolError} If that is not a topic.
   */
  get(bytes: Uint8Array, start: number, end: number): V {
    let value = this.#values.get(bytes, start, end);
    if (value === undefined) {
      const path = decodeTopic(bytes, start, end, LIMITS_MAX);
      value = this.#make(path, bytes.subarray(start, end));
      this.#values.set(bytes, start, end, value);
    }
    return value;
  }
}
