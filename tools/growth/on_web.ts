/** What comes over HTTP and WebSockets before anything of ours: heads, and frames that bring nothing. */
import { readHead } from "../../io/http_head.ts";
import { WebSocketStream } from "../../io/websocket.ts";
import { bytesOf, repeat } from "../attacks/raw_client.ts";
import { Opcode, upgradeHead, webFrame } from "../attacks/raw_web.ts";
import type { Operation } from "./operation.ts";

const READ_BYTES = 16 * 1024;

/** What is like a connection that brings these bytes, so many at a time. */
function carrying(bytes: Uint8Array, size: number) {
  let at = 0;
  return {
    read(into: Uint8Array): Promise<number | null> {
      const part = bytes.subarray(at, at + Math.min(size, into.length));
      into.set(part);
      at += part.length;
      return Promise.resolve(part.length === 0 ? null : part.length);
    },
    write: (written: Uint8Array) => Promise.resolve(written.length),
    closeWrite: () => Promise.resolve(),
    close: () => {},
  };
}

/** A head, as it comes from a peer that takes its time. */
const HEAD: Operation = {
  name: "the head of a WebSocket comes byte by byte",
  of: "bytes",
  per: "byte",
  from: 3000,
  prepare(n) {
    const bare = upgradeHead("Cookie: ").length;
    const stream = carrying(upgradeHead(`Cookie: ${"x".repeat(n - bare)}`), 1);
    return { units: n, run: async () => void await readHead(stream) };
  },
};

function frames(what: string, frame: Uint8Array): Operation {
  return {
    name: `a WebSocket brings ${what}`,
    of: "frames",
    per: "frame",
    from: 20_000,
    few: 2000,
    prepare(n) {
      const stream = new WebSocketStream(carrying(repeat(frame, n), READ_BYTES), false);
      const into = new Uint8Array(READ_BYTES);
      return {
        units: n,
        async run() {
          while (await stream.read(into) !== null);
        },
      };
    },
  };
}

/** What comes over WebSockets. */
export const ON_WEB: readonly Operation[] = [
  HEAD,
  frames("pings", webFrame(Opcode.PING, bytesOf("there?"))),
  frames("empty messages", webFrame(Opcode.BINARY)),
  frames("messages of one byte", webFrame(Opcode.BINARY, bytesOf("x"))),
];
