import { PubSub } from "@mpubsub/mpubsub/pubsub";
import { NetPubSub } from "@mpubsub/mpubsub/web";

/** What the page tells itself. */
export const page = new PubSub<{ status: { text: string } }>();

const tell = (text: string) => page.publish("status", { text });

/** The one bus of the page, for all components. */
export const bus = NetPubSub.from<{
  reading: { celsius: number; at: Date };
  wanted: { celsius: number };
}>(() => fetch("/ticket").then((response) => response.json()), {
  onState: (state, reason) => tell(reason ? `${state}: ${reason.message}` : state),
  onError: (error) => tell(String(error)),
  onGap: ({ missed }) => tell(`connected; ${missed ?? "some"} messages were missed`),
});

bus.connect({ wait: true });
