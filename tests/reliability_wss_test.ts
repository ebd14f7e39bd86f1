/** The contract of the README, over WebSockets with TLS. */
import { testReliability } from "./conformance/reliability.ts";
import { WSS } from "./helpers/transports.ts";

testReliability(WSS);
