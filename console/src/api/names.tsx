// The names of disks and instances, for the pages that know only their ids.
import { useQuery } from "@tanstack/react-query";
import { createContext, useContext, useMemo, type ReactNode } from "react";

import { call } from "./client";
import { PAGE, useInstances } from "./queries";
import type { Disk } from "./types";

/** The name of a disk or an instance; "" where it is not known, or the thing is gone. */
export type NameOf = (id: string) => string;

const PAGES_MAX = 20;
const STALE_MS = 30_000;

async function readDiskNames(signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
  const found: Disk[] = [];
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const answer = await call("cbs", "DescribeDisks", { Offset: page * PAGE, Limit: PAGE }, signal);
    found.push(...answer.DiskSet);
    if (answer.DiskSet.length < PAGE || found.length >= answer.TotalCount) break;
  }
  return Object.fromEntries(found.map((disk) => [disk.DiskId, disk.DiskName]));
}

const Names = createContext<NameOf>(() => "");

export const useNames = (): NameOf => useContext(Names);

/** Asks for the names, once for all that show them. */
export function NamesProvider({ children }: { readonly children: ReactNode }) {
  const disks = useQuery({ queryKey: ["disks", "names"], queryFn: ({ signal }) => readDiskNames(signal), staleTime: STALE_MS, refetchInterval: 2 * STALE_MS }).data;
  const instances = useInstances().data?.InstanceSet;
  const nameOf = useMemo(() => {
    const names = new Map([...Object.entries(disks ?? {}), ...(instances ?? []).map((one) => [one.InstanceId, one.InstanceName] as const)]);
    return (id: string) => names.get(id) ?? "";
  }, [disks, instances]);
  return <Names.Provider value={nameOf}>{children}</Names.Provider>;
}
