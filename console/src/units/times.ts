/** Hours east of Greenwich of times that CBS writes without a zone; the session says what the server is set to. */
let zoneHours = 8;

export function setZoneHours(hours: number): void {
  zoneHours = hours;
}

function offset(hours: number): string {
  const minutes = Math.round(Math.abs(hours) * 60);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${hours < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

/** Reads a time as either service writes it: `2018-09-26 17:36:07` (of CBS) or ISO 8601. Null for none. */
export function parseTime(text: string | null | undefined): Date | null {
  if (!text) return null;
  const plain = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)$/.exec(text);
  const iso = plain ? `${plain[1] ?? ""}T${plain[2] ?? ""}${offset(zoneHours)}` : text;
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? null : at;
}

/** `2026-11-22 17:36:07 +08:00` in the browser's zone, the same in every language. */
export function exactTime(at: Date | null): string {
  if (at === null) return "–";
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())} ${offset(-at.getTimezoneOffset() / 60)}`;
}

/** `11-22 17:36` in the browser's zone: for the ends of a chart. */
export function shortTime(at: Date): string {
  return exactTime(at).slice(5, 16);
}

/** `2026-11-22` of the day in UTC, which is how the server counts days. */
export const dayText = (at: Date): string => at.toISOString().slice(0, 10);

const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["year", 365 * 86_400],
  ["month", 30 * 86_400],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** `3 minutes ago`, `in 6 days`. */
export function relativeTime(at: Date | null, now: Date, language: string): string {
  if (at === null) return "–";
  const seconds = (at.getTime() - now.getTime()) / 1000;
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size) return format.format(Math.trunc(seconds / size), unit);
  }
  return format.format(0, "second");
}

/** The deadline of so many days from now, as the API takes it. */
export function deadlineIn(days: number, now: Date): string {
  // A minute more than whole days: the server wants at least one day from its own clock.
  return new Date(now.getTime() + days * 86_400_000 + 60_000).toISOString().replace(/\.\d+Z$/, "+00:00");
}
