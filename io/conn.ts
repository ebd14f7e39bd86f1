/**
 * One connection, as a runtime makes it, or what stands for one.
 */
import type { Account } from "../base/account.ts";
import type { Farewell } from "./websocket_close.ts";

/** What is read and written. */
export interface Stream {
  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`, which stay as they are until then; returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends the direction out. */
  closeWrite(why?: Farewell): Promise<void>;
  /** Drops what it keeps for speed. */
  trim?(): void;
  /** Counts what it keeps, until it is told to count it no longer. */
  count?(account: Account): void;
  uncount?(): void;
}

/** One connection. */
export interface Conn extends Stream {
  /** Where the other side is. */
  readonly remoteAddr?: object | undefined;
  /** Ends both directions; reads and writes that are under way reject. */
  close(): void;
  /** Keeps the program running. */
  ref(): void;
  /** Lets the program end. */
  unref(): void;
  /** Whoever is at the other side is known now, and may send more. */
  trust?(): void;
  /** Whether small writes go at once. */
  setNoDelay?(noDelay?: boolean): void;
}
