/**
 * What the exchange of either mode needs of the uplink that it belongs to.
 */
import { addCounts, COUNT_MAX } from "../base/count.ts";
import type { Timer } from "../base/timers.ts";
import type { ControlMessage } from "./control_message.ts";
import type { PacketHeader } from "./packet.ts";
import type { TopicPath } from "../topic.ts";
import type { UplinkBus } from "../broker/uplink.ts";

/** What both modes count. */
export interface ExchangeCounts {
  sent: number;
  received: number;
  dropped: number;
  lost: number;
  gaps: number;
  invalid: number;
}

/** What both modes need. */
export interface ExchangeContext {
  /** The id of this broker. */
  readonly id: string;
  /** What the subjects of the bus begin with. */
  readonly prefix: string;
  /** How many bytes may wait, or be unconfirmed. */
  readonly queueBytes: number;
  readonly bus: UplinkBus;
  readonly counts: ExchangeCounts;
  /** Whether a broker gave a sign of life lately. */
  isHere(id: string): boolean;
  /**
   * A broker gave a sign of life.
   *
   * @throws {ProtocolError} If there are too many others.
   */
  heard(id: string): void;
  /** Says something to all others, or to one. */
  say(message: ControlMessage, to?: string): void;
  /** Passes messages of others on to the clients. */
  deliver(frames: Uint8Array): void;
  /** Reads the header of a packet and calls `take`; counts what is not a valid packet. */
  read(bytes: Uint8Array, take: (header: PacketHeader, body: Uint8Array) => void): void;
  /** So many more bytes are held, or fewer. The broker may call `free` of the uplink meanwhile. */
  readonly onBytes: (change: number) => void;
  /** Calls `callback` once, after `ms` milliseconds, unless the returned timer is cancelled before. */
  later(callback: () => void, ms: number): Timer;
  /** Warns whoever runs the broker. */
  warn(message: string): void;
}

/** Counts lost messages of others for a topic, and tells the clients; 0: an unknown number. */
export function lose(
  { counts, bus }: Pick<ExchangeContext, "counts" | "bus">,
  path: TopicPath,
  messages: number,
): void {
  if (messages === 0) counts.gaps++;
  else counts.lost = addCounts(counts.lost, messages);
  bus.lost(path, messages);
}

/** Warns that there is no number left for a packet. What waits stays, up to the bound of the queue. */
export function warnOfEnd({ warn }: Pick<ExchangeContext, "warn">): void {
  warn(`This broker has sent ${COUNT_MAX} packets, and can number no more; start it again`);
}
