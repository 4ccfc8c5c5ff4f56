import { useState } from "react";

import { useAnswer, useSession, useSnapshot, type SnapshotRow } from "../../api/queries";
import type { Tag } from "../../api/types";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { nameText } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { CheckField, ChoiceField, NameField, nameIsTooLong, sentTags, TagsField, TextField } from "../../parts/Field";
import { limitsOf } from "../../rules/limits";
import { gib, number } from "../../units/bytes";
import { named, useWords } from "../../words";

const CHARGE = "POSTPAID_BY_HOUR";
const TYPE = "CLOUD_PREMIUM";
const COUNT_MAX = 50;
const SIZE_DEFAULT = 20;

type Props = {
  /** Make it from this snapshot. */
  readonly from?: SnapshotRow;
  readonly onClose: () => void;
};

/** New disks: empty, or with what a snapshot holds. */
export function CreateDiskDialog({ from, onClose }: Props) {
  const { t, locale } = useWords();
  const session = useSession();
  const zone = session.data?.Zones[0] ?? "";
  const [sourceId, setSourceId] = useState(from?.snapshot.SnapshotId ?? "");
  const [fromSnapshot, setFromSnapshot] = useState(from !== undefined);
  const found = useSnapshot(fromSnapshot && /^snap-[a-z0-9]{8}$/.test(sourceId) ? sourceId : "");
  const source = from?.snapshot ?? found.data?.snapshot;
  const smallest = fromSnapshot ? (source?.DiskSize ?? 0) : 0;
  const [name, setName] = useState("");
  const [type, setType] = useState(TYPE);
  const [sizeText, setSizeText] = useState(String(from?.snapshot.DiskSize ?? SIZE_DEFAULT));
  const [countText, setCountText] = useState("1");
  const [tags, setTags] = useState<readonly Tag[]>([]);
  const [withSnapshots, setWithSnapshots] = useState(false);
  const [token] = useState(() => `console-${Date.now()}-${Math.random().toString(36).slice(2, 12)}`);
  const create = useAsked("cbs", "CreateDisks", onClose, ({ DiskIdSet }) => t("newDisk.done", { count: DiskIdSet.length, ids: DiskIdSet.join(", ") }));
  const configs = useAnswer(
    "cbs",
    "DescribeDiskConfigQuota",
    { InquiryType: "INQUIRY_CBS_CONFIG", DiskChargeType: CHARGE, DiskUsage: "DATA_DISK" },
    { everyMs: false, staleMs: 60_000 },
  );
  const types = (configs.data?.DiskConfigSet ?? []).filter((config) => config.Available);
  const config = types.find((one) => one.DiskType === type);
  const size = Number(sizeText);
  const count = Number(countText);
  const least = Math.max(config?.MinDiskSize ?? 1, smallest);
  const most = config?.MaxDiskSize ?? 32_000;
  const sizeIsRight = Number.isInteger(size) && size >= least && size <= most;
  const countIsRight = Number.isInteger(count) && count >= 1 && count <= COUNT_MAX;
  const longName = nameIsTooLong(name, "disk");
  const sourceIsRight = !fromSnapshot || source !== undefined;

  const limitsText = (kind: string): string => {
    const limits = limitsOf(kind, size);
    return limits === null ? "" : t("newDisk.limits", { iops: number(limits.iops, locale), mib: number(limits.mibPerS, locale) });
  };

  const parameters = {
    Placement: { Zone: zone },
    DiskChargeType: CHARGE,
    DiskType: type,
    DiskSize: size,
    DiskCount: count,
    ...(name === "" ? {} : { DiskName: name }),
    ...(fromSnapshot ? { SnapshotId: sourceId } : {}),
    ...(sentTags(tags).length === 0 ? {} : { Tags: sentTags(tags) }),
    ...(withSnapshots ? { DeleteSnapshot: 1 } : {}),
  };
  return (
    <Dialog
      {...create.dialog}
      title={from ? t("newDisk.titleFrom") : t("newDisk.button")}
      // The same form sent twice makes its disks once.
      onSubmit={() => create.send({ ...parameters, ClientToken: token })}
      shows={asks("cbs", "CreateDisks", parameters)}
      submitText={t("newDisk.submit")}
      ready={sizeIsRight && countIsRight && !longName && zone !== "" && sourceIsRight}
      error={create.dialog.error ?? configs.error}
      wide
    >
      {from && (
        <p className="dialog__what">
          {t("newDisk.from")} <strong>{nameText(t, from.snapshot.SnapshotName)}</strong>{" "}
          <code>{from.snapshot.SnapshotId}</code>
          <small>{t("newDisk.fromHint")}</small>
        </p>
      )}
      <div className="pair">
        <NameField value={name} onChange={setName} kind="disk" optional />
        <TextField
          label={t("newDisk.count")}
          type="number"
          value={countText}
          onChange={setCountText}
          error={countIsRight ? null : t("newDisk.countBad", { most: COUNT_MAX })}
        />
      </div>
      <div className="pair">
        <TextField
          label={t("disk.size")}
          type="number"
          value={sizeText}
          onChange={setSizeText}
          suffix="GiB"
          hint={t("newDisk.sizeHint", { least, most })}
          error={sizeIsRight ? null : t("newDisk.sizeBad", { least, most })}
        />
        <ChoiceField
          label={t("disk.type")}
          value={type}
          onChange={setType}
          options={types.map((one) => ({ value: one.DiskType, text: [named(t, "disk.type", one.DiskType), limitsText(one.DiskType)].filter(Boolean).join(": ") }))}
          hint={t("newDisk.typeHint")}
        />
      </div>
      {!from && (
        <CheckField checked={fromSnapshot} onChange={setFromSnapshot}>
          {t("newDisk.useSnapshot")}
        </CheckField>
      )}
      {!from && fromSnapshot && (
        <TextField
          label={t("newDisk.snapshotId")}
          value={sourceId}
          onChange={(id) => setSourceId(id.trim())}
          placeholder="snap-…"
          hint={source ? `${nameText(t, source.SnapshotName)} · ${gib(source.DiskSize)}` : t("newDisk.snapshotHint")}
          error={found.data === null ? t("newDisk.noSnapshot") : null}
        />
      )}
      <TagsField tags={tags} onChange={setTags} />
      <CheckField checked={withSnapshots} onChange={setWithSnapshots}>
        {t("newDisk.deleteSnapshots")}
      </CheckField>
    </Dialog>
  );
}
