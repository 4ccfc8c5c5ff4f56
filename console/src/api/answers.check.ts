// A compile error here: this console reads a field that the server's own description does not have.
import type * as mine from "./answers";
import type * as theirs from "./types";

type Unknown<Mine, Theirs> = Exclude<keyof Mine, keyof Theirs>;

export type Held = {
  readonly [Name in
    | Unknown<mine.Disk, theirs.Disk>
    | Unknown<mine.DiskDetail, theirs.DiskDetail>
    | Unknown<mine.DiskConfig, theirs.DiskConfig>
    | Unknown<mine.Snapshot, theirs.Snapshot>
    | Unknown<mine.SnapshotRecord, theirs.SnapshotRecord>
    | Unknown<mine.Opening, theirs.Opening>
    | Unknown<mine.OpeningStep, theirs.OpeningStep>
    | Unknown<mine.SnapshotGroup, theirs.SnapshotGroup>
    | Unknown<mine.SnapshotGroupRecord, theirs.SnapshotGroupRecord>
    | Unknown<mine.QuiesceStepRecord, theirs.QuiesceStepRecord>
    | Unknown<mine.Account, theirs.Account>
    | Unknown<mine.StoreSpace, theirs.DrystoneDescribeStoreAnswer>
    | Unknown<mine.StoreHealth, theirs.DrystoneDescribeStoreHealthAnswer>
    | Unknown<mine.Operation, theirs.Operation>
    | Unknown<mine.Instance, theirs.Instance>
    | Unknown<mine.Key, theirs.Key>
    | Unknown<mine.Attention, theirs.Attention>
    | Unknown<mine.HistoryPoint, theirs.HistoryPoint>
    | Unknown<mine.QuiesceProfile, theirs.QuiesceProfile>
    | Unknown<mine.Overview, theirs.DrystoneDescribeOverviewAnswer>
    | Unknown<mine.Difference, theirs.DrystoneDescribeSnapshotDifferenceAnswer>
    | Unknown<mine.SpaceOfSet, theirs.DrystoneDescribeSnapshotSpaceAnswer>
    | Unknown<mine.Quotas, theirs.DrystoneDescribeQuotasAnswer>
    | Unknown<mine.Host, theirs.DrystoneDescribeHostAnswer>]: Name;
};

const NOTHING_UNKNOWN: Held = {};
export default NOTHING_UNKNOWN;
