// Short names for what the generated types say of calls.
import type { Disk, Services, Snapshot } from "./types";

export type ServiceName = keyof Services;
export type ActionName<S extends ServiceName> = keyof Services[S] & string;
type Action<S extends ServiceName, A extends ActionName<S>> = Services[S][A] extends { parameters: infer P; answer: infer R }
  ? { parameters: P; answer: R }
  : never;
export type ParametersOf<S extends ServiceName, A extends ActionName<S>> = Action<S, A>["parameters"];
export type AnswerOf<S extends ServiceName, A extends ActionName<S>> = Action<S, A>["answer"];

export type DiskState = Disk["DiskState"];
export type SnapshotState = Snapshot["SnapshotState"];
export type Overview = AnswerOf<"drystone", "DescribeOverview">;
export type StoreStatus = AnswerOf<"drystone", "DescribeStoreStatus">;
export type SpaceOfSet = AnswerOf<"drystone", "DescribeSnapshotSpace">;
