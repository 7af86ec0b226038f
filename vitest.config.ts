// Tests stand beside the code (`x.ts`, `x.test.ts`); `test/` holds what crosses floors.
// One file at a time: each test computes on all cores, and two that do so together take longer than one after the other.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 180_000,
    hookTimeout: 180_000,
    fileParallelism: false,
  },
});
