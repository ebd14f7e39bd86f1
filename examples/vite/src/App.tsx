import { useState } from "react";
import { bus, page } from "./bus.ts";
import { useTopic } from "./useTopic.ts";

export function App() {
  const reading = useTopic(bus, ["reading", "greenhouse"]);
  const status = useTopic(page, "status");
  const [wanted, setWanted] = useState("21");

  return (
    <>
      <h1>Greenhouse</h1>
      <p className="value">{reading?.celsius.toFixed(1) ?? "–"} °C</p>
      <p>
        Measured at {reading?.at.toLocaleTimeString() ?? "–"}. The bus is{" "}
        <output>{status?.text ?? bus.state}</output>.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          bus.publish(["wanted", "greenhouse"], { celsius: Number(wanted) });
        }}
      >
        <label htmlFor="wanted">Wanted, in °C</label>
        <input
          id="wanted"
          type="number"
          min="0"
          max="40"
          step="0.5"
          required
          value={wanted}
          onChange={(event) => setWanted(event.target.value)}
        />
        <button type="submit">Send</button>
      </form>
    </>
  );
}
