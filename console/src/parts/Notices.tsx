// Short messages at the edge of the page, read out by screen readers.
import { createContext, useCallback, useContext, useMemo, useRef, useState, type ReactNode } from "react";

import { useWords } from "../words";
import { CheckCircleFilledIcon, CloseIcon, ErrorCircleFilledIcon, InfoCircleFilledIcon } from "./icons";

type Tone = "success" | "warning" | "error" | "info";
type Notice = { readonly tone: Tone; readonly title: string; readonly detail?: ReactNode };
type Shown = Notice & { readonly id: number };

const SECONDS: Readonly<Record<Tone, number>> = { success: 5, info: 5, warning: 7, error: 20 };
const SHOWN_MAX = 4;
const ICONS = { success: CheckCircleFilledIcon, warning: ErrorCircleFilledIcon, error: ErrorCircleFilledIcon, info: InfoCircleFilledIcon };

const NoticesContext = createContext<{ show: (notice: Notice) => void }>({ show: () => undefined });

export const useNotices = () => useContext(NoticesContext);

export function NoticesProvider({ children }: { readonly children: ReactNode }) {
  const { t } = useWords();
  const [shown, setShown] = useState<readonly Shown[]>([]);
  const next = useRef(0);
  const drop = useCallback((id: number) => setShown((all) => all.filter((one) => one.id !== id)), []);
  const show = useCallback(
    (notice: Notice) => {
      next.current += 1;
      const id = next.current;
      setShown((all) => [...all, { ...notice, id }].slice(-SHOWN_MAX));
      setTimeout(() => drop(id), SECONDS[notice.tone] * 1000);
    },
    [drop],
  );
  const notices = useMemo(() => ({ show }), [show]);
  return (
    <NoticesContext.Provider value={notices}>
      {children}
      <div className="notices" role="status" aria-live="polite">
        {shown.map(({ id, tone, title, detail }) => {
          const Icon = ICONS[tone];
          return (
            <div key={id} className={`notice notice--${tone}`}>
              <Icon />
              <div className="notice__text">
                <strong>{title}</strong>
                {detail}
              </div>
              <button type="button" className="plain" aria-label={t("common.close")} onClick={() => drop(id)}>
                <CloseIcon />
              </button>
            </div>
          );
        })}
      </div>
    </NoticesContext.Provider>
  );
}
