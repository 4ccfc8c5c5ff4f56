// What is held still for snapshots: shown, and the ways to change it.
import { useState } from "react";

import type { Disk, QuiesceProfile } from "../../api/types";
import { useProfiles, useSession } from "../../api/queries";
import { ActionButton } from "../../parts/ActionButton";
import { asks } from "../../commands/asked";
import { useAsked } from "../../parts/asked";
import { RefText } from "../../parts/Copyable";
import { Dialog } from "../../parts/Dialog";
import { Card, Facts, Pending } from "../../parts/Page";
import type { DiskRow } from "../../api/queries";
import { named, useWords, type Translate } from "../../words";
import { ProfileDialog } from "./ProfileDialog";
import { detailOf, profileOf, profilesOf } from "./profileForm";

/** The steps in one line. */
export const stepsText = (t: Translate, profile: QuiesceProfile): string => profile.Steps.map((step) => named(t, "quiesce", step.Kind)).join(", ");

/** A sentence for each profile that is used for a snapshot of these disks. */
export function ProfileNotes({ disks }: { readonly disks: readonly Disk[] }) {
  const { t } = useWords();
  return profilesOf(useProfiles().data ?? [], disks).map((profile) => (
    <p className="note" key={profile.ResourceId}>
      {t("newSnap.profile", { steps: stepsText(t, profile), mode: named(t, "quiesce.mode", profile.Mode), seconds: profile.FreezeSecondsMax })}
    </p>
  ));
}

export function DiskProfile({ row }: { readonly row: DiskRow }) {
  const { t } = useWords();
  const profiles = useProfiles();
  const { disk } = row;
  const profile = profiles.data && profileOf(profiles.data, disk);
  const own = profile?.ResourceId === disk.DiskId ? profile : undefined;
  return (
    <Card title={t("profile.title")} aside={<ProfileButtons resourceId={disk.DiskId} profile={own} />}>
      <Pending answer={profiles} />
      {profiles.data !== undefined && profile === undefined && <p className="quiet">{t("profile.none")}</p>}
      {profile && (
        <>
          {own === undefined && (
            <p className="note">
              {t("profile.fromInstance")} <RefText id={profile.ResourceId} />
            </p>
          )}
          <ol className="held">
            {profile.Steps.map((step, index) => (
              <li key={index}>
                <strong>{named(t, "profile.kindOf", step.Kind)}</strong> <code>{detailOf(step)}</code>
              </li>
            ))}
          </ol>
          <Facts
            facts={[
              { name: t("profile.mode"), value: t(profile.Mode === "require" ? "profile.require" : "profile.prefer") },
              { name: t("profile.seconds"), value: `${profile.FreezeSecondsMax} s` },
              { name: t("profile.prove"), value: profile.ProveEveryH === null ? t("profile.proveNever") : `${profile.ProveEveryH} h` },
            ]}
          />
        </>
      )}
    </Card>
  );
}

/** Set, change and remove the profile of a disk or an instance. */
export function ProfileButtons({ resourceId, profile }: { readonly resourceId: string; readonly profile: QuiesceProfile | undefined }) {
  const { t } = useWords();
  const session = useSession();
  const [open, setOpen] = useState<"edit" | "remove" | null>(null);
  const refusal = session.data?.Admin === true ? null : ({ key: "why.notAdmin" } as const);
  const close = () => setOpen(null);
  return (
    <span className="row-actions">
      <ActionButton size="small" refusal={refusal} onClick={() => setOpen("edit")}>
        {t(profile === undefined ? "profile.set" : "profile.change")}
      </ActionButton>
      {profile && (
        <ActionButton size="small" refusal={refusal} onClick={() => setOpen("remove")}>
          {t("profile.remove")}
        </ActionButton>
      )}
      {open === "edit" && <ProfileDialog resourceId={resourceId} profile={profile} onClose={close} />}
      {open === "remove" && <RemoveDialog resourceId={resourceId} onClose={close} />}
    </span>
  );
}

function RemoveDialog({ resourceId, onClose }: { readonly resourceId: string; readonly onClose: () => void }) {
  const { t } = useWords();
  const remove = useAsked("drystone", "DeleteQuiesceProfile", onClose, t("profile.removed"));
  return (
    <Dialog {...remove.dialog} title={t("profile.removeTitle")} onSubmit={() => remove.send({ ResourceId: resourceId })} shows={asks("drystone", "DeleteQuiesceProfile", { ResourceId: resourceId })} submitText={t("profile.remove")} danger>
      <p>
        <RefText id={resourceId} />
      </p>
      <p className="note note--warn">{t("profile.removeText")}</p>
    </Dialog>
  );
}
