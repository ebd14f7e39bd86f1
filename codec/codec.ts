/**
 * Message ↔ bytes. Each payload can be read on its own; what arrives is data only. `format.ts` describes
 * the bytes.
 */
export { Decoder } from "./decoder.ts";
export { encodeMessage } from "./encode_message.ts";
export { Encoder, type Output } from "./encoder.ts";
export { MESSAGE_DEPTH_MAX } from "./format.ts";
