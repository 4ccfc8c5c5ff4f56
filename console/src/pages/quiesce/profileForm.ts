// What is held still around snapshots, as the user edits it and as the API takes it. The server judges (domain/quiesce.py).
import type { Disk, QuiesceProfile, QuiesceStep, QuiesceStepRecord } from "../../api/types";

export const KINDS = ["mariadb", "postgresql", "command", "filesystem", "guest-agent", "libvirt"] as const;
export type Kind = (typeof KINDS)[number];
type FieldName = "mount" | "freeze" | "thaw" | "optionFile" | "connection" | "socket" | "domain";

/** Which fields a kind of step has; it needs all of them. */
export const FIELDS: Readonly<Record<Kind, readonly FieldName[]>> = {
  mariadb: ["optionFile"],
  postgresql: ["connection"],
  command: ["freeze", "thaw"],
  filesystem: ["mount"],
  "guest-agent": ["socket"],
  libvirt: ["domain"],
};

export type StepForm = { readonly kind: Kind; readonly seconds: string } & Readonly<Record<FieldName, string>>;
type ProfileForm = {
  readonly mode: string;
  readonly seconds: string;
  /** "": only when somebody asks. */
  readonly proveEveryH: string;
  readonly steps: readonly StepForm[];
};

export const STEPS_MAX = 16;
const SECONDS_MAX = 60;
const PROVE_HOURS_MAX = 24 * 366;

const isKind = (text: string): text is Kind => (KINDS as readonly string[]).includes(text);

export const newStep = (kind: Kind): StepForm => ({
  kind, seconds: "5", mount: "", freeze: "", thaw: "", optionFile: "", connection: "", socket: "", domain: "",
});

export const EMPTY: ProfileForm = { mode: "require", seconds: "10", proveEveryH: "", steps: [] };

/** The words of a command line: by spaces, what is within double quotes together, `\"` and `\\` for those themselves. */
export function wordsOf(line: string): readonly string[] {
  return [...line.matchAll(/(?:"((?:[^"\\]|\\.)*)"|(\S+))/g)].map((match) => (match[1] === undefined ? (match[2] ?? "") : match[1].replaceAll(/\\(.)/g, "$1")));
}

/** The line that `wordsOf` reads as these words. */
export const lineOf = (words: readonly string[]): string =>
  words.map((word) => (/^[^\s"]+$/.test(word) ? word : `"${word.replaceAll(/["\\]/g, "\\$&")}"`)).join(" ");

export function formOf(profile: QuiesceProfile | undefined): ProfileForm {
  if (profile === undefined) return EMPTY;
  return {
    mode: profile.Mode,
    seconds: String(profile.FreezeSecondsMax),
    proveEveryH: profile.ProveEveryH === null ? "" : String(profile.ProveEveryH),
    steps: profile.Steps.flatMap((step) => (isKind(step.Kind) ? [stepFormOf(step, step.Kind)] : [])),
  };
}

const stepFormOf = (step: QuiesceStepRecord, kind: Kind): StepForm => ({
  kind,
  seconds: String(step.SecondsMax),
  mount: step.Mount ?? "",
  freeze: lineOf(step.Freeze),
  thaw: lineOf(step.Thaw),
  optionFile: step.OptionFile ?? "",
  connection: step.Connection ?? "",
  socket: step.Socket ?? "",
  domain: step.Domain ?? "",
});

/** A step as the API takes it: only the fields that its kind has. */
function sentStep(step: StepForm): QuiesceStep {
  const sent = { Kind: step.kind, SecondsMax: Number(step.seconds) };
  switch (step.kind) {
    case "mariadb":
      return { ...sent, OptionFile: step.optionFile.trim() };
    case "postgresql":
      return { ...sent, Connection: step.connection.trim() };
    case "command":
      return { ...sent, Freeze: wordsOf(step.freeze), Thaw: wordsOf(step.thaw) };
    case "filesystem":
      return { ...sent, Mount: step.mount.trim() };
    case "guest-agent":
      return { ...sent, Socket: step.socket.trim() };
    case "libvirt":
      return { ...sent, Domain: step.domain.trim() };
  }
}

export function sentProfile(form: ProfileForm) {
  return {
    Mode: form.mode,
    FreezeSecondsMax: Number(form.seconds),
    Steps: form.steps.map(sentStep),
    ...(form.proveEveryH.trim() === "" ? {} : { ProveEveryH: Number(form.proveEveryH) }),
  };
}

const within = (text: string, most: number, least = 0): boolean => {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) && value > 0 && value >= least && value <= most;
};

export const secondsAreRight = (text: string): boolean => within(text, SECONDS_MAX);
export const proofHoursAreRight = (text: string): boolean => text.trim() === "" || within(text, PROVE_HOURS_MAX, 1);

/** Whether everything is filled in; what it is worth the server says. */
export function isComplete(form: ProfileForm): boolean {
  return (
    form.steps.length > 0 &&
    form.steps.length <= STEPS_MAX &&
    secondsAreRight(form.seconds) &&
    proofHoursAreRight(form.proveEveryH) &&
    form.steps.every((step) => secondsAreRight(step.seconds) && FIELDS[step.kind].every((name) => step[name].trim() !== ""))
  );
}

const FILE_KINDS: ReadonlySet<Kind> = new Set(["filesystem", "guest-agent", "libvirt"]);

/** The steps with those that freeze file systems last, as the server wants them; otherwise in the user's order. */
export const inOrder = (steps: readonly StepForm[]): readonly StepForm[] =>
  [...steps].sort((a, b) => Number(FILE_KINDS.has(a.kind)) - Number(FILE_KINDS.has(b.kind)));

/** The profile that counts for a disk: its own goes before that of the instance that it is attached to. */
export function profileOf(profiles: readonly QuiesceProfile[], disk: Pick<Disk, "DiskId" | "InstanceId">): QuiesceProfile | undefined {
  const by = (id: string) => profiles.find((one) => one.ResourceId === id);
  return by(disk.DiskId) ?? (disk.InstanceId === "" ? undefined : by(disk.InstanceId));
}

/** The profiles that count for several disks, each once. */
export const profilesOf = (profiles: readonly QuiesceProfile[], disks: readonly Pick<Disk, "DiskId" | "InstanceId">[]): readonly QuiesceProfile[] => [
  ...new Set(disks.flatMap((disk) => profileOf(profiles, disk) ?? [])),
];

/** What tells a step from others of its kind. */
export const detailOf = (step: QuiesceStepRecord): string =>
  step.Mount ?? step.Freeze[0] ?? step.OptionFile ?? step.Socket ?? step.Domain ?? "";
