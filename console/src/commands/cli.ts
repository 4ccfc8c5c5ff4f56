// Each change of the console as the command `drystone` does it.
import type { Tag } from "../api/types";
import { asks, callsOf, type Asked, type Shown } from "./asked";
import { shellLine, toml } from "./quote";

export type Action = Asked["action"];
type Of<A extends Action> = Extract<Asked, { readonly action: A }>["parameters"];
type Words = readonly string[];

// `--name=VALUE`, so that no value is taken for an option.
const option = (name: string, value: string | number | null | undefined): Words => (value === undefined || value === null ? [] : [`--${name}=${value}`]);
const flag = (name: string, on: boolean): Words => (on ? [`--${name}`] : []);
const tags = (given: readonly Tag[] | null | undefined): Words => (given ?? []).map(({ Key, Value }) => `--tag=${Key}=${Value}`);
const word = (value: string | undefined): Words => (value === undefined ? [] : [value]);
/** Words that may begin with a hyphen, and what else there is before them. */
const plain = (...words: Words): Words => (words.some((word) => word.startsWith("-")) ? ["--", ...words] : words);

const STEP_KEYS = {
  Kind: "kind", SecondsMax: "seconds_max", Mount: "mount", Freeze: "freeze", Thaw: "thaw", OptionFile: "option_file", Connection: "connection", Socket: "socket",
  Domain: "domain",
} as const;

function tomlValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tomlValue).join(", ")}]`;
  return typeof value === "string" ? toml(value) : String(value);
}

/** A quiesce profile as the file that `drystone quiesce set` reads. */
export function profileFile({ Mode, FreezeSecondsMax, ProveEveryH, Steps }: Of<"SetQuiesceProfile">): string {
  const head = { mode: Mode, freeze_seconds_max: FreezeSecondsMax, prove_every_h: ProveEveryH };
  const lines = Object.entries(head).flatMap(([key, value]) => (value === undefined ? [] : [`${key} = ${tomlValue(value)}`]));
  for (const step of Steps) {
    lines.push("[[steps]]");
    for (const [wire, key] of Object.entries(STEP_KEYS)) {
      const value = (step as Readonly<Record<string, unknown>>)[wire];
      if (value !== undefined && value !== null) lines.push(`${key} = ${tomlValue(value)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

/** For each action that a dialog asks for: the words behind `drystone`. `own` is the id of the caller's account. */
const WORDS: { readonly [A in Action]?: (parameters: Of<A>, own: string) => Words } = {
  CreateDisks: (p) => [
    "disk", "create", ...option("size", p.DiskSize), ...option("type", p.DiskType), ...option("name", p.DiskName), ...option("from-snapshot", p.SnapshotId),
    ...option("count", p.DiskCount === 1 ? null : p.DiskCount), ...tags(p.Tags), ...flag("delete-snapshots", p.DeleteSnapshot === 1),
  ],
  AttachDisks: (p) => ["disk", "attach", ...p.DiskIds, ...option("instance", p.InstanceId)],
  DetachDisks: (p) => ["disk", "detach", ...p.DiskIds],
  ResizeDisk: (p) => ["disk", "resize", ...word(p.DiskId), ...option("size", p.DiskSize)],
  ModifyDiskAttributes: (p) => ["disk", "modify", ...p.DiskIds, ...option("name", p.DiskName)],
  InitializeDisks: (p) => ["disk", "init", ...p.DiskIds, "--yes"],
  TerminateDisks: (p) => [
    "disk", "delete", ...p.DiskIds, ...flag("delete-snapshots", p.DeleteSnapshot === 1), ...flag("no-delete-snapshots", p.DeleteSnapshot === 0), "--yes",
  ],
  RewriteDisk: (p) => ["disk", "rewrite", p.DiskId],
  AuditDisk: (p) => ["disk", "audit", p.DiskId],
  ImportDisk: (p) => ["disk", "import", ...option("format", p.Format), ...option("name", p.DiskName), ...option("size", p.DiskSize), ...plain(p.Path)],
  CreateSnapshot: (p) => ["snapshot", "create", ...word(p.DiskId), ...option("name", p.SnapshotName), ...option("deadline", p.Deadline), ...tags(p.Tags)],
  ModifySnapshotAttribute: (p) => [
    "snapshot", "modify", p.SnapshotId, ...option("name", p.SnapshotName), ...option("deadline", p.Deadline), ...flag("permanent", p.IsPermanent === true),
  ],
  ApplySnapshot: (p) => ["snapshot", "rollback", p.SnapshotId, ...option("disk", p.DiskId), "--yes"],
  DeleteSnapshots: (p) => ["snapshot", "delete", ...p.SnapshotIds, "--yes"],
  ExportSnapshot: (p) => ["snapshot", "export", p.SnapshotId, ...option("format", p.Format), ...plain(p.Path)],
  CreateSnapshotGroup: (p) => ["snapshot-group", "create", ...p.DiskIds, ...option("name", p.SnapshotGroupName), ...tags(p.Tags)],
  ApplySnapshotGroup: (p) => ["snapshot-group", "rollback", p.SnapshotGroupId, ...p.ApplyDisks.map(({ DiskId }) => DiskId), "--yes"],
  DeleteSnapshotGroup: (p) => ["snapshot-group", "delete", ...word(p.SnapshotGroupId), "--yes"],
  SetQuiesceProfile: (p) => ["quiesce", "set", p.ResourceId, "--file=profile.toml"],
  DeleteQuiesceProfile: (p) => ["quiesce", "delete", p.ResourceId],
  CreateInstance: (p) => ["instance", "create", ...option("kind", p.Kind), ...option("name", p.InstanceName)],
  DeleteInstance: (p) => ["instance", "delete", p.InstanceId, "--yes"],
  CreateAccount: (p) => ["account", "create", ...plain(p.AccountName)],
  SetAccountPassword: (p) => ["account", "password", ...word(p.AccountId)],
  CreateKey: (_, own) => ["account", "key", "create", own],
  DeleteKey: (p) => ["account", "key", "delete", p.SecretId, "--yes"],
};

/** The actions that have a command here. */
export const WITH_COMMANDS = Object.keys(WORDS) as readonly Action[];

/** The line of one change; null where the command line does it otherwise. */
function line(asked: Asked, own: string): string | null {
  const words = WORDS[asked.action] as ((parameters: unknown, own: string) => Words) | undefined;
  if (words === undefined) return null;
  const command = `drystone ${shellLine(words(asked.parameters, own))}`;
  return asked.action === "SetQuiesceProfile" ? `cat > profile.toml <<'END'\n${profileFile(asked.parameters)}END\n${command}` : command;
}

/** What one types at a terminal of the server instead. */
export const commandLine = (shown: Shown, own: string): string =>
  ("lines" in shown ? shown.lines : callsOf(shown).flatMap((one) => line(one, own) ?? [])).join("\n");

export type RollBackAsked = {
  readonly diskId: string;
  readonly snapshotId: string;
  /** Name of a snapshot of the disk as it is now; null for none. */
  readonly safetyName: string | null;
  /** The instance that it is detached from before. */
  readonly instanceId: string | null;
  readonly attachAgain: boolean;
};

/** Rolling one disk back, with all that is around it: one command, and the calls that it makes. */
export function rollBackShown({ diskId, snapshotId, safetyName, instanceId, attachAgain }: RollBackAsked): Shown {
  const around = instanceId === null ? [] : ["--detach", ...flag("attach-again", attachAgain)];
  const words = ["disk", "rollback", diskId, snapshotId, ...around, ...flag("safety-snapshot", safetyName !== null), "--yes"];
  return {
    lines: [`drystone ${shellLine(words)}`],
    calls: [
      ...(safetyName === null ? [] : [asks("cbs", "CreateSnapshot", { DiskId: diskId, SnapshotName: safetyName })]),
      ...(instanceId === null ? [] : [asks("cbs", "DetachDisks", { DiskIds: [diskId] })]),
      asks("cbs", "ApplySnapshot", { SnapshotId: snapshotId, DiskId: diskId }),
      ...(instanceId === null || !attachAgain ? [] : [asks("cbs", "AttachDisks", { InstanceId: instanceId, DiskIds: [diskId] })]),
    ],
  };
}

/** Rolling a group back, with snapshots of its disks as they are now before. */
export function groupRollBackShown(parameters: Of<"ApplySnapshotGroup">, safetyName: string | null): Shown {
  const safety = safetyName === null ? [] : parameters.ApplyDisks.map(({ DiskId }) => asks("cbs", "CreateSnapshot", { DiskId, SnapshotName: safetyName }));
  const calls = [...safety, asks("cbs", "ApplySnapshotGroup", parameters)];
  return { calls, lines: calls.flatMap((one) => line(one, "") ?? []) };
}
