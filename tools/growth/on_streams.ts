/** What large messages cause on their way. */
import { bytesValue, frame, join, payload, size, topic, Type } from "../attacks/raw_client.ts";
import { MemoryBroker } from "./memory_broker.ts";
import type { Operation } from "./operation.ts";

const KIB = 1024;
const MIB = 2 ** 20;
const MESSAGE_BYTES_MAX = 128 * MIB;
const RAISED = {
  limits: { messageBytes: MESSAGE_BYTES_MAX, queueBytes: 4 * MESSAGE_BYTES_MAX },
};

const SIZES = { of: "KiB", per: "KiB", from: 4 * KIB, few: 512 };

/** A frame with so many bytes; its parts are not put together more than once. */
function messageOf(bytes: number): Uint8Array {
  const block = topic("large");
  const body = payload({ data: bytesValue(new Uint8Array(bytes)) });
  return join(size(1 + block.length + body.length), Uint8Array.of(Type.PUBLISH), block, body);
}

/** From a client to the broker, where nobody wants it. */
function taken(readKib: number): Operation {
  return {
    ...SIZES,
    name: `a broker takes one large message, in reads of ${readKib} KiB`,
    async prepare(n) {
      const memory = await MemoryBroker.start(RAISED, readKib * KIB);
      const { client } = await memory.member();
      const message = messageOf(n * KIB);
      return {
        units: n,
        async run() {
          await client.send(message);
          if (!await client.flush()) throw new Error("The broker has ended the connection");
        },
        end: () => memory[Symbol.asyncDispose](),
      };
    },
  };
}

/** From publish to the subscriber. */
function whole(readKib: number): Operation {
  return {
    ...SIZES,
    name: `one large message on its whole way, in reads of ${readKib} KiB`,
    async prepare(n) {
      const memory = await MemoryBroker.start(RAISED, readKib * KIB);
      const subscriber = await memory.bus();
      const publisher = await memory.bus({ backlog: 2 * MESSAGE_BYTES_MAX });
      const { promise, resolve } = Promise.withResolvers<void>();
      subscriber.addSubscriber("large", () => resolve());
      await subscriber.flush();
      const data = new Uint8Array(n * KIB);
      return {
        units: n,
        async run() {
          publisher.publish("large", { data });
          await publisher.flush();
          await promise;
        },
        end: () => memory[Symbol.asyncDispose](),
      };
    },
  };
}

/** Larger than the broker allows: it is skipped. */
const SKIPPED: Operation = {
  ...SIZES,
  name: "a broker skips a message that is too large",
  async prepare(n) {
    const memory = await MemoryBroker.start({ limits: { messageBytes: KIB } });
    const { client } = await memory.member();
    const message = messageOf(n * KIB);
    return {
      units: n,
      async run() {
        await client.send(message);
        await client.frameOf(Type.REFUSED);
      },
      end: () => memory[Symbol.asyncDispose](),
    };
  },
};

/** Many small messages in one write. */
const SMALL: Operation = {
  name: "a broker takes many small messages that nobody wants",
  of: "messages",
  per: "message",
  from: 4000,
  few: 1000,
  async prepare(n) {
    const memory = await MemoryBroker.start();
    const { client } = await memory.member();
    const one = frame(Type.PUBLISH, topic("small"), payload({}));
    const frames = join(...Array.from({ length: n }, () => one));
    return {
      units: n,
      async run() {
        await client.send(frames);
        await client.flush();
      },
      end: () => memory[Symbol.asyncDispose](),
    };
  },
};

/** All of them. */
export const ON_STREAMS: readonly Operation[] = [
  taken(16),
  taken(64),
  whole(16),
  whole(64),
  SKIPPED,
  SMALL,
];
