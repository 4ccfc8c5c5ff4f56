// Changes with values that are hard to quote, each action at least once. What becomes of them is in examples.json, whose
// lines the tests of the command line read (tests/house/test_console_commands.py).
import { asks, type Shown } from "./asked";
import { groupRollBackShown, rollBackShown } from "./cli";

const NASTY = `it's "a" $(b) \`c\` \\ \${d} %{e} #f`;
const [disk, other, snapshot, group, instance] = ["disk-1a2b3c4d", "disk-5e6f7g8h", "snap-1a2b3c4d", "csnap-1a2b3c4d", "ins-1a2b3c4d"];
const AT = "2027-01-31T00:00:00+00:00";
const placed = { Placement: { Zone: "ap-local-1" }, DiskChargeType: "POSTPAID_BY_HOUR", DiskType: "CLOUD_PREMIUM" };
const tags = [{ Key: "team", Value: "data base" }, { Key: "env", Value: "" }];

export const EXAMPLES: readonly Shown[] = [
  asks("cbs", "CreateDisks", { ...placed, DiskSize: 20, DiskCount: 1, DiskName: "db" }),
  asks("cbs", "CreateDisks", { ...placed, DiskSize: 50, DiskCount: 3, DiskName: NASTY, SnapshotId: snapshot, Tags: tags, DeleteSnapshot: 1 }),
  asks("cbs", "AttachDisks", { DiskIds: [disk, other], InstanceId: instance }),
  asks("cbs", "DetachDisks", { DiskIds: [disk, other] }),
  asks("cbs", "ResizeDisk", { DiskId: disk, DiskSize: 50 }),
  asks("cbs", "ModifyDiskAttributes", { DiskIds: [disk], DiskName: "-yes" }),
  asks("cbs", "ModifyDiskAttributes", { DiskIds: [disk], DiskName: "数据 盘" }),
  asks("cbs", "InitializeDisks", { DiskIds: [disk] }),
  asks("cbs", "TerminateDisks", { DiskIds: [disk, other], DeleteSnapshot: 1 }),
  asks("cbs", "TerminateDisks", { DiskIds: [disk], DeleteSnapshot: 0 }),
  asks("cbs", "TerminateDisks", { DiskIds: [disk] }),
  asks("drystone", "RewriteDisk", { DiskId: disk }),
  asks("drystone", "AuditDisk", { DiskId: disk }),
  asks("drystone", "ImportDisk", { Path: "/srv/an image's.qcow2", Format: "qcow2", DiskName: NASTY, DiskSize: 30 }),
  asks("drystone", "ImportDisk", { Path: "-image.raw" }),
  asks("cbs", "CreateSnapshot", { DiskId: disk }),
  asks("cbs", "CreateSnapshot", { DiskId: disk, SnapshotName: NASTY, Deadline: AT, Tags: tags }),
  asks("cbs", "ModifySnapshotAttribute", { SnapshotId: snapshot, SnapshotName: "golden" }),
  asks("cbs", "ModifySnapshotAttribute", { SnapshotId: snapshot, IsPermanent: true }),
  asks("cbs", "ModifySnapshotAttribute", { SnapshotId: snapshot, Deadline: AT }),
  asks("cbs", "ApplySnapshot", { SnapshotId: snapshot, DiskId: disk }),
  asks("cbs", "DeleteSnapshots", { SnapshotIds: [snapshot, "snap-5e6f7g8h"] }),
  asks("drystone", "ExportSnapshot", { SnapshotId: snapshot, Path: "/srv/db.qcow2", Format: "qcow2" }),
  asks("cbs", "CreateSnapshotGroup", { DiskIds: [disk, other], SnapshotGroupName: "nightly", Tags: tags }),
  asks("cbs", "ApplySnapshotGroup", { SnapshotGroupId: group, ApplyDisks: [{ SnapshotId: snapshot, DiskId: disk }, { SnapshotId: "snap-5e6f7g8h", DiskId: other }] }),
  asks("cbs", "DeleteSnapshotGroup", { SnapshotGroupId: group }),
  asks("drystone", "SetQuiesceProfile", {
    ResourceId: disk, Mode: "require", FreezeSecondsMax: 10, ProveEveryH: 24,
    Steps: [{ Kind: "program", SecondsMax: 5, Freeze: ["/usr/bin/hold", NASTY], Thaw: ["/usr/bin/go"] }, { Kind: "filesystem", SecondsMax: 5, Mount: "/srv/a b" }],
  }),
  asks("drystone", "DeleteQuiesceProfile", { ResourceId: disk }),
  asks("drystone", "CreateInstance", { Kind: "NBD", InstanceName: "vm 1" }),
  asks("drystone", "DeleteInstance", { InstanceId: instance }),
  asks("drystone", "CreateAccount", { AccountName: "-team" }),
  asks("drystone", "SetAccountPassword", { AccountId: "100000000002" }),
  asks("drystone", "CreateKey", {}),
  asks("drystone", "DeleteKey", { SecretId: "AKIDexample", Force: true }),
  rollBackShown({ diskId: disk, snapshotId: snapshot, safetyName: "before", instanceId: instance, attachAgain: true }),
  rollBackShown({ diskId: disk, snapshotId: snapshot, safetyName: null, instanceId: null, attachAgain: false }),
  groupRollBackShown({ SnapshotGroupId: group, ApplyDisks: [{ SnapshotId: snapshot, DiskId: disk }] }, "before"),
];
