/** What waits for a peer, or is not acknowledged: in the queues of a session. */
import { encodeFrame, FrameType } from "../../protocol/frame.ts";
import { Inbox } from "../../protocol/inbox.ts";
import { Outbox } from "../../protocol/outbox.ts";
import { encodeTopic } from "../../protocol/topic_block.ts";
import type { Operation } from "./operation.ts";

const SMALL = encodeFrame(FrameType.PUBLISH, encodeTopic(["small"]), Uint8Array.of(0));
/** Not copied, and so kept by itself. */
const LARGE = encodeFrame(FrameType.PUBLISH, encodeTopic(["large"]), new Uint8Array(32 * 1024));

/** Frames in an outbox, and what becomes of them. */
function outbox(
  what: string,
  frame: Uint8Array,
  act: (outbox: Outbox, n: number) => () => void,
): Operation {
  return {
    name: `messages in a queue, ${what}`,
    of: "messages",
    per: "message",
    from: 5000,
    few: 500,
    prepare(n) {
      const queue = new Outbox(Infinity);
      for (let i = 0; i < n; i++) queue.push(frame, 1);
      return { units: n, run: act(queue, n) };
    },
  };
}

function sendAll(queue: Outbox): void {
  while (queue.next() !== undefined);
}

const OUTBOX: readonly Operation[] = [SMALL, LARGE].flatMap((frame) => {
  const kind = frame === SMALL ? "small" : "large";
  return [
    outbox(`${kind}: sent and acknowledged one by one`, frame, (queue, n) => {
      sendAll(queue);
      return () => {
        for (let i = 1; i <= n; i++) queue.acknowledge(i);
      };
    }),
    outbox(`${kind}: dropped one by one`, frame, (queue) => () => {
      while (queue.drop(1) > 0);
    }),
    outbox(`${kind}: sent again over a new connection`, frame, (queue) => {
      sendAll(queue);
      return () => {
        queue.rewind(0);
        sendAll(queue);
      };
    }),
    outbox(`${kind}: counted as missing by a client that is cut off`, frame, (queue) => {
      sendAll(queue);
      return () => void queue.missing()(0);
    }),
  ];
});

/** Messages and notices by turns. */
const NOTICES: Operation = {
  name: "messages and refusals by turns in a queue",
  of: "frames",
  per: "frame",
  from: 5000,
  few: 500,
  prepare(n) {
    const queue = new Outbox(Infinity);
    const refusal = encodeFrame(FrameType.REFUSED, new Uint8Array(20));
    return {
      units: n,
      run() {
        for (let i = 0; i < n; i += 2) {
          queue.push(SMALL, 1);
          queue.notify(refusal);
        }
        sendAll(queue);
        for (let i = 1; i <= n; i++) queue.acknowledge(i);
      },
    };
  },
};

/** Those who hold a publisher back, each from another of its messages on. */
const WITHHELD: Operation = {
  name: "subscribers that hold a publisher back let it go, one by one",
  of: "subscribers",
  per: "subscriber",
  from: 1000,
  few: 200,
  prepare(n) {
    const inbox = new Inbox(Infinity, { frame() {} });
    const places = Array.from({ length: n }, () => inbox.withhold(1, 1));
    return {
      units: n,
      run() {
        for (const place of places) inbox.release(place);
      },
    };
  },
};

/** All of them. */
export const ON_QUEUES: readonly Operation[] = [...OUTBOX, NOTICES, WITHHELD];
