import type { ReactNode } from "react";
import { Link } from "react-router";

import type { Overview } from "../../api/answers";
import { Command } from "../../parts/Copyable";
import { CheckCircleFilledIcon } from "../../parts/icons";
import { Card } from "../../parts/Page";
import { useWords } from "../../words";

/** The way to the first snapshot, in the console or by the command line; what is done is ticked. */
export function FirstSteps({ overview }: { readonly overview: Overview }) {
  const { t } = useWords();
  return (
    <Card title={t("overview.none")} className="first-steps">
      <p className="quiet">{t("overview.noneText")}</p>
      <ol>
        <Step title={t("first.create")} done={overview.Disks > 0} link={<Link to="/disks?do=create">{t("overview.begin")}</Link>} commands={["drystone disk create --size 20 --name first"]} />
        <Step
          title={t("first.attach")}
          done={overview.DisksAttached > 0}
          link={<Link to="/disks">{t("first.toDisks")}</Link>}
          commands={["DEV=$(drystone disk attach first --instance host)", 'blkid "$DEV" || mkfs.ext4 "$DEV"', 'mkdir -p /mnt/first && mount "$DEV" /mnt/first']}
        />
        <Step title={t("first.snapshot")} done={overview.SnapshotsCount > 0} link={<Link to="/disks">{t("first.toDisks")}</Link>} commands={["sync -f /mnt/first && drystone snapshot create first --name first-snapshot"]} />
      </ol>
    </Card>
  );
}

type StepProps = { readonly title: string; readonly done: boolean; readonly link: ReactNode; readonly commands: readonly string[] };

function Step({ title, done, link, commands }: StepProps) {
  const { t } = useWords();
  return (
    <li className={done ? "first-steps__done" : undefined}>
      <h3>
        {done && <CheckCircleFilledIcon />}
        {title}
        {done && <span className="unseen">{t("first.done")}</span>}
      </h3>
      {!done && (
        <>
          <p>
            {link} {t("first.or")}
          </p>
          {commands.map((command) => (
            <Command key={command} text={command} />
          ))}
        </>
      )}
    </li>
  );
}
