/**
 * One subscriber at one path, and how it is removed.
 */
import { dispose, followPolyfill } from "../base/disposal.ts";
import type { Queue } from "../base/queue.ts";
import type { TopicNode } from "../routing/topic_tree.ts";
import type { TopicPattern } from "../topic.ts";
import type { Fit } from "./accepts.ts";
import type { Registrations } from "./registrations.ts";
import type { Delivery, Handle, Subscriber } from "./subscriber.ts";

/** Removes one subscriber. A class, because an object literal with such a method is slow. */
export class Removal implements Handle {
  /** Needs no `this`: it is often passed on alone. */
  readonly remove: () => void;

  constructor(remove: () => void) {
    this.remove = remove;
  }

  get [Symbol.toStringTag](): string {
    return "Handle"; // So Vue makes no proxy of it.
  }

  [dispose](): void {
    this.remove();
  }
}
followPolyfill(Removal.prototype);

export const NOTHING = new Removal(() => {});

/** One subscriber at one path. */
export class Registration {
  /** The node of its path; while it is active, it is in the value of that. */
  readonly node: TopicNode<Registrations>;
  readonly birth: number;
  readonly subscriber: Subscriber<unknown>;
  readonly once: boolean;
  readonly fit: Fit | undefined;
  /** Where the messages of a `Subscription` go. */
  readonly queue: Queue<Delivery<unknown>> | undefined;
  /** Whether it stands for the members of a group. */
  readonly isGroup: boolean;
  active = true;
  /** Takes the listener off the signal. */
  release: (() => void) | undefined = undefined;

  constructor(
    node: TopicNode<Registrations>,
    birth: number,
    subscriber: Subscriber<unknown>,
    options: {
      once: boolean;
      fit: Fit | undefined;
      queue: Queue<Delivery<unknown>> | undefined;
      isGroup: boolean;
    },
  ) {
    this.node = node;
    this.birth = birth;
    this.subscriber = subscriber;
    this.once = options.once;
    this.fit = options.fit;
    this.queue = options.queue;
    this.isGroup = options.isGroup;
  }

  /** Its topic. */
  get path(): TopicPattern {
    return this.node.path;
  }
}
