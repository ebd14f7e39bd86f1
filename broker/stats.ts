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
   * Messages that were queued for clients: one for three clients counts three times. Messages that the
   * broker publishes about itself are included.
   */
  readonly delivered: number;
  /**
   * Messages that were dropped because a client did not take them in time: one for three clients counts
   * three times.
   */
  readonly dropped: number;
  /** Connections that were refused. */
  readonly refused: number;
  /** Connections that were refused, by reason. */
  readonly refusals: Refusals;
  /** Sessions that the broker ended, by reason. */
  readonly endings: Endings;
  /** Messages that were refused: too large, not granted, or too many. */
  readonly refusedMessages: number;
  /** Messages that were refused as larger than `messageBytes`. */
  readonly tooBig: number;
  /** Messages that were refused as more than the key allows per second. */
  readonly tooFast: number;
  /** Messages that were refused because the key does not grant the topic, or it is reserved. */
  readonly forbidden: number;
  /** Subscriptions that were refused because the key grants none of the topic. */
  readonly deniedSubscriptions: number;
  /** Clients that hold publishers back at this moment. */
  readonly waiting: number;
  /** How often a client began to hold publishers back. */
  readonly waits: number;
  /**
   * How often a client was cut off: it held publishers back too long, or too many bytes were queued for
   * it.
   */
  readonly cutOff: number;
  /** Connections that ended because their ticket had expired; their clients may come back. */
  readonly expired: number;
  /** Bytes that are queued for clients, or not acknowledged by them. */
  readonly queuedBytes: number;
  /**
   * Bytes that are kept in memory for clients, each counted once: read buffers, queues with what they keep
   * alive, answers that wait, subscriptions. `memory` bounds them.
   */
  readonly memoryBytes: number;
  /** Messages for members of groups, in all groups together. */
  readonly jobs: JobStats;
  /** Counts of the uplink that joins the broker to others; absent without one. */
  readonly uplink?: UplinkStats;
}

/** Counts of what an uplink has done since its broker started, and its state. */
export interface UplinkStats {
  /** Whether the uplink is connected. */
  readonly state: "connecting" | "connected";
  /** The server to which it is, or was last, connected; `null` before the first connection. */
  readonly server: string | null;
  /** The name of the bus to which the brokers are joined. */
  readonly bus: string;
  /** The JetStream stream that keeps the messages; `null` without one. */
  readonly stream: string | null;
  /** Other brokers of the bus, as far as they have been heard of lately. */
  readonly brokers: number;
  /** How many of those brokers may not know yet to which topics clients here subscribe. */
  readonly unaware: number;
  /** Topics of which it wants messages from the other brokers, each with all below it. */
  readonly subscriptions: number;
  /** Messages that were passed on to other brokers. */
  readonly sent: number;
  /** Messages that arrived from other brokers. */
  readonly received: number;
  /** Messages that were dropped because too many waited to be passed on; other brokers are told. */
  readonly dropped: number;
  /** Messages of other brokers that are known not to have arrived; the `onGap` of clients is called. */
  readonly lost: number;
  /** How often an unknown number of messages was lost. */
  readonly gaps: number;
  /** Messages that were not sent by a broker of the bus and of this version. */
  readonly invalid: number;
  /** How often the connection was lost. */
  readonly disconnects: number;
  /** Bytes that wait to be passed on, or whose receipt is not confirmed. */
  readonly queuedBytes: number;
  /**
   * Bytes that the uplink holds of the broker's `memory`: those, packets of others that wait for earlier
   * ones, and what it remembers of other brokers.
   */
  readonly heldBytes: number;
  /** How long the oldest of those bytes have been waiting, in milliseconds. */
  readonly lag: number;
  /**
   * Packets in the stream, each with several messages, that the uplink has not read yet; 0 without a
   * stream.
   */
  readonly behind: number;
}

/** How many connections were refused, by reason. */
export interface Refusals {
  /** They did not authenticate within `authTimeout`. */
  readonly timeout: number;
  /** They had no session, and were the oldest of more than `halfOpen` or `halfOpenPerAddress` allows. */
  readonly crowded: number;
  /**
   * There was no place for them: their key, or the broker, had as many clients as `connections`. Or the
   * broker was shutting down.
   */
  readonly busy: number;
  /** They could not prove that they have the key that they named, or a ticket of it. */
  readonly key: number;
  /** They proved that they have a ticket that has expired. */
  readonly expired: number;
  /** They did not speak the protocol, or only versions that the broker does not speak. */
  readonly protocol: number;
  /** They closed the connection, or it was lost. */
  readonly lost: number;
}

/** How many sessions the broker ended, by reason. */
export interface Endings {
  /** The client broke the protocol. */
  readonly protocol: number;
  /** A topic had more elements than `topicElements`, or an element was longer than `elementBytes`. */
  readonly topics: number;
  /** The client subscribed to more topics than `subscriptions`. */
  readonly subscriptions: number;
  /** The client did not read the broker's answers. */
  readonly notReading: number;
  /** Its key is no longer one of the broker's. */
  readonly revoked: number;
  /** It gave up its place to a new client, or its key may have fewer clients now. */
  readonly crowded: number;
}

/** What a broker publishes about itself to `["*broker", "stats"]`. */
export interface BrokerReport extends BrokerStats {
  /** How long it has been listening, in milliseconds. */
  readonly uptime: number;
  /** Where it listens, the first of several; `null` if it listens nowhere. */
  readonly address: string | null;
}

/** One client of a broker, as published to `["*broker", "clients"]`. */
export interface ClientStats {
  /** Its number, counted from 1 in the order in which the broker's clients joined. */
  readonly client: number;
  /** What it called itself when it connected; empty for nothing. Anybody can call itself anything. */
  readonly name: string;
  /** The name of the key that it has, or a ticket of it; empty for `authkey`. */
  readonly keyName: string;
  /** For whom its ticket is; `null` if it has none, or one that says nothing of that. */
  readonly for: string | null;
  /** The IP address from which it connected; `null` for a Unix socket. */
  readonly address: string | null;
  /** Whether it is connected; if not, it lost its connection and may come back. */
  readonly connected: boolean;
  /** How many topics it subscribes to. */
  readonly subscriptions: number;
  /** Messages that came from it. */
  readonly received: number;
  /** Messages that were queued for it. */
  readonly delivered: number;
  /** Messages that were dropped because it did not take them in time. */
  readonly dropped: number;
  /** Messages from it that were refused. */
  readonly refusedMessages: number;
  /** Bytes that are queued for it, or not acknowledged by it. */
  readonly queuedBytes: number;
  /** Whether it holds publishers back. */
  readonly waiting: boolean;
}

/** What the broker counts of messages for members of groups, in all groups together. */
export interface JobStats {
  /** Groups that have members, or messages. */
  readonly groups: number;
  /** Members of groups; one client may have several. */
  readonly members: number;
  /** Messages that wait for a member to be free. */
  readonly waiting: number;
  /** Messages that members have and have not finished. */
  readonly unfinished: number;
  /** How long the oldest of these has been with its member, in milliseconds; 0 if there is none. */
  readonly oldest: number;
  /** How often a message went to another member because the one that had it was lost. */
  readonly redelivered: number;
  /** Messages that nobody was left to finish; their publishers were told. */
  readonly abandoned: number;
  /** Messages that a group did not take because no member was free for too long; likewise. */
  readonly refused: number;
}

/** One group, as published to `["*broker", "groups"]`; its counts mean what those of {@linkcode JobStats} do. */
export interface GroupStats extends Omit<JobStats, "groups"> {
  /** Its name. */
  readonly group: string;
  /** Its topic, in which `null` is `any`. */
  readonly topic: readonly (string | null)[];
  /** How many bytes wait for a member to be free. */
  readonly waitingBytes: number;
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
