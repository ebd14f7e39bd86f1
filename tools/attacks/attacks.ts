/** All attacks, in the order in which they are made. */
import type { Attack } from "./attack.ts";
import {
  deniedFlood,
  hoarders,
  hugeSubscriptions,
  refusedFlood,
  subscribeFlood,
  tooFast,
  topicFlood,
} from "./attacks_by_flood.ts";
import { manyFloods, repeatedRoots, resumeFlood } from "./attacks_by_many.ts";
import { poison, rights } from "./attacks_by_message.ts";
import {
  changesOfInterests,
  collidingSets,
  fleetLeaves,
  fleetVanishes,
  largeMessages,
  manyGrants,
  powerless,
} from "./attacks_by_work.ts";
import {
  downgrade,
  halfOpen,
  helloBombs,
  names,
  reflection,
  replay,
  slowHello,
} from "./attacks_on_handshake.ts";
import { attacksOnGroups } from "./attacks_on_groups.ts";
import { attacksWithAny } from "./attacks_with_any.ts";
import { tickets } from "./attacks_with_tickets.ts";
import { placeHolders, placeTakers } from "./attacks_on_places.ts";
import {
  ackFlood,
  beyondWindow,
  duplicates,
  forgedResume,
  lengthBombs,
  outOfTurn,
} from "./attacks_on_session.ts";
import { memoryAttacks } from "./attacks_on_memory.ts";
import {
  deepWants,
  forgedCounts,
  forgedNumbers,
  logFlood,
  packetsWithGaps,
} from "./attacks_through_nats.ts";

import { attacksOverWeb } from "./attacks_over_web.ts";

/** Does nothing: what the others are compared with. */
const nothing: Attack = {
  name: "nothing",
  what: "nobody attacks",
  run: (assault) => assault.over,
};

/** All attacks. */
export const ATTACKS: readonly Attack[] = [
  nothing,
  halfOpen,
  slowHello,
  helloBombs,
  replay,
  reflection,
  downgrade,
  names,
  tickets,
  lengthBombs,
  forgedResume,
  duplicates,
  outOfTurn,
  ackFlood,
  beyondWindow,
  subscribeFlood,
  deniedFlood,
  hugeSubscriptions,
  refusedFlood,
  hoarders,
  topicFlood,
  tooFast,
  ...manyFloods,
  resumeFlood,
  repeatedRoots,
  poison,
  rights,
  ...changesOfInterests,
  manyGrants,
  ...attacksWithAny,
  ...attacksOnGroups,
  collidingSets,
  largeMessages,
  powerless,
  fleetLeaves,
  fleetVanishes,
  placeTakers,
  placeHolders,
  ...memoryAttacks,
  ...attacksOverWeb,
  forgedNumbers,
  forgedCounts,
  logFlood,
  packetsWithGaps,
  deepWants,
];
