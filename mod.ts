/**
 * Publish-subscribe that starts inside one process and reaches across processes by changing one
 * line.
 *
 * - {@linkcode PubSub} connects the parts of one process.
 * - {@linkcode NetPubSub} is the same object, heard by other processes.
 * - {@linkcode Broker} passes messages between them; as a program it is `cli.ts`.
 *
 * ```ts
 * import { PubSub } from "@mpubsub/mpubsub";
 * import { assertEquals } from "@std/assert";
 *
 * const bus = new PubSub();
 * const heard: unknown[] = [];
 * bus.addSubscriber(["sensors", "kitchen"], (_topic, { celsius }) => heard.push(celsius));
 *
 * bus.publish(["sensors", "kitchen"], { celsius: 21.5 });
 * assertEquals(heard, [21.5]);
 * ```
 *
 * @module
 */
export {
  AuthError,
  BacklogError,
  ConnectionLostError,
  type ErrorDetails,
  ForbiddenError,
  MessageError,
  ProtocolError,
} from "./errors.ts";
export {
  type Delivery,
  type ErrorContext,
  type MessageOf,
  type Overflow,
  type PublishArgs,
  type PublishOptions,
  PubSub,
  type PubSubOptions,
  type StandardSchema,
  type SubscribeOptions,
  type Subscriber,
  type SubscriberOptions,
  type Subscription,
  type Topic,
  type TopicMap,
  type TopicOf,
  type TopicPath,
  type Untyped,
} from "./pubsub.ts";
export {
  type Address,
  type Gap,
  NetPubSub,
  type NetPubSubOptions,
  type State,
  type WaitOptions,
} from "./net.ts";
export {
  Broker,
  type BrokerKey,
  type BrokerLimits,
  type BrokerOptions,
  type BrokerReport,
  type BrokerStats,
  type Certificate,
  type ClientEvent,
  type ClientStats,
  type Endings,
  type Refusals,
  type TopicStats,
} from "./broker.ts";
