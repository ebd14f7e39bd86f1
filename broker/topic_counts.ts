/**
 * What passes through a broker, by topic, counted while somebody watches.
 */
import { StringMap } from "../base/string_map.ts";
import type { TopicPath } from "../topic.ts";

/** What passed for one topic. */
export interface TopicCount {
  /** The topic. */
  readonly path: TopicPath;
  /** Messages that came for it. */
  messages: number;
  /** Their bytes as frames: topic, payload and a few more. */
  bytes: number;
}

/** How many topics are counted at a time. */
const TOPICS_MAX = 4096;
/** To make room, the one with the fewest messages among so many of the oldest is removed. */
const SAMPLE = 8;

/** Counts messages by topic, from one {@linkcode TopicCounts.takeBusiest} to the next. */
export class TopicCounts {
  /** By the path object: a route that was forgotten comes back with another one for the same topic. */
  #topics: Map<TopicPath, TopicCount> | undefined;
  #other = { messages: 0, bytes: 0 };

  /** Whether it counts. */
  get isWatched(): boolean {
    return this.#topics !== undefined;
  }

  set isWatched(watched: boolean) {
    if (watched !== this.isWatched) this.#topics = watched ? new Map() : undefined;
  }

  /** Counts messages for a topic. */
  count(path: TopicPath, messages: number, bytes: number): void {
    const topics = this.#topics;
    if (topics === undefined) return;
    let topic = topics.get(path);
    if (topic === undefined) {
      if (topics.size >= TOPICS_MAX) this.#makeRoom(topics);
      topics.set(path, topic = { path, messages: 0, bytes: 0 });
    }
    topic.messages += messages;
    topic.bytes += bytes;
  }

  /** Removes a topic with few messages; the others that were looked at become the newest. */
  #makeRoom(topics: Map<TopicPath, TopicCount>): void {
    const sample = topics.values().take(SAMPLE).toArray();
    const least = sample.reduce((a, b) => b.messages < a.messages ? b : a);
    for (const topic of sample) {
      topics.delete(topic.path);
      if (topic !== least) topics.set(topic.path, topic);
    }
    this.#add(least);
  }

  #add({ messages, bytes }: TopicCount): void {
    this.#other.messages += messages;
    this.#other.bytes += bytes;
  }

  /**
   * What was counted since the last call: the `most` busiest topics, the busiest first, and all others
   * in one sum.
   */
  takeBusiest(most: number): { topics: TopicCount[]; other: { messages: number; bytes: number } } {
    const byText = new StringMap<TopicCount>();
    for (const topic of this.#topics?.values() ?? []) {
      const text = JSON.stringify(topic.path);
      const same = byText.get(text);
      if (same === undefined) byText.set(text, topic);
      else {
        same.messages += topic.messages;
        same.bytes += topic.bytes;
      }
    }
    this.#topics?.clear();
    const sorted = [...byText.values()].sort((a, b) => b.messages - a.messages);
    for (const topic of sorted.slice(most)) this.#add(topic);
    const other = this.#other;
    this.#other = { messages: 0, bytes: 0 };
    return { topics: sorted.slice(0, most), other };
  }
}
