import type { Filter } from "../../api/types";

/** What is typed into the search box, as filters of DescribeSnapshotGroups: an id of a group or a member, or a name. */
export function groupFilters(text: string): readonly Filter[] {
  const wanted = text.trim();
  if (wanted === "") return [];
  if (/^csnap-[a-z0-9]+$/.test(wanted)) return [{ Name: "snapshot-group-id", Values: [wanted] }];
  if (/^snap-[a-z0-9]+$/.test(wanted)) return [{ Name: "snapshot-id", Values: [wanted] }];
  return [{ Name: "snapshot-group-name", Values: [wanted] }];
}
