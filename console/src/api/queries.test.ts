import { afterEach, describe, expect, it, vi } from "vitest";

import { SignedOutError, UnreachableError } from "./client";
import { diskIsBusy, fetchGroups, fetchSnapshots, groupIsBusy, interval, operationIsBusy, pagesOf, rowIn, snapshotIsBusy, type DiskRow } from "./queries";

type Sent = { readonly path: string; readonly body: Record<string, unknown> };

/** A server that answers actions from a table; returns what was sent to it. */
function serve(answers: Readonly<Record<string, unknown>>): readonly Sent[] {
  const sent: Sent[] = [];
  vi.stubGlobal("document", { documentElement: { lang: "en" } });
  vi.stubGlobal("fetch", (path: string, init: { body: string }) => {
    sent.push({ path, body: JSON.parse(init.body) as Record<string, unknown> });
    return Promise.resolve(new Response(JSON.stringify({ Response: answers[path.split("/").at(-1) ?? ""] })));
  });
  return sent;
}

afterEach(() => vi.unstubAllGlobals());

describe("long lists", () => {
  it.each([
    [[0, 20], [0]], [[0, 100], [0]], [[0, 101], [0, 1]], [[99, 100], [0]], [[100, 130], [0, 1]], [[250, 320], [0, 2, 3]], [[9_990, 10_000], [0, 99]],
    [[0, 0], [0]],
  ] as const)("for the rows %j asks for the pages %j", (seen, pages) => expect(pagesOf(seen)).toEqual(pages));

  it("find each row on its page", () => {
    const pages = new Map([0, 2].map((page) => [page, { total: 300, rows: Array.from({ length: 100 }, (_, at) => page * 100 + at) }]));
    for (const index of [0, 99, 200, 299]) expect(rowIn(pages, index)).toBe(index);
    expect([rowIn(pages, 100), rowIn(pages, 300)]).toEqual([undefined, undefined]);
  });

  it("ask for the rows of their page, and join each with its own record", async () => {
    const ids = ["snap-a", "snap-b", "snap-c"];
    const sent = serve({
      DescribeSnapshots: { TotalCount: 203, SnapshotSet: ids.map((SnapshotId) => ({ SnapshotId })) },
      DescribeSnapshotRecords: { SnapshotRecordSet: ["snap-c", "snap-a"].map((SnapshotId) => ({ SnapshotId, StoredBytes: SnapshotId })) },
    });
    const page = await fetchSnapshots({ filters: [{ Name: "disk-id", Values: ["disk-1"] }] }, 200);
    expect(sent.map((one) => one.body)).toEqual([
      { Filters: [{ Name: "disk-id", Values: ["disk-1"] }], Offset: 200, Limit: 100 },
      { SnapshotIds: ids, Limit: 100 },
    ]);
    expect(page.total).toBe(203);
    expect(page.rows.map((row) => row.record?.StoredBytes)).toEqual(["snap-a", undefined, "snap-c"]);
  });

  it("that are searched or ordered by the server keep its order, and leave out what went meanwhile", async () => {
    const sent = serve({
      DescribeSnapshotRecords: { TotalCount: 205, SnapshotRecordSet: ["snap-c", "snap-gone", "snap-a"].map((SnapshotId) => ({ SnapshotId })) },
      DescribeSnapshots: { TotalCount: 2, SnapshotSet: ["snap-a", "snap-c"].map((SnapshotId) => ({ SnapshotId })) },
    });
    const filters = [{ Name: "snapshot-state", Values: ["NORMAL"] }];
    const page = await fetchSnapshots({ filters, search: "db", order: { field: "NAME", down: true } }, 100);
    expect(sent[0]?.body).toEqual({ Filters: [...filters, { Name: "search", Values: ["db"] }], OrderField: "NAME", Order: "DESC", Offset: 100, Limit: 100 });
    expect(sent[1]?.body["SnapshotIds"]).toEqual(["snap-c", "snap-gone", "snap-a"]);
    expect([page.total, page.rows.map((row) => row.snapshot.SnapshotId)]).toEqual([205, ["snap-c", "snap-a"]]);
  });

  it("of groups are asked for by id through the filter, for that action takes no ids", async () => {
    const sent = serve({
      DescribeSnapshotGroups: { TotalCount: 1, SnapshotGroupSet: [{ SnapshotGroupId: "csnap-a" }] },
      DescribeSnapshotGroupRecords: { SnapshotGroupRecordSet: [{ SnapshotGroupId: "csnap-a", PauseMs: 4 }] },
    });
    const page = await fetchGroups({ ids: ["csnap-a"] }, 0);
    expect(sent[0]?.body["Filters"]).toEqual([{ Name: "snapshot-group-id", Values: ["csnap-a"] }]);
    expect(page.rows[0]?.record?.PauseMs).toBe(4);
  });
});

describe("what is shown is asked for again", () => {
  const query = (data: boolean | undefined, error: Error | null = null) => ({ state: { data, error } });
  const every = interval<boolean>((busy) => busy);
  it("every second while something is under way, and now and then otherwise", () => {
    expect([every(query(true)), every(query(false)), every(query(undefined))]).toEqual([1_000, 15_000, 15_000]);
  });
  it("soon where the server does not answer, and not at all without a session", () => {
    expect(every(query(false, new UnreachableError()))).toBe(2_000);
    expect(every(query(true, new SignedOutError()))).toBe(false);
  });
  it("as long as a state will change by itself", () => {
    const disk = (DiskState: string, Hydrating = false) => diskIsBusy({ disk: { DiskState }, detail: { Hydrating } } as unknown as DiskRow);
    expect(["ATTACHED", "UNATTACHED", "TORECYCLE", "ATTACHING", "ROLLBACKING", "DUMPING"].map((state) => disk(state))).toEqual([
      false, false, false, true, true, true,
    ]);
    expect(disk("ATTACHED", true)).toBe(true);
    for (const state of ["CREATING", "ROLLBACKING", "NORMAL"]) {
      expect(snapshotIsBusy({ snapshot: { SnapshotState: state } } as never)).toBe(state !== "NORMAL");
      expect(groupIsBusy({ group: { SnapshotGroupState: state } } as never)).toBe(state !== "NORMAL");
    }
    expect(["RUNNING", "DONE", "FAILED"].map((State) => operationIsBusy({ State } as never))).toEqual([true, false, false]);
  });
});
