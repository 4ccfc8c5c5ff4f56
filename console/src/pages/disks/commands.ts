import type { DiskRow } from "../../api/queries";
import type { WordKey } from "../../words";

type LinuxCommand = { readonly key: WordKey & `use.${string}`; readonly text: string };

/** Whether nothing is known that a disk may hold: `mkfs` would destroy what came from a snapshot, or what one keeps. */
const maybeEmpty = ({ disk, detail }: DiskRow): boolean => disk.SnapshotCount === 0 && detail?.SourceSnapshotId === null && detail.BaseSnapshotId === null;

/** What one types to use a disk, as it is served now; nothing while it is not attached. */
export function linuxCommands(row: DiskRow): readonly LinuxCommand[] {
  const { detail, disk } = row;
  if (disk.DiskState !== "ATTACHED" || detail === undefined) return [];
  const format = (key: LinuxCommand["key"], device: string): readonly LinuxCommand[] => (maybeEmpty(row) ? [{ key, text: `mkfs.ext4 ${device}` }] : []);
  const mount = `/mnt/${disk.DiskId}`;
  if (detail.Device !== null) {
    return [
      ...format("use.format", detail.Device),
      { key: "use.mount", text: `mkdir -p ${mount} && mount ${detail.Device} ${mount}` },
      { key: "use.trim", text: `fstrim ${mount}` },
      { key: "use.unmount", text: `umount ${mount}` },
    ];
  }
  if (detail.NbdUri !== null) {
    const guest = `/dev/disk/by-id/virtio-${disk.DiskId}`;
    return [
      { key: "use.nbdInfo", text: `nbdinfo '${detail.NbdUri}'` },
      { key: "use.qemu", text: `qemu-system-x86_64 -drive 'file=${detail.NbdUri},format=raw,if=none,id=data' -device virtio-blk-pci,drive=data,serial=${disk.DiskId}` },
      ...format("use.guest", guest),
      { key: "use.guestMount", text: `mkdir -p ${mount} && mount ${guest} ${mount}` },
      { key: "use.nbdCopy", text: `nbdcopy '${detail.NbdUri}' ${disk.DiskId}.img` },
    ];
  }
  return [];
}
