import { describe, expect, it } from "vitest";

import { RefusedError } from "./client";
import { readWhole, type Whole } from "./whole";

const numbers = (from: number, count: number) => Array.from({ length: count }, (_, at) => from + at);
const never = () => Promise.reject(new Error("waited"));

describe("all rows of a list", () => {
  it("are read page by page, and are told of as they come", async () => {
    const parts: Whole<number>[] = [];
    const asked: number[] = [];
    const read = (_: unknown, offset: number) => {
      asked.push(offset);
      return Promise.resolve({ total: 250, rows: numbers(offset, Math.min(100, 250 - offset)) });
    };
    const whole = await readWhole(read, {}, String, undefined, (part) => parts.push(part), never);
    expect(asked).toEqual([0, 100, 200]);
    expect([whole.total, whole.complete, whole.rows]).toEqual([250, true, numbers(0, 250)]);
    expect(parts.map((part) => [part.rows.length, part.complete])).toEqual([[100, false], [200, false]]);
  });

  it("are each there once where a new row moved the others meanwhile", async () => {
    const read = (_: unknown, offset: number) => Promise.resolve({ total: 150, rows: offset === 0 ? numbers(0, 100) : numbers(99, 51) });
    expect((await readWhole(read, {}, String)).rows).toEqual(numbers(0, 150));
  });

  it("are 10,000 at most", async () => {
    const whole = await readWhole((_, offset) => Promise.resolve({ total: 12_000, rows: numbers(offset, 100) }), {}, String);
    expect([whole.rows.length, whole.total, whole.complete]).toEqual([10_000, 12_000, true]);
  });

  it("wait where the account has made too many calls, and for no other refusal", async () => {
    const tooMany = new RefusedError("RequestLimitExceeded.UinLimitExceeded", "", "");
    const errors = [tooMany, tooMany];
    let waits = 0;
    const read = () => {
      const error = errors.shift();
      return error === undefined ? Promise.resolve({ total: 1, rows: [7] }) : Promise.reject(error);
    };
    const wait = () => {
      waits += 1;
      return Promise.resolve();
    };
    expect((await readWhole(read, {}, String, undefined, undefined, wait)).rows).toEqual([7]);
    expect(waits).toBe(2);
    errors.push(new RefusedError("InternalError", "", ""));
    await expect(readWhole(read, {}, String, undefined, undefined, wait)).rejects.toThrow(RefusedError);
    errors.push(...Array.from({ length: 50 }, () => tooMany));
    await expect(readWhole(read, {}, String, undefined, undefined, wait)).rejects.toBe(tooMany);
  });
});
