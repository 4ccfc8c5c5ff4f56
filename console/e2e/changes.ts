// What the made-up server does when it is asked to change something: as little as the pages need to see.
import type { Disk } from "../src/api/types";
import type { World } from "./world";

const ANSWERS: Readonly<Record<string, (world: World) => Record<string, unknown>>> = {
  AuditDisk: (world) => ({ SnapshotId: world.snapshots[1]?.SnapshotId ?? "" }),
  CancelOperation: () => ({}),
  CollectGarbage: () => ({ OperationId: null, Threshold: 20, PackCount: 0, PackBytes: 0, DeadBytes: 0 }),
  ConfirmStore: () => ({ WasHeld: "recovered" }),
  CreateAccount: () => ({ AccountId: "100000000003", SecretId: "AKIDmade", SecretKey: "secret" }),
  CreateDisks: (world) => ({ DiskIdSet: [world.disks[0]?.DiskId ?? ""] }),
  CreateInstance: () => ({ InstanceId: "ins-made0001" }),
  CreateKey: () => ({ SecretId: "AKIDmade", SecretKey: "secret" }),
  DeleteInstance: () => ({}),
  DeleteKey: () => ({}),
  ExportSnapshot: (world) => ({ OperationId: world.operations[1]?.OperationId ?? "" }),
  ImportDisk: (world) => ({ DiskId: world.disks[0]?.DiskId ?? "", OperationId: world.operations[1]?.OperationId ?? "" }),
  InitializeDisks: () => ({}),
  ModifyDiskAttributes: () => ({}),
  ModifySnapshotAttribute: () => ({}),
  ResizeDisk: () => ({}),
  RetryOperation: (world) => ({ OperationId: world.operations[1]?.OperationId ?? "" }),
  RewriteDisk: (world) => ({ OperationId: world.operations[1]?.OperationId ?? "" }),
  ScrubStore: (world) => ({ RequestedAt: new Date(world.now).toISOString() }),
  SetAccountPassword: () => ({ Password: "four words made up" }),
};

/** Answers a change; undefined for one that is not known. */
export function change(world: World, action: string, body: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const ids = (body["DiskIds"] ?? []) as readonly string[];
  const set = (with_: Partial<Disk>) => world.disks.forEach((disk, index) => ids.includes(disk.DiskId) && world.disks.splice(index, 1, { ...disk, ...with_ }));
  if (action === "AttachDisks") {
    set({ DiskState: "ATTACHED", InstanceId: String(body["InstanceId"]) });
    return {};
  }
  if (action === "DetachDisks") {
    set({ DiskState: "UNATTACHED", InstanceId: "" });
    return {};
  }
  if (action === "TerminateDisks") {
    ids.forEach((id) => world.disks.splice(world.disks.findIndex((disk) => disk.DiskId === id), 1));
    return {};
  }
  return ANSWERS[action]?.(world);
}
