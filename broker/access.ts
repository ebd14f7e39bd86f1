/**
 * What one client has proved to have: a key of the broker's, or a ticket of one. What it may do follows
 * from that, and who else it has to share the key's part of the broker with.
 *
 * ```
 *  Key ◀── Access ──▶ Ticket       rights: those of the key now, narrowed by the ticket
 * ```
 */
import type { Narrowing, Ticket } from "../protocol/ticket.ts";
import { any } from "../topic.ts";
import type { Key } from "./keys.ts";
import type { Rights } from "./rights.ts";

/** What a ticket takes of memory besides its topics, as measured. */
const TICKET_BYTES = 400;
/** What a topic takes besides its elements: with one, and with several. */
const [PLAIN_BYTES, PATH_BYTES] = [60, 200];
/** What an element takes besides its characters. */
const ELEMENT_BYTES = 24;

/** What one client has proved to have. */
export class Access {
  /** The key, or that of which it has a ticket. */
  readonly key: Key;
  /** The ticket, if it has no more than that. */
  readonly ticket: Ticket | undefined;
  /** The rights of the key from which its own were made. */
  #keyRights: Rights;
  #rights: Rights;

  /** Says what was proved. */
  constructor(key: Key, ticket?: Ticket) {
    this.key = key;
    this.ticket = ticket;
    this.#keyRights = key.rights;
    this.#rights = this.#narrowed();
  }

  /** What it grants now. */
  get rights(): Rights {
    if (this.#keyRights !== this.key.rights) {
      this.#keyRights = this.key.rights;
      this.#rights = this.#narrowed();
    }
    return this.#rights;
  }

  #narrowed(): Rights {
    const { key, ticket } = this;
    return ticket === undefined ? key.rights : key.narrowed(ticket.narrow);
  }

  /** What it takes of memory. */
  get bytes(): number {
    return this.ticket === undefined ? 0 : TICKET_BYTES + narrowingBytes(this.ticket.narrow);
  }

  /** For whom the ticket is, if it says so. */
  get for(): string | undefined {
    return this.ticket?.for;
  }

  /**
   * Who has it, of all that have the key, as a text: all for whom nothing is said in their tickets are
   * one, and all who have the key itself.
   */
  get holder(): string {
    return this.ticket === undefined ? "" : `~${this.ticket.for ?? ""}`;
  }

  /** Whether who has this may go on with what the holder of another one began. */
  isSameHolder(other: Access): boolean {
    return this.key === other.key && this.holder === other.holder;
  }
}

function narrowingBytes(narrow: Narrowing): number {
  let sum = 0;
  for (const topics of Object.values(narrow)) {
    for (const path of topics ?? []) {
      sum += path.length > 1 ? PATH_BYTES : PLAIN_BYTES;
      for (const element of path) sum += ELEMENT_BYTES + (element === any ? 0 : element.length);
    }
  }
  return sum;
}

/** What a ticket of the key with this name is called. */
export function ticketOf(name: string): string {
  return name === "" ? "ticket" : `ticket of the key ${JSON.stringify(name)}`;
}
