import type { MessageOf, PubSub, TopicMap, TopicOf } from "@mpubsub/mpubsub/pubsub";
import { useEffect, useState } from "react";

/** The latest message of a topic or below it; `undefined` until there is one. */
export function useTopic<T extends TopicMap<T>, const K extends TopicOf<T>>(
  bus: PubSub<T>,
  topic: K,
) {
  const [latest, setLatest] = useState<MessageOf<T, K>>();
  useEffect(() => {
    const handle = bus.addSubscriber(topic, (_topic, message) => setLatest(message));
    return () => {
      handle.remove();
      setLatest(undefined);
    };
  }, [bus, JSON.stringify(topic)]); // an array is a new one each time
  return latest;
}
