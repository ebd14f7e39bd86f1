/**
 * Publish-subscribe that starts inside one process and reaches across processes by changing one
 * line. Topics are paths, messages are named values.
 *
 * - {@linkcode PubSub} connects the parts of one process.
 * - {@linkcode NetPubSub} is the same object, connected to other processes.
 * - {@linkcode Broker} passes messages between them: in any program, or as a program of its own.
 *
 * ## In one process
 *
 * A message goes to the subscribers of its topic, then of each parent, then of `null`, the catch-all.
 *
 * ```ts
 * import { PubSub } from "@mpubsub/mpubsub";
 * import { assertEquals } from "@std/assert";
 *
 * const bus = new PubSub();
 * const heard: string[] = [];
 * bus.addSubscriber(["sensors", "kitchen"], (_topic, { celsius }) => {
 *   heard.push(`kitchen: ${celsius}`);
 * });
 * bus.addSubscriber("sensors", (topic, { celsius }) => {
 *   heard.push(`${topic.join("/")}: ${celsius}`);
 * });
 *
 * bus.publish(["sensors", "kitchen"], { celsius: 21.5 });
 *
 * assertEquals(heard, ["kitchen: 21.5", "sensors/kitchen: 21.5"]);
 * ```
 *
 * ## One at a time
 *
 * To take messages instead of being called, iterate. The optional type parameter says what the messages
 * of each topic are.
 *
 * ```ts
 * import { PubSub } from "@mpubsub/mpubsub";
 * import { assertEquals } from "@std/assert";
 *
 * const bus = new PubSub<{ job: { id: number } }>();
 * const jobs = bus.subscribe("job");
 * bus.publish("job", { id: 1 });
 * bus.publish(["job", "urgent"], { id: 2 });
 *
 * const ids: number[] = [];
 * for await (const { message } of jobs) {
 *   ids.push(message.id);
 *   if (ids.length === 2) break; // ends the subscription
 * }
 * assertEquals(ids, [1, 2]);
 * ```
 *
 * ## Across processes
 *
 * Where the bus is made, one line changes: a `NetPubSub` is given the address and the key of a broker.
 * In this example everything is in one process, so that it runs as it is.
 *
 * ```ts
 * import { Broker, NetPubSub } from "@mpubsub/mpubsub";
 * import { assertEquals } from "@std/assert";
 *
 * await using broker = new Broker();
 * await broker.start();
 *
 * await using kitchen = new NetPubSub(broker.address, broker.authkey);
 * await using screen = new NetPubSub(broker.address, broker.authkey);
 * const readings = screen.subscribe("sensors");
 * await Promise.all([kitchen.connect(), screen.connect()]);
 *
 * kitchen.publish(["sensors", "kitchen"], { celsius: 21.5 });
 * for await (const { topic, message } of readings) {
 *   assertEquals(topic, ["sensors", "kitchen"]);
 *   assertEquals(message, { celsius: 21.5 });
 *   break;
 * }
 *
 * kitchen.publish("notes", { text: "mine" }, { local: true }); // stays here
 * await kitchen.flush(); // the broker has all that was published to others
 * assertEquals(broker.stats().received, 1);
 * ```
 *
 * ## From the command line
 *
 * The broker is also a program, `mpubsub`. It writes its address and key to a file that only you
 * can read, and `await NetPubSub.fromFile("x.json")` makes a bus that connects to it.
 *
 * ```sh
 * mpubsub x.json
 * mpubsub sub -c x.json sensors
 * mpubsub pub -c x.json sensors/kitchen celsius=21.5
 * ```
 *
 * ## What is guaranteed
 *
 * A message arrives exactly once, and in its publisher's order, at every subscription that `connect()`
 * or `flush()` has confirmed, however often the connection is lost for up to a minute. After a longer
 * loss, or at another broker, messages may be missed or arrive twice. Whenever that has or may have
 * happened, `onGap` is called.
 *
 * @module
 */
export {
  AuthError,
  BacklogError,
  type CertificateProblem,
  ConnectionLostError,
  type ErrorDetails,
  ForbiddenError,
  MessageError,
  ProtocolError,
} from "./errors.ts";
export {
  any,
  type Deliveries,
  type Delivery,
  type ErrorContext,
  type Handle,
  type Info,
  type MessageOf,
  type MessageTo,
  type Overflow,
  type PathOf,
  type PublishArgs,
  type PublishOptions,
  PubSub,
  type PubSubOptions,
  type RootPath,
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
  type ConnectionFile,
  type ConnectOptions,
  createTicket,
  type Gap,
  NetPubSub,
  type NetPubSubOptions,
  type State,
  type Ticket,
  type TicketNarrow,
  type TicketOptions,
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
  type GroupStats,
  type JobStats,
  type Refusals,
  type TopicStats,
} from "./broker.ts";
