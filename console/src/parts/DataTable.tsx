import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useRef, useState, type ReactNode } from "react";

import { useWords } from "../words";
import type { Sort } from "./arrange";
import { SettingIcon } from "./icons";
import { useNarrow } from "./media";
import { Menu } from "./Menu";

export type Column<T> = {
  readonly id: string;
  readonly title: string;
  /** A track of CSS grid. */
  readonly width: string;
  readonly cell: (row: T) => ReactNode;
  /** Cannot be hidden. */
  readonly fixed?: boolean;
  /** Hidden until the user wants it. */
  readonly optional?: boolean;
};

const ROW_PX = 72;
const CARD_PX = 220;
const CARD_GAP_PX = 10;
const OVERSCAN = 6;
const SELECT_ALL_MAX = 100;

type DataTableProps<T> = {
  /** What the rows are, for screen readers. */
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly total: number;
  readonly rowAt: (index: number) => T | undefined;
  readonly idOf: (row: T) => string;
  /** Called with the rows on the screen, as [start, stop), when they change. */
  readonly onSeen: (seen: readonly [number, number]) => void;
  readonly sort: Sort | null;
  /** Has the ids of the columns that can be sorted by. */
  readonly sortable: Readonly<Record<string, unknown>>;
  readonly onSort: (column: string) => void;
  readonly selected?: ReadonlyMap<string, T>;
  readonly onSelect?: (selected: ReadonlyMap<string, T>) => void;
};

const GAP_PX = 12;
const PADDING_PX = 32;

/** How wide a table must be for its tracks, px; narrower, it scrolls. Head and rows are grids of their own. */
function tableWidthMin(tracks: readonly string[]): number {
  const least = tracks.map((track) => Number(/\d+(?=px)/.exec(track)?.[0] ?? 0));
  return least.reduce((sum, one) => sum + one, PADDING_PX + GAP_PX * Math.max(0, tracks.length - 1));
}

/** A table of any length: only the rows on the screen exist. On a phone each row is a card. */
export function DataTable<T>(props: DataTableProps<T>) {
  const { label, columns, total, rowAt, idOf, onSeen, sort, sortable, onSort, selected, onSelect } = props;
  const { t } = useWords();
  const narrow = useNarrow();
  const box = useRef<HTMLDivElement>(null);
  const [offset, setOffset] = useState(0);
  useEffect(() => setOffset(narrow ? (box.current?.offsetTop ?? 0) : 0), [narrow]);
  const rows = useVirtualizer({
    count: total,
    // A phone scrolls the page, larger screens the table under its head.
    getScrollElement: () => (narrow ? box.current?.closest("main") : box.current) ?? null,
    estimateSize: () => (narrow ? CARD_PX : ROW_PX),
    overscan: OVERSCAN,
    gap: narrow ? CARD_GAP_PX : 0,
    scrollMargin: offset,
  });
  const items = rows.getVirtualItems();
  const start = items[0]?.index ?? 0;
  const stop = (items.at(-1)?.index ?? 0) + 1;
  useEffect(() => onSeen([start, stop]), [onSeen, start, stop]);
  useEffect(() => rows.measure(), [rows, narrow]);

  const selectable = selected !== undefined && onSelect !== undefined;
  const widths = [...(selectable ? ["28px"] : []), ...columns.map((column) => column.width)];
  const tracks = widths.join(" ");
  const minWidth = narrow ? undefined : tableWidthMin(widths);
  const toggle = (row: T) => {
    const next = new Map(selected);
    if (!next.delete(idOf(row))) next.set(idOf(row), row);
    onSelect?.(next);
  };
  const first = Array.from({ length: Math.min(total, SELECT_ALL_MAX) }, (_, index) => rowAt(index)).filter((row) => row !== undefined);
  const all = selectable && first.length > 0 && first.every((row) => selected.has(idOf(row)));
  const toggleAll = () => onSelect?.(new Map(all ? [] : first.map((row) => [idOf(row), row])));

  return (
    <div
      ref={box}
      className={narrow ? "table table--cards" : "table"}
      role="table"
      aria-label={label}
      aria-rowcount={total + 1}
      tabIndex={narrow ? undefined : 0}
    >
      <div role="rowgroup" className="table__head" style={{ minWidth }}>
        <div role="row" aria-rowindex={1} className="table__row" style={{ gridTemplateColumns: tracks }}>
          {selectable && (
            <div role="columnheader" className="table__cell table__tick">
              <input type="checkbox" checked={all} onChange={toggleAll} aria-label={t("table.selectAll")} />
            </div>
          )}
          {columns.map((column) => (
            <div
              role="columnheader"
              className="table__cell"
              key={column.id}
              aria-sort={sort?.column !== column.id ? undefined : sort.down ? "descending" : "ascending"}
            >
              {column.id in sortable ? (
                <button type="button" className="table__sort" onClick={() => onSort(column.id)}>
                  {column.title}
                  <span aria-hidden="true">{sort?.column !== column.id ? "" : sort.down ? "↓" : "↑"}</span>
                </button>
              ) : (
                column.title
              )}
            </div>
          ))}
        </div>
      </div>
      <div role="rowgroup" className="table__body" style={{ height: rows.getTotalSize(), minWidth }}>
        {items.map((item) => {
          const row = rowAt(item.index);
          const ticked = row !== undefined && selected?.has(idOf(row)) === true;
          return (
            <div
              role="row"
              aria-rowindex={item.index + 2}
              aria-selected={selectable ? ticked : undefined}
              data-index={item.index}
              key={item.index}
              ref={narrow ? rows.measureElement : undefined}
              className={ticked ? "table__row table__row--ticked" : "table__row"}
              style={{
                transform: `translateY(${item.start - offset}px)`,
                ...(narrow ? {} : { gridTemplateColumns: tracks, height: item.size }),
              }}
            >
              {selectable && (
                <div role="cell" className="table__cell table__tick">
                  {row !== undefined && (
                    <input
                      type="checkbox"
                      checked={ticked}
                      onChange={() => toggle(row)}
                      aria-label={t("table.select", { id: idOf(row) })}
                    />
                  )}
                </div>
              )}
              {columns.map((column) => (
                <div role="cell" className="table__cell" key={column.id} data-column={column.id} data-title={column.title}>
                  {row === undefined ? <span className="ghost" /> : column.cell(row)}
                </div>
              ))}
            </div>
          );
        })}
      </div>
    </div>
  );
}

const STORED = "drystone.columns.";

function storedColumns(table: string): readonly string[] | null {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(STORED + table) ?? "null");
    return Array.isArray(value) ? value.filter((id) => typeof id === "string") : null;
  } catch {
    return null;
  }
}

/** The columns that the user wants to see, and the menu that changes them; kept in this browser. */
export function useColumns<T>(table: string, columns: readonly Column<T>[]): readonly [readonly Column<T>[], ReactNode] {
  const { t } = useWords();
  const [hidden, setHidden] = useState(
    () => storedColumns(table) ?? columns.filter((column) => column.optional).map((column) => column.id),
  );
  const toggle = (id: string) => {
    const next = hidden.includes(id) ? hidden.filter((other) => other !== id) : [...hidden, id];
    localStorage.setItem(STORED + table, JSON.stringify(next));
    setHidden(next);
  };
  const entries = columns
    .filter((column) => !column.fixed)
    .map((column) => ({ text: column.title, checked: !hidden.includes(column.id), onSelect: () => toggle(column.id) }));
  const menu = (
    <Menu label={t("table.columns")} entries={entries} stays className="icon-button">
      <SettingIcon />
    </Menu>
  );
  return [columns.filter((column) => column.fixed || !hidden.includes(column.id)), menu];
}
