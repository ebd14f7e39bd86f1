/** The worker of `watchdog.ts`. */
import { watch, type WatchOrder } from "./watchdog.ts";

addEventListener("message", (event) => watch((event as MessageEvent<WatchOrder>).data));
