/**
 * The format of a payload: one message as bytes, which can be read on its own.
 *
 * ```
 * payload = object     nothing follows the last value
 * object  = size of the names · for each name: size, UTF-8 · the values, in the order of the names
 * value   = tag u8 · what the tag says
 * size    = as in base/size_prefix.ts                        all numbers are little endian
 * ```
 *
 * | tag       | value                        | tag  | value                                  |
 * |-----------|------------------------------|------|----------------------------------------|
 * | 0x00–0x7f | the integer 0 to 127         | 0xab | f64                                    |
 * | 0x80–0x9f | a string of 0 to 31 bytes    | 0xac | bigint ≥ 0: size, magnitude            |
 * | 0xa0      | null                         | 0xad | bigint −1 − n: size, n                 |
 * | 0xa1 0xa2 | false, true                  | 0xae | string: size, UTF-8                    |
 * | 0xa3–0xa5 | an integer n: u8, u16, u32   | 0xaf | Uint8Array: size, bytes                |
 * | 0xa6–0xa8 | −1 − n: u8, u16, u32         | 0xb0 | typed array: kind u8, size, bytes      |
 * | 0xa9      | (not used)                   | 0xb1 | Date: f64, ms since 1970               |
 * | 0xaa      | f32, where that is exact     | 0xb2 | Map: count as size, keys and values    |
 * |           |                              | 0xb3 | Set: count as size, values             |
 * |           |                              | 0xb4 | array: count as size, values           |
 * |           |                              | 0xb5 | object                                 |
 */

/** How deep values may be nested; the message itself is at depth 0. */
export const MESSAGE_DEPTH_MAX = 64;

/** The tags of values; what follows each is in the table above. */
export const NULL = 0xa0,
  FALSE = 0xa1,
  TRUE = 0xa2,
  POSITIVE = 0xa3,
  NEGATIVE = 0xa6,
  F32 = 0xaa,
  F64 = 0xab,
  BIGINT = 0xac,
  NEGATIVE_BIGINT = 0xad,
  STRING = 0xae,
  BYTES = 0xaf,
  TYPED = 0xb0,
  DATE = 0xb1,
  MAP = 0xb2,
  SET = 0xb3,
  ARRAY = 0xb4,
  OBJECT = 0xb5;

/** The tag of the empty string; the tag of a string of n bytes is n more, up to the longest. */
export const SHORT_STRING = 0x80;
/** Bytes of the longest string whose size is in its tag. */
export const SHORT_STRING_MAX = 31;
/** The largest integer that is its own tag. */
export const SMALL_MAX = 0x7f;

/** A typed array other than `Uint8Array`. */
export type TypedArray = Exclude<ArrayBufferView, DataView> & {
  readonly BYTES_PER_ELEMENT: number;
};
/** Makes a typed array of a whole buffer. */
export type TypedArrayConstructor = (new (buffer: ArrayBuffer) => TypedArray) & {
  readonly BYTES_PER_ELEMENT: number;
};

/** Typed arrays by their kind on the wire; some runtimes have no Float16Array. */
export const KINDS: readonly (TypedArrayConstructor | undefined)[] = [
  Int8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  (globalThis as { Float16Array?: TypedArrayConstructor }).Float16Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
];
