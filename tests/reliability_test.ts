/** The contract of the README, over a Unix socket. */
import { testReliability } from "./conformance/reliability.ts";
import { USUAL } from "./helpers/transports.ts";

testReliability(USUAL);
