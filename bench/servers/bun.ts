/**
 * Bun's own publishing, as its documentation shows it. Argument: the port.
 *
 * A text subscribes to a topic, and is sent back; bytes are a length, a topic and what to publish to it.
 */
import process from "node:process";

interface Socket {
  subscribe(topic: string): void;
  publish(topic: string, data: Uint8Array): void;
  send(text: string): void;
}

declare const Bun: { serve(options: unknown): void };

const decoder = new TextDecoder();
Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request: Request, server: { upgrade(request: Request): boolean }) {
    if (request.headers.get("sec-websocket-protocol") !== "bench") {
      return new Response("The password is not right", { status: 401 });
    }
    return server.upgrade(request) ? undefined : new Response(null, { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    // By default it closes a connection for which so much waits.
    backpressureLimit: 1024 * 1024 * 1024,
    message(socket: Socket, message: string | Uint8Array) {
      if (typeof message === "string") {
        socket.subscribe(message);
        socket.send(message);
        return;
      }
      const data = 1 + message[0]!;
      socket.publish(decoder.decode(message.subarray(1, data)), message.subarray(data));
    },
  },
});
