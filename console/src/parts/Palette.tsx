// Ctrl-K: to any page, disk, snapshot, group or action, by keyboard alone.
import { useQuery } from "@tanstack/react-query";
import { useEffect, useId, useRef, useState, type KeyboardEvent } from "react";
import { useNavigate } from "react-router";

import { fetchDisks, fetchGroups, fetchSnapshots, useSession, type DiskRow, type GroupRow, type SnapshotRow } from "../api/queries";
import { useWords, type Translate } from "../words";
import { matches } from "./arrange";
import { nameText } from "./Copyable";
import { places, split, type Place } from "./found";
import { SearchIcon } from "./icons";

const EACH_MAX = 6;
const WAIT_MS = 120;
const DISK_ACTIONS = ["createSnapshot", "attach", "detach", "resize", "rename", "audit", "rewrite", "initialize", "terminate"] as const;
const SNAPSHOT_ACTIONS = ["restore", "rename", "keep", "export", "remove"] as const;
const SETTINGS = ["keys", "password", "quotas", "instances", "accounts", "store", "about"] as const;
const OF_ADMINISTRATORS: ReadonlySet<string> = new Set(["accounts", "store"]);

type Entry = Place & { readonly kind: string; readonly id?: string };

/** Pages, and what is created: there whatever exists. */
function standing(t: Translate, admin: boolean): readonly Place[] {
  const pages = (["overview", "disks", "snapshots", "groups", "policies", "protection", "operations", "events"] as const).map((one) => ({ text: t(`nav.${one}`), to: one === "overview" ? "/" : `/${one}` }));
  const settings = SETTINGS.filter((one) => admin || !OF_ADMINISTRATORS.has(one)).map((one) => ({ text: `${t("nav.settings")}: ${t(`settings.${one}`)}`, to: `/settings/${one}` }));
  const actions = [
    { text: t("newDisk.button"), to: "/disks?do=create" },
    ...(admin ? [{ text: t("import.title"), to: "/disks?do=import" }] : []),
    { text: t("newGroup.button"), to: "/groups?do=create" },
    { text: t("policy.create"), to: "/policies?do=create" },
    { text: t("instance.create"), to: "/settings/instances?do=create" },
    { text: t("keys.create"), to: "/settings/keys?do=create" },
    ...(admin ? [{ text: t("account.create"), to: "/settings/accounts?do=create" }] : []),
  ];
  return [...pages, ...actions, ...settings];
}

type Found = { readonly disks: readonly DiskRow[]; readonly snapshots: readonly SnapshotRow[]; readonly groups: readonly GroupRow[] };
const NOTHING: Found = { disks: [], snapshots: [], groups: [] };

/** What the server finds for the words that are typed, the best known first. */
function useFound(typed: string): Found {
  const answer = useQuery({
    queryKey: ["disks", "found", typed],
    queryFn: async ({ signal }): Promise<Found> => {
      const where = { search: typed };
      const [disks, snapshots, groups] = await Promise.all([fetchDisks(where, 0, signal), fetchSnapshots(where, 0, signal), fetchGroups({}, 0, signal)]);
      return { disks: disks.rows, snapshots: snapshots.rows, groups: groups.rows.filter(({ group }) => matches([group.SnapshotGroupName, group.SnapshotGroupId], typed)) };
    },
    enabled: typed !== "",
    staleTime: 5_000,
  });
  return answer.data ?? NOTHING;
}

function useEntries(typed: string): readonly Entry[] {
  const { t } = useWords();
  const admin = useSession().data?.Admin === true;
  const ofDisks = DISK_ACTIONS.map((kind) => ({ kind, text: t(`diskAction.${kind}`) }));
  const ofSnapshots = SNAPSHOT_ACTIONS.map((kind) => ({ kind, text: t(`snapAction.${kind}`) }));
  const [disk, snapshot] = [split(ofDisks, typed), split(ofSnapshots, typed)];
  const plain = useFound(typed);
  const [forDisks, forSnapshots] = [useFound(disk.actions.length > 0 ? disk.rest : ""), useFound(snapshot.actions.length > 0 ? snapshot.rest : "")];
  return [
    ...places(standing(t, admin), typed).map((place) => ({ ...place, kind: "" })),
    ...plain.disks.slice(0, EACH_MAX).map((row) => ({ text: nameText(t, row.disk.DiskName), id: row.disk.DiskId, kind: t("palette.disk"), to: `/disks/${row.disk.DiskId}` })),
    ...plain.snapshots.slice(0, EACH_MAX).map((row) => ({ text: nameText(t, row.snapshot.SnapshotName), id: row.snapshot.SnapshotId, kind: t("palette.snapshot"), to: `/snapshots/${row.snapshot.SnapshotId}` })),
    ...plain.groups.slice(0, EACH_MAX).map((row) => ({ text: nameText(t, row.group.SnapshotGroupName), id: row.group.SnapshotGroupId, kind: t("palette.group"), to: `/groups/${row.group.SnapshotGroupId}` })),
    ...forDisks.disks.slice(0, EACH_MAX).flatMap((row) =>
      disk.actions.map(({ kind, text }) => ({ text: `${text}: ${nameText(t, row.disk.DiskName)}`, id: row.disk.DiskId, kind: t("palette.disk"), to: `/disks/${row.disk.DiskId}?do=${kind}` })),
    ),
    ...forSnapshots.snapshots.slice(0, EACH_MAX).flatMap((row) =>
      snapshot.actions.map(({ kind, text }) => ({ text: `${text}: ${nameText(t, row.snapshot.SnapshotName)}`, id: row.snapshot.SnapshotId, kind: t("palette.snapshot"), to: `/snapshots/${row.snapshot.SnapshotId}?do=${kind}` })),
    ),
  ];
}

/** The button that opens it, and it; Ctrl-K (on a Mac ⌘K) does from anywhere but a dialog. */
export function Palette() {
  const { t } = useWords();
  const [open, setOpen] = useState(false);
  useEffect(() => {
    const listen = (event: globalThis.KeyboardEvent) => {
      if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
      event.preventDefault();
      if (document.querySelector("dialog[open]") === null) setOpen(true);
    };
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, []);
  return (
    <>
      <button type="button" className="icon-button finder" aria-label={t("palette.open")} aria-keyshortcuts="Control+K Meta+K" title={`${t("palette.open")} (Ctrl-K)`} onClick={() => setOpen(true)}>
        <SearchIcon />
        <kbd aria-hidden="true" data-keys="Ctrl K" />
      </button>
      {open && <Finder onClose={() => setOpen(false)} />}
    </>
  );
}

function Finder({ onClose }: { readonly onClose: () => void }) {
  const { t } = useWords();
  const navigate = useNavigate();
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const [text, setText] = useState("");
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  useEffect(() => {
    const timer = setTimeout(() => setTyped(text.trim()), WAIT_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const entries = useEntries(typed);
  const chosen = Math.min(at, entries.length - 1);
  useEffect(() => {
    // Its answer is a promise in some browsers, and an effect's must be none.
    dialog.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }, [chosen, entries.length]);
  const go = (entry: Entry | undefined) => {
    if (entry === undefined) return;
    onClose();
    void navigate(entry.to);
  };
  const move = (event: KeyboardEvent) => {
    // A word of Chinese that is being composed is ended by Enter, too.
    if (event.nativeEvent.isComposing) return;
    const to = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, PageDown: Math.min(chosen + 8, entries.length - 1), PageUp: Math.max(chosen - 8, 0) }[event.key];
    if (event.key === "Enter") go(entries[chosen]);
    else if (to !== undefined) setAt((to + entries.length) % Math.max(1, entries.length));
    else return;
    event.preventDefault();
  };
  return (
    <dialog
      ref={dialog}
      className="dialog palette"
      aria-label={t("palette.open")}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
    >
      <input
        className="palette__input"
        role="combobox"
        aria-expanded="true"
        aria-controls={id}
        aria-activedescendant={entries.length > 0 ? `${id}-${chosen}` : undefined}
        aria-label={t("palette.open")}
        placeholder={t("palette.hint")}
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setAt(0);
        }}
        onKeyDown={move}
      />
      <ul id={id} role="listbox" aria-label={t("palette.open")} className="palette__list">
        {entries.map((entry, index) => (
          <li key={`${entry.to} ${entry.text}`} id={`${id}-${index}`} role="option" aria-selected={index === chosen} onClick={() => go(entry)}>
            <span className="palette__text">{entry.text}</span>
            {entry.id !== undefined && <code>{entry.id}</code>}
            {entry.kind !== "" && <small>{entry.kind}</small>}
          </li>
        ))}
      </ul>
      {entries.length === 0 && <p className="quiet palette__none">{t("palette.none")}</p>}
    </dialog>
  );
}
