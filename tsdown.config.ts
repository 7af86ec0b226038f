// The package's build: the public entry, one sub-entry a floor (src/<floor>/index.ts), and the command line.
import { defineConfig } from "tsdown";

export default defineConfig({
  // Threads start with files of their own (src/formats/worker-pool.ts).
  entry: ["src/index.ts", "src/*/index.ts", "src/cli/main.ts", "src/data/row-worker.ts"],
  outDir: "dist",
  format: "esm",
  platform: "neutral", // floors run in browsers too; what imports Node is external
  target: "es2023",
  external: [/^node:/],
  dts: true,
  sourcemap: true,
  clean: true,
});
