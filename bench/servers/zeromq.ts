/** A ZeroMQ forwarder. Arguments: the ports for those who publish and for those who subscribe. */
import { Proxy, XPublisher, XSubscriber } from "zeromq";

const front = new XSubscriber({ receiveHighWaterMark: 0 });
const back = new XPublisher({ sendHighWaterMark: 0 });
await front.bind(`tcp://127.0.0.1:${Deno.args[0]}`);
await back.bind(`tcp://127.0.0.1:${Deno.args[1]}`);
await new Proxy(front, back).run();
