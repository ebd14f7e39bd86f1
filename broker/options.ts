/**
 * The options of a broker, and what its callbacks get.
 */
import { printable } from "../base/printable.ts";
import { type Addresses, formatEndpoint, isSecured, parseAddresses } from "../io/address.ts";
import { groupsOf } from "../io/listener.ts";
import { type Certificate, readCertificate } from "../io/certificate.ts";
import { HEARTBEAT_MAX_MS, HEARTBEAT_MIN_MS, LIMITS_MAX } from "../protocol/frame_bodies.ts";
import { WINDOW_BYTES } from "../protocol/session.ts";
import { ELEMENT_BYTES_MAX, TOPIC_ELEMENTS_MAX } from "../topic.ts";
import type { BrokerKey } from "./keys.ts";
import type { Uplink } from "./uplink.ts";

/** Limits of a broker. It refuses what is over a limit, and says so. */
export interface BrokerLimits {
  /**
   * The largest message, in bytes as encoded, at most 1 GiB.
   *
   * @default {1048576}
   */
  messageBytes?: number | undefined;
  /**
   * The most elements of a topic, at most 16.
   *
   * @default {16}
   */
  topicElements?: number | undefined;
  /**
   * The longest element of a topic, in bytes of UTF-8, at most 255.
   *
   * @default {255}
   */
  elementBytes?: number | undefined;
  /**
   * The most topics to which one client subscribes.
   *
   * @default {1024}
   */
  subscriptions?: number | undefined;
  /**
   * The most bytes of memory that the subscriptions of one client may take, as estimated: 340 for each
   * topic, and 430 with its length for each element. By default 8 KiB for each of `subscriptions`.
   *
   * @default {8388608}
   */
  subscriptionBytes?: number | undefined;
  /**
   * The most clients, including those that lost their connection and may come back. At the limit, a new
   * client takes the place of another one, of the key that has most clients: of its clients goes first
   * the one that lost its connection after it was connected for the shortest time. If the key of the new
   * client has most, and all of them are connected, the new one is refused.
   *
   * @default {10000}
   */
  connections?: number | undefined;
  /**
   * The most connections that are not authenticated yet, and the most that are and have no session. At
   * the limit, a new one replaces the oldest.
   *
   * @default {4096}
   */
  halfOpen?: number | undefined;
  /**
   * The most such connections from one IPv4 address, or one /64 network of IPv6. Unix sockets have no
   * such limit.
   *
   * @default {2048}
   */
  halfOpenPerAddress?: number | undefined;
  /**
   * The most bytes that are queued for one client, or not acknowledged by it; at least 2 MiB, and twice
   * `messageBytes`. A client that holds publishers back gets twice as much room, because what they have
   * already sent still arrives.
   *
   * @default {67108864}
   */
  queueBytes?: number | undefined;
}

/** What happened to one client of a broker. */
export interface ClientEvent {
  /**
   * What happened.
   *
   * - `"joined"`: it has authenticated, and has a session.
   * - `"resumed"`: it came back to its session over a new connection.
   * - `"lost"`: its connection is lost; it may come back.
   * - `"left"`: its session is over.
   */
  readonly type: "joined" | "resumed" | "lost" | "left";
  /** Its number, counted from 1 in the order in which the broker's clients joined. */
  readonly client: number;
  /** What it called itself when it connected; empty for nothing. Anybody can call itself anything. */
  readonly name: string;
  /** The name of the key that it has, or a ticket of it; empty for `authkey`. */
  readonly keyName: string;
  /** For whom its ticket is; absent if it has none, or one that says nothing of that. */
  readonly for?: string;
  /** The IP address from which it connected; absent for a Unix socket. */
  readonly address?: string;
  /** Why its connection or its session ended, if something went wrong. */
  readonly reason?: string;
}

/** Options of a {@linkcode Broker}. */
export interface BrokerOptions {
  /**
   * Where to listen: at one address or, as an array, at several. By default at a new Unix socket that
   * only this user can reach, or at loopback TCP where there are no Unix sockets.
   *
   * - The broker listens at all of them, or `start()` rejects and it listens at none.
   * - Addresses with the same host and port share one port; all of those are with TLS, or none.
   * - `[]` is nowhere: clients come by `Broker.upgrade` only.
   */
  address?: Addresses | undefined;
  /**
   * The key for clients that use no named key: bytes, or a string that stands for its UTF-8 bytes.
   * Whoever has it may do everything. By default 32 random bytes.
   */
  authkey?: string | Uint8Array | undefined;
  /**
   * Named keys, each with rights of its own.
   *
   * @default {[]}
   */
  keys?: readonly BrokerKey[] | undefined;
  /**
   * Whose pages may connect over WebSockets, such as `"https://app.example.org"`, besides those of the
   * host at which they connect. What is no browser names no origin, and may always.
   */
  origins?: readonly string[] | undefined;
  /**
   * The certificate for a `tls://` or `wss://` address; without one the broker cannot listen there.
   */
  tls?: Certificate | undefined;
  /** Limits; those left out have their defaults. */
  limits?: BrokerLimits | undefined;
  /**
   * How long a client may take to authenticate after it connected, in milliseconds.
   *
   * @default {5000}
   */
  authTimeout?: number | undefined;
  /**
   * After how much silence each side sends a heartbeat, in milliseconds; at least 10. If a side is
   * silent for twice as long, also after it was asked for one, the other side takes the connection for
   * lost.
   *
   * @default {15000}
   */
  heartbeat?: number | undefined;
  /**
   * How long the broker keeps the session of a client that lost its connection, in milliseconds.
   *
   * @default {60000}
   */
  resumeWindow?: number | undefined;
  /**
   * The most bytes of memory that are kept for all clients together: queues, messages that have begun to
   * arrive, answers that wait; at least 2 MiB. A buffer that several share counts once. Beyond that, the
   * client that holds most of the key that holds most loses its oldest messages (all of them if it holds
   * publishers back), and its `onGap` is called; if need be, its connection and its session.
   *
   * @default {1073741824}
   */
  memory?: number | undefined;
  /**
   * How long a client with `overflow: "wait"` may hold publishers back without acknowledging anything,
   * in milliseconds. After that it is cut off: its queue is dropped, and its `onGap` is called. A
   * client with a named key also needs the right to `wait`. With 0, `"wait"` is the same as
   * `"drop-oldest"`.
   *
   * @default {0}
   */
  maxPatience?: number | undefined;
  /**
   * Joins the broker to others, as `NatsUplink` of `@mpubsub/mpubsub/nats` does. An uplink serves only
   * one broker. By default the broker stands alone.
   */
  uplink?: Uplink | undefined;
  /**
   * Called once the broker listens.
   *
   * @param info Where it listens, with the actual port or path.
   */
  onListen?: ((info: { address: string; addresses: readonly string[] }) => void) | undefined;
  /**
   * Called when a client joins, resumes its session, loses its connection, or leaves.
   *
   * @param event What happened, to whom, and why.
   */
  onClient?: ((event: ClientEvent) => void) | undefined;
  /**
   * Called when something goes wrong with one connection (no other is affected), and with warnings. By
   * default `stats()` counts the former, and the latter are written to `console.warn`.
   *
   * @param error Why a client was refused or lost its session; or the warning.
   */
  onError?: { bivarianceHack(error: unknown): void }["bivarianceHack"] | undefined;
}

/** An origin of a scheme for which URL has none, such as those of extensions of browsers. */
const FOREIGN_ORIGIN = /^[a-z][a-z\d+.-]*:\/\/[\w.-]+(?::\d+)?$/;
const MESSAGE_BYTES = 1024 * 1024;
const SUBSCRIPTIONS = 1024;
/** What the subscription to a topic takes at most, if all are of about the same length. */
const TOPIC_BYTES = 8192;
const CONNECTIONS = 10_000;
const HALF_OPEN = 4096;
const HALF_OPEN_PER_ADDRESS = 2048;
const QUEUE_BYTES = 64 * 1024 * 1024;
/** Room for a window that is not acknowledged, and for as much that waits. */
const QUEUE_BYTES_MIN = 2 * WINDOW_BYTES;
const AUTH_TIMEOUT_MS = 5000;
const HEARTBEAT_MS = 15_000;
const RESUME_WINDOW_MS = 60_000;
const MEMORY_BYTES = 1024 * 1024 * 1024;
/** The longest time that a timer measures. */
const MILLISECONDS_MAX = 2 ** 31 - 1;

/** The limits, checked, each with its value. */
export type CheckedLimits = { readonly [K in keyof BrokerLimits]-?: number };

/** The options, checked, each with its value. */
export interface CheckedOptions {
  readonly address: Addresses | undefined;
  readonly origins: readonly string[];
  readonly tls: Certificate | undefined;
  readonly limits: CheckedLimits;
  readonly authTimeout: number;
  readonly heartbeat: number;
  readonly resumeWindow: number;
  readonly memory: number;
  readonly maxPatience: number;
  readonly uplink: Uplink | undefined;
  readonly onListen: BrokerOptions["onListen"];
  readonly onClient: BrokerOptions["onClient"];
  readonly onError: BrokerOptions["onError"];
}

/** Checks the options of a broker, and applies defaults. */
export function checkedOptions(options: BrokerOptions): CheckedOptions {
  const {
    address,
    origins = [],
    tls,
    limits = {},
    authTimeout = AUTH_TIMEOUT_MS,
    heartbeat = HEARTBEAT_MS,
    resumeWindow = RESUME_WINDOW_MS,
    memory = MEMORY_BYTES,
    maxPatience = 0,
    uplink,
    onListen,
    onClient,
    onError,
  } = options;
  checkRange("authTimeout", authTimeout, 1, MILLISECONDS_MAX);
  checkRange("heartbeat", heartbeat, HEARTBEAT_MIN_MS, HEARTBEAT_MAX_MS);
  checkRange("resumeWindow", resumeWindow, 0, MILLISECONDS_MAX);
  checkRange("memory", memory, QUEUE_BYTES_MIN, Number.MAX_SAFE_INTEGER);
  checkRange("maxPatience", maxPatience, 0, MILLISECONDS_MAX);
  const certificate = checkTls(address, tls);
  for (const origin of origins) checkOrigin(origin);
  return {
    address,
    origins: [...origins],
    tls: certificate,
    limits: checkLimits(limits),
    authTimeout,
    heartbeat,
    resumeWindow,
    memory,
    maxPatience,
    uplink,
    onListen: onListen?.bind(options),
    onClient: onClient?.bind(options),
    onError: onError?.bind(options),
  };
}

function checkTls(
  address: Addresses | undefined,
  tls: Certificate | undefined,
): Certificate | undefined {
  const endpoints = address === undefined ? [] : parseAddresses(address);
  groupsOf(endpoints);
  const secured = endpoints.find(isSecured);
  if (secured !== undefined && tls === undefined) {
    throw new TypeError(
      `Cannot listen at ${formatEndpoint(secured)}: give the certificate, tls: { cert, key }`,
    );
  }
  if (secured === undefined && tls !== undefined) {
    throw new TypeError("Cannot use tls: an address must begin with tls:// or wss://");
  }
  return tls && readCertificate(tls);
}

/** Whether a browser may send something as the origin of a page that is to be listed. */
export function isOrigin(origin: unknown): boolean {
  const own = typeof origin === "string" ? URL.parse(origin)?.origin : undefined;
  return own !== undefined && own === origin ||
    own === "null" && FOREIGN_ORIGIN.test(String(origin));
}

function checkOrigin(origin: unknown): void {
  if (isOrigin(origin)) return;
  throw new TypeError(
    `Cannot use origins: ${printable(JSON.stringify(origin) ?? String(origin))} is none; write ` +
      `"https://app.example.org", with a port where that is not the usual one`,
  );
}

function checkLimits(limits: BrokerLimits): CheckedLimits {
  const {
    messageBytes = MESSAGE_BYTES,
    topicElements = TOPIC_ELEMENTS_MAX,
    elementBytes = ELEMENT_BYTES_MAX,
    subscriptions = SUBSCRIPTIONS,
    subscriptionBytes = TOPIC_BYTES * subscriptions,
    connections = CONNECTIONS,
    halfOpen = HALF_OPEN,
    halfOpenPerAddress = HALF_OPEN_PER_ADDRESS,
    queueBytes = QUEUE_BYTES,
  } = limits;
  checkRange("limits.messageBytes", messageBytes, 1, LIMITS_MAX.messageBytes);
  checkRange("limits.topicElements", topicElements, 1, LIMITS_MAX.topicElements);
  checkRange("limits.elementBytes", elementBytes, 1, LIMITS_MAX.elementBytes);
  checkRange("limits.subscriptions", subscriptions, 1, LIMITS_MAX.subscriptions);
  checkRange("limits.subscriptionBytes", subscriptionBytes, 1, Number.MAX_SAFE_INTEGER);
  checkRange("limits.connections", connections, 1, 2 ** 20);
  checkRange("limits.halfOpen", halfOpen, 1, 2 ** 20);
  checkRange("limits.halfOpenPerAddress", halfOpenPerAddress, 1, 2 ** 20);
  const queueMin = Math.max(QUEUE_BYTES_MIN, 2 * messageBytes);
  checkRange("limits.queueBytes", queueBytes, queueMin, Number.MAX_SAFE_INTEGER);
  return {
    messageBytes,
    topicElements,
    elementBytes,
    subscriptions,
    subscriptionBytes,
    connections,
    halfOpen,
    halfOpenPerAddress,
    queueBytes,
  };
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new RangeError(
    `Cannot use ${name} ${String(value)}: it must be a whole number from ${min} to ${max}`,
  );
}
