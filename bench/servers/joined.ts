/** A broker on the port that is given, joined to others through a nats-server; see `../systems.ts`. */
import { Broker } from "../../broker.ts";
import { NatsUplink } from "../../nats.ts";
import { AUTH } from "../target.ts";

const [servers, port, stream] = Deno.args as [string, string, string?];
const broker = new Broker({
  address: `tcp://127.0.0.1:${port}`,
  authkey: AUTH,
  uplink: new NatsUplink({ servers, bus: "bench", ...(stream !== undefined && { stream }) }),
});
await broker.start();
