import type { DiskRow } from "../../api/queries";
import type { WordKey } from "../../words";

type LinuxCommand = { readonly key: WordKey & `use.${string}`; readonly text: string };

/** What one types to use a disk, as it is served now; nothing while it is not attached. */
export function linuxCommands(row: DiskRow): readonly LinuxCommand[] {
  const { detail, disk } = row;
  if (disk.DiskState !== "ATTACHED" || detail === undefined) return [];
  const mount = `/mnt/${disk.DiskId}`;
  if (detail.Device !== null) {
    return [
      { key: "use.format", text: `mkfs.ext4 ${detail.Device}` },
      { key: "use.mount", text: `mkdir -p ${mount} && mount ${detail.Device} ${mount}` },
      { key: "use.trim", text: `fstrim ${mount}` },
      { key: "use.unmount", text: `umount ${mount}` },
    ];
  }
  if (detail.NbdUri !== null) {
    return [
      { key: "use.nbdInfo", text: `nbdinfo '${detail.NbdUri}'` },
      { key: "use.qemu", text: `qemu-system-x86_64 -drive 'file=${detail.NbdUri},format=raw,if=none,id=data' -device virtio-blk-pci,drive=data,serial=${disk.DiskId}` },
      { key: "use.guest", text: `mkfs.ext4 /dev/disk/by-id/virtio-${disk.DiskId}` },
      { key: "use.nbdCopy", text: `nbdcopy '${detail.NbdUri}' ${disk.DiskId}.img` },
    ];
  }
  return [];
}
