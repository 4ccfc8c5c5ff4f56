// Form fields with their labels. TDesign's inputs take no id and no aria attributes of their own, so the label is
// wrapped around them; choices are the browser's, which phones and screen readers know.
import { useState, type ReactNode } from "react";
import { Button } from "tdesign-react/es/button";
import { Input } from "tdesign-react/es/input";

import { useNameTaken, type Named } from "../api/queries";
import type { Tag } from "../api/types";
import { useWords } from "../words";
import { AddIcon, CloseIcon } from "./icons";

type FieldProps = {
  readonly label: string;
  readonly hint?: ReactNode;
  readonly error?: string | null;
  readonly children: ReactNode;
};

export function Field({ label, hint, error, children }: FieldProps) {
  return (
    <label className="field">
      <span className="field__label">{label}</span>
      {children}
      {error ? <span className="field__error">{error}</span> : hint ? <span className="field__hint">{hint}</span> : null}
    </label>
  );
}

type TextProps = Omit<FieldProps, "children"> & {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly placeholder?: string;
  readonly type?: "text" | "password" | "number" | "search";
  readonly autofocus?: boolean;
  readonly autocomplete?: string;
  readonly suffix?: string;
  readonly name?: string;
};

export function TextField({ label, hint, error, value, onChange, placeholder, type, autofocus, autocomplete, suffix, name }: TextProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      <Input
        value={value}
        onChange={(text: string) => onChange(text)}
        placeholder={placeholder ?? ""}
        type={type ?? "text"}
        autofocus={autofocus ?? false}
        autocomplete={autocomplete ?? "off"}
        suffix={suffix}
        name={name}
        status={error ? "error" : "default"}
      />
    </Field>
  );
}

export type Option = { readonly value: string; readonly text: string; readonly disabled?: boolean };

type ChoiceProps = {
  readonly value: string;
  readonly options: readonly Option[];
  readonly onChange: (value: string) => void;
  readonly label?: string;
};

export function Choice({ value, options, onChange, label }: ChoiceProps) {
  return (
    <select className="choice" value={value} aria-label={label} onChange={(event) => onChange(event.target.value)}>
      {options.map((option) => (
        <option key={option.value} value={option.value} disabled={option.disabled ?? false}>
          {option.text}
        </option>
      ))}
    </select>
  );
}

export function ChoiceField(props: Omit<FieldProps, "children"> & ChoiceProps & { readonly label: string }) {
  return (
    <Field label={props.label} hint={props.hint} error={props.error ?? null}>
      <Choice value={props.value} options={props.options} onChange={props.onChange} />
    </Field>
  );
}

type CheckProps = {
  readonly checked: boolean;
  readonly onChange: (checked: boolean) => void;
  readonly children: ReactNode;
};

export function CheckField({ checked, onChange, children }: CheckProps) {
  return (
    <label className="check">
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.target.checked)} />
      <span>{children}</span>
    </label>
  );
}

const TAGS_MAX = 50;

/** Rows of key and value; those without a key do not count. */
export function TagsField({ tags, onChange }: { readonly tags: readonly Tag[]; readonly onChange: (tags: readonly Tag[]) => void }) {
  const { t } = useWords();
  const replace = (at: number, tag: Tag) => onChange(tags.map((old, index) => (index === at ? tag : old)));
  return (
    <fieldset className="field tags-field">
      <legend className="field__label">{t("field.tags")}</legend>
      {tags.map((tag, index) => (
        <div className="tags-field__row" key={index}>
          <label>
            <span className="unseen">{t("field.tagKey")}</span>
            <Input value={tag.Key} placeholder={t("field.tagKey")} onChange={(Key: string) => replace(index, { ...tag, Key })} />
          </label>
          <label>
            <span className="unseen">{t("field.tagValue")}</span>
            <Input
              value={tag.Value}
              placeholder={t("field.tagValue")}
              onChange={(Value: string) => replace(index, { ...tag, Value })}
            />
          </label>
          <button
            type="button"
            className="plain"
            aria-label={t("field.tagRemove")}
            onClick={() => onChange(tags.filter((_, other) => other !== index))}
          >
            <CloseIcon />
          </button>
        </div>
      ))}
      {tags.length < TAGS_MAX && (
        <Button
          size="small"
          variant="text"
          theme="primary"
          icon={<AddIcon />}
          onClick={() => onChange([...tags, { Key: "", Value: "" }])}
        >
          {t("field.tagAdd")}
        </Button>
      )}
    </fieldset>
  );
}

/** Tags as they are sent: none without a key. */
export const sentTags = (tags: readonly Tag[]): readonly Tag[] => tags.filter((tag) => tag.Key !== "");

const EXPIRY_DAYS = [1, 7, 30, 90, 365] as const;

/** How long a snapshot is kept: for ever (""), or for so many days. */
export function ExpiryField({ value, onChange }: { readonly value: string; readonly onChange: (days: string) => void }) {
  const { t } = useWords();
  const [own, setOwn] = useState(false);
  const days = Number(value);
  const bad = own && !(Number.isInteger(days) && days >= 1 && days <= 3650);
  const options = [
    { value: "", text: t("expiry.never") },
    ...EXPIRY_DAYS.map((count) => ({ value: String(count), text: t("expiry.days", { count }) })),
    { value: "own", text: t("expiry.own") },
  ];
  return (
    <>
      <ChoiceField
        label={t("field.expiry")}
        hint={value === "" ? t("expiry.neverHint") : t("expiry.hint")}
        value={own ? "own" : value}
        options={options}
        onChange={(chosen) => {
          setOwn(chosen === "own");
          onChange(chosen === "own" ? "14" : chosen);
        }}
      />
      {own && (
        <TextField
          label={t("expiry.ownDays")}
          type="number"
          value={value}
          onChange={onChange}
          error={bad ? t("expiry.ownBad") : null}
        />
      )}
    </>
  );
}

export const expiryIsRight = (value: string): boolean =>
  value === "" || (Number.isInteger(Number(value)) && Number(value) >= 1 && Number(value) <= 3650);

const NAME_MAX = 60;
/** What the length of a name is counted in (CBS). */
const UNITS = { disk: "bytes", policy: "bytes", snapshot: "characters", group: "characters" } as const satisfies Record<Named, string>;

export function nameIsTooLong(name: string, kind: Named): boolean {
  return (UNITS[kind] === "bytes" ? new TextEncoder().encode(name).length : [...name].length) > NAME_MAX;
}

type NameProps = Pick<TextProps, "value" | "onChange"> & { readonly label?: string; readonly kind: Named; readonly before?: string; readonly optional?: boolean };

/** A name; says when it is too long, and warns when it is taken by another than the one that was called `before`. */
export function NameField({ label, kind, before, optional = false, ...rest }: NameProps) {
  const { t } = useWords();
  const long = nameIsTooLong(rest.value, kind);
  const taken = useNameTaken(kind, long ? "" : rest.value, before);
  return (
    <TextField
      {...rest}
      label={label ?? t("field.name")}
      placeholder={optional ? t("field.optional") : ""}
      error={long ? t(`field.nameLong.${UNITS[kind]}`) : null}
      hint={taken ? <span className="field__warn" role="status">{t(`field.nameTaken.${kind}`)}</span> : null}
    />
  );
}
