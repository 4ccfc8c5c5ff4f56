import { useSession } from "../api/queries";
import type { Shown } from "../commands/asked";
import { commandLine } from "../commands/cli";
import { pythonProgram, tccli, terraform } from "../commands/cloud";
import { useWords } from "../words";
import { Command } from "./Copyable";

/** What a dialog would do, with what is entered now, as other tools do it. */
export function ShowCommand({ shown }: { readonly shown: Shown }) {
  const { t } = useWords();
  const own = useSession().data?.AccountId ?? "";
  const texts = [
    ["commands.line", commandLine(shown, own)],
    ["commands.tccli", tccli(shown)],
    ["commands.python", pythonProgram(shown)],
    ["commands.terraform", terraform(shown)],
  ] as const;
  return (
    <details className="commands">
      <summary>{t("commands.show")}</summary>
      {texts.map(([key, text]) =>
        text === null || text === "" ? null : (
          <div className="use" key={key}>
            <p>{t(key)}</p>
            <Command text={text} />
          </div>
        ),
      )}
    </details>
  );
}
