import { useId, useState } from "react";

import { useWords } from "../words";

/** A mark that tells more when it is pointed at, focused or touched. `of` is what it is about. */
export function Hint({ of, text }: { readonly of: string; readonly text: string }) {
  const { t } = useWords();
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <span className="hint" onPointerEnter={() => setOpen(true)} onPointerLeave={() => setOpen(false)}>
      <button
        type="button"
        className="hint__mark"
        aria-label={t("common.hint", { of })}
        aria-expanded={open}
        aria-describedby={id}
        onClick={() => setOpen(true)}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={(event) => {
          if (event.key !== "Escape" || !open) return;
          // Only the hint goes, not the dialog around it.
          event.preventDefault();
          event.stopPropagation();
          setOpen(false);
        }}
      >
        ?
      </button>
      <span id={id} role="tooltip" className="hint__text" hidden={!open}>
        {text}
      </span>
    </span>
  );
}
