/**
 * What programs and people are told of a broker's counts, in a form of its own; counters.ts counts.
 */

/** What a broker has done since it was made, and holds at this moment. */
export interface BrokerStats {
  /** Open connections, those that are not authenticated yet among them. */
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
   * Messages that were queued for clients: one that went to three counts three times. What the broker
   * publishes of itself is among them.
   */
  readonly delivered: number;
  /** Messages that were dropped, each for one client, because it did not take them in time. */
  readonly dropped: number;
  /** Connections that were not let in. */
  readonly refused: number;
  /** The same, by reason. */
  readonly refusals: Refusals;
  /** Sessions that the broker ended, by reason. */
  readonly endings: Endings;
  /** Messages that were not taken from a client: too large, not granted, or too many. */
  readonly refusedMessages: number;
  /** Of those: larger than `messageBytes`. */
  readonly tooBig: number;
  /** Of those: more than the key allows in a second. */
  readonly tooFast: number;
  /** Of those: to a topic that the key does not grant, or that is reserved. */
  readonly forbidden: number;
  /** Subscriptions of which the key grants nothing. */
  readonly deniedSubscriptions: number;
  /** Clients that hold back those who publish to them. */
  readonly waiting: number;
  /** How often a client began to hold others back. */
  readonly waits: number;
  /** Clients that were cut off because they held others back too long. */
  readonly cutOff: number;
  /** Bytes that are queued for clients, or not acknowledged by them. */
  readonly queuedBytes: number;
  /** What joins the broker to others; not there when nothing does. */
  readonly uplink?: UplinkStats;
}

/** What an uplink has done since its broker began, and where it stands. */
export interface UplinkStats {
  /** Whether there is a connection. */
  readonly state: "connecting" | "connected";
  /** The server that it is, or was last, connected to; `null` before the first. */
  readonly server: string | null;
  /** The name of the bus. */
  readonly bus: string;
  /** The JetStream stream that keeps the messages; `null` without one. */
  readonly stream: string | null;
  /** Other brokers of the bus that were heard of lately. */
  readonly brokers: number;
  /** How many of those may not know yet what is wanted here. */
  readonly unaware: number;
  /** Topics that are subscribed to there, each with all below it. */
  readonly subscriptions: number;
  /** Messages that were passed on to others. */
  readonly sent: number;
  /** Messages of others that arrived. */
  readonly received: number;
  /** Messages that were dropped because too many waited to be passed on; the others are told. */
  readonly dropped: number;
  /** Messages of others that are known not to have arrived; the clients are told. */
  readonly lost: number;
  /** How often it is not known how many were lost. */
  readonly gaps: number;
  /** Messages that did not come from brokers of the bus, or of another version. */
  readonly invalid: number;
  /** How often the connection was lost. */
  readonly disconnects: number;
  /** Bytes that wait to be passed on, or are not confirmed. */
  readonly queuedBytes: number;
  /** For how long the oldest of these has been waiting, in milliseconds. */
  readonly lag: number;
  /** Messages in the stream that it has not taken yet, each with any number of ours; 0 without one. */
  readonly behind: number;
}

/** How many connections were not let in, by reason. */
export interface Refusals {
  /** They did not authenticate within `authTimeout`. */
  readonly timeout: number;
  /** There were more than `halfOpen`, or `halfOpenPerAddress`, and they were the oldest. */
  readonly crowded: number;
  /** There were as many clients as `connections`, or the broker was shutting down. */
  readonly busy: number;
  /** They could not prove that they have the key of that name. */
  readonly key: number;
  /** What they sent is not the protocol, or of a version that the broker does not speak. */
  readonly protocol: number;
  /** They closed the connection, or it was lost. */
  readonly lost: number;
}

/** How many sessions the broker ended, by reason. */
export interface Endings {
  /** The client broke the protocol. */
  readonly protocol: number;
  /** A topic had more than `topicElements`, or one longer than `elementBytes`. */
  readonly topics: number;
  /** It subscribed to more than `subscriptions`. */
  readonly subscriptions: number;
  /** It did not read what it was answered. */
  readonly notReading: number;
  /** Its key is no longer one of the broker's. */
  readonly revoked: number;
}

/** What a broker publishes of itself to `["*broker", "stats"]`. */
export interface BrokerReport extends BrokerStats {
  /** How long it has been listening, in milliseconds. */
  readonly uptime: number;
  /** Where it listens. */
  readonly address: string;
}

/** One client of a broker, as told to `["*broker", "clients"]`. */
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
  /** Messages that were not taken from it. */
  readonly refusedMessages: number;
  /** Bytes that are queued for it, or not acknowledged by it. */
  readonly queuedBytes: number;
  /** Whether it holds back those who publish to it. */
  readonly waiting: boolean;
}

/** One topic, as told to `["*broker", "topics"]`. */
export interface TopicStats {
  /** The topic. */
  readonly topic: readonly string[];
  /** Messages that came for it in the latest period. */
  readonly messages: number;
  /** Their bytes, with their topic. */
  readonly bytes: number;
  /** How many clients get them. */
  readonly subscribers: number;
}
