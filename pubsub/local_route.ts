/**
 * Where the messages of one topic go on a bus.
 */
import { type TopicTree, Way } from "../routing/topic_tree.ts";
import { isBrokerPath, isLocalPath, type TopicPath } from "../topic.ts";
import type { Registrations } from "./registrations.ts";

/** Where the messages of one path go; {@linkcode Dispatcher.routeOf} makes one. */
export class LocalRoute extends Way<Registrations> {
  /** Whether its messages stay in the process. */
  readonly isLocal: boolean;
  /** Whether only the broker publishes to it. */
  readonly broker: boolean;

  constructor(path: TopicPath, tree: TopicTree<Registrations>) {
    super(path, tree);
    this.isLocal = isLocalPath(path);
    this.broker = isBrokerPath(path);
  }
}
