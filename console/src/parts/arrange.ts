// Rows of a list as the user wants them: those that match what is typed, in an order, as a file for a spreadsheet.

/** What a cell is ordered by, and what a file says for it. */
export type Value = string | number | Date | null;
export type Sort = { readonly column: string; readonly down: boolean };

/** An order as it stands in a page's address: `name`, or `-name` for the other way. */
export function sortOf(text: string): Sort | null {
  const column = text.replace(/^-/, "");
  return column === "" ? null : { column, down: text.startsWith("-") };
}

/** What a click on a column's title asks for: up, down, and then the list's own order. */
export function nextSort(now: Sort | null, column: string): string {
  if (now?.column !== column) return column;
  return now.down ? "" : `-${column}`;
}

/** Whether each word of what is typed is a part of one of the texts, in capitals or not. */
export function matches(texts: readonly string[], typed: string): boolean {
  const found = texts.map((text) => text.toLowerCase());
  return typed.toLowerCase().split(/\s+/).every((word) => found.some((text) => text.includes(word)));
}

const isMissing = (value: Value): boolean => value === null || value === "";

/** The rows in the order of their values; numbers within names count as numbers, and what is missing comes last. */
export function sorted<T>(rows: readonly T[], valueOf: (row: T) => Value, down: boolean, language: string): readonly T[] {
  const collator = new Intl.Collator(language, { numeric: true, sensitivity: "base" });
  const compare = (a: Value, b: Value): number => {
    if (isMissing(a) || isMissing(b)) return Number(isMissing(a)) - Number(isMissing(b));
    const order = typeof a === "string" ? collator.compare(a, String(b)) : Number(a) - Number(b);
    return down ? -order : order;
  };
  return rows.map((row) => [row, valueOf(row)] as const).sort(([, a], [, b]) => compare(a, b)).map(([row]) => row);
}

function csvField(value: Value): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  if (value instanceof Date) return value.toISOString();
  // A spreadsheet takes these for the beginning of a formula.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** RFC 4180, with the mark by which spreadsheets know UTF-8. */
export const csv = (lines: readonly (readonly Value[])[]): string => `\ufeff${lines.map((line) => `${line.map(csvField).join(",")}\r\n`).join("")}`;

/** Has the browser keep a text as a file. */
export function save(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
