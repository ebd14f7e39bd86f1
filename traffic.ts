/**
 * What passes through a broker, by topic, counted while somebody watches.
 */
import type { TopicPath } from "./topic.ts";

/** What passed for one topic. */
export interface TopicTraffic {
  /** The topic. */
  readonly path: TopicPath;
  /** Messages that came for it. */
  messages: number;
  /** Their bytes as frames: topic, payload and a few more. */
  bytes: number;
}

/** How many topics are told apart at a time. */
const TOPICS_MAX = 4096;

/** The traffic since it was last taken; see the module. */
export class Traffic {
  /** By path, as an object: routes that are forgotten come back with another of the same topic. */
  #topics: Map<TopicPath, TopicTraffic> | undefined;

  /** Whether it counts. */
  get isWatched(): boolean {
    return this.#topics !== undefined;
  }

  set isWatched(watched: boolean) {
    if (watched !== this.isWatched) this.#topics = watched ? new Map() : undefined;
  }

  /** Counts messages for a topic, if it is told apart. */
  count(path: TopicPath, messages: number, bytes: number): void {
    const topics = this.#topics;
    if (topics === undefined) return;
    let topic = topics.get(path);
    if (topic === undefined) {
      if (topics.size >= TOPICS_MAX) return;
      topics.set(path, topic = { path, messages: 0, bytes: 0 });
    }
    topic.messages += messages;
    topic.bytes += bytes;
  }

  /** What was counted since the last call, the topic with most messages first. */
  take(): TopicTraffic[] {
    const byText = new Map<string, TopicTraffic>();
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
    return [...byText.values()].sort((a, b) => b.messages - a.messages);
  }
}
