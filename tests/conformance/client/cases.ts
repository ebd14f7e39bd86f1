/** All that a client promises, as cases. */
import { CHAOS } from "./chaos_cases.ts";
import type { Case } from "./context.ts";
import { DELIVERY } from "./delivery_cases.ts";
import { ERRORS } from "./error_cases.ts";
import { FILES } from "./file_cases.ts";
import { GROUPS } from "./group_cases.ts";
import { RIGHTS } from "./rights_cases.ts";
import { SESSIONS } from "./session_cases.ts";
import { SUBSCRIPTIONS } from "./subscription_cases.ts";
import { TICKETS } from "./ticket_cases.ts";
import { VALUES } from "./value_cases.ts";
import { WAITING } from "./waiting_cases.ts";

/** The longest first, so that they are not waited for in the end. */
export const CASES: readonly Case[] = [
  CHAOS,
  TICKETS,
  WAITING,
  SESSIONS,
  GROUPS,
  VALUES,
  DELIVERY,
  SUBSCRIPTIONS,
  RIGHTS,
  ERRORS,
  FILES,
].flat();
