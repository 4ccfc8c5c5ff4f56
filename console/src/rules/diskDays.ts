// What the store holds of a disk by day. The server tells the days on which it became another amount.
import type { DiskSpace } from "../api/types";

const DAY_MS = 86_400_000;
export const DAYS_SHOWN = 30;

export type DayPoint = { readonly at: Date; readonly value: number };

const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10);

/** A point for each of the last days, the last of them today; none for days before anything was known of the disk. */
export function dayPoints(space: DiskSpace, now: Date, days: number): readonly DayPoint[] {
  const points: DayPoint[] = [];
  for (let back = days - 1; back >= 0; back -= 1) {
    const day = dayOf(now.getTime() - back * DAY_MS);
    const known = space.DaySet.filter((one) => one.Day <= day).at(-1);
    const value = back === 0 ? space.StoredBytes : known?.StoredBytes;
    if (value !== undefined) points.push({ at: new Date(`${day}T00:00:00Z`), value });
  }
  return points;
}

/** How many bytes more a day there are in the mean of the points; null of one point. */
export function growthPerDay(points: readonly DayPoint[]): number | null {
  const first = points[0];
  const last = points.at(-1);
  if (first === undefined || last === undefined || first === last) return null;
  return (last.value - first.value) / ((last.at.getTime() - first.at.getTime()) / DAY_MS);
}

/** What it was so many days ago; null if that is not known. */
export const daysAgo = (points: readonly DayPoint[], days: number): number | null => points.at(-1 - days)?.value ?? null;
