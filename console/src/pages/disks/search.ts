import type { Filter } from "../../api/types";

/**
 * What is typed into the search box as filters of DescribeDisks or DescribeSnapshots, where these find just that: a whole
 * id, or `tag:key=value`. Null for anything else: the API's filters know no parts of names.
 */
export function exactFilters(list: "disk" | "snapshot", text: string): readonly Filter[] | null {
  if (text === "") return [];
  if (/^disk-[a-z0-9]{8}$/.test(text)) return [{ Name: "disk-id", Values: [text] }];
  if (list === "snapshot" && /^snap-[a-z0-9]{8}$/.test(text)) return [{ Name: "snapshot-id", Values: [text] }];
  if (list === "disk" && /^ins-[a-z0-9]{8}$/.test(text)) return [{ Name: "instance-id", Values: [text] }];
  const tag = /^tag:([^=]+)(?:=(.*))?$/.exec(text);
  if (tag?.[1] === undefined) return null;
  return [tag[2] === undefined ? { Name: "tag-key", Values: [tag[1]] } : { Name: `tag:${tag[1]}`, Values: [tag[2]] }];
}
