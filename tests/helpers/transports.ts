/** What a broker and its clients need for each transport over which a suite runs. */
import type { BrokerOptions, NetPubSubOptions } from "../../mod.ts";
import { SIGNED } from "./tls.ts";

/** A transport, by the address at which a broker listens. */
export interface Transport {
  /** Ends the names of its tests; empty for the usual one, a Unix socket. */
  readonly name: string;
  readonly broker: Pick<BrokerOptions, "address" | "tls" | "origins">;
  readonly client: Pick<NetPubSubOptions, "tls">;
  /** About as much passes before anything of ours does. */
  readonly handshakeBytes: number;
}

export const USUAL: Transport = { name: "", broker: {}, client: {}, handshakeBytes: 0 };

export const TCP: Transport = {
  name: ", over tcp://",
  broker: { address: "tcp://127.0.0.1:0" },
  client: {},
  handshakeBytes: 0,
};

export const TLS: Transport = {
  name: ", over tls://",
  broker: {
    address: "tls://127.0.0.1:0",
    tls: { cert: SIGNED.cert, key: SIGNED.key },
  },
  client: { tls: { caCerts: [SIGNED.ca] } },
  handshakeBytes: 20_000,
};

export const WS: Transport = {
  name: ", over ws://",
  broker: { address: "ws://127.0.0.1:0/bus" },
  client: {},
  handshakeBytes: 500,
};

export const WSS: Transport = {
  name: ", over wss://",
  broker: {
    address: "wss://127.0.0.1:0/bus",
    tls: { cert: SIGNED.cert, key: SIGNED.key },
  },
  client: { tls: { caCerts: [SIGNED.ca] } },
  handshakeBytes: 20_000,
};
