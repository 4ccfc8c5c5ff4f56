import { useAnswer, useSession } from "../../api/queries";
import { RefusedError } from "../../api/client";
import { ErrorNote } from "../../parts/ErrorNote";
import { Card, Facts } from "../../parts/Page";
import { bytes } from "../../units/bytes";
import { useWords } from "../../words";

export function About() {
  const { t } = useWords();
  const session = useSession().data;
  const host = useAnswer("drystone", "DescribeHost", {});
  // What the host is made of is for administrators; everybody may know the version.
  const hidden = host.error instanceof RefusedError && host.error.code.startsWith("UnauthorizedOperation");
  return (
    <Card title={t("settings.about")}>
      <Facts
        facts={[
          { name: "Drystone", value: session?.Version ?? "–" },
          { name: t("about.account"), value: session ? `${session.Name} (${session.AccountId})` : "–" },
          { name: t("about.region"), value: session?.Region ?? "–" },
          { name: t("about.zones"), value: session?.Zones.join(", ") ?? "–" },
          { name: t("about.endpoint"), value: <code className="selectable">{globalThis.location.origin}</code> },
          ...(host.data
            ? [
                { name: "QEMU", value: host.data.QemuVersion },
                { name: t("about.data"), value: <code className="selectable">{host.data.DataDirectory}</code> },
                { name: t("about.store"), value: <code className="selectable">{host.data.StoreId}</code> },
                { name: t("overview.stored"), value: bytes(host.data.StoredBytes) },
                { name: t("about.free"), value: `${bytes(host.data.FreeBytes)} (${t("about.floor", { size: bytes(host.data.FloorBytes) })})` },
              ]
            : []),
        ]}
      />
      <ErrorNote error={hidden ? null : host.error} />
      <p className="field__hint">{t("about.hint")}</p>
    </Card>
  );
}
