import { defineConfig } from "vite";

export default defineConfig({
  // `npm run dev` has the pages, and examples/browser/server.ts the bus and its tickets.
  server: {
    proxy: {
      "/bus": { target: "ws://localhost:8000", ws: true },
      "/ticket": "http://localhost:8000",
    },
  },
  build: { assetsDir: "" },
});
