import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "vitest";

import { callsOf } from "./asked";
import { commandLine, WITH_COMMANDS } from "./cli";
import { pythonProgram, tccli, terraform } from "./cloud";
import { EXAMPLES } from "./examples";
import { hcl, python, shellWord } from "./quote";

const OWN = "100000000001";

describe("what a dialog shows as commands", () => {
  it("is what examples.json says, of each action that has a command", async () => {
    const said = EXAMPLES.map((shown) => ({
      calls: callsOf(shown), line: commandLine(shown, OWN), tccli: tccli(shown), python: pythonProgram(shown), terraform: terraform(shown),
    }));
    const actions = new Set(said.flatMap(({ calls }) => calls.map(({ action }) => action)));
    expect(WITH_COMMANDS.filter((action) => !actions.has(action))).toEqual([]);
    await expect(`${JSON.stringify(said, null, 2)}\n`).toMatchFileSnapshot("examples.json");
  });

  it("is there for every change that a dialog asks for", () => {
    const pages = fileURLToPath(new URL("../pages", import.meta.url));
    const files = readdirSync(pages, { recursive: true, encoding: "utf8" }).map((name) => join(pages, name)).filter((path) => path.endsWith("Dialogs.tsx") || path.endsWith("Dialog.tsx"));
    const source = files.filter((path) => statSync(path).isFile()).map((path) => readFileSync(path, "utf8")).join("\n");
    const asked = [...source.matchAll(/use(?:Asked|Change|ConfirmedChange)\(\s*"\w+",\s*"(\w+)"/g)].map((match) => match[1] ?? "");
    expect(asked.length).toBeGreaterThan(15);
    // Policies have no command.
    expect(asked.filter((action) => !action.includes("AutoSnapshotPolic") && !(WITH_COMMANDS as readonly string[]).includes(action))).toEqual([]);
  });
});

describe("quoting", () => {
  it.each([
    ["disk-1a2b3c4d", "disk-1a2b3c4d"], ["", "''"], ["a b", "'a b'"], ["it's", "'it'\\''s'"], ["$(x)", "'$(x)'"], ["数据", "'数据'"], ["--name=a b", "'--name=a b'"], ["a\nb", "'a\nb'"], ["~", "'~'"],
  ])("writes %j for a shell as %j", (word, quoted) => expect(shellWord(word)).toBe(quoted));
  it("writes values of Python", () => {
    expect(python({ A: [1, "x", true, null], B: { C: false } })).toBe('{\n    "A": [1, "x", True, None],\n    "B": {\n        "C": False,\n    },\n}');
    expect(python({})).toBe("{}");
  });
  it("writes what Terraform would fill in as it is", () => expect(hcl("${a} %{b} \"c\"")).toBe('"$${a} %%{b} \\"c\\""'));
});
