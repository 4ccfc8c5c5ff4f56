import { describe, expect, it } from "vitest";

import { places, split } from "./found";

const ACTIONS = ["Attach", "Detach", "Resize", "Create snapshot"].map((text) => ({ text }));
const texts = (typed: string) => {
  const { actions, rest } = split(ACTIONS, typed);
  return [actions.map(({ text }) => text), rest];
};

describe("what Ctrl-K finds", () => {
  it("has the places of which all words are a part", () => {
    const all = [{ text: "Settings: Access keys", to: "/a" }, { text: "Snapshots", to: "/b" }];
    expect(places(all, "set KEY")).toEqual([all[0]]);
    expect(places(all, "")).toEqual(all);
  });
  it.each([
    ["resize db", ["Resize"], "db"],
    ["db resize", ["Resize"], "db"],
    ["create snapshot my db", ["Create snapshot"], "my db"],
    ["tach mail", ["Attach", "Detach"], "mail"],
    ["resize", [], "resize"],
    ["mysql data", [], "mysql data"],
    ["", [], ""],
  ])("takes %j for %j of %j", (typed, actions, rest) => expect(texts(typed)).toEqual([actions, rest]));
});
