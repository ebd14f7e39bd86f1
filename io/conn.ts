/**
 * One connection, as a runtime makes it, or what stands for one.
 */

/** One connection, as a runtime makes it. */
export interface Conn {
  /** Where the other side is. */
  readonly remoteAddr?: object | undefined;
  /** Reads into `into`; returns how many bytes, or `null` at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /** Writes some of `bytes`, which stay as they are until then; returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends the direction out. */
  closeWrite(): Promise<void>;
  /** Ends both directions; reads and writes that are under way reject. */
  close(): void;
  /** Keeps the program running. */
  ref(): void;
  /** Lets the program end. */
  unref(): void;
  /** Whether small writes go at once. */
  setNoDelay?(noDelay?: boolean): void;
  /** Drops what it keeps for speed. */
  trim?(): void;
}
