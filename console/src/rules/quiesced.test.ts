import { describe, expect, it } from "vitest";

import { heldMs, missed } from "./quiesced";

const of = (...Transcript: string[]) => ({ Transcript, QuiesceMs: 78 });

describe("what was held for a snapshot", () => {
  it("is all that was asked", () => {
    const record = of("freeze mariadb /etc/db.cnf ok, 12.0 ms", "held for 78.0 ms", "thaw mariadb /etc/db.cnf ok, 1.0 ms");
    expect([missed(record), heldMs(record)]).toEqual([[], 78]);
  });

  it("is a part of it: what failed is told, and how long the rest was held", () => {
    const failed = "freeze mariadb /etc/db.cnf failed, 12.0 ms: access denied";
    const record = of(failed, "freeze filesystem /srv ok, 2.0 ms", "held for 78.0 ms");
    expect([missed(record), heldMs(record)]).toEqual([[failed], 78]);
  });

  it("is nothing: then there is no duration", () => {
    for (const lines of [
      ["freeze mariadb /etc/db.cnf failed, 12.0 ms", "held for 78.0 ms"],
      ["nothing was held: the helper did not begin"],
      ["freeze filesystem /srv ok, 2.0 ms", "not held until the instant (10000.0 ms)"],
    ]) {
      expect(missed(of(...lines))).toHaveLength(1);
      expect(heldMs(of(...lines))).toBeNull();
    }
  });

  it("is nothing missed where nothing was asked", () => {
    expect(missed(of("no profile: nothing was held"))).toEqual([]);
    expect(missed(of("the disk was not attached: there was nothing to hold"))).toEqual([]);
    expect([missed(undefined), heldMs(undefined)]).toEqual([[], null]);
  });
});
