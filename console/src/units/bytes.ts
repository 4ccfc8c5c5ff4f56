const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** `1.5 MiB`: three digits at most, in units of 1,024. */
export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined) return "–";
  let value = Math.max(0, count);
  let unit = 0;
  // 1023.5 would be rounded to 1,024 of its unit.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits).replace(/\.0+$/, "").replace(/(\.\d*[1-9])0+$/, "$1")} ${UNITS[unit] ?? "B"}`;
}

export const GIB = 2 ** 30;
export const MIB = 2 ** 20;

/** `10 GiB`, `1.5 TiB`, of a size in GiB. */
export const gib = (count: number): string => bytes(count * GIB);

/** A part of a whole in percent, 0 where there is no whole. */
export const percent = (part: number, whole: number): number => (whole > 0 ? Math.min(100, (100 * part) / whole) : 0);

export const number = (count: number, language: string): string => new Intl.NumberFormat(language).format(count);
