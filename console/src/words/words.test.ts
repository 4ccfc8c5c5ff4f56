import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, it } from "vitest";

import { isWordKey, named, preferredLanguage, translator, WORDS, type WordKey } from ".";
import { disks } from "./disks";
import { events } from "./events";
import { overview } from "./overview";
import { policies } from "./policies";
import { protection } from "./protection";
import { quiesce } from "./quiesce";
import { settings } from "./settings";
import { shell } from "./shell";
import { snapshots } from "./snapshots";
import { space } from "./space";

const names = (text: string) => [...new Set([...text.matchAll(/\{(\w+)/g)].map((match) => match[1] ?? ""))].sort();
const keys = Object.keys(WORDS) as WordKey[];
const en = (key: WordKey): string => WORDS[key][0];
const zh = (key: WordKey): string => WORDS[key][1];

describe("words", () => {
  it("has each key once, with a text in both languages", () => {
    expect(keys).toHaveLength([disks, events, overview, policies, protection, quiesce, settings, shell, snapshots, space].reduce((sum, part) => sum + Object.keys(part).length, 0));
    expect(keys.filter((key) => en(key).trim() === "" || zh(key).trim() === "")).toEqual([]);
  });

  it("fills in the same names in both languages", () => {
    // Chinese needs no count where the English text only chooses between one and many by it.
    const chosenBy = (key: WordKey) => (en(key).includes("{count}") ? "" : "count");
    const strange = keys.filter((key) => {
      const [english, chinese] = [names(en(key)), names(zh(key))];
      return chinese.some((name) => !english.includes(name)) || english.some((name) => !chinese.includes(name) && name !== chosenBy(key));
    });
    expect(strange).toEqual([]);
  });

  it("is Chinese where it should be", () => {
    const same = keys.filter((key) => en(key) === zh(key) && !/mariadb|postgresql/.test(key));
    expect(same.filter((key) => /[a-z]{4}/i.test(en(key)))).toEqual([]);
  });

  it("has a text for every key in the source, and no key without use", () => {
    const root = fileURLToPath(new URL("..", import.meta.url));
    const files = readdirSync(root, { recursive: true, encoding: "utf8" })
      .map((name) => join(root, name))
      .filter((path) => /\.tsx?$/.test(path) && !/words\/|\.test\./.test(path) && statSync(path).isFile());
    const source = files.map((path) => readFileSync(path, "utf8")).join("\n");
    const prefixes = [...source.matchAll(/named\(t, "([\w.]+)"|t\(`([\w.]+)\.\$\{|`(error\.code)\.\$\{/g)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
    const unused = keys.filter((key) => !source.includes(`"${key}"`) && !prefixes.some((prefix) => key.startsWith(`${prefix}.`)));
    expect(unused).toEqual([]);
    const asked = [...source.matchAll(/\bt\("([\w.]+)"/g)].map((match) => match[1] ?? "");
    expect(asked.filter((key) => !isWordKey(key))).toEqual([]);
  });

  it("fills in names and chooses by number", () => {
    const t = translator("en");
    expect(t("confirm.type", { name: "a {b} c" })).toBe("To confirm, type a {b} c");
    expect(t("remove.title", { count: 1 })).toBe("Delete the snapshot");
    expect(t("remove.title", { count: 3 })).toBe("Delete 3 snapshots");
    expect(t("rollback.newer", { count: 1 })).toBe("1 newer snapshot is kept.");
    expect(translator("zh")("remove.title", { count: 3 })).toBe("删除 3 个快照");
  });

  it("shows a state that it does not know as the server names it", () => {
    expect(named(translator("zh"), "disk.state", "ATTACHED")).toBe("已挂载");
    expect(named(translator("zh"), "disk.state", "NEW_STATE")).toBe("NEW_STATE");
  });

  it("takes the user's choice, then the browser's first language that it has, then English", () => {
    expect(preferredLanguage("zh", ["en-US"])).toBe("zh");
    expect(preferredLanguage(null, ["fr", "zh-TW", "en"])).toBe("zh");
    expect(preferredLanguage("klingon", ["fr"])).toBe("en");
  });
});
