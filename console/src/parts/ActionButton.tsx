import type { ReactElement, ReactNode } from "react";
import { Button } from "tdesign-react/es/button";

import type { Refusal } from "../rules/rules";
import { useWords } from "../words";
import { useNotices } from "./Notices";
import { refusalText } from "./refusal";

type Props = {
  readonly refusal?: Refusal | null;
  readonly onClick: () => void;
  readonly children: ReactNode;
  readonly icon?: ReactElement;
  readonly theme?: "default" | "primary" | "danger";
  readonly variant?: "base" | "outline" | "text";
  readonly size?: "small" | "medium";
};

/** A button that, when its action would be refused, stays reachable and says why. */
export function ActionButton({ refusal = null, onClick, children, icon, theme = "default", variant, size = "medium" }: Props) {
  const { t } = useWords();
  const notices = useNotices();
  const why = refusal === null ? undefined : refusalText(t, refusal);
  return (
    <Button
      theme={theme}
      variant={variant ?? (theme === "primary" ? "base" : "outline")}
      size={size}
      icon={icon}
      className={why === undefined ? "" : "is-refused"}
      aria-disabled={why !== undefined}
      title={why}
      onClick={() => {
        if (why === undefined) onClick();
        else notices.show({ tone: "warning", title: why });
      }}
    >
      {children}
    </Button>
  );
}
