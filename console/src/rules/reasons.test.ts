import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "vitest";

import { nameText } from "../parts/Copyable";
import { translator } from "../words";
import { reasonText } from "./reasons";

const [en, zh] = [translator("en"), translator("zh")];
const WHOLE = [
  "It was cancelled.", "changes were tracked since the parent", "the disk has no snapshot to be compared with",
  "the parent is suspect: an audit found that tracking had missed changes", "a rollback is under way",
  "the disk is being initialized", "the delta map of a deleted snapshot is unknown", "for an unknown reason",
];

describe("reasons of the server", () => {
  const said = [...WHOLE, "rolling back to snap-abcdefgh", "tracking was lost: a rollback is under way"];
  it("stay in English and are Chinese in Chinese", () => {
    expect(said.map((text) => reasonText(en, text))).toEqual(said);
    expect(said.filter((text) => /[a-z]{4}/.test(reasonText(zh, text).replace("snap-abcdefgh", "")))).toEqual([]);
    expect(reasonText(zh, "no route to host")).toBe("no route to host");
  });
  it("are the server's words still", () => {
    const root = fileURLToPath(new URL("../../../src/drystone/service", import.meta.url));
    const source = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".py")).map((name) => readFileSync(join(root, name), "utf8")).join("\n");
    expect([...WHOLE, "rolling back to {", "tracking was lost: {"].filter((text) => !source.includes(text))).toEqual([]);
  });
});

describe("names that were given for the user", () => {
  it("are in the reader's language, whoever gave them", () => {
    expect(["before rollback to nightly", "回滚到 nightly 之前", "未命名", "mine"].map((name) => nameText(zh, name))).toEqual(["回滚到 nightly 之前", "回滚到 nightly 之前", "未命名", "mine"]);
    expect(["before rollback to nightly", "回滚到 nightly 之前", "未命名"].map((name) => nameText(en, name))).toEqual(["before rollback to nightly", "before rollback to nightly", "Unnamed"]);
  });
});
