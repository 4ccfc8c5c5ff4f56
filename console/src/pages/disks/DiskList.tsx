import type { DiskRow } from "../../api/queries";
import { NameAndId } from "../../parts/Copyable";
import { gib } from "../../units/bytes";

/** The disks that a dialog is about. */
export function DiskList({ rows }: { readonly rows: readonly DiskRow[] }) {
  return (
    <ul className="what-list">
      {rows.map(({ disk }) => (
        <li key={disk.DiskId}>
          <NameAndId name={disk.DiskName} id={disk.DiskId} />
          <span>{gib(disk.DiskSize)}</span>
        </li>
      ))}
    </ul>
  );
}
