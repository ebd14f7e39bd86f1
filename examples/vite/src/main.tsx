import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App.tsx";
import "./style.css";

createRoot(document.getElementById("main")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
