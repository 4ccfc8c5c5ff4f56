// What is asked before a policy is made, changed or deleted, and which disks it has.
import { useRef, useState } from "react";
import { Button } from "tdesign-react/es/button";

import { call } from "../../api/client";
import { useAnswer, useChanges, useDisks } from "../../api/queries";
import type { PolicyDetail } from "../../api/types";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { NameAndId } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { CheckField, ChoiceField, NameField, nameIsTooLong, TextField } from "../../parts/Field";
import { AddIcon } from "../../parts/icons";
import { Loading } from "../../parts/Page";
import { toggled } from "../../parts/toggled";
import { useWords } from "../../words";
import { Calendar } from "./Calendar";
import { createParameters, formOf, isComplete, KEEPS, NEW_POLICY, NEW_TRIGGER, optionsOf, PERIODS, simulated, triggersOf, WAYS, weekday, type PolicyForm, type TriggerForm } from "./policyForm";

const SIMULATED_DAYS = 35;
const TRIGGERS_MAX = 10;

/** A new policy, or what one that is there becomes. */
export function PolicyDialog({ policy, onClose }: { readonly policy?: PolicyDetail; readonly onClose: () => void }) {
  const { t } = useWords();
  const [form, setForm] = useState<PolicyForm>(() => (policy === undefined ? NEW_POLICY : formOf(policy)));
  const ready = isComplete(form) && !nameIsTooLong(form.name, "policy");
  const preview = useAnswer("drystone", "DescribePolicySimulation", simulated(form, SIMULATED_DAYS), { everyMs: false, enabled: ready });
  // A new one is made, then has its options set. If that is refused, saving again changes the one that was made.
  const saved = useRef(policy?.PolicyId);
  const [before, setBefore] = useState(policy?.PolicyName ?? "");
  const save = useChanges(async () => {
    if (saved.current === undefined) saved.current = (await call("cbs", "CreateAutoSnapshotPolicy", createParameters(form))).AutoSnapshotPolicyId;
    else await call("cbs", "ModifyAutoSnapshotPolicyAttribute", { AutoSnapshotPolicyId: saved.current, Policy: triggersOf(form), ...(form.name === "" ? {} : { AutoSnapshotPolicyName: form.name }) });
    setBefore(form.name);
    await call("drystone", "SetPolicyOptions", { PolicyId: saved.current, ...optionsOf(form) });
  });
  const set = (more: Partial<PolicyForm>) => setForm({ ...form, ...more });
  const setTrigger = (at: number, more: Partial<TriggerForm>) => set({ triggers: form.triggers.map((one, index) => (index === at ? { ...one, ...more } : one)) });
  const shows = policy === undefined
    ? asks("cbs", "CreateAutoSnapshotPolicy", createParameters(form))
    : { lines: [], calls: [asks("cbs", "ModifyAutoSnapshotPolicyAttribute", { AutoSnapshotPolicyId: policy.PolicyId, Policy: triggersOf(form) }), asks("drystone", "SetPolicyOptions", { PolicyId: policy.PolicyId, ...optionsOf(form) })] };
  return (
    <Dialog
      title={policy === undefined ? t("policy.create") : t("policy.editTitle")}
      onClose={onClose}
      onSubmit={() => save.mutate(undefined, { onSuccess: onClose })}
      shows={ready ? shows : null}
      ready={ready}
      busy={save.isPending}
      error={save.error ?? preview.error}
      wide
    >
      <NameField value={form.name} onChange={(name) => set({ name })} kind="policy" before={before} optional />
      {form.triggers.map((trigger, index) => (
        <Trigger
          key={index}
          trigger={trigger}
          onChange={(more) => setTrigger(index, more)}
          {...(form.triggers.length > 1 ? { onRemove: () => set({ triggers: form.triggers.filter((_, other) => other !== index) }) } : {})}
        />
      ))}
      {form.triggers.length < TRIGGERS_MAX && (
        <p>
          <Button size="small" variant="text" theme="primary" icon={<AddIcon />} onClick={() => set({ triggers: [...form.triggers, NEW_TRIGGER] })}>
            {t("policy.when")}
          </Button>
        </p>
      )}
      <div className="pair">
        <ChoiceField label={t("policy.keep")} value={form.keep} options={KEEPS.map((value) => ({ value, text: t(`policy.keep.${value}`) }))} onChange={(value) => set({ keep: KEEPS.find((one) => one === value) ?? "days" })} />
        {form.keep !== "spread" && form.keep !== "permanent" && <TextField label={t("policy.keepCount")} type="number" value={form.count} onChange={(count) => set({ count })} />}
      </div>
      {form.keep === "spread" && (
        <div className="quarter">
          {PERIODS.map((name) => (
            <TextField key={name} label={t(`policy.spread.${name}`)} type="number" value={form.spread[name]} onChange={(value) => set({ spread: { ...form.spread, [name]: value } })} />
          ))}
        </div>
      )}
      <TextField label={t("policy.zone")} value={form.zone} onChange={(zone) => set({ zone })} hint={t("policy.zoneHint")} />
      <CheckField checked={form.group} onChange={(group) => set({ group })}>
        {t("policy.group")}
      </CheckField>
      <CheckField checked={form.skip} onChange={(skip) => set({ skip })}>
        {t("policy.skip")}
      </CheckField>
      {ready ? preview.data && <Calendar simulation={preview.data} /> : <p className="field__error">{t("policy.unready")}</p>}
    </Dialog>
  );
}

type TriggerProps = { readonly trigger: TriggerForm; readonly onChange: (more: Partial<TriggerForm>) => void; readonly onRemove?: () => void };

function Trigger({ trigger, onChange, onRemove }: TriggerProps) {
  const { t, locale } = useWords();
  return (
    <fieldset className="field trigger">
      <legend className="field__label">{t("policy.when")}</legend>
      <Grid label={t("policy.hours")} columns={12} all={HOURS} chosen={trigger.hours} onChange={(hours) => onChange({ hours })} text={(hour) => String(hour).padStart(2, "0")} title={(hour) => `${String(hour).padStart(2, "0")}:00`} />
      <ChoiceField label={t("policy.days")} value={trigger.way} options={WAYS.map((value) => ({ value, text: t(`policy.way.${value}`) }))} onChange={(value) => onChange({ way: WAYS.find((one) => one === value) ?? "week" })} />
      {trigger.way === "week" && <Grid label={t("policy.way.week")} columns={7} all={WEEK} chosen={trigger.week} onChange={(week) => onChange({ week })} text={(day) => weekday(day, locale)} title={(day) => weekday(day, locale)} />}
      {trigger.way === "month" && <Grid label={t("policy.way.month")} columns={7} all={MONTH} chosen={trigger.month} onChange={(month) => onChange({ month })} text={String} title={String} />}
      {trigger.way === "interval" && <TextField label={t("policy.interval")} type="number" value={trigger.interval} onChange={(interval) => onChange({ interval })} />}
      {onRemove && (
        <Button size="small" variant="text" theme="danger" onClick={onRemove}>
          {t("policy.delete")}
        </Button>
      )}
    </fieldset>
  );
}

const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
// Monday first.
const WEEK = [1, 2, 3, 4, 5, 6, 0];
const MONTH = Array.from({ length: 31 }, (_, day) => day + 1);

type GridProps = {
  readonly label: string;
  readonly columns: number;
  readonly all: readonly number[];
  readonly chosen: readonly number[];
  readonly onChange: (chosen: readonly number[]) => void;
  readonly text: (value: number) => string;
  readonly title: (value: number) => string;
};

/** Buttons that are on or off. */
function Grid({ label, columns, all, chosen, onChange, text, title }: GridProps) {
  return (
    <div className="field">
      <span className="field__label">{label}</span>
      <div className="toggles" role="group" aria-label={label} style={{ gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
        {all.map((value) => (
          <button type="button" key={value} aria-pressed={chosen.includes(value)} aria-label={title(value)} onClick={() => onChange(chosen.includes(value) ? chosen.filter((one) => one !== value) : [...chosen, value])}>
            {text(value)}
          </button>
        ))}
      </div>
    </div>
  );
}

/** Which disks a policy takes snapshots of. */
export function BindDialog({ policy, onClose }: { readonly policy: PolicyDetail; readonly onClose: () => void }) {
  const { t } = useWords();
  const disks = useDisks({}, true);
  const [wanted, setWanted] = useState<ReadonlySet<string>>(() => new Set(policy.DiskIds));
  const added = [...wanted].filter((id) => !policy.DiskIds.includes(id));
  const removed = policy.DiskIds.filter((id) => !wanted.has(id));
  const id = { AutoSnapshotPolicyId: policy.PolicyId };
  const calls = [
    ...(added.length === 0 ? [] : [asks("cbs", "BindAutoSnapshotPolicy", { ...id, DiskIds: added })]),
    ...(removed.length === 0 ? [] : [asks("cbs", "UnbindAutoSnapshotPolicy", { ...id, DiskIds: removed })]),
  ];
  const save = useChanges(async () => {
    if (added.length > 0) await call("cbs", "BindAutoSnapshotPolicy", { ...id, DiskIds: added });
    if (removed.length > 0) await call("cbs", "UnbindAutoSnapshotPolicy", { ...id, DiskIds: removed });
  });
  return (
    <Dialog title={t("policy.bindTitle")} onClose={onClose} onSubmit={() => save.mutate(undefined, { onSuccess: onClose })} shows={calls.length === 0 ? null : { lines: [], calls }} ready={calls.length > 0} busy={save.isPending} error={save.error ?? disks.error}>
      <p>{t("policy.bindText")}</p>
      {disks.data === undefined && <Loading />}
      <ul className="what-list">
        {disks.data?.rows.map(({ disk }) => (
          <li key={disk.DiskId}>
            <label className="check">
              <input type="checkbox" checked={wanted.has(disk.DiskId)} onChange={() => setWanted(toggled(wanted, disk.DiskId))} />
              <NameAndId name={disk.DiskName} id={disk.DiskId} />
            </label>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

export function DeleteDialog({ policy, onClose, onRemoved }: { readonly policy: PolicyDetail; readonly onClose: () => void; readonly onRemoved?: () => void }) {
  const { t } = useWords();
  const end = () => {
    onRemoved?.();
    onClose();
  };
  const remove = useAsked("cbs", "DeleteAutoSnapshotPolicies", end);
  const parameters = { AutoSnapshotPolicyIds: [policy.PolicyId] };
  return (
    <Dialog {...remove.dialog} onClose={onClose} title={t("policy.deleteTitle")} onSubmit={() => remove.send(parameters)} shows={asks("cbs", "DeleteAutoSnapshotPolicies", parameters)} submitText={t("policy.delete")} danger>
      <p>
        <NameAndId name={policy.PolicyName} id={policy.PolicyId} />
      </p>
      <p>{t("policy.deleteText")}</p>
    </Dialog>
  );
}
