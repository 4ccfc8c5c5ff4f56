import { Link } from "react-router";

import { fetchProtection } from "../../api/queries";
import type { DiskProtection } from "../../api/types";
import { NameAndId, Ref, shownName } from "../../parts/Copyable";
import type { Column } from "../../parts/DataTable";
import { SecuredIcon } from "../../parts/icons";
import { ListPage, useListPage, type ListOf } from "../../parts/ListPage";
import { FindingTag, Tag } from "../../parts/StateTag";
import { Time } from "../../parts/Time";
import { bytes, number } from "../../units/bytes";
import { parseTime } from "../../units/times";
import { named, useWords } from "../../words";

const PROTECTION: ListOf<DiskProtection> = {
  name: "protection",
  fetchPage: fetchProtection,
  busy: () => false,
  idOf: (disk) => disk.DiskId,
  exact: (text) => (text === "" ? [] : null),
  texts: (disk) => [disk.DiskId, disk.DiskName, disk.LastSnapshotId ?? "", disk.FailedReason ?? ""],
  filters: { protected: "protected" },
  values: {
    name: (disk) => shownName(disk.DiskName, ""),
    state: (disk) => String(disk.Protected),
    last: (disk) => parseTime(disk.LastSnapshotTime),
    consistency: (disk) => disk.Consistency ?? "",
    proof: (disk) => disk.ProofFinding ?? "",
    verified: (disk) => parseTime(disk.VerifiedTime),
    next: (disk) => parseTime(disk.NextRunTime),
    count: (disk) => disk.SnapshotCount,
    stored: (disk) => disk.StoredBytes,
  },
  units: { stored: "B" },
};

/** Whether a disk is protected, and what failed since its last good snapshot. */
function State({ disk }: { readonly disk: DiskProtection }) {
  const { t } = useWords();
  return (
    <span className="state-cell">
      <Tag tone={disk.Protected ? "good" : "bad"}>{named(t, "protection.state", String(disk.Protected))}</Tag>
      {disk.FailedCount > 0 && (
        <Link to={`/events?q=${disk.DiskId}`}>
          <small>{t("protection.failed", { count: disk.FailedCount })}</small>
        </Link>
      )}
    </span>
  );
}

/** How consistent the last good snapshot is; a warning where its profile asks for more. */
function Consistency({ disk }: { readonly disk: DiskProtection }) {
  const { t } = useWords();
  if (disk.Consistency === null) return <>–</>;
  const text = named(t, "consistency", disk.Consistency);
  const less = disk.ConsistencyAsked !== null && disk.ConsistencyAsked !== disk.Consistency;
  return less ? <Tag tone="warn">{text}</Tag> : <>{text}</>;
}

export default function ProtectionPage() {
  const { t, locale } = useWords();
  const columns: readonly Column<DiskProtection>[] = [
    { id: "name", title: t("protection.disk"), width: "minmax(140px, 1.2fr)", fixed: true, cell: (disk) => <NameAndId name={disk.DiskName} id={disk.DiskId} to={`/disks/${disk.DiskId}`} /> },
    { id: "state", title: t("common.state"), width: "minmax(130px, 1fr)", cell: (disk) => <State disk={disk} /> },
    {
      id: "last", title: t("protection.last"), width: "minmax(140px, 1fr)",
      cell: (disk) =>
        disk.LastSnapshotId === null ? t("protection.noSnapshot") : (
          <span className="stacked">
            <Time text={disk.LastSnapshotTime} />
            <Ref id={disk.LastSnapshotId} />
          </span>
        ),
    },
    { id: "consistency", title: t("snap.consistency"), width: "minmax(160px, 1fr)", cell: (disk) => <Consistency disk={disk} /> },
    {
      id: "proof", title: t("protection.proof"), width: "minmax(120px, .9fr)",
      cell: (disk) =>
        disk.ProofFinding === null ? "–" : (
          <span className="stacked">
            <FindingTag finding={disk.ProofFinding} />
            <small>
              <Time text={disk.ProofTime} />
            </small>
          </span>
        ),
    },
    { id: "verified", title: t("protection.verified"), width: "minmax(100px, .7fr)", cell: (disk) => <Time text={disk.VerifiedTime} /> },
    { id: "next", title: t("protection.next"), width: "minmax(100px, .7fr)", cell: (disk) => (disk.NextRunTime === null ? t("protection.noSchedule") : <Time text={disk.NextRunTime} />) },
    { id: "stored", title: t("protection.stored"), width: "minmax(80px, .6fr)", cell: (disk) => bytes(disk.StoredBytes) },
    { id: "count", title: t("nav.snapshots"), width: "minmax(80px, .5fr)", optional: true, cell: (disk) => number(disk.SnapshotCount, locale) },
  ];
  return (
    <ListPage
      page={useListPage(PROTECTION)}
      title={t("nav.protection")}
      lead={t("protection.lead")}
      columns={columns}
      choices={[
        {
          name: "protected", label: t("protection.filter"), any: t("protection.all"),
          options: ["false", "true"].map((value) => ({ value, text: named(t, "protection.state", value) })),
        },
      ]}
      empty={{ icon: <SecuredIcon />, title: t("protection.none"), text: t("protection.noneText") }}
    />
  );
}
