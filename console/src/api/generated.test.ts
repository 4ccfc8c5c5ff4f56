import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { expect, it } from "vitest";

it("holds types.ts against the server's description of the API", () => {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  expect(() => execFileSync("node", ["scripts/generate.mjs", "--check"], { cwd: root, stdio: "pipe" })).not.toThrow();
});
