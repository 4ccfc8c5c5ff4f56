import { useState } from "react";
import { Button } from "tdesign-react/es/button";

import type { QuiesceProfile } from "../../api/types";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { RefText } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { Choice, ChoiceField, TextField } from "../../parts/Field";
import { AddIcon, ArrowUpIcon, CloseIcon } from "../../parts/icons";
import { named, useWords } from "../../words";
import {
  FIELDS, formOf, inOrder, isComplete, KINDS, newStep, proofHoursAreRight, secondsAreRight, sentProfile, STEPS_MAX, type Kind, type StepForm,
} from "./profileForm";

type Props = { readonly resourceId: string; readonly profile: QuiesceProfile | undefined; readonly onClose: () => void };

/** The editor of what is held still around each snapshot of a disk or of an instance's disks. */
export function ProfileDialog({ resourceId, profile, onClose }: Props) {
  const { t } = useWords();
  const [form, setForm] = useState(() => {
    const there = formOf(profile);
    return there.steps.length === 0 ? { ...there, steps: [newStep("filesystem")] } : there;
  });
  const set = useAsked("drystone", "SetQuiesceProfile", onClose, t("profile.done"));
  const parameters = { ResourceId: resourceId, ...sentProfile(form) };
  const setSteps = (steps: readonly StepForm[]) => setForm({ ...form, steps: inOrder(steps) });
  return (
    <Dialog
      {...set.dialog}
      title={t("profile.title")}
      onSubmit={() => set.send(parameters)}
      shows={asks("drystone", "SetQuiesceProfile", parameters)}
      ready={isComplete(form)}
      wide
    >
      <p>
        {t(resourceId.startsWith("ins-") ? "profile.ofInstance" : "profile.ofDisk")} <RefText id={resourceId} />
      </p>
      <ol className="steps">
        {form.steps.map((step, index) => (
          <Step
            key={index}
            number={index + 1}
            step={step}
            onChange={(changed) => setSteps(form.steps.map((old, at) => (at === index ? changed : old)))}
            onRemove={() => setSteps(form.steps.filter((_, at) => at !== index))}
            onUp={() => setSteps(form.steps.map((old, at) => (at === index - 1 ? step : at === index ? (form.steps[index - 1] ?? old) : old)))}
          />
        ))}
      </ol>
      {form.steps.length < STEPS_MAX && (
        <p>
          <Button size="small" variant="text" theme="primary" icon={<AddIcon />} onClick={() => setSteps([...form.steps, newStep("mariadb")])}>
            {t("profile.addStep")}
          </Button>
        </p>
      )}
      <ChoiceField
        label={t("profile.mode")}
        value={form.mode}
        onChange={(mode) => setForm({ ...form, mode })}
        options={[
          { value: "require", text: t("profile.require") },
          { value: "prefer", text: t("profile.prefer") },
        ]}
      />
      <div className="pair">
        <TextField
          label={t("profile.seconds")}
          type="number"
          value={form.seconds}
          onChange={(seconds) => setForm({ ...form, seconds })}
          suffix="s"
          hint={t("profile.secondsHint")}
          error={secondsAreRight(form.seconds) ? null : t("profile.secondsBad")}
        />
        <TextField
          label={t("profile.prove")}
          type="number"
          value={form.proveEveryH}
          onChange={(proveEveryH) => setForm({ ...form, proveEveryH })}
          suffix="h"
          placeholder={t("profile.proveNever")}
          hint={t("profile.proveHint")}
          error={proofHoursAreRight(form.proveEveryH) ? null : t("profile.proveBad")}
        />
      </div>
    </Dialog>
  );
}

type StepProps = {
  readonly number: number;
  readonly step: StepForm;
  readonly onChange: (step: StepForm) => void;
  readonly onRemove: () => void;
  readonly onUp: () => void;
};

function Step({ number, step, onChange, onRemove, onUp }: StepProps) {
  const { t } = useWords();
  return (
    <li className="step">
      <div className="step__head">
        <Choice
          label={t("profile.kind", { number })}
          value={step.kind}
          options={KINDS.map((kind) => ({ value: kind, text: named(t, "profile.kindOf", kind) }))}
          onChange={(kind) => onChange({ ...step, kind: kind as Kind })}
        />
        <span className="tools__space" />
        {number > 1 && (
          <button type="button" className="plain" aria-label={t("profile.up")} title={t("profile.up")} onClick={onUp}>
            <ArrowUpIcon />
          </button>
        )}
        <button type="button" className="plain" aria-label={t("profile.removeStep")} title={t("profile.removeStep")} onClick={onRemove}>
          <CloseIcon />
        </button>
      </div>
      {FIELDS[step.kind].map((name) => (
        <TextField
          key={name}
          label={t(`profile.field.${name}`)}
          value={step[name]}
          onChange={(value) => onChange({ ...step, [name]: value })}
          hint={t(`profile.hint.${name}`)}
        />
      ))}
      <TextField
        label={t("profile.stepSeconds")}
        type="number"
        value={step.seconds}
        onChange={(seconds) => onChange({ ...step, seconds })}
        suffix="s"
        error={secondsAreRight(step.seconds) ? null : t("profile.secondsBad")}
      />
    </li>
  );
}
