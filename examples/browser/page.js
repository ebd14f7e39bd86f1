import { NetPubSub } from "./mpubsub.js";

const show = (id, text) => document.getElementById(id).textContent = text;

const bus = NetPubSub.from(() => fetch("/ticket").then((response) => response.json()), {
  onState: (state, error) => {
    show("state", state);
    show("error", error?.message ?? "");
  },
  onError: (error) => show("error", error.message),
  onGap: ({ missed }) => show("error", `${missed ?? "Some"} messages were missed`),
});

bus.addSubscriber(["reading", "greenhouse"], (_topic, { celsius, at }) => {
  show("celsius", celsius.toFixed(1));
  show("at", at.toLocaleTimeString());
});

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const celsius = document.getElementById("wanted").valueAsNumber;
  bus.publish(["wanted", "greenhouse"], { celsius });
});

await bus.connect({ wait: true });
