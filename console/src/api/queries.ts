// What pages ask for, and how often it is asked again. One place says which answers a change makes old.
import { keepPreviousData, QueryClient, useMutation, useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";

import type { ActionName, AnswerOf, ParametersOf, ServiceName } from "./answers";
import { call, confirmPassword, fetchSession, SignedOutError, UnreachableError } from "./client";
import type { Account, Disk, DiskDetail, DiskProtection, Event, Filter, Instance, Operation, PolicyDetail, QuiesceProfile, Snapshot, SnapshotGroup, SnapshotGroupRecord, SnapshotRecord } from "./types";

export const PAGE = 100;
const BUSY_MS = 1_000;
export const REST_MS = 15_000;

export function newQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        // What is under way is asked for again anyway; what was refused will be refused again.
        retry: (count, error) => error instanceof UnreachableError && count < 1,
        staleTime: 500,
        refetchOnWindowFocus: true,
        // TanStack Query does not ask again on an interval while the tab is hidden.
        refetchIntervalInBackground: false,
      },
    },
  });
}

/** Asks again every second while `busy` says that something is under way, and every 15 s otherwise. */
export function interval<T>(busy: (data: T) => boolean) {
  return (query: { state: { data: T | undefined; error: Error | null } }): number | false => {
    if (query.state.error instanceof SignedOutError) return false;
    if (query.state.error instanceof UnreachableError) return 2 * BUSY_MS;
    return query.state.data !== undefined && busy(query.state.data) ? BUSY_MS : REST_MS;
  };
}

const DISK_AT_REST: ReadonlySet<string> = new Set(["UNATTACHED", "ATTACHED", "TORECYCLE"]);
export const diskIsBusy = (row: DiskRow): boolean => !DISK_AT_REST.has(row.disk.DiskState) || row.detail?.Hydrating === true;
export const snapshotIsBusy = (row: SnapshotRow): boolean => row.snapshot.SnapshotState !== "NORMAL";
export const groupIsBusy = (row: GroupRow): boolean => row.group.SnapshotGroupState !== "NORMAL";
/** For rows that change only when somebody changes them. */
export const neverBusy = (): boolean => false;
export const operationIsBusy = (operation: Operation): boolean => operation.State === "RUNNING";

/** A disk, and how it is served. */
export type DiskRow = { readonly disk: Disk; readonly detail: DiskDetail | undefined };
/** A snapshot, and how it was taken. */
export type SnapshotRow = { readonly snapshot: Snapshot; readonly record: SnapshotRecord | undefined };
/** Snapshots of several disks at one instant, and how it was fixed. */
export type GroupRow = { readonly group: SnapshotGroup; readonly record: SnapshotGroupRecord | undefined };
export type Page<T> = { readonly total: number; readonly rows: readonly T[] };

/** `search` and `order` are for lists that the server searches and orders; its name for what they are ordered by. */
export type Where = {
  readonly ids?: readonly string[];
  readonly filters?: readonly Filter[];
  readonly search?: string;
  readonly order?: { readonly field: string; readonly down: boolean };
};
export type FetchPage<T> = (where: Where, offset: number, signal?: AbortSignal) => Promise<Page<T>>;

function selection(where: Where): { Filters?: readonly Filter[] } {
  return where.filters?.length ? { Filters: where.filters } : {};
}

/** The parameters of a list of Drystone's own that is searched or ordered; null where it is neither. */
function arranged({ filters = [], search = "", order }: Where) {
  if (search === "" && order === undefined) return null;
  const searched = search === "" ? filters : [...filters, { Name: "search", Values: [search] }];
  return { Filters: searched, ...(order === undefined ? {} : { OrderField: order.field, Order: order.down ? "DESC" : "ASC" }) };
}

export async function fetchDisks(where: Where, offset: number, signal?: AbortSignal): Promise<Page<DiskRow>> {
  const asked = arranged(where);
  if (asked !== null) {
    // CBS knows neither parts of names nor these orders: the other service says which disks, and in which order.
    const found = await call("drystone", "DescribeDiskDetails", { ...asked, Offset: offset, Limit: PAGE }, signal);
    const named = { ids: found.DiskDetailSet.map(({ DiskId }) => DiskId) };
    const byId = new Map((named.ids.length === 0 ? [] : (await fetchDisks(named, 0, signal)).rows).map((row) => [row.disk.DiskId, row]));
    return { total: found.TotalCount, rows: named.ids.flatMap((id) => byId.get(id) ?? []) };
  }
  const ids = where.ids ? { DiskIds: where.ids } : selection(where);
  const disks = await call("cbs", "DescribeDisks", { ...ids, Offset: offset, Limit: PAGE }, signal);
  if (disks.DiskSet.length === 0) return { total: disks.TotalCount, rows: [] };
  const named = { DiskIds: disks.DiskSet.map((disk) => disk.DiskId), Limit: PAGE };
  const details = await call("drystone", "DescribeDiskDetails", named, signal);
  const byId = new Map(details.DiskDetailSet.map((detail) => [detail.DiskId, detail]));
  return { total: disks.TotalCount, rows: disks.DiskSet.map((disk) => ({ disk, detail: byId.get(disk.DiskId) })) };
}

export async function fetchSnapshots(where: Where, offset: number, signal?: AbortSignal): Promise<Page<SnapshotRow>> {
  const asked = arranged(where);
  if (asked !== null) {
    const listed = await call("drystone", "DescribeSnapshotRecords", { ...asked, Offset: offset, Limit: PAGE }, signal);
    const named = { ids: listed.SnapshotRecordSet.map(({ SnapshotId }) => SnapshotId) };
    const byId = new Map((named.ids.length === 0 ? [] : (await fetchSnapshots(named, 0, signal)).rows).map((row) => [row.snapshot.SnapshotId, row]));
    return { total: listed.TotalCount, rows: named.ids.flatMap((id) => byId.get(id) ?? []) };
  }
  const ids = where.ids ? { SnapshotIds: where.ids } : selection(where);
  const found = await call("cbs", "DescribeSnapshots", { ...ids, Offset: offset, Limit: PAGE }, signal);
  if (found.SnapshotSet.length === 0) return { total: found.TotalCount, rows: [] };
  const named = { SnapshotIds: found.SnapshotSet.map((snapshot) => snapshot.SnapshotId), Limit: PAGE };
  const records = await call("drystone", "DescribeSnapshotRecords", named, signal);
  const byId = new Map(records.SnapshotRecordSet.map((record) => [record.SnapshotId, record]));
  const rows = found.SnapshotSet.map((snapshot) => ({ snapshot, record: byId.get(snapshot.SnapshotId) }));
  return { total: found.TotalCount, rows };
}

export async function fetchGroups(where: Where, offset: number, signal?: AbortSignal): Promise<Page<GroupRow>> {
  const filters = where.ids ? [{ Name: "snapshot-group-id", Values: where.ids }] : (where.filters ?? []);
  const found = await call("cbs", "DescribeSnapshotGroups", { ...selection({ filters }), Offset: offset, Limit: PAGE }, signal);
  if (found.SnapshotGroupSet.length === 0) return { total: found.TotalCount, rows: [] };
  const named = { SnapshotGroupIds: found.SnapshotGroupSet.map((group) => group.SnapshotGroupId), Limit: PAGE };
  const records = await call("drystone", "DescribeSnapshotGroupRecords", named, signal);
  const byId = new Map(records.SnapshotGroupRecordSet.map((record) => [record.SnapshotGroupId, record]));
  return { total: found.TotalCount, rows: found.SnapshotGroupSet.map((group) => ({ group, record: byId.get(group.SnapshotGroupId) })) };
}

export async function fetchOperations(where: Where, offset: number, signal?: AbortSignal): Promise<Page<Operation>> {
  const ids = where.ids ? { OperationIds: where.ids } : selection(where);
  const found = await call("drystone", "DescribeOperations", { ...ids, Offset: offset, Limit: PAGE }, signal);
  return { total: found.TotalCount, rows: found.OperationSet };
}

export async function fetchProtection(where: Where, offset: number, signal?: AbortSignal): Promise<Page<DiskProtection>> {
  const ids = where.ids ? { DiskIds: where.ids } : selection(where);
  const found = await call("drystone", "DescribeProtection", { ...ids, Offset: offset, Limit: PAGE }, signal);
  return { total: found.TotalCount, rows: found.DiskProtectionSet };
}

export async function fetchEvents(where: Where, offset: number, signal?: AbortSignal): Promise<Page<Event>> {
  const ids = where.ids ? { EventIds: where.ids } : selection(where);
  const found = await call("drystone", "DescribeEvents", { ...ids, Offset: offset, Limit: PAGE }, signal);
  return { total: found.TotalCount, rows: found.EventSet };
}

export async function fetchInstances(where: Where, offset: number, signal?: AbortSignal): Promise<Page<Instance>> {
  const ids = where.ids ? { InstanceIds: where.ids } : {};
  const found = await call("drystone", "DescribeInstances", { ...ids, Offset: offset, Limit: PAGE }, signal);
  return { total: found.TotalCount, rows: found.InstanceSet };
}

export async function fetchAccounts(_where: Where, offset: number, signal?: AbortSignal): Promise<Page<Account>> {
  const found = await call("drystone", "DescribeAccounts", { Offset: offset, Limit: PAGE }, signal);
  return { total: found.TotalCount, rows: found.AccountSet };
}

export async function fetchPolicies(where: Where, offset: number, signal?: AbortSignal): Promise<Page<PolicyDetail>> {
  const ids = where.ids ? { PolicyIds: where.ids } : {};
  const found = await call("drystone", "DescribePolicyDetails", { ...ids, Offset: offset, Limit: PAGE }, signal);
  return { total: found.TotalCount, rows: found.PolicyDetailSet };
}

/** Rows of a long list: only the pages that are looked at are asked for, and asked for again. */
export type LongList<T> = {
  /** Undefined until the first page is there. */
  readonly total: number | undefined;
  readonly rowAt: (index: number) => T | undefined;
  readonly error: Error | null;
};

/** Which pages hold the rows of [start, stop), and the first, which is where new rows come and says how many there are. */
export function pagesOf([start, stop]: readonly [number, number]): readonly number[] {
  const last = Math.floor(Math.max(start, stop - 1) / PAGE);
  const pages = new Set([0]);
  for (let index = Math.floor(start / PAGE); index <= last; index += 1) pages.add(index);
  return [...pages];
}

/** The row of a list at an index, out of the pages that are there. */
export const rowIn = <T,>(pages: ReadonlyMap<number, Page<T> | undefined>, index: number): T | undefined =>
  pages.get(Math.floor(index / PAGE))?.rows[index % PAGE];

/**
 * Reads a list in pages of 100.
 *
 * @param name first part of the query's key: what the rows are
 * @param where which of them
 * @param seen the rows that are on the screen, as [start, stop)
 */
export function useLongList<T>(
  name: string,
  where: Where,
  seen: readonly [number, number],
  fetchPage: FetchPage<T>,
  busy: (row: T) => boolean,
  enabled = true,
): LongList<T> {
  const pages = pagesOf(seen);
  const answers = useQueries({
    queries: pages.map((index) => ({
      queryKey: [name, "list", where, index],
      queryFn: ({ signal }: { signal: AbortSignal }) => fetchPage(where, index * PAGE, signal),
      refetchInterval: interval<Page<T>>((page) => page.rows.some(busy)),
      placeholderData: index === 0 ? keepPreviousData : undefined,
      gcTime: 60_000,
      enabled,
    })),
  });
  const held = new Map(pages.map((index, place) => [index, answers[place]?.data]));
  return {
    total: held.get(0)?.total,
    rowAt: (index) => rowIn(held, index),
    error: answers.find((answer) => answer.error)?.error ?? null,
  };
}

/**
 * What was ticked in a list, as it is now: the rules look at it, and much may have happened since, also to rows that
 * were scrolled away.
 *
 * @param name first part of the query's key: what the rows are
 * @param ticked the rows by id, as they were then; the first 100 are asked for, which is as many as an action takes
 */
export function useTicked<T>(
  name: string,
  ticked: ReadonlyMap<string, T>,
  fetchPage: FetchPage<T>,
  busy: (row: T) => boolean,
  idOf: (row: T) => string,
): readonly T[] {
  const ids = [...ticked.keys()].slice(0, PAGE);
  const answer = useQuery({
    queryKey: [name, "ticked", ids],
    queryFn: ({ signal }) => fetchPage({ ids }, 0, signal),
    refetchInterval: interval<Page<T>>((page) => page.rows.some(busy)),
    // An answer from when the same rows were ticked before is older than what the list showed when they were ticked now.
    gcTime: 0,
    enabled: ids.length > 0,
  });
  const now = new Map(answer.data?.rows.map((row) => [idOf(row), row]));
  return [...ticked].map(([id, then]) => now.get(id) ?? then);
}

export const useSession = () => useQuery({ queryKey: ["session"], queryFn: fetchSession, staleTime: Infinity, retry: false });

export function useDisk(id: string) {
  return useQuery({
    queryKey: ["disks", "one", id],
    queryFn: async ({ signal }) => (await fetchDisks({ ids: [id] }, 0, signal)).rows[0] ?? null,
    refetchInterval: interval<DiskRow | null>((row) => row !== null && diskIsBusy(row)),
    enabled: id !== "",
  });
}

export function useSnapshot(id: string) {
  return useQuery({
    queryKey: ["snapshots", "one", id],
    queryFn: async ({ signal }) => (await fetchSnapshots({ ids: [id] }, 0, signal)).rows[0] ?? null,
    refetchInterval: interval<SnapshotRow | null>((row) => row !== null && snapshotIsBusy(row)),
    enabled: id !== "",
  });
}

export function useOperation(id: string) {
  return useQuery({
    queryKey: ["operations", "one", id],
    queryFn: async ({ signal }) => (await fetchOperations({ ids: [id] }, 0, signal)).rows[0] ?? null,
    refetchInterval: interval<Operation | null>((operation) => operation !== null && operationIsBusy(operation)),
    enabled: id !== "",
  });
}

export function usePolicy(id: string) {
  return useQuery({
    queryKey: ["policies", "one", id],
    queryFn: async ({ signal }) => (await fetchPolicies({ ids: [id] }, 0, signal)).rows[0] ?? null,
    refetchInterval: REST_MS,
  });
}

export function useGroup(id: string) {
  return useQuery({
    queryKey: ["groups", "one", id],
    queryFn: async ({ signal }) => (await fetchGroups({ ids: [id] }, 0, signal)).rows[0] ?? null,
    refetchInterval: interval<GroupRow | null>((row) => row !== null && groupIsBusy(row)),
  });
}

/** Snapshots by id, 100 at most: the members of a group. */
export function useSnapshots(ids: readonly string[]) {
  return useQuery({
    queryKey: ["snapshots", "some", ids],
    queryFn: ({ signal }) => fetchSnapshots({ ids }, 0, signal),
    refetchInterval: interval<Page<SnapshotRow>>((page) => page.rows.some(snapshotIsBusy)),
    enabled: ids.length > 0,
  });
}

/** Disks that match, the first 100. */
export function useDisks(where: Where, enabled: boolean) {
  return useQuery({
    queryKey: ["disks", "some", where],
    queryFn: ({ signal }) => fetchDisks(where, 0, signal),
    refetchInterval: interval<Page<DiskRow>>((page) => page.rows.some(diskIsBusy)),
    enabled,
  });
}

const PROFILE_PAGES_MAX = 20;

/** All quiesce profiles of the account. */
export function useProfiles() {
  return useQuery({
    queryKey: ["profiles"],
    queryFn: async ({ signal }) => {
      const found: QuiesceProfile[] = [];
      for (let page = 0; page < PROFILE_PAGES_MAX; page += 1) {
        const answer = await call("drystone", "DescribeQuiesceProfiles", { Offset: page * PAGE, Limit: PAGE }, signal);
        found.push(...answer.QuiesceProfileSet);
        if (answer.QuiesceProfileSet.length === 0 || found.length >= answer.TotalCount) break;
      }
      return found;
    },
    staleTime: 15_000,
  });
}

/** The newest 100 snapshots of a disk. */
export function useSnapshotsOfDisk(diskId: string) {
  return useQuery({
    queryKey: ["snapshots", "of", diskId],
    queryFn: ({ signal }) => fetchSnapshots({ filters: [{ Name: "disk-id", Values: [diskId] }] }, 0, signal),
    refetchInterval: interval<Page<SnapshotRow>>((page) => page.rows.some(snapshotIsBusy)),
    enabled: diskId !== "",
  });
}

/** The newest 100 operations, of a resource or of all. */
export function useOperationsOf(resourceId: string) {
  return useQuery({
    queryKey: ["operations", "of", resourceId],
    queryFn: ({ signal }) => fetchOperations({ filters: [{ Name: "resource-id", Values: [resourceId] }] }, 0, signal),
    refetchInterval: interval<Page<Operation>>((page) => page.rows.some(operationIsBusy)),
  });
}

/** What is under way now, at most 100; the state rules and the side bar live on it. */
export function useRunning(): readonly Operation[] {
  const answer = useQuery({
    queryKey: ["operations", "running"],
    queryFn: ({ signal }) => fetchOperations({ filters: [{ Name: "state", Values: ["RUNNING"] }] }, 0, signal),
    refetchInterval: interval<Page<Operation>>((page) => page.rows.length > 0),
  });
  return answer.data?.rows ?? NONE;
}
const NONE: readonly Operation[] = [];

/** Ids of the disks of which a snapshot is being created. */
export function useSnapshotting(): ReadonlySet<string> {
  const running = useRunning();
  return useMemo(
    () => new Set(running.flatMap(({ Kind, DiskId }) => (Kind === "snapshot" && DiskId !== null ? [DiskId] : []))),
    [running],
  );
}

/** An action that only reads, asked for again every 15 s unless told otherwise. */
export function useAnswer<S extends ServiceName, A extends ActionName<S>>(
  service: S,
  action: A,
  parameters: ParametersOf<S, A>,
  options: { readonly everyMs?: number | false; readonly staleMs?: number; readonly enabled?: boolean } = {},
) {
  return useQuery<AnswerOf<S, A>>({
    queryKey: [action, parameters],
    queryFn: ({ signal }) => call(service, action, parameters, signal),
    refetchInterval: options.everyMs ?? REST_MS,
    staleTime: options.staleMs ?? 500,
    enabled: options.enabled ?? true,
  });
}

const named = (Name: string, name: string) => ({ Filters: [{ Name, Values: [name] }], Limit: 1 });

/** How many there are with a name. */
const WITH_NAME = {
  disk: async (name: string, signal: AbortSignal) => (await call("cbs", "DescribeDisks", named("disk-name", name), signal)).TotalCount,
  snapshot: async (name: string, signal: AbortSignal) => (await call("cbs", "DescribeSnapshots", named("snapshot-name", name), signal)).TotalCount,
  group: async (name: string, signal: AbortSignal) => (await call("cbs", "DescribeSnapshotGroups", named("snapshot-group-name", name), signal)).TotalCount,
  policy: async (name: string, signal: AbortSignal) => (await call("cbs", "DescribeAutoSnapshotPolicies", named("auto-snapshot-policy-name", name), signal)).TotalCount,
} as const;
/** What names are given to. Two may have the same. */
export type Named = keyof typeof WITH_NAME;

/** Whether another of this kind has the name; `before` is what this one has. */
export function useNameTaken(kind: Named, name: string, before = ""): boolean {
  const enabled = name !== "" && name !== before;
  const found = useQuery({ queryKey: ["with name", kind, name], queryFn: ({ signal }) => WITH_NAME[kind](name, signal), enabled });
  return enabled && (found.data ?? 0) > 0;
}

/** Events that are not over and that nobody has acknowledged: the overview and the bell live on it. */
export const useAttention = () =>
  useAnswer("drystone", "DescribeEvents", {
    Filters: [
      { Name: "resolved", Values: ["false"] },
      { Name: "acknowledged", Values: ["false"] },
    ],
  });

/** How many disks are unprotected; undefined where that is not known yet. */
export const useUnprotected = () => useAnswer("drystone", "DescribeProtection", { Limit: 1, Filters: [{ Name: "protected", Values: ["false"] }] }).data?.TotalCount;

export const useInstances = () => useAnswer("drystone", "DescribeInstances", { Limit: PAGE });

/** As `useChange`, for what outlives the session: the password is given again. */
export function useConfirmedChange<S extends ServiceName, A extends ActionName<S>>(service: S, action: A) {
  const client = useQueryClient();
  return useMutation<AnswerOf<S, A>, Error, { readonly password: string; readonly parameters: ParametersOf<S, A> }>({
    mutationFn: async ({ password, parameters }) => {
      await confirmPassword(password);
      return call(service, action, parameters);
    },
    onSettled: () => {
      void client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "session" });
    },
  });
}

/** Changes something by an action; whatever happens, everything shown is asked for again. */
export function useChange<S extends ServiceName, A extends ActionName<S>>(service: S, action: A) {
  const client = useQueryClient();
  return useMutation<AnswerOf<S, A>, Error, ParametersOf<S, A>>({
    mutationFn: (parameters) => call(service, action, parameters),
    onSettled: () => {
      // Also after an error: the answer may have been lost, or the refusal means that what is shown is old.
      void client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "session" });
    },
  });
}

/** Several actions in their order; whatever happens, everything shown is asked for again. */
export function useChanges(change: () => Promise<void>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSettled: () => void client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "session" }),
  });
}
