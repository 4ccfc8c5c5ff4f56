import { defineConfig } from "vitest/config";

const MINUTE = 60_000;

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ["*.e2e.ts"],
    // One browser, one server: in order, and slow machines are slow.
    fileParallelism: false,
    testTimeout: 15 * MINUTE,
    hookTimeout: 5 * MINUTE,
    bail: 0,
  },
});
