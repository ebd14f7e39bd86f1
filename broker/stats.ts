/**
 * What programs and people are told of a broker's counts, in a form of its own; counters.ts counts.
 */

/** Counts of what a broker has done since it was made, and of what it holds at this moment. */
export interface BrokerStats {
  /** Open connections, including those that are not authenticated yet. */
  readonly connections: number;
  /** Clients: those that are connected, and those that may come back. */
  readonly sessions: number;
  /** Clients that lost their connection and may come back. */
  readonly detached: number;
  /** How often a client came back to its session. */
  readonly resumed: number;
  /** Messages that came from clients. */
  readonly received: number;
  /**
   * Messages that were queued for clients: one for three clients counts three times. Includes what the
   * broker publishes about itself.
   */
  readonly delivered: number;
  /** Messages that were dropped because a client did not take them in time; counted per client. */
  readonly dropped: number;
  /** Connections that were refused. */
  readonly refused: number;
  /** The same, by reason. */
  readonly refusals: Refusals;
  /** Sessions that the broker ended, by reason. */
  readonly endings: Endings;
  /** Messages that were refused: too large, not granted, or too many. */
  readonly refusedMessages: number;
  /** Of those: larger than `messageBytes`. */
  readonly tooBig: number;
  /** Of those: more than the key allows in a second. */
  readonly tooFast: number;
  /** Of those: for a topic that the key does not grant, or that is reserved. */
  readonly forbidden: number;
  /** Subscriptions of which the key grants nothing. */
  readonly deniedSubscriptions: number;
  /** Clients that hold their publishers back. */
  readonly waiting: number;
  /** How often a client began to hold its publishers back. */
  readonly waits: number;
  /** Clients that were cut off: they held publishers back too long, or the memory was full. */
  readonly cutOff: number;
  /** Bytes that are queued for clients, or not acknowledged by them. */
  readonly queuedBytes: number;
  /** Counts of what joins the broker to others; absent without an uplink. */
  readonly uplink?: UplinkStats;
}

/** Counts of what an uplink has done since its broker started, and its state. */
export interface UplinkStats {
  /** Whether there is a connection. */
  readonly state: "connecting" | "connected";
  /** The server of the present or the latest connection; `null` before the first. */
  readonly server: string | null;
  /** The name of the bus. */
  readonly bus: string;
  /** The JetStream stream that keeps the messages; `null` without one. */
  readonly stream: string | null;
  /** Other brokers of the bus that gave a sign of life lately. */
  readonly brokers: number;
  /** How many of those may not know yet which topics are wanted here. */
  readonly unaware: number;
  /** Topics to which it subscribes at the other brokers, each with all below it. */
  readonly subscriptions: number;
  /** Messages that were passed on to others. */
  readonly sent: number;
  /** Messages of others that arrived. */
  readonly received: number;
  /** Messages that were dropped because too many waited to be passed on; other brokers are told. */
  readonly dropped: number;
  /** Messages of others that are known not to have arrived; the clients are told. */
  readonly lost: number;
  /** How often an unknown number was lost. */
  readonly gaps: number;
  /** Messages that were not sent by a broker of the bus and of this version. */
  readonly invalid: number;
  /** How often the connection was lost. */
  readonly disconnects: number;
  /** Bytes that wait to be passed on, or are not confirmed. */
  readonly queuedBytes: number;
  /** How long the oldest of these has been waiting, in milliseconds. */
  readonly lag: number;
  /** Packets in the stream that it has not read yet, each of several messages; 0 without a stream. */
  readonly behind: number;
}

/** How many connections were refused, by reason. */
export interface Refusals {
  /** They did not authenticate within `authTimeout`. */
  readonly timeout: number;
  /** There were more than `halfOpen`, or `halfOpenPerAddress`, and they were the oldest. */
  readonly crowded: number;
  /** There were as many clients as `connections`, or the broker was shutting down. */
  readonly busy: number;
  /** They could not prove that they have the key of that name. */
  readonly key: number;
  /** They did not speak the protocol, or only versions that the broker does not speak. */
  readonly protocol: number;
  /** They closed the connection, or it was lost. */
  readonly lost: number;
}

/** How many sessions the broker ended, by reason. */
export interface Endings {
  /** The client broke the protocol. */
  readonly protocol: number;
  /** A topic had more elements than `topicElements`, or one longer than `elementBytes`. */
  readonly topics: number;
  /** The client subscribed to more topics than `subscriptions`. */
  readonly subscriptions: number;
  /** The client did not read the broker's answers. */
  readonly notReading: number;
  /** Its key is no longer one of the broker's. */
  readonly revoked: number;
}

/** What a broker publishes about itself to `["*broker", "stats"]`. */
export interface BrokerReport extends BrokerStats {
  /** How long it has been listening, in milliseconds. */
  readonly uptime: number;
  /** Where it listens. */
  readonly address: string;
}

/** One client of a broker, as published to `["*broker", "clients"]`. */
export interface ClientStats {
  /** Its number, counted from 1 in the order in which the broker's clients joined. */
  readonly client: number;
  /** The name of its key; empty for the single key. */
  readonly keyName: string;
  /** The IP address from which it connected; `null` for a Unix socket. */
  readonly address: string | null;
  /** Whether it is connected; otherwise it lost its connection and may come back. */
  readonly connected: boolean;
  /** How many topics it subscribes to. */
  readonly subscriptions: number;
  /** Messages that came from it. */
  readonly received: number;
  /** Messages that were queued for it. */
  readonly delivered: number;
  /** Messages that were dropped because it did not take them in time. */
  readonly dropped: number;
  /** Messages of its own that were refused. */
  readonly refusedMessages: number;
  /** Bytes that are queued for it, or not acknowledged by it. */
  readonly queuedBytes: number;
  /** Whether it holds its publishers back. */
  readonly waiting: boolean;
}

/** One topic, as published to `["*broker", "topics"]`. */
export interface TopicStats {
  /** The topic. */
  readonly topic: readonly string[];
  /** Messages that came for it in the latest period. */
  readonly messages: number;
  /** Their bytes, including the topic. */
  readonly bytes: number;
  /** How many clients get messages of the topic. */
  readonly subscribers: number;
}
