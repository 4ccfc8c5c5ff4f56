// A page of a list: what it reads, searches, filters, selects and shows. Each such page says what its rows are.
import { useState, type ReactElement, type ReactNode } from "react";
import { useSearchParams } from "react-router";

import { useLongList, useTicked, type Page } from "../api/queries";
import type { Filter } from "../api/types";
import { useWords } from "../words";
import { DataTable, useColumns, type Column } from "./DataTable";
import { Choice, type Option } from "./Field";
import { Pending, Empty, PageHead } from "./Page";
import { SearchBox } from "./SearchBox";

export type ListOf<T> = {
  /** First part of its queries' keys; also the name under which the browser keeps the columns. */
  readonly name: string;
  readonly fetchPage: (where: { ids?: readonly string[]; filters?: readonly Filter[] }, offset: number, signal?: AbortSignal) => Promise<Page<T>>;
  readonly busy: (row: T) => boolean;
  readonly idOf: (row: T) => string;
  /** What is typed into the search box, as filters of the API. Without it the page has no box. */
  readonly search?: (text: string) => readonly Filter[];
  /** Filters with fixed values: names in the page's address, and the API's names for them. */
  readonly filters: Readonly<Record<string, string>>;
};

/** The state of a page of a list. Search and filters are in the page's address, and make no step in its history. */
export function useListPage<T>(of: ListOf<T>) {
  const [address, setAddress] = useSearchParams();
  const [seen, onSeen] = useState<readonly [number, number]>([0, 20]);
  const [selected, onSelect] = useState<ReadonlyMap<string, T>>(new Map());
  const chosen = (name: string) => address.get(name) ?? "";
  const filters = [
    ...(of.search?.(chosen("q")) ?? []),
    ...Object.entries(of.filters).flatMap(([name, Name]) => (chosen(name) === "" ? [] : [{ Name, Values: [chosen(name)] }])),
  ];
  const choose = (name: string, value: string) =>
    setAddress(
      (old) => {
        if (value === "") old.delete(name);
        else old.set(name, value);
        return old;
      },
      { replace: true },
    );
  return {
    of, chosen, choose, seen, onSeen, selected, onSelect,
    list: useLongList(of.name, { filters }, seen, of.fetchPage, of.busy),
    /** The selected rows as they are now. */
    rows: useTicked(of.name, selected, of.fetchPage, of.busy, of.idOf),
    filtered: filters.length > 0,
    clear: () => onSelect(new Map()),
  };
}

type Props<T> = {
  readonly page: ReturnType<typeof useListPage<T>>;
  readonly title: string;
  readonly lead: string;
  readonly actions?: ReactNode;
  readonly columns: readonly Column<T>[];
  readonly searchHint?: string;
  /** One for each filter of the list. `any` stands for no filter. */
  readonly choices: readonly { readonly name: string; readonly label: string; readonly any: string; readonly options: readonly Option[] }[];
  /** What can be done with selected rows. Without it no row can be selected. */
  readonly tools?: ReactNode;
  /** What is shown where there is nothing at all. */
  readonly empty: { readonly icon: ReactElement; readonly title: string; readonly text: string; readonly action?: ReactNode };
  /** The dialogs of the page. */
  readonly children?: ReactNode;
};

export function ListPage<T>({ page, title, lead, actions, columns, searchHint, choices, tools, empty, children }: Props<T>) {
  const { t } = useWords();
  const { of, chosen, choose, list, selected } = page;
  const [shown, columnsMenu] = useColumns(of.name, columns);
  return (
    <div className="list-page">
      <PageHead title={title} lead={lead} actions={actions} />
      <div className="tools">
        {tools}
        {selected.size > 0 && (
          <button type="button" className="link" onClick={page.clear}>
            {t("table.selected", { count: selected.size })}
          </button>
        )}
        <span className="tools__space" />
        {list.total !== undefined && <span className="tools__count">{t("table.count", { count: list.total })}</span>}
        {searchHint !== undefined && <SearchBox value={chosen("q")} onChange={(value) => choose("q", value)} hint={searchHint} />}
        {choices.map(({ name, label, any, options }) => (
          <Choice key={name} label={label} value={chosen(name)} onChange={(value) => choose(name, value)} options={[{ value: "", text: any }, ...options]} />
        ))}
        {columnsMenu}
      </div>
      <Pending answer={{ data: list.total, error: list.error }} />
      {list.total === 0 ? (
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
            {...(tools === undefined ? {} : { selected, onSelect: page.onSelect })}
          />
        )
      )}
      {children}
    </div>
  );
}
