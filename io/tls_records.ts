/**
 * Where the TLS records of a client begin, so that the first bytes of the next one can be sent ahead.
 *
 * ```
 *  17 03 03 │ length, 2 bytes │ encrypted …      each record of a client, once the handshake is complete
 *  └─ may be sent before the client has sent them
 * ```
 */

/** The first bytes of each record with data: its type and a version that is always the same. */
const AHEAD = Uint8Array.of(0x17, 3, 3);
const HEADER_BYTES = 5;

/** Follows the records of one client. */
export class ClientRecords {
  /** How many bytes of a header have come, and how many are still to come of what is behind it. */
  #header = 0;
  #length = 0;
  #left = 0;
  /** How many bytes of the next header were sent ahead. */
  #ahead = 0;

  /**
   * Takes the next bytes of the client.
   *
   * @returns Those that were not sent ahead; `undefined` if the record is of another kind than was sent
   * ahead: the client ends.
   */
  pass(bytes: Uint8Array): Uint8Array | undefined {
    let start = 0;
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 0) {
        const count = Math.min(this.#left, bytes.length - at);
        this.#left -= count;
        at += count;
        continue;
      }
      const byte = bytes[at++]!;
      if (this.#header < this.#ahead) {
        if (byte !== AHEAD[this.#header]) return undefined;
        start++;
      }
      this.#took(byte);
    }
    return bytes.subarray(start);
  }

  #took(byte: number): void {
    this.#length = (this.#length << 8 | byte) & 0xffff;
    if (++this.#header < HEADER_BYTES) return;
    this.#left = this.#length;
    this.#header = this.#ahead = 0;
  }

  /** The next byte to send ahead, if there is one: at the end of a record. */
  ahead(): Uint8Array | undefined {
    if (this.#left > 0 || this.#header > 0 || this.#ahead === AHEAD.length) return undefined;
    return AHEAD.subarray(this.#ahead, ++this.#ahead);
  }
}
