import { Link } from "react-router";

import type { Page, SnapshotRow } from "../../api/queries";
import type { Disk } from "../../api/types";
import { nameText } from "../../parts/Copyable";
import { SnapshotTag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { missed } from "../../rules/quiesced";
import { bytes, GIB, MIB } from "../../units/bytes";
import { named, useWords } from "../../words";

const WIDTH_MIN = 0.6;

/** How long a bar is, in percent of the longest; what stored anything is seen. */
export function barWidth(stored: number, largest: number): number {
  if (stored <= 0 || largest <= 0) return 0;
  return Math.max(WIDTH_MIN, (100 * stored) / largest);
}

/** What the snapshots of a disk stored, bytes: the sum of what is shown of each where all are known, else what the API rounds up to MiB. */
export function storedOf(disk: Pick<Disk, "SnapshotCount" | "SnapshotSize">, page: Page<SnapshotRow> | undefined): number {
  const known = page?.rows.map(({ record }) => record?.StoredBytes ?? null).filter((stored) => stored !== null) ?? [];
  return page !== undefined && known.length === page.total && known.length === disk.SnapshotCount ? known.reduce((sum, stored) => sum + stored, 0) : disk.SnapshotSize * MIB;
}

/** The snapshots of a disk, newest first: when, how it was tracked, and what each stored. */
export function Timeline({ rows, base }: { readonly rows: readonly SnapshotRow[]; readonly base: string | null }) {
  const { t } = useWords();
  const largest = Math.max(0, ...rows.map((row) => row.record?.StoredBytes ?? 0));
  if (rows.length === 0) return <p className="quiet">{t("timeline.none")}</p>;
  return (
    <>
      {largest > 0 && <p className="field__hint timeline__scale">{t("timeline.scale", { size: bytes(largest) })}</p>}
      <ol className="timeline">
        {rows.map((row) => {
          const { snapshot, record } = row;
          const stored = record?.StoredBytes ?? null;
          const tracking = record?.Tracking ?? null;
          return (
            <li key={snapshot.SnapshotId} className={`timeline__item timeline__item--${tracking ?? "none"}`}>
              <span className="timeline__when">
                <Time text={record?.TakenAt ?? snapshot.CreateTime} />
                <small>
                  <Time text={record?.TakenAt ?? snapshot.CreateTime} exact />
                </small>
              </span>
              <span className="timeline__dot" aria-hidden="true" />
              <span className="timeline__what">
                <span className="timeline__line">
                  <Link to={`/snapshots/${snapshot.SnapshotId}`}>{nameText(t, snapshot.SnapshotName)}</Link>
                  <code>{snapshot.SnapshotId}</code>
                  {snapshot.SnapshotState !== "NORMAL" || record?.Damaged || record?.Suspect || missed(record).length > 0 ? <SnapshotTag row={row} /> : null}
                  {snapshot.SnapshotId === base && <small className="timeline__base">{t("timeline.base")}</small>}
                </span>
                <span className="timeline__bar" aria-hidden="true">
                  <i style={{ width: `${barWidth(stored ?? 0, largest)}%` }} />
                </span>
                <small>
                  {stored === null
                    ? t("timeline.unknown")
                    : t("timeline.stored", { stored: bytes(stored), size: bytes(snapshot.DiskSize * GIB) })}
                  {tracking !== null && ` · ${named(t, "record.tracking", tracking)}`}
                </small>
              </span>
            </li>
          );
        })}
      </ol>
    </>
  );
}
