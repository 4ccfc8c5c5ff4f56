import { describe, expect, it } from "vitest";

import { RefusedError, type call as callServer } from "../../api/client";
import { rollBack } from "./rollBack";

type Answer = Record<string, unknown> | Error;

function server(answers: readonly Answer[]) {
  const calls: string[] = [];
  const left = [...answers];
  const call = ((_service: string, action: string) => {
    calls.push(action);
    const answer = left.shift() ?? new Error("no answer left");
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  }) as unknown as typeof callServer;
  return { call, calls };
}

const base = { snapshotId: "snap-1", diskId: "disk-1", pause: () => Promise.resolve(), onStep: () => undefined };
const made = { SnapshotId: "snap-2" };
const at = (SnapshotState: string, Percent: number) => ({ SnapshotSet: [{ SnapshotState, Percent }] });
const tidying = new RefusedError("ResourceUnavailable.SnapshotCreating", "", "");

describe("rolling back", () => {
  it("begins only when the safety snapshot is ready", async () => {
    const { call, calls } = server([made, at("CREATING", 10), at("CREATING", 90), at("NORMAL", 100), {}]);
    await rollBack({ ...base, call, safetyName: "before", signal: new AbortController().signal });
    expect(calls).toEqual(["CreateSnapshot", "DescribeSnapshots", "DescribeSnapshots", "DescribeSnapshots", "ApplySnapshot"]);
  });

  it("does not begin when the safety snapshot failed", async () => {
    const { call, calls } = server([made, at("CREATING", 10), { SnapshotSet: [] }]);
    const error = await rollBack({ ...base, call, safetyName: "before", signal: new AbortController().signal }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RefusedError);
    expect(calls).not.toContain("ApplySnapshot");
  });

  it("does not begin when the user has left", async () => {
    const user = new AbortController();
    const { call, calls } = server([made, at("CREATING", 10), at("NORMAL", 100)]);
    const pause = () => {
      user.abort();
      return Promise.resolve();
    };
    await expect(rollBack({ ...base, call, pause, safetyName: "before", signal: user.signal })).rejects.toThrow();
    expect(calls).not.toContain("ApplySnapshot");
  });

  it("waits while the server tidies up after the safety snapshot, and not for ever", async () => {
    const soon = server([made, at("NORMAL", 100), tidying, tidying, {}]);
    await rollBack({ ...base, call: soon.call, safetyName: "before", signal: new AbortController().signal });
    expect(soon.calls.filter((action) => action === "ApplySnapshot")).toHaveLength(3);
    const never = server([made, at("NORMAL", 100), ...Array.from({ length: 50 }, () => tidying)]);
    await expect(rollBack({ ...base, call: never.call, safetyName: "b", signal: new AbortController().signal })).rejects.toBe(tidying);
  });

  it("does not wait for a snapshot that is not its own", async () => {
    const { call, calls } = server([tidying]);
    await expect(rollBack({ ...base, call, safetyName: null, signal: new AbortController().signal })).rejects.toBe(tidying);
    expect(calls).toEqual(["ApplySnapshot"]);
  });
});
