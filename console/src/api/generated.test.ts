import { execFileSync } from "node:child_process";

import { expect, it } from "vitest";

it("holds types.ts against the server's description of the API", () => {
  const root = new URL("../..", import.meta.url).pathname;
  expect(() => execFileSync("node", ["scripts/generate.mjs", "--check"], { cwd: root, stdio: "pipe" })).not.toThrow();
});
