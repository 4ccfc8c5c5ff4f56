import type { Operation } from "../api/types";

/** Whether somebody has cancelled an operation; while it is RUNNING, it is being undone. */
export const isCancelled = ({ ErrorCode }: Pick<Operation, "ErrorCode">): boolean => ErrorCode === "FailedOperation.Cancelled";
