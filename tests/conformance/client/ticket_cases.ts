/** Tickets: made in the runtime that is tested, and used there. */
import { fromBase64 } from "../../../base/base64.ts";
import { AuthError, ForbiddenError } from "../../../errors.ts";
import { createTicket, sealed } from "../../../protocol/create_ticket.ts";
import { TICKET_SKEW_MS } from "../../../protocol/ticket.ts";
import { check, ofKind, rejects, same } from "./check.ts";
import { type Case, until } from "./context.ts";

const PAGE = "a key of 16 bytes";
const KEYS = [{ name: "page", key: PAGE, publish: ["a", "b"], subscribe: ["a"] }];

/** Enough to connect with, however busy the machine is. */
const TICKET_MS = 3000;

/** A ticket that the broker takes for so many milliseconds. */
async function ending(ms: number): Promise<{ keyName: string; authkey: Uint8Array }> {
  const expires = Date.now() - TICKET_SKEW_MS + ms;
  const content = { name: "page", expires, for: "ann", narrow: {} };
  const { keyName, authkey } = await sealed(PAGE, content);
  return { keyName, authkey: fromBase64(authkey) };
}

export const TICKETS: readonly Case[] = [
  {
    name: "a ticket grants what its key does and it says itself, and its client is told",
    isBrief: true,
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const { keyName, authkey } = await createTicket(PAGE, {
        name: "page",
        for: "ann",
        narrow: { publish: [["a", "é😀"], "c"] },
        expireIn: 60_000,
      });
      const errors: unknown[] = [];
      const bus = stage.client({
        keyName,
        authkey: fromBase64(authkey),
        onError: (error) => errors.push(error),
      });
      await bus.connect();
      for (const topic of [["a", "é😀"], ["a"], ["b"], ["c"]]) bus.publish(topic);
      await bus.flush();
      await until(() => errors.length === 3);
      const topics = errors.map((error) =>
        ofKind(error, ForbiddenError, 'the ticket of the key "page" does not grant that').topic
      );
      same(topics, [["a"], ["b"], ["c"]]);
      same((await stage.call("stats")).broker.received, 1);
    },
  },
  {
    name: "connect rejects with AuthError, which says so, for a ticket that is over",
    isBrief: true,
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const bus = stage.client(await ending(0));
      const error = await rejects(bus.connect(), AuthError);
      same([error.expired, error.keyName, bus.state], [true, "page", "disconnected"]);
      same((await stage.call("stats")).broker.refusals.expired, 1);
    },
  },
  {
    name: "a client whose ticket ends while it is connected is told, and tries to come back",
    async run(context) {
      const stage = await context.stage({ broker: { keys: KEYS } });
      const reasons: unknown[] = [];
      const bus = stage.client({
        ...await ending(TICKET_MS),
        onState: (state, reason) => void (state === "reconnecting" && reasons.push(reason)),
      });
      await bus.connect();
      await until(() => reasons.length > 0);
      check(ofKind(reasons[0], AuthError, "has expired").expired, "it is told why");
      await until(async () => (await stage.call("stats")).broker.refusals.expired > 0);
      same(bus.state, "reconnecting");
    },
  },
];
