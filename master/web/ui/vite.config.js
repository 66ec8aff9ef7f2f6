import { defineConfig } from "vite";

export default defineConfig({
  base: "./", // the page may be served under any path
  publicDir: false,
  build: {
    outDir: "dist",
    emptyOutDir: false, // the placeholder stays; `make ui` removes what was built before
    chunkSizeWarningLimit: 4000,
    sourcemap: false,
  },
});
