/** The contract of the README, over WebSockets. */
import { testReliability } from "./conformance/reliability.ts";
import { WS } from "./helpers/transports.ts";

testReliability(WS);
