import { useEffect, useId, useRef, useState, type KeyboardEvent, type ReactElement } from "react";

import type { Refusal } from "../rules/rules";
import { useWords } from "../words";
import { EllipsisIcon } from "./icons";
import { refusalText } from "./refusal";

export type MenuEntry = {
  readonly text: string;
  readonly onSelect: () => void;
  readonly refusal?: Refusal | null;
  readonly danger?: boolean;
  readonly checked?: boolean;
};

type Props = {
  readonly label: string;
  readonly children: ReactElement | string | readonly (ReactElement | string)[];
  readonly entries: readonly MenuEntry[];
  readonly className?: string;
  /** Stay open when something is selected: for boxes to be ticked. */
  readonly stays?: boolean;
};

const GAP = 4;

/** A button that opens a list of actions; what would be refused says why. In the top layer, so no list cuts it off. */
export function Menu({ label, children, entries, className = "plain", stays = false }: Props) {
  const { t } = useWords();
  const [open, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const id = useId();
  useEffect(() => {
    const menu = list.current;
    if (!open || menu === null || button.current === null) return undefined;
    // React 18 knows neither the attribute nor its event. "manual": a click on the button would open it again at once.
    menu.popover = "manual";
    menu.showPopover();
    const at = button.current.getBoundingClientRect();
    const size = menu.getBoundingClientRect();
    const below = at.bottom + GAP + size.height <= innerHeight;
    menu.style.top = `${below ? at.bottom + GAP : Math.max(GAP, at.top - GAP - size.height)}px`;
    menu.style.left = `${Math.max(GAP, Math.min(at.right - size.width, innerWidth - size.width - GAP))}px`;
    menu.querySelector<HTMLElement>("[role^=menuitem]")?.focus();
    const away = (event: Event) => {
      const target = event.target instanceof Node ? event.target : null;
      if (event.type === "pointerdown" && (menu.contains(target) || button.current?.contains(target))) return;
      setOpen(false);
    };
    document.addEventListener("pointerdown", away);
    // What the menu hangs on moves away under it.
    addEventListener("resize", away);
    document.addEventListener("scroll", away, true);
    return () => {
      document.removeEventListener("pointerdown", away);
      removeEventListener("resize", away);
      document.removeEventListener("scroll", away, true);
    };
  }, [open]);
  const move = (event: KeyboardEvent) => {
    const items = [...(list.current?.querySelectorAll<HTMLElement>("[role^=menuitem]") ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === "Tab") setOpen(false);
    if (event.key === "Escape") {
      event.preventDefault();
      setOpen(false);
      button.current?.focus();
    }
    if (to === undefined) return;
    event.preventDefault();
    items[(to + items.length) % items.length]?.focus();
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        className={className}
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen(!open)}
      >
        {children}
      </button>
      {open && (
        <div
          ref={list}
          id={id}
          className="menu"
          role="menu"
          aria-label={label}
          tabIndex={-1}
          onKeyDown={move}
        >
          {entries.map((entry) => {
            const why = entry.refusal ? refusalText(t, entry.refusal) : null;
            return (
              <button
                key={entry.text}
                type="button"
                role={entry.checked === undefined ? "menuitem" : "menuitemcheckbox"}
                aria-checked={entry.checked}
                aria-disabled={why !== null}
                className={entry.danger ? "menu__entry menu__entry--danger" : "menu__entry"}
                onClick={() => {
                  if (why !== null) return;
                  if (!stays) {
                    setOpen(false);
                    button.current?.focus();
                  }
                  entry.onSelect();
                }}
              >
                {entry.checked !== undefined && <span className="menu__tick">{entry.checked ? "✓" : ""}</span>}
                <span>
                  {entry.text}
                  {why !== null && <span className="menu__why">{why}</span>}
                </span>
              </button>
            );
          })}
        </div>
      )}
    </>
  );
}

/** The menu of what else can be done with one thing. */
export function MoreMenu({ id, ...rest }: Pick<Props, "entries" | "className"> & { readonly id: string }) {
  const { t } = useWords();
  return (
    <Menu label={t("table.more", { id })} {...rest}>
      <EllipsisIcon />
    </Menu>
  );
}
