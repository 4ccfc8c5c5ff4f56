// What a page shows of what the server answered: drawn once, without a browser.
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { MemoryRouter } from "react-router";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { Overview, SpaceOfSet } from "../api/answers";
import type { Event } from "../api/types";
import { snapshotIsBusy, useTicked, type SnapshotRow } from "../api/queries";
import { SnapshotTag } from "../parts/StateTag";
import { WordsProvider } from "../words";
import { AttentionCard } from "./events/AttentionCard";
import OverviewPage from "./overview/OverviewPage";
import { Frees, useFreed } from "./snapshots/Frees";

let client: QueryClient;

beforeEach(() => {
  client = new QueryClient();
  vi.stubGlobal("localStorage", { getItem: () => "en" });
  vi.stubGlobal("navigator", { languages: ["en"] });
  vi.spyOn(console, "error").mockImplementation((text: unknown) => {
    // The router's effects run in browsers only, which React tells each time.
    if (!String(text).includes("useLayoutEffect")) throw new Error(String(text));
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const drawn = (page: ReactNode): string =>
  renderToStaticMarkup(
    <QueryClientProvider client={client}>
      <WordsProvider>
        <MemoryRouter>{page}</MemoryRouter>
      </WordsProvider>
    </QueryClientProvider>,
  );

describe("the overview", () => {
  it("tells what needs attention also before there is a disk", () => {
    const nothing = { Disks: 0, SnapshotsCount: 0, RecentOperations: [] } as unknown as Overview;
    const filters = [{ Name: "resolved", Values: ["false"] }, { Name: "acknowledged", Values: ["false"] }];
    const shown = (overview: Overview, events: readonly Event[] = []) => {
      client.setQueryData(["DescribeOverview", {}], overview);
      client.setQueryData(["DescribeEvents", { Filters: filters }], { TotalCount: events.length, EventSet: events, Cursor: 0 });
      return drawn(<OverviewPage />);
    };
    expect(shown(nothing)).toContain("Welcome to Drystone");
    expect(shown(nothing)).not.toContain("Needs attention");
    const held = shown(nothing, [{ EventId: "evt-1", Kind: "store_held", SubjectId: "", Count: 1, Facts: { Reason: "recovered" }, LastSeenTime: "" } as Event]);
    expect(held).toContain("until an administrator confirms");
    expect(held).toContain("Welcome to Drystone");
  });
});

describe("what needs attention", () => {
  const shown = (TotalCount: number | undefined) => {
    const filters = [{ Name: "resolved", Values: ["false"] }, { Name: "acknowledged", Values: ["false"] }];
    client.setQueryData(["DescribeEvents", { Filters: filters }], { TotalCount: 0, EventSet: [], Cursor: 0 });
    client.setQueryData(["DescribeProtection", { Limit: 1, Filters: [{ Name: "protected", Values: ["false"] }] }], TotalCount === undefined ? undefined : { TotalCount, DiskProtectionSet: [] });
    return drawn(<AttentionCard />);
  };
  it("is nothing only where each disk is protected, and that is known", () => {
    expect(shown(undefined)).not.toContain("Nothing needs attention");
    expect(shown(0)).toContain("Nothing needs attention");
    expect(shown(4)).not.toContain("Nothing needs attention");
    expect(shown(4)).toMatch(/href="\/protection\?protected=false"[^>]*>4 disks are unprotected/);
  });
});

describe("what deleting snapshots frees", () => {
  const Asked = () => <Frees rows={[]} freed={useFreed(["snap-a"])} />;
  const shown = (DeadBytes: number, ReclaimableBytes: number) => {
    client.setQueryData(["DescribeSnapshotSpace", { SnapshotIds: ["snap-a"] }], { SnapshotSpaceSet: [], DeadBytes, ReclaimableBytes } satisfies SpaceOfSet);
    return drawn(<Asked />);
  };
  it("is what comes back; the rest of what dies is told as such", () => {
    expect(shown(7 << 20, 2 << 20)).toMatch(/This frees <strong>2(\.0)? MiB<.*Another 5(\.0)? MiB/);
    expect(shown(7 << 20, 7 << 20)).toMatch(/This frees <strong>7(\.0)? MiB</);
    expect(shown(7 << 20, 7 << 20)).not.toContain("Another");
  });
});

describe("the state of a snapshot", () => {
  const shown = (Transcript: readonly string[]) =>
    drawn(<SnapshotTag row={{ snapshot: { SnapshotState: "NORMAL", Percent: 100 }, record: { Transcript } } as unknown as SnapshotRow} />);
  it("says where it got less than its profile asks for", () => {
    expect(shown(["nothing was held: the helper ended"])).toMatch(/state--warn.*Lower consistency/);
    expect(shown(["no profile: nothing was held"])).not.toContain("Lower consistency");
  });
});

describe("what is ticked", () => {
  const row = (SnapshotId: string, SnapshotState: string) => ({ snapshot: { SnapshotId, SnapshotState }, record: undefined }) as unknown as SnapshotRow;
  const then = new Map(["snap-a", "snap-b"].map((id) => [id, row(id, "CREATING")]));
  const Rows = () => {
    const rows = useTicked("snapshots", then, () => Promise.reject(new Error("not asked for here")), snapshotIsBusy, (one) => one.snapshot.SnapshotId);
    return <>{rows.map(({ snapshot }) => `${snapshot.SnapshotId} ${snapshot.SnapshotState};`)}</>;
  };
  it("is as the server says now, and as it was where that is not known", () => {
    expect(drawn(<Rows />)).toBe("snap-a CREATING;snap-b CREATING;");
    client.setQueryData(["snapshots", "ticked", ["snap-a", "snap-b"]], { total: 1, rows: [row("snap-a", "NORMAL")] });
    expect(drawn(<Rows />)).toBe("snap-a NORMAL;snap-b CREATING;");
  });
});
