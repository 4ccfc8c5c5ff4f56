import type { ReactElement, ReactNode } from "react";

import { useWords } from "../words";
import { DataTable, type DataTableProps } from "./DataTable";
import { ErrorNote } from "./ErrorNote";
import { Empty, Loading } from "./Page";

type Props<T> = Omit<DataTableProps<T>, "total" | "rowAt"> & {
  readonly list: Pick<DataTableProps<T>, "rowAt"> & { readonly total: number | undefined; readonly error: Error | null };
  /** Whether rows are left out: then an empty list says nothing about what there is. */
  readonly filtered: boolean;
  /** What is said where there is nothing at all. */
  readonly empty: { readonly icon: ReactElement; readonly title: string; readonly text: string; readonly action?: ReactNode };
};

/** A list as the server gives it, page by page: what hinders it, that it loads, that it is empty, or the table. */
export function LongList<T>({ list, filtered, empty, ...table }: Props<T>) {
  const { t } = useWords();
  return (
    <>
      <ErrorNote error={list.error} />
      {list.total === undefined ? (
        list.error === null && <Loading />
      ) : list.total > 0 ? (
        <DataTable {...table} total={list.total} rowAt={list.rowAt} />
      ) : filtered ? (
        <Empty icon={empty.icon} title={t("table.nothing")} text={t("table.nothingText")} />
      ) : (
        <Empty {...empty} />
      )}
    </>
  );
}
