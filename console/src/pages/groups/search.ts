import type { Filter } from "../../api/types";

/** What is typed as filters of DescribeSnapshotGroups, where these find just that: the id of a group or a member. */
export function exactGroups(text: string): readonly Filter[] | null {
  if (text === "") return [];
  if (/^csnap-[a-z0-9]{8}$/.test(text)) return [{ Name: "snapshot-group-id", Values: [text] }];
  return /^snap-[a-z0-9]{8}$/.test(text) ? [{ Name: "snapshot-id", Values: [text] }] : null;
}
