import { describe, expect, it } from "vitest";

import type { QuiesceProfile, QuiesceStepRecord } from "../../api/types";
import { EMPTY, formOf, inOrder, isComplete, lineOf, newStep, profileOf, profilesOf, sentProfile, wordsOf } from "./profileForm";

const step = (Kind: QuiesceStepRecord["Kind"], more: Partial<QuiesceStepRecord> = {}): QuiesceStepRecord => ({
  Kind, SecondsMax: 5, Mount: null, Freeze: [], Thaw: [], OptionFile: null, Connection: null, Socket: null, Domain: null, ...more,
});
const profile = (ResourceId: string, Steps: readonly QuiesceStepRecord[] = []): QuiesceProfile => ({
  ResourceId, Mode: "prefer", FreezeSecondsMax: 7.5, Steps, ModifyTime: "", ProveEveryH: 24,
});

describe("a profile", () => {
  it("is sent as it was read, each step with the fields of its kind alone", () => {
    const steps = [
      step("mariadb", { OptionFile: "/etc/my.cnf" }),
      step("postgresql", { Connection: "host=/run/postgresql dbname=postgres" }),
      step("command", { Freeze: ["/usr/bin/app", "hold all", 'say "so"'], Thaw: ["/usr/bin/app", ""] }),
      step("filesystem", { Mount: "/srv/db" }),
      step("guest-agent", { Socket: "/run/vm.qga" }),
      step("libvirt", { Domain: "db" }),
    ];
    const sent = sentProfile(formOf(profile("disk-1", steps)));
    expect(sent).toEqual({
      Mode: "prefer", FreezeSecondsMax: 7.5, ProveEveryH: 24,
      Steps: [
        { Kind: "mariadb", SecondsMax: 5, OptionFile: "/etc/my.cnf" },
        { Kind: "postgresql", SecondsMax: 5, Connection: "host=/run/postgresql dbname=postgres" },
        { Kind: "command", SecondsMax: 5, Freeze: ["/usr/bin/app", "hold all", 'say "so"'], Thaw: ["/usr/bin/app", ""] },
        { Kind: "filesystem", SecondsMax: 5, Mount: "/srv/db" },
        { Kind: "guest-agent", SecondsMax: 5, Socket: "/run/vm.qga" },
        { Kind: "libvirt", SecondsMax: 5, Domain: "db" },
      ],
    });
  });

  it("reads a line as the words that it was written from", () => {
    for (const words of [["/bin/a"], ["/bin/a", "b c", ""], ['"', "\\", 'a"b\\', "x\\y"], []]) expect(wordsOf(lineOf(words))).toEqual(words);
    expect(wordsOf("  /bin/a   --all ")).toEqual(["/bin/a", "--all"]);
  });

  it("is complete when everything that its steps need is there", () => {
    const mount = { ...newStep("filesystem"), mount: "/srv" };
    expect(isComplete(EMPTY)).toBe(false);
    expect(isComplete({ ...EMPTY, steps: [mount] })).toBe(true);
    expect(isComplete({ ...EMPTY, steps: [mount, newStep("mariadb")] })).toBe(false);
    expect(isComplete({ ...EMPTY, steps: [{ ...mount, seconds: "61" }] })).toBe(false);
    for (const seconds of ["0", "", "61", "x"]) expect(isComplete({ ...EMPTY, seconds, steps: [mount] })).toBe(false);
    for (const proveEveryH of ["0.5", "9000", "x"]) expect(isComplete({ ...EMPTY, proveEveryH, steps: [mount] })).toBe(false);
  });

  it("has file systems last, and the rest as the user put it", () => {
    const kinds = inOrder([newStep("filesystem"), newStep("postgresql"), newStep("command")]).map((one) => one.kind);
    expect(kinds).toEqual(["postgresql", "command", "filesystem"]);
  });

  it("of a disk goes before that of its instance", () => {
    const all = [profile("ins-1"), profile("disk-1")];
    expect(profileOf(all, { DiskId: "disk-1", InstanceId: "ins-1" })?.ResourceId).toBe("disk-1");
    expect(profileOf(all, { DiskId: "disk-2", InstanceId: "ins-1" })?.ResourceId).toBe("ins-1");
    expect(profileOf([profile("")], { DiskId: "disk-2", InstanceId: "" })).toBeUndefined();
    const disks = ["disk-1", "disk-2", "disk-3"].map((DiskId) => ({ DiskId, InstanceId: "ins-1" }));
    expect(profilesOf(all, disks).map((one) => one.ResourceId)).toEqual(["disk-1", "ins-1"]);
  });
});
