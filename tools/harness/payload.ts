/** Messages ↔ payloads, each alone in an array of its own; and values as texts. */
import { Decoder, encodeMessage, Encoder } from "../../codec/codec.ts";
import { toHex } from "./bytes.ts";

/** The payload of a message. */
export function encode(
  message: object,
  { encoder = new Encoder(), limit = 1024 * 1024 }: { encoder?: Encoder; limit?: number } = {},
): Uint8Array<ArrayBuffer> {
  return encodeMessage(message, limit, encoder);
}

/** The message of a payload. */
export function decode(
  payload: Uint8Array,
  decoder: Decoder = new Decoder(),
): Record<string, unknown> {
  return decoder.decode(payload, 0, payload.length);
}

/** A value as a text that tells apart whatever the codec keeps apart: kinds, -0, order, classes. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (Object.is(value, -0)) return "-0";
  if (typeof value !== "object" || value === null) return String(value);
  const name = Object.getPrototypeOf(value)?.constructor.name;
  return `${name} ${showParts(value)}`;
}

function showParts(value: object): string {
  if (ArrayBuffer.isView(value)) {
    return toHex(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  }
  if (value instanceof Date) return String(value.getTime());
  if (value instanceof Map) return `{${Array.from(value, (pair) => pair.map(show).join(" => "))}}`;
  if (value instanceof Set || Array.isArray(value)) return `[${Array.from(value, show)}]`;
  return `{${Object.entries(value).map((pair) => pair.map(show).join(": "))}}`;
}
