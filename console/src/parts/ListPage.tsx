// A page of a list: what it reads, searches, filters, sorts, selects and shows. Each such page says what its rows are.
import { useMutation } from "@tanstack/react-query";
import { useMemo, useState, type ReactElement, type ReactNode } from "react";
import { useSearchParams } from "react-router";

import { useNames, type NameOf } from "../api/names";
import { PAGE, useLongList, useTicked, type FetchPage, type Where } from "../api/queries";
import type { Filter } from "../api/types";
import { readWhole, useWhole } from "../api/whole";
import { useWords } from "../words";
import { csv, matches, nextSort, save, sorted, sortOf, type Value } from "./arrange";
import { DataTable, useColumns, type Column } from "./DataTable";
import { Choice, type Option } from "./Field";
import { DownloadIcon } from "./icons";
import { useNarrow } from "./media";
import { useNotices } from "./Notices";
import { Pending, Empty, PageHead } from "./Page";
import { SearchBox } from "./SearchBox";

export type ListOf<T> = {
  /** First part of its queries' keys; also the name under which the browser keeps the columns. */
  readonly name: string;
  readonly fetchPage: FetchPage<T>;
  readonly busy: (row: T) => boolean;
  readonly idOf: (row: T) => string;
  /** What of a row is searched. */
  readonly texts: (row: T, nameOf: NameOf) => readonly string[];
  /** What is typed, as filters of the API where these find just that; null where all rows must be looked at. */
  readonly exact: (text: string) => readonly Filter[] | null;
  /** Filters with fixed values: names in the page's address, and the API's names for them. */
  readonly filters: Readonly<Record<string, string>>;
  /** What columns are ordered by and what a file says for them, by the column's id. */
  readonly values: Readonly<Record<string, (row: T, nameOf: NameOf) => Value>>;
  /** The columns that the server orders by, with its names for them; where this is, it searches too. */
  readonly onServer?: Readonly<Record<string, string>>;
  /** What those of them that are plain numbers count. */
  readonly units: Readonly<Record<string, string>>;
};

/** Rows around the screen that are asked for again while all rows were read at once. */
const FRESH = 50;
const STEP = FRESH / 2;

/** The state of a page of a list. Search, filters and order are in the page's address, and make no step in its history. */
export function useListPage<T>(of: ListOf<T>) {
  const { locale } = useWords();
  const nameOf = useNames();
  const [address, setAddress] = useSearchParams();
  const [seen, onSeen] = useState<readonly [number, number]>([0, 20]);
  const [selected, onSelect] = useState<ReadonlyMap<string, T>>(new Map());
  const chosen = (name: string) => address.get(name) ?? "";
  const choose = (name: string, value: string) =>
    setAddress(
      (old) => {
        if (value === "") old.delete(name);
        else old.set(name, value);
        return old;
      },
      { replace: true },
    );
  const exact = of.exact(chosen("q").trim());
  const typed = exact === null ? chosen("q").trim() : "";
  const filters = [
    ...(exact ?? []),
    ...Object.entries(of.filters).flatMap(([name, Name]) => (chosen(name) === "" ? [] : [{ Name, Values: [chosen(name)] }])),
  ];
  const order = chosen("sort");
  const sort = useMemo(() => {
    const asked = sortOf(order);
    return asked !== null && asked.column in of.values ? asked : null;
  }, [of, order]);
  /** Rows out of all that there are. */
  const arrange = useMemo(
    () => (rows: readonly T[]) => {
      const found = typed === "" ? rows : rows.filter((row) => matches(of.texts(row, nameOf), typed));
      const value = sort === null ? undefined : of.values[sort.column];
      return sort === null || value === undefined ? found : sorted(found, (row) => value(row, nameOf), sort.down, locale);
    },
    [of, nameOf, typed, sort, locale],
  );

  // The API's filters find the newest first. Anything else the server finds where the list is longer than a page, as far as
  // it can; all else is found here, among all rows, and numbers within names count as numbers.
  const other = typed !== "" || sort !== null;
  const field = sort === null ? undefined : of.onServer?.[sort.column];
  const served = of.onServer !== undefined && (sort === null || field !== undefined);
  const count = useLongList(of.name, { filters }, [0, 1], of.fetchPage, of.busy, other && served).total;
  const there = other && served && count !== undefined && count > PAGE;
  const all = other && !there;
  const where: Where = there ? { filters, search: typed, ...(field === undefined || sort === null ? {} : { order: { field, down: sort.down } }) } : { filters };
  const part = useLongList(of.name, where, seen, of.fetchPage, of.busy, !all);
  const whole = useWhole(of.name, { filters }, all && (!served || count !== undefined), of.fetchPage, of.idOf);
  const arranged = useMemo(() => (all ? arrange(whole.data?.rows ?? []) : []), [all, arrange, whole.data]);
  const from = Math.max(0, Math.floor(seen[0] / STEP) * STEP);
  const around = new Map(arranged.slice(from, from + FRESH).map((row) => [of.idOf(row), row]));
  const fresh = new Map(useTicked(of.name, around, of.fetchPage, of.busy, of.idOf).map((row) => [of.idOf(row), row]));
  const list = all
    ? {
        total: whole.data === undefined ? undefined : arranged.length,
        rowAt: (index: number) => {
          const row = arranged[index];
          return row === undefined ? undefined : (fresh.get(of.idOf(row)) ?? row);
        },
        error: whole.error,
      }
    : part;
  // The table stays while another order is asked for: who sorts by keyboard keeps the focus.
  const [last, setLast] = useState(list.total);
  if (list.total !== undefined && list.total !== last) setLast(list.total);
  return {
    of, nameOf, chosen, choose, seen, onSeen, selected, onSelect, list: { ...list, total: list.total ?? last }, sort, where,
    arrange: there ? (rows: readonly T[]) => rows : arrange,
    /** While all rows are read: how many are there, of how many. */
    reading: all && whole.data?.complete === false ? { read: whole.data.rows.length, total: whole.data.total } : null,
    /** More rows than are ever read at once. */
    cut: all && whole.data?.complete === true && whole.data.total > whole.data.rows.length ? whole.data.rows.length : null,
    /** The selected rows as they are now. */
    rows: useTicked(of.name, selected, of.fetchPage, of.busy, of.idOf),
    filtered: filters.length > 0 || typed !== "",
    clear: () => onSelect(new Map()),
  };
}

/** Has the browser keep all rows that match as a file: an id, and each column that is shown and has a value. */
function useDownload<T>(page: ReturnType<typeof useListPage<T>>, columns: readonly Column<T>[]) {
  const { t } = useWords();
  const notices = useNotices();
  const { of, nameOf } = page;
  return useMutation({
    mutationFn: async () => {
      const { rows } = await readWhole(of.fetchPage, page.where, of.idOf);
      const kept = columns.flatMap(({ id, title }) => {
        const value = of.values[id];
        const unit = of.units[id];
        return value === undefined ? [] : [{ title: id === "name" ? t("field.name") : unit === undefined ? title : `${title} (${unit})`, value }];
      });
      const head = ["ID", ...kept.map((column) => column.title)];
      const lines = page.arrange(rows).map((row) => [of.idOf(row), ...kept.map(({ value }) => value(row, nameOf))]);
      save(`${of.name}-${new Date().toISOString().slice(0, 10)}.csv`, csv([head, ...lines]));
    },
    onError: () => notices.show({ tone: "error", title: t("table.csvFailed") }),
  });
}

type Props<T> = {
  readonly page: ReturnType<typeof useListPage<T>>;
  readonly title: string;
  readonly lead: string;
  readonly actions?: ReactNode;
  /** It is a part of a page that has a head already. */
  readonly inside?: boolean;
  readonly columns: readonly Column<T>[];
  /** One for each filter of the list. `any` stands for no filter. */
  readonly choices: readonly { readonly name: string; readonly label: string; readonly any: string; readonly options: readonly Option[] }[];
  /** What can be done with selected rows. Without it no row can be selected. */
  readonly tools?: ReactNode;
  /** What is shown where there is nothing at all. */
  readonly empty: { readonly icon: ReactElement; readonly title: string; readonly text: string; readonly action?: ReactNode };
  /** The dialogs of the page. */
  readonly children?: ReactNode;
};

export function ListPage<T>({ page, title, lead, actions, inside = false, columns, choices, tools, empty, children }: Props<T>) {
  const { t } = useWords();
  const narrow = useNarrow();
  const { of, chosen, choose, list, selected, sort, reading } = page;
  const [shown, columnsMenu] = useColumns(of.name, columns);
  const download = useDownload(page, shown);
  const orders = columns.filter((column) => column.id in of.values).map((column) => ({ value: column.id, text: column.title }));
  return (
    <div className="list-page">
      {inside ? (
        <header className="card__head list-page__head">
          <div>
            <h2>{title}</h2>
            <p className="quiet">{lead}</p>
          </div>
          {actions}
        </header>
      ) : (
        <PageHead title={title} lead={lead} actions={actions} />
      )}
      <div className="tools">
        {/* On a phone they would fill the screen before there is anything to do with them. */}
        {(!narrow || selected.size > 0) && tools}
        {selected.size > 0 && (
          <button type="button" className="link" onClick={page.clear}>
            {t("table.selected", { count: selected.size })}
          </button>
        )}
        <span className="tools__space" />
        {list.total !== undefined && (
          <span className="tools__count" role="status">
            {reading !== null ? t("table.reading", { count: list.total, ...reading }) : t("table.count", { count: list.total })}
            {page.cut !== null && ` ${t("table.cut", { count: page.cut })}`}
          </span>
        )}
        <SearchBox value={chosen("q")} onChange={(value) => choose("q", value)} hint={t("search.hint")} />
        {choices.map(({ name, label, any, options }) => (
          <Choice key={name} label={label} value={chosen(name)} onChange={(value) => choose(name, value)} options={[{ value: "", text: any }, ...options]} />
        ))}
        {/* Cards have no titles to click. */}
        {narrow && <Choice label={t("table.sort")} value={sort?.column ?? ""} onChange={(column) => choose("sort", column)} options={[{ value: "", text: t("table.newest") }, ...orders]} />}
        <span className="tools__icons">
          <button type="button" className="icon-button" aria-label={t("table.csv")} title={t("table.csv")} aria-busy={download.isPending} disabled={download.isPending} onClick={() => download.mutate()}>
            <DownloadIcon />
          </button>
          {columnsMenu}
        </span>
      </div>
      <Pending answer={{ data: list.total, error: list.error }} />
      {list.total === 0 && reading === null ? (
        <Empty {...(page.filtered ? { icon: empty.icon, title: t("table.nothing"), text: t("table.nothingText") } : empty)} />
      ) : (
        list.total !== undefined && (
          <DataTable
            label={title}
            columns={shown}
            total={list.total}
            rowAt={list.rowAt}
            idOf={of.idOf}
            onSeen={page.onSeen}
            sort={sort}
            sortable={of.values}
            onSort={(column) => choose("sort", nextSort(sort, column))}
            {...(tools === undefined ? {} : { selected, onSelect: page.onSelect })}
          />
        )
      )}
      {children}
    </div>
  );
}
