import { useAnswer } from "../../api/queries";
import { ErrorNote } from "../../parts/ErrorNote";
import { Card, Facts, Pending } from "../../parts/Page";
import { bytes, number, percent } from "../../units/bytes";
import { named, useWords } from "../../words";

function Use({ used, most, text }: { readonly used: number; readonly most: number; readonly text: string }) {
  return (
    <span className="quota">
      <span>{text}</span>
      {most > 0 && <progress max={100} value={percent(used, most)} aria-label={text} />}
    </span>
  );
}

export function Quotas() {
  const { t, locale } = useWords();
  const quotas = useAnswer("drystone", "DescribeQuotas", {});
  const types = useAnswer(
    "cbs",
    "DescribeDiskConfigQuota",
    { InquiryType: "INQUIRY_CBS_CONFIG", DiskChargeType: "POSTPAID_BY_HOUR", DiskUsage: "DATA_DISK" },
    { everyMs: false, staleMs: 60_000 },
  );
  const q = quotas.data;
  const count = (value: number) => number(value, locale);
  const limited = (used: string, limit: number, most: string) =>
    limit === 0 ? t("quota.noLimit", { used }) : t("quota.of", { used, most });
  return (
    <>
      <Card title={t("settings.quotas")}>
        <Pending answer={quotas} />
        {q && (
          <Facts
            facts={[
              {
                name: t("nav.disks"),
                value: <Use used={q.DisksCount} most={q.DisksMax} text={limited(count(q.DisksCount), q.DisksMax, count(q.DisksMax))} />,
              },
              {
                name: t("quota.diskSize"),
                value: <Use used={q.DiskGib} most={q.DiskGibMax} text={limited(`${count(q.DiskGib)} GiB`, q.DiskGibMax, `${count(q.DiskGibMax)} GiB`)} />,
              },
              {
                name: t("nav.snapshots"),
                value: <Use used={q.SnapshotsCount} most={q.SnapshotsMax} text={t("quota.of", { used: count(q.SnapshotsCount), most: count(q.SnapshotsMax) })} />,
              },
              {
                name: t("quota.bytes"),
                value: (
                  <Use
                    used={q.SnapshotBytes}
                    most={q.SnapshotBytesMax}
                    text={limited(bytes(q.SnapshotBytes), q.SnapshotBytesMax, bytes(q.SnapshotBytesMax))}
                  />
                ),
              },
              { name: t("quota.perDisk"), value: count(q.SnapshotsPerDiskMax) },
              { name: t("quota.perInstance"), value: count(q.DisksPerInstanceMax) },
              { name: t("quota.perCall"), value: count(q.DisksPerCallMax) },
            ]}
          />
        )}
      </Card>
      <Card title={t("quota.types")}>
        <ErrorNote error={types.error} />
        <Facts
          facts={(types.data?.DiskConfigSet ?? [])
            .filter((one) => one.Available)
            .map((one) => ({
              name: named(t, "disk.type", one.DiskType),
              value: `${count(one.MinDiskSize)} – ${count(one.MaxDiskSize)} GiB`,
            }))}
        />
      </Card>
    </>
  );
}
