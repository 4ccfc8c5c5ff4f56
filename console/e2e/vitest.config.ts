import { defineConfig } from "vitest/config";

const MINUTE = 60_000;

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["*.e2e.ts"],
    // One browser, one server: in order, and slow machines are slow.
    fileParallelism: false,
    testTimeout: 4 * MINUTE,
    hookTimeout: 2 * MINUTE,
    bail: 1,
  },
});
