/** An MQTT broker: aedes, as its documentation shows it, with a password. Argument: the port. */
import { Aedes } from "aedes";
import { createServer } from "node:net";
import { AUTH } from "../target.ts";

const broker = await Aedes.createBroker({
  authenticate: (_client, username, password, done) =>
    done(null, username === AUTH && password?.toString() === AUTH),
});
createServer(broker.handle).listen(Number(Deno.args[0]), "127.0.0.1");
