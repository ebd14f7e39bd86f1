/** What is said of brokers that are not there, or are none. */
import { AuthError, ConnectionLostError, ProtocolError } from "../../../errors.ts";
import { rejects, same, throws } from "./check.ts";
import type { Case } from "./context.ts";

export const ERRORS: readonly Case[] = [
  {
    name: "connect rejects with ConnectionLostError where nobody listens, and names the address",
    isBrief: true,
    async run(context) {
      const { info } = await context.stage();
      const bus = context.client(info.deserted, info.authkey);
      const { message } = await rejects(bus.connect(), ConnectionLostError, "no broker answers");
      same([message.includes(info.deserted), bus.state], [true, "disconnected"], message);
    },
  },
  {
    name: "connect rejects with ProtocolError where something else answers",
    isBrief: true,
    place: "program",
    async run(context) {
      const { info } = await context.stage();
      const bus = context.client(info.foreign, info.authkey);
      await rejects(bus.connect(), ProtocolError);
      same(bus.state, "disconnected");
    },
  },
  {
    name: "connect rejects with ProtocolError at another path of a broker",
    place: "program",
    transports: ["ws", "wss"],
    async run(context) {
      const { info } = await context.stage();
      const bus = context.client(info.address.replace(/[^/]*$/, "other"), info.authkey);
      await rejects(bus.connect(), ProtocolError, "the answer is 404");
    },
  },
  {
    name: "connect rejects with AuthError where the certificate is not trusted",
    place: "program",
    transports: ["tls", "wss"],
    isBrief: true,
    async run(context) {
      const { info } = await context.stage();
      const bus = context.client(info.address, info.authkey, { tls: { caCerts: [] } });
      same((await rejects(bus.connect(), AuthError)).certificate, "untrusted");
    },
  },
  {
    name: "connect rejects with a TypeError where a certificate to trust is none",
    place: "program",
    transports: ["tls", "wss"],
    async run(context) {
      const { info } = await context.stage();
      throws(
        () => context.client(info.address, info.authkey, { tls: { caCerts: ["ca.pem"] } }),
        TypeError,
      );
      const wrong = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
      const bus = context.client(info.address, info.authkey, { tls: { caCerts: [wrong] } });
      await rejects(bus.connect(), TypeError, "a certificate to trust cannot be used");
    },
  },
  {
    name:
      "connect rejects with ProtocolError where the broker speaks TLS, and the address does not say so",
    place: "program",
    transports: ["tls", "wss"],
    isBrief: true,
    async run(context) {
      const { info } = await context.stage();
      const plain = info.address.replace("tls:", "tcp:").replace("wss:", "ws:");
      const bus = context.client(plain, info.authkey);
      const right = info.address.replace(/:.*/, "://");
      await rejects(bus.connect(), ProtocolError, `use an address that begins with ${right}`);
    },
  },
  {
    name: "connect rejects with ConnectionLostError, whatever is there instead of a broker",
    isBrief: true,
    place: "page",
    async run(context) {
      const { info } = await context.stage();
      const plain = info.address.replace("wss:", "ws:");
      const others = [info.foreign, info.address.replace(/[^/]*$/, "other")];
      for (const address of plain === info.address ? others : [...others, plain]) {
        const bus = context.client(address, info.authkey);
        const { message } = await rejects(bus.connect(), ConnectionLostError, "no broker answers");
        same([message.includes(address), bus.state], [true, "disconnected"], message);
      }
    },
  },
  {
    name: "addresses, keys and options that are none are refused at the call",
    async run(context) {
      const { info: { address, authkey } } = await context.stage();
      throws(() => context.client("nonsense", authkey), TypeError, "tcp://127.0.0.1:7411");
      throws(() => context.client("tcp://127.0.0.1:70000", authkey), RangeError);
      throws(() => context.client(address, ""), RangeError, "empty");
      throws(() => context.client(address, authkey, { backlog: 0 }), RangeError, "backlog");
      throws(() => context.client(address, authkey, { patience: -1 }), RangeError, "patience");
      throws(() => context.client(address, authkey, { keyName: "n".repeat(65) }), RangeError);
    },
  },
];
