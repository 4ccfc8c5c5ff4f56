// What a policy's form holds, and what is sent of it.
import type { ParametersOf } from "../../api/answers";
import type { Policy, PolicyDetail } from "../../api/types";
import type { Translate } from "../../words";

export const WAYS = ["week", "month", "interval"] as const;
export const KEEPS = ["days", "months", "amount", "spread", "permanent"] as const;
export const PERIODS = ["days", "weeks", "months", "years"] as const;
const COUNT_MAX = { days: 36_500, months: 1200, amount: 10_000, spread: 100 } as const;

export type TriggerForm = { readonly hours: readonly number[]; readonly way: (typeof WAYS)[number]; readonly week: readonly number[]; readonly month: readonly number[]; readonly interval: string };
export type PolicyForm = {
  readonly name: string;
  readonly triggers: readonly TriggerForm[];
  readonly keep: (typeof KEEPS)[number];
  readonly count: string;
  readonly spread: Readonly<Record<(typeof PERIODS)[number], string>>;
  readonly zone: string;
  readonly group: boolean;
  readonly skip: boolean;
};

export const NEW_TRIGGER: TriggerForm = { hours: [2], way: "week", week: [0, 1, 2, 3, 4, 5, 6], month: [1], interval: "1" };
export const NEW_POLICY: PolicyForm = {
  name: "", triggers: [NEW_TRIGGER], keep: "days", count: "7", spread: { days: "7", weeks: "4", months: "12", years: "0" }, zone: "", group: false, skip: false,
};

export function formOf(policy: PolicyDetail): PolicyForm {
  const spread = policy.AdvancedRetentionPolicy;
  const keep = policy.IsPermanent ? "permanent" : spread !== null ? "spread" : policy.RetentionAmount !== null ? "amount" : policy.RetentionMonths !== null ? "months" : "days";
  return {
    name: policy.PolicyName,
    triggers: policy.Triggers.map((one) => ({
      ...NEW_TRIGGER, hours: one.Hour,
      ...(one.DayOfWeek.length > 0 ? { way: "week", week: one.DayOfWeek } : one.DayOfMonth.length > 0 ? { way: "month", month: one.DayOfMonth } : { way: "interval", interval: String(one.IntervalDays) }),
    })),
    keep,
    count: String(policy.RetentionDays ?? policy.RetentionMonths ?? policy.RetentionAmount ?? 7),
    spread: spread === null ? NEW_POLICY.spread : { days: String(spread.Days), weeks: String(spread.Weeks), months: String(spread.Months), years: String(spread.Years) },
    zone: policy.TimeZone, group: policy.Group, skip: policy.SkipUnchanged,
  };
}

const sorted = (numbers: readonly number[]): readonly number[] => [...numbers].sort((one, other) => one - other);
const whole = (text: string, least: number, most: number): boolean => text.trim() !== "" && Number.isInteger(Number(text)) && Number(text) >= least && Number(text) <= most;

export const triggersOf = (form: PolicyForm): readonly Policy[] =>
  form.triggers.map(({ hours, way, week, month, interval }) => ({
    Hour: sorted(hours),
    ...(way === "week" ? { DayOfWeek: sorted(week) } : way === "month" ? { DayOfMonth: sorted(month) } : { IntervalDays: Number(interval) }),
  }));

/** What is set beside what CBS can set; the retention among it, of which CBS knows two kinds only. */
export const optionsOf = (form: PolicyForm): Omit<ParametersOf<"drystone", "SetPolicyOptions">, "PolicyId"> => ({
  ...keptOf(form), Group: form.group, SkipUnchanged: form.skip,
});

/** How long its snapshots are kept, and in which zone its days are. */
function keptOf(form: PolicyForm) {
  const count = Number(form.count);
  const { days, weeks, months, years } = form.spread;
  const kept = {
    days: { RetentionDays: count }, months: { RetentionMonths: count }, amount: { RetentionAmount: count }, permanent: { IsPermanent: true },
    spread: { AdvancedRetentionPolicy: { Days: Number(days), Weeks: Number(weeks), Months: Number(months), Years: Number(years) } },
  }[form.keep];
  return { ...kept, ...(form.zone.trim() === "" ? {} : { TimeZone: form.zone.trim() }) };
}

export const createParameters = (form: PolicyForm): ParametersOf<"cbs", "CreateAutoSnapshotPolicy"> => ({
  Policy: triggersOf(form), ...(form.name === "" ? {} : { AutoSnapshotPolicyName: form.name }),
  ...(form.keep === "days" ? { RetentionDays: Number(form.count) } : form.keep === "permanent" ? { IsPermanent: true } : {}),
});

/** What a simulation is asked with. */
export const simulated = (form: PolicyForm, days: number): ParametersOf<"drystone", "DescribePolicySimulation"> => ({
  Policy: triggersOf(form), ...keptOf(form), Days: days,
});

export function isComplete(form: PolicyForm): boolean {
  const times = form.triggers.every((one) => one.hours.length > 0 && (one.way === "week" ? one.week.length > 0 : one.way === "month" ? one.month.length > 0 : whole(one.interval, 1, 365)));
  const kept = form.keep === "permanent" || (form.keep === "spread"
    ? PERIODS.every((name) => whole(form.spread[name], 0, COUNT_MAX.spread)) && PERIODS.some((name) => Number(form.spread[name]) > 0)
    : whole(form.count, 1, COUNT_MAX[form.keep]));
  return form.triggers.length > 0 && times && kept;
}

/** The name of a day of the week; 0 is Sunday. */
export const weekday = (day: number, locale: string): string =>
  new Intl.DateTimeFormat(locale, { weekday: "short", timeZone: "UTC" }).format(new Date(Date.UTC(2023, 0, 1 + day)));

const hour = (one: number): string => `${String(one).padStart(2, "0")}:00`;

/** When a policy runs, in words. */
export function scheduleText(t: Translate, policy: PolicyDetail, locale: string): string {
  return policy.Triggers.map(({ Hour, DayOfWeek, DayOfMonth, IntervalDays }) => {
    const days = DayOfWeek.length === 7 || (DayOfWeek.length === 0 && DayOfMonth.length === 0 && IntervalDays === 1)
      ? t("policy.says.daily")
      : DayOfWeek.length > 0 ? DayOfWeek.map((day) => weekday(day, locale)).join(", ")
      : DayOfMonth.length > 0 ? t("policy.says.month", { days: DayOfMonth.join(", ") })
      : t("policy.says.interval", { count: IntervalDays });
    return t("policy.says.hours", { days, hours: Hour.map(hour).join(", ") });
  }).join("; ");
}

/** How long its snapshots are kept, in words. */
export function keptText(t: Translate, policy: PolicyDetail): string {
  const spread = policy.AdvancedRetentionPolicy;
  if (policy.IsPermanent) return t("policy.keeps.permanent");
  if (spread !== null) {
    const counts = { days: spread.Days, weeks: spread.Weeks, months: spread.Months, years: spread.Years };
    return PERIODS.filter((name) => counts[name] > 0).map((name) => t(`policy.keeps.of.${name}`, { count: counts[name] })).join(", ");
  }
  if (policy.RetentionMonths !== null) return t("policy.keeps.months", { count: policy.RetentionMonths });
  if (policy.RetentionAmount !== null) return t("policy.keeps.amount", { count: policy.RetentionAmount });
  return t("policy.keeps.days", { count: policy.RetentionDays ?? 0 });
}
