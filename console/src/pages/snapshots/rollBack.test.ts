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
  const apply = () => call("cbs", "ApplySnapshot", { SnapshotId: "snap-1", DiskId: "disk-1" });
  return { call, calls, apply };
}

const base = { diskIds: ["disk-1"], pause: () => Promise.resolve(), onStep: () => undefined };
const made = (SnapshotId = "snap-2") => ({ SnapshotId });
const at = (SnapshotState: string, Percent: number) => ({ SnapshotSet: [{ SnapshotState, Percent }] });
const tidying = new RefusedError("ResourceUnavailable.SnapshotCreating", "", "");
const stays = () => new AbortController().signal;

describe("rolling back", () => {
  it("begins only when the safety snapshot is ready", async () => {
    const { calls, ...from } = server([made(), at("CREATING", 10), at("CREATING", 90), at("NORMAL", 100), {}]);
    await rollBack({ ...base, ...from, safetyName: "before", signal: stays() });
    expect(calls).toEqual(["CreateSnapshot", "DescribeSnapshots", "DescribeSnapshots", "DescribeSnapshots", "ApplySnapshot"]);
  });

  it("of several disks begins only when the safety snapshots of all are ready, and says how far they are together", async () => {
    const both = (first: number, second: number) => ({
      SnapshotSet: [first, second].map((Percent) => ({ SnapshotState: Percent === 100 ? "NORMAL" : "CREATING", Percent })),
    });
    const { calls, ...from } = server([made(), made("snap-3"), both(100, 10), both(100, 100), {}]);
    const steps: unknown[] = [];
    await rollBack({ ...base, ...from, diskIds: ["disk-1", "disk-2"], safetyName: "b", signal: stays(), onStep: (step) => steps.push(step) });
    expect(calls).toEqual(["CreateSnapshot", "CreateSnapshot", "DescribeSnapshots", "DescribeSnapshots", "ApplySnapshot"]);
    expect(steps).toEqual([{ name: "safety", percent: 55 }, { name: "applying" }]);
    const lost = server([made(), made("snap-3"), at("NORMAL", 100)]);
    await expect(rollBack({ ...base, ...lost, diskIds: ["disk-1", "disk-2"], safetyName: "b", signal: stays() })).rejects.toThrow(RefusedError);
    expect(lost.calls).not.toContain("ApplySnapshot");
  });

  it("does not begin when the safety snapshot failed", async () => {
    const { calls, ...from } = server([made(), at("CREATING", 10), { SnapshotSet: [] }]);
    const error = await rollBack({ ...base, ...from, safetyName: "before", signal: stays() }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RefusedError);
    expect(calls).not.toContain("ApplySnapshot");
  });

  it("does not begin when the user has left", async () => {
    const user = new AbortController();
    const { calls, ...from } = server([made(), at("CREATING", 10), at("NORMAL", 100)]);
    const pause = () => {
      user.abort();
      return Promise.resolve();
    };
    await expect(rollBack({ ...base, ...from, pause, safetyName: "before", signal: user.signal })).rejects.toThrow();
    expect(calls).not.toContain("ApplySnapshot");
  });

  it("waits while the server tidies up after the safety snapshot, and not for ever", async () => {
    const state = new RefusedError("UnsupportedOperation.StateError", "", "");
    const soon = server([made(), at("NORMAL", 100), tidying, state, {}]);
    await rollBack({ ...base, ...soon, safetyName: "before", signal: stays() });
    expect(soon.calls.filter((action) => action === "ApplySnapshot")).toHaveLength(3);
    const never = server([made(), at("NORMAL", 100), ...Array.from({ length: 50 }, () => tidying)]);
    await expect(rollBack({ ...base, ...never, safetyName: "b", signal: stays() })).rejects.toBe(tidying);
  });

  describe("of an attached disk", () => {
    const disk = (DiskState: string, ErrorPrompt = "") => ({ DiskSet: [{ DiskState, ErrorPrompt }] });
    const around = { diskId: "disk-1", instanceId: "ins-1", detach: true, attachAgain: true };
    it("detaches it before, and attaches it when it is rolled back", async () => {
      const { calls, ...from } = server([{}, disk("DETACHING"), disk("UNATTACHED"), {}, disk("ROLLBACKING"), disk("UNATTACHED"), {}]);
      const steps: string[] = [];
      await rollBack({ ...base, ...from, around, safetyName: null, signal: stays(), onStep: ({ name }) => steps.push(name) });
      expect(calls).toEqual(["DetachDisks", "DescribeDisks", "DescribeDisks", "ApplySnapshot", "DescribeDisks", "DescribeDisks", "AttachDisks"]);
      expect(steps).toEqual(["detaching", "applying", "attaching"]);
    });
    it("leaves it detached where that is wanted, or where the rollback failed", async () => {
      const only = server([{}, disk("UNATTACHED"), {}]);
      await rollBack({ ...base, ...only, around: { ...around, attachAgain: false }, safetyName: null, signal: stays() });
      expect(only.calls).toEqual(["DetachDisks", "DescribeDisks", "ApplySnapshot"]);
      const failed = server([{}, disk("UNATTACHED"), {}, disk("UNATTACHED", "rollback: the store is gone")]);
      await expect(rollBack({ ...base, ...failed, around, safetyName: null, signal: stays() })).rejects.toThrow(RefusedError);
      expect(failed.calls).not.toContain("AttachDisks");
    });
    it("goes on where an earlier try has detached it", async () => {
      const { calls, ...from } = server([{}, disk("UNATTACHED"), {}]);
      await rollBack({ ...base, ...from, around: { ...around, detach: false }, safetyName: null, signal: stays() });
      expect(calls).toEqual(["ApplySnapshot", "DescribeDisks", "AttachDisks"]);
    });
    it("rolls nothing back where it cannot be detached", async () => {
      const { calls, ...from } = server([{}, disk("ATTACHED", "it is mounted")]);
      await expect(rollBack({ ...base, ...from, around, safetyName: null, signal: stays() })).rejects.toThrow(RefusedError);
      expect(calls).toEqual(["DetachDisks", "DescribeDisks"]);
    });
  });

  it("does not wait for a snapshot that is not its own", async () => {
    const { calls, ...from } = server([tidying]);
    await expect(rollBack({ ...base, ...from, safetyName: null, signal: stays() })).rejects.toBe(tidying);
    expect(calls).toEqual(["ApplySnapshot"]);
  });
});
