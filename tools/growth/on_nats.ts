/** What other brokers, and clients of this one, can cause where NATS joins brokers. */
import { decodeControlMessage, encodeControlMessage } from "../../nats/control_message.ts";
import { CoreExchange } from "../../nats/core_exchange.ts";
import type { ExchangeContext } from "../../nats/exchange_context.ts";
import { JetStreamExchange } from "../../nats/jetstream_exchange.ts";
import { HEADER_BYTES_MAX, readPacket, sealPacket, UNDER_WAY_MAX } from "../../nats/packet.ts";
import { subjectOf } from "../../nats/subject.ts";
import { encodeFrame, FrameType } from "../../protocol/frame.ts";
import { encodeTopic } from "../../protocol/topic_block.ts";
import { colliding } from "./on_codec.ts";
import type { Operation } from "./operation.ts";

const PREFIX = "mpubsub.growth";
const SELF = "1".padStart(16, "0");
const OTHER = "2".padStart(16, "0");
const PAYLOAD = Uint8Array.of(0);

/** What an exchange needs of its broker, where nobody listens. */
function context(): ExchangeContext {
  return {
    id: SELF,
    prefix: PREFIX,
    queueBytes: 2 ** 26,
    counts: { sent: 0, received: 0, dropped: 0, lost: 0, gaps: 0, invalid: 0 },
    bus: {
      messageBytes: 2 ** 20,
      memory: 2 ** 30,
      onBytes: () => {},
      want() {},
      deliver: () => 0,
      lost() {},
      groupsAt: () => {},
      takeOver: () => false,
      room: () => undefined,
    },
    isHere: () => true,
    heard() {},
    say() {},
    deliver() {},
    read() {},
    onBytes: () => {},
    later: () => ({ cancel() {} }),
    warn() {},
  };
}

/** A packet of another broker with one message. */
function packet(
  message: Uint8Array,
  seal: Omit<Parameters<typeof sealPacket>[1], "broker">,
): Uint8Array {
  const buffer = new Uint8Array(HEADER_BYTES_MAX + message.length);
  buffer.set(message, HEADER_BYTES_MAX);
  const one = {
    route: { subject: "" },
    since: 0,
    buffer,
    end: buffer.length,
    messages: 1,
    flags: 0,
  };
  return sealPacket(one, { broker: OTHER, ...seal });
}

/** What a broker says, as it comes over the wire. */
type Said = Parameters<typeof encodeControlMessage>[0];

function connected(say: (said: Said) => void = () => {}): CoreExchange {
  const exchange = new CoreExchange({ ...context(), say });
  exchange.connected({
    publish() {},
    subscribe: () => ({ unsubscribe() {} }),
    flush: () => Promise.resolve(),
  });
  return exchange;
}

function hear(exchange: CoreExchange, said: Said): void {
  exchange.hear(decodeControlMessage(encodeControlMessage(said)));
}

/** How many topics one message names: no broker takes a long one. */
const TOPICS_PER_PART = 1000;

function wants(from: string, version: number): Said & { type: "wants" } {
  const base = version === 1 ? null : version - 1;
  return { type: "wants", from, version, base, add: [], remove: [], part: 0, more: false };
}

/** What another broker says that wants so many topics, or no longer wants them: all parts of it. */
function wantsAll(version: number, count: number, idOf = (i: number) => i): Said[] {
  return Array.from({ length: Math.ceil(count / TOPICS_PER_PART) }, (_, part) => {
    const start = part * TOPICS_PER_PART;
    const end = Math.min(count, start + TOPICS_PER_PART);
    const ids = Array.from({ length: end - start }, (_, i) => idOf(start + i));
    return {
      ...wants(OTHER, version),
      ...(version === 1 ? { add: ids.map((id) => [id, ["topic", String(id)]]) } : { remove: ids }),
      part,
      more: end < count,
    } as Said;
  });
}

const REMOTE_WANTS: Operation = {
  name: "what another broker wants comes and goes",
  of: "topics",
  per: "topic",
  from: 2000,
  few: 200,
  prepare(n) {
    const exchange = connected();
    return {
      units: n,
      run() {
        for (const version of [1, 2]) {
          for (const said of wantsAll(version, n)) hear(exchange, said);
        }
      },
    };
  },
};

const COLLIDING_WANTS: Operation = {
  ...REMOTE_WANTS,
  name: "what another broker wants comes and goes, with numbers that collide",
  from: 8000,
  without: "counts",
  prepare(n) {
    const exchange = connected();
    const said = [1, 2].flatMap((version) => wantsAll(version, n, colliding));
    return {
      units: n,
      run() {
        for (const one of said) hear(exchange, one);
      },
    };
  },
};

/** One topic comes and goes; the other broker confirms what it is told, or never does. */
function remoteChanges(how: string, isConfirmed: boolean): Operation {
  return {
    name: `one topic that another broker wants comes and goes, ${how}`,
    of: "topics",
    per: "change",
    from: 1000,
    few: 100,
    prepare(n) {
      const exchange = connected((said) => {
        if (!isConfirmed || said.type !== "counts") return;
        hear(exchange, { type: "got", from: OTHER, got: said.answer });
      });
      for (const said of wantsAll(1, n)) hear(exchange, said);
      const times = 100;
      return {
        units: 2 * times,
        run() {
          for (let version = 2; version < 2 + 2 * times; version++) {
            const isThere = version % 2 === 1;
            hear(exchange, {
              ...wants(OTHER, version),
              add: isThere ? [] : [[n, ["one more"]]],
              remove: isThere ? [n] : [],
            });
          }
        },
      };
    },
  };
}

/** Frames of so many topics, as clients here publish them. */
function framesOf(n: number): Uint8Array[] {
  return Array.from(
    { length: n },
    (_, i) => encodeFrame(FrameType.PUBLISH, encodeTopic(["topic", String(i)]), PAYLOAD),
  );
}

/** What goes to other brokers in many topics, while what they want changes. */
const SENT: Operation = {
  name: "a topic that another broker wants comes and goes beside traffic to it",
  of: "topics in traffic",
  per: "message, beside one without changes",
  isBeside: true,
  from: 250,
  few: 60,
  without: "time",
  prepare(n) {
    const exchange = connected();
    hear(exchange, {
      ...wants(OTHER, 1),
      add: [[0, ["topic"]]],
    });
    const frames = framesOf(n);
    const sendAll = async () => {
      for (const frame of frames) exchange.take(frame);
      await Promise.resolve();
    };
    const rounds = 16;
    return {
      units: rounds,
      async base() {
        for (let i = 0; i < rounds; i++) await sendAll();
      },
      async run() {
        for (let version = 2; version < 2 + rounds; version++) {
          const isThere = version % 2 === 1;
          hear(exchange, {
            ...wants(OTHER, version),
            add: isThere ? [] : [[1, ["elsewhere"]]],
            remove: isThere ? [1] : [],
          });
          await sendAll();
        }
      },
    };
  },
};

/** What comes from another broker in many topics, while what is wanted here changes. */
const TAKEN: Operation = {
  name: "an interest comes and goes beside traffic from another broker",
  of: "topics in traffic",
  per: "message, beside one without changes",
  isBeside: true,
  from: 250,
  few: 60,
  without: "time",
  prepare(n) {
    const exchange = connected();
    exchange.wants(["topic"], true);
    let number = 0;
    const messages = framesOf(n);
    const takeAll = async () => {
      for (const frames of messages) {
        const { header, body } = readPacket(packet(frames, { lane: 0, number: ++number }));
        exchange.packet(header, body);
      }
      await Promise.resolve();
    };
    const rounds = 16;
    return {
      units: rounds,
      async base() {
        for (let i = 0; i < rounds; i++) await takeAll();
      },
      async run() {
        for (let i = 0; i < rounds; i++) {
          exchange.wants(["elsewhere"], i % 2 === 0);
          await takeAll();
        }
      },
    };
  },
};

/** Messages that wait for a connection, and are dropped because there are too many. */
const DROPPED: Operation = {
  name: "messages that NATS does not take are dropped",
  of: "messages, each to a topic of its own",
  per: "message",
  from: 4000,
  few: 500,
  prepare(n) {
    const exchange = new JetStreamExchange({ ...context(), queueBytes: 64 * 1024 });
    const frames = framesOf(n);
    return {
      units: n,
      run() {
        for (const frame of frames) exchange.take(frame, exchange);
      },
    };
  },
};

const BROKERS: Operation = {
  name: "other brokers come, and are gone",
  of: "brokers",
  per: "broker",
  from: 500,
  few: 200,
  prepare(n) {
    const exchange = connected();
    const ids = Array.from({ length: n }, (_, i) => (i + 2).toString(16).padStart(16, "0"));
    return {
      units: n,
      run() {
        for (const id of ids) hear(exchange, { ...wants(id, 1), add: [[0, ["topic", id]]] });
        for (const id of ids) exchange.gone(id, false);
      },
    };
  },
};

/** Topics that clients here want; each change in a turn of its own, or all in one. */
function ownWants(how: string, pause: () => void | Promise<void>): Operation {
  return {
    name: `what clients here want comes and goes, ${how}`,
    of: "topics",
    per: "topic",
    from: 1000,
    few: 200,
    prepare(n) {
      const exchange = connected();
      const paths = Array.from({ length: n }, (_, i) => ["topic", String(i)]);
      return {
        units: n,
        async run() {
          for (const wants of [true, false]) {
            for (const path of paths) {
              exchange.wants(path, wants);
              await pause();
            }
          }
          await Promise.resolve();
        },
      };
    },
  };
}

const COVERS: Operation = {
  name: "an interest above others comes and goes, where NATS joins brokers",
  of: "topics below it",
  per: "topic and change",
  from: 1000,
  few: 200,
  prepare(n) {
    const exchange = connected();
    for (let i = 0; i < n; i++) exchange.wants(["topic", String(i)], true);
    const times = 4;
    return {
      units: 2 * times * n,
      async run() {
        for (let i = 0; i < 2 * times; i++) {
          exchange.wants(["topic"], i % 2 === 0);
          await Promise.resolve();
        }
      },
    };
  },
};

/** Packets of another broker, the first of which is missing, the latest first. */
const REORDERED: Operation = {
  name: "packets of a stream that come in the reverse order",
  of: "packets",
  per: "packet",
  from: 60,
  few: 60,
  prepare(n) {
    const exchange = new JetStreamExchange(context());
    exchange.wants(["topic"], true);
    const block = encodeTopic(["topic"]);
    const message = encodeFrame(FrameType.PUBLISH, block, PAYLOAD);
    const packets = Array.from({ length: n }, (_, i) => {
      const before = new Array<Uint8Array>(Math.min(i, UNDER_WAY_MAX - 1)).fill(block);
      return packet(message, { lane: 1, number: i + 1, before });
    }).reverse();
    return {
      units: n,
      run() {
        for (const bytes of packets) {
          const { header, body } = readPacket(bytes);
          exchange.packet(subjectOf(PREFIX, ["topic"]), header, body);
        }
      },
    };
  },
};

/** All of them. */
export const ON_NATS: readonly Operation[] = [
  REMOTE_WANTS,
  COLLIDING_WANTS,
  remoteChanges("which confirms its counts", true),
  remoteChanges("which confirms nothing", false),
  SENT,
  TAKEN,
  DROPPED,
  BROKERS,
  ownWants("all in one turn", () => {}),
  ownWants("each in a turn of its own", () => Promise.resolve()),
  COVERS,
  REORDERED,
];
