/**
 * Where the messages of one topic go on a bus.
 */
import type { TopicNode, TopicTree } from "../routing/topic_tree.ts";
import { isBrokerPath, isLocalPath, type TopicPath } from "../topic.ts";
import type { Registrations } from "./registrations.ts";

/** Where the messages of one path go; {@linkcode Dispatcher.routeOf} makes one. */
export class LocalRoute {
  /** The path. */
  readonly path: TopicPath;
  /** Whether its messages stay in the process. */
  readonly isLocal: boolean;
  /** Whether only the broker publishes to it; then the catch-all does not get its messages. */
  readonly broker: boolean;
  /** The subscribers from here up get its messages, as long as the node has this shape. */
  node: TopicNode<Registrations>;
  shape: number;

  constructor(path: TopicPath, tree: TopicTree<Registrations>) {
    this.path = path;
    this.isLocal = isLocalPath(path);
    this.broker = isBrokerPath(path);
    this.node = tree.deepest(path);
    this.shape = this.node.shape;
  }
}
