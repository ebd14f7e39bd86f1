/**
 * What keys grant, as people read it: topics in slash notation, as all commands take them.
 */
import type { BrokerKey } from "../broker.ts";
import { type Topic, topicPattern } from "../topic.ts";
import { topicText } from "./syntax.ts";

/** What a key grants, a text for each right. */
export interface Grants {
  /** The topics to publish to; empty if there are none. */
  readonly publish: readonly string[];
  /** The topics to subscribe to; empty if there are none. */
  readonly subscribe: readonly string[];
  /** What else. */
  readonly other: readonly string[];
}

/** What a key grants. */
export function grantsOf(key: BrokerKey): Grants {
  const { publish = [], subscribe = [], serve = [], wait = false } = key;
  const { messagesPerSecond, connections } = key;
  const texts = (topics: readonly Topic[]) =>
    topics.map((topic) => {
      const path = topicPattern(topic);
      return path.length === 0 ? "/ (everything)" : topicText(path);
    });
  return {
    publish: texts(publish),
    subscribe: texts(subscribe),
    other: [
      ...serve.length > 0 ? [`serve ${texts(serve).join(", ")}`] : [],
      ...wait ? ["hold others back"] : [],
      ...isBounded(messagesPerSecond) ? [`at most ${messagesPerSecond} messages/s`] : [],
      ...isBounded(connections) ? [`at most ${connections} clients`] : [],
    ],
  };
}

function isBounded(bound = Infinity): boolean {
  return bound < Infinity;
}

/** What a key grants in one sentence, which follows its name. */
export function grantsText(key: BrokerKey): string {
  const { publish, subscribe, other } = grantsOf(key);
  if (publish.length + subscribe.length === 0) return "grants nothing";
  const listed = [
    ...publish.length === 0 ? [] : [`publish to ${publish.join(", ")}`],
    ...subscribe.length === 0 ? [] : [`subscribe to ${subscribe.join(", ")}`],
    ...other,
  ];
  return `may ${listed.join("; ")}`;
}
