// Changes as Tencent Cloud's own tools ask for them: tccli, the Python SDK, Terraform.
import type { ServiceName } from "../api/answers";
import { callsOf, type Asked, type Shown } from "./asked";
import { hcl, python, shellLine } from "./quote";

function tccliValue(value: unknown): string {
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Stands above calls that each need the one before to have ended: the command line waits, these do not. */
const WAIT = "# Each of these begins when the one before has ended: DescribeDisks and DescribeSnapshots show that.";

const hasValue = (entry: readonly [string, unknown]): boolean => entry[1] !== undefined && entry[1] !== null;

/** Lines for `tccli`; null where it does not know the service. */
export function tccli(shown: Shown): string | null {
  const calls = callsOf(shown);
  if (calls.some(({ service }) => service !== "cbs")) return null;
  const lines = calls.map(({ action, parameters }) => {
    const given = Object.entries(parameters).filter(hasValue).flatMap(([name, value]) => [`--${name}`, tccliValue(value)]);
    return `tccli cbs ${shellLine([action, ...given])} --endpoint "$DRYSTONE_ENDPOINT"`;
  });
  return (lines.length > 1 ? [WAIT, ...lines] : lines).join("\n");
}

const HEAD = `import os
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import EnvironmentVariableCredential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

scheme, endpoint = os.environ["DRYSTONE_ENDPOINT"].split("://")
profile = ClientProfile(httpProfile=HttpProfile(protocol=scheme, endpoint=endpoint))
credential = EnvironmentVariableCredential().get_credential()
region = os.environ["TENCENTCLOUD_REGION"]`;

const VERSIONS: Readonly<Record<ServiceName, string>> = {
  cbs: "2017-03-12",
  cvm: "2017-03-12",
  drystone: "2026-11-01",
  sts: "2018-08-13",
  tag: "2018-08-13",
};

/** A program for the Python SDK, which reads `credentials.env` from its environment. */
export function pythonProgram(shown: Shown): string {
  const calls = callsOf(shown);
  const services = [...new Set(calls.map(({ service }) => service))];
  const clients = services.map((service) => `${service} = CommonClient("${service}", "${VERSIONS[service]}", credential, region, profile)`);
  const lines = calls.map(({ service, action, parameters }) => {
    const given = Object.fromEntries(Object.entries(parameters).filter(hasValue));
    return `print(${service}.call_json("${action}", ${python(given)}))`;
  });
  return [HEAD, ...clients, ...(lines.length > 1 ? [WAIT] : []), ...lines].join("\n");
}

/** The name of a resource in Terraform, made of what the user calls it. */
function label(name: string | null | undefined, other: string): string {
  const word = (name ?? "").replaceAll(/[^A-Za-z0-9_]+/g, "_").replace(/^(?=[^A-Za-z_])/, "_").replace(/_+$/, "");
  return word === "" ? other : word;
}

type Attribute = readonly [string, string | null];

function resource(kind: string, name: string, attributes: readonly Attribute[]): string {
  const given = attributes.filter((one): one is readonly [string, string] => one[1] !== null);
  const width = Math.max(...given.map(([key]) => key.length));
  return `resource "${kind}" "${name}" {\n${given.map(([key, value]) => `  ${key.padEnd(width)} = ${value}\n`).join("")}}`;
}

const text = (value: string | null | undefined): string | null => (value === null || value === undefined ? null : hcl(value));
const tagMap = (given: readonly { readonly Key: string; readonly Value: string }[] | undefined): string | null =>
  given === undefined || given.length === 0 ? null : `{ ${given.map(({ Key, Value }) => `${hcl(Key)} = ${hcl(Value)}`).join(", ")} }`;

function resourcesOf(asked: Asked): readonly string[] {
  switch (asked.action) {
    case "CreateDisks": {
      const p = asked.parameters;
      const attributes: readonly Attribute[] = [
        ["count", p.DiskCount === undefined || p.DiskCount === 1 ? null : String(p.DiskCount)],
        ["storage_name", text(p.DiskName ?? "disk")], ["storage_type", text(p.DiskType)], ["storage_size", String(p.DiskSize)],
        ["availability_zone", text(p.Placement.Zone)], ["snapshot_id", text(p.SnapshotId)], ["tags", tagMap(p.Tags)],
      ];
      return [resource("tencentcloud_cbs_storage", label(p.DiskName, "disk"), attributes)];
    }
    case "CreateSnapshot": {
      const p = asked.parameters;
      return [resource("tencentcloud_cbs_snapshot", label(p.SnapshotName, "snapshot"), [["storage_id", text(p.DiskId)], ["snapshot_name", text(p.SnapshotName ?? "snapshot")], ["tags", tagMap(p.Tags)]])];
    }
    case "AttachDisks":
      return asked.parameters.DiskIds.map((id) =>
        resource("tencentcloud_cbs_storage_attachment", label(id, "attachment"), [["storage_id", text(id)], ["instance_id", text(asked.parameters.InstanceId)]]),
      );
    default:
      return [];
  }
}

/** Resources for Terraform's provider; null where it has none for this. Each is of a change alone: steps of a rollback are none. */
export function terraform(shown: Shown): string | null {
  const found = "calls" in shown ? [] : resourcesOf(shown);
  return found.length === 0 ? null : found.join("\n\n");
}
