/** All operations whose growth is measured. */
import { ON_BUS } from "./on_bus.ts";
import { ON_CLIENTS } from "./on_clients.ts";
import { ON_CODEC } from "./on_codec.ts";
import { ON_INTERESTS } from "./on_interests.ts";
import { ON_KEYS } from "./on_keys.ts";
import { ON_NATS } from "./on_nats.ts";
import { ON_QUEUES } from "./on_queues.ts";
import { ON_SESSIONS } from "./on_sessions.ts";
import { ON_STREAMS } from "./on_streams.ts";
import { ON_WEB } from "./on_web.ts";
import type { Operation } from "./operation.ts";

/** All of them. */
export const OPERATIONS: readonly Operation[] = [
  ...ON_STREAMS,
  ...ON_WEB,
  ...ON_SESSIONS,
  ...ON_INTERESTS,
  ...ON_KEYS,
  ...ON_BUS,
  ...ON_CLIENTS,
  ...ON_QUEUES,
  ...ON_CODEC,
  ...ON_NATS,
];
