/**
 * Where the messages of one topic go on a bus.
 */
import type { TopicNode, TopicTree } from "../routing/topic_tree.ts";
import { isBrokerPath, isLocalPath, type TopicPath } from "../topic.ts";
import type { Registration } from "./registration.ts";

/** Where the messages of one path go; {@linkcode Dispatcher.routeOf} makes one. */
export class LocalRoute {
  /** The path. */
  readonly path: TopicPath;
  /** Whether they stay in the process. */
  readonly isLocal: boolean;
  /** Whether it is the broker's, and so not for the catch-all. */
  readonly broker: boolean;
  /** Those from here up get them; out of date when `version` is not the tree's. */
  node: TopicNode<Registration>;
  version: number;

  constructor(path: TopicPath, tree: TopicTree<Registration>) {
    this.path = path;
    this.isLocal = isLocalPath(path);
    this.broker = isBrokerPath(path);
    this.node = tree.deepest(path);
    this.version = tree.version;
  }
}
