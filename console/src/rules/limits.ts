import { DISK_TYPES } from "../api/types";

const reached = ([base, perGib, most]: readonly [number, number, number], sizeGib: number): number => Math.floor(Math.min(base + perGib * sizeGib, most));

/** What a disk of a type and size may do per second; null for a type that is not known. The throughput is that of reads: writes have no limit of bytes. */
export function limitsOf(type: string, sizeGib: number): { readonly iops: number; readonly mibPerS: number } | null {
  const row = DISK_TYPES[type];
  return row === undefined || !Number.isFinite(sizeGib) ? null : { iops: reached(row.iops, sizeGib), mibPerS: reached(row.mib_per_s, sizeGib) };
}
