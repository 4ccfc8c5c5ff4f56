import type { Filter } from "../../api/types";

/** What is typed into a search box, as filters of DescribeDisks or DescribeSnapshots: an id, `tag:key=value` or a name. */
export function searchFilters(list: "disk" | "snapshot", text: string): readonly Filter[] {
  const wanted = text.trim();
  if (wanted === "") return [];
  if (/^disk-[a-z0-9]+$/.test(wanted)) return [{ Name: "disk-id", Values: [wanted] }];
  if (list === "snapshot" && /^snap-[a-z0-9]+$/.test(wanted)) return [{ Name: "snapshot-id", Values: [wanted] }];
  if (list === "disk" && /^ins-[a-z0-9]+$/.test(wanted)) return [{ Name: "instance-id", Values: [wanted] }];
  const tag = /^tag:([^=]+)(?:=(.*))?$/.exec(wanted);
  if (tag?.[1] !== undefined) {
    return [tag[2] === undefined ? { Name: "tag-key", Values: [tag[1]] } : { Name: `tag:${tag[1]}`, Values: [tag[2]] }];
  }
  return [{ Name: `${list}-name`, Values: [wanted] }];
}
