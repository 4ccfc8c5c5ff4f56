// All rows of a list: what the API's filters cannot find, and every order but its own, is found among them.
import { useQuery, useQueryClient } from "@tanstack/react-query";

import { RefusedError, SignedOutError } from "./client";
import { PAGE, REST_MS, type FetchPage, type Page, type Where } from "./queries";

/** `total` is how many there are; `complete`, that `rows` are all of them, or as many as are ever read. */
export type Whole<T> = Page<T> & { readonly complete: boolean };

const PAGES_MAX = 100;
const TRIES_MAX = 10;
const PAUSE_MS = 1_000;
const LONG_ROWS = 500;
const LONG_MS = 60_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One page after the other, so that the account's calls per second are left to what the user does. */
async function pacedPage<T>(read: () => Promise<Page<T>>, wait: typeof pause): Promise<Page<T>> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof RefusedError && error.code.startsWith("RequestLimitExceeded")) || tried === TRIES_MAX) throw error;
      await wait(PAUSE_MS);
    }
  }
}

/**
 * Reads a list to its end, 10,000 rows at most.
 *
 * @param onPart called with what there is after each page
 */
export async function readWhole<T>(
  fetchPage: FetchPage<T>,
  where: Where,
  idOf: (row: T) => string,
  signal?: AbortSignal,
  onPart?: (part: Whole<T>) => void,
  wait = pause,
): Promise<Whole<T>> {
  // A row that is made or goes meanwhile moves the others: one that comes twice counts once.
  const rows = new Map<string, T>();
  for (let page = 0; ; page += 1) {
    const found = await pacedPage(() => fetchPage(where, page * PAGE, signal), wait);
    found.rows.forEach((row) => rows.set(idOf(row), row));
    const complete = found.rows.length < PAGE || (page + 1) * PAGE >= found.total || page + 1 === PAGES_MAX;
    const part = { total: found.total, rows: [...rows.values()], complete };
    if (complete) return part;
    onPart?.(part);
  }
}

export function useWhole<T>(name: string, where: Where, enabled: boolean, fetchPage: FetchPage<T>, idOf: (row: T) => string) {
  const client = useQueryClient();
  const queryKey = [name, "whole", where];
  return useQuery({
    queryKey,
    queryFn: ({ signal }) =>
      readWhole(fetchPage, where, idOf, signal, (part) => {
        // The first time it grows under the user's eyes; later what is there stays until all of it is read anew.
        if (client.getQueryData<Whole<T>>(queryKey)?.complete !== true) client.setQueryData(queryKey, part);
      }),
    refetchInterval: (query) => (query.state.error instanceof SignedOutError ? false : (query.state.data?.total ?? 0) > LONG_ROWS ? LONG_MS : REST_MS),
    staleTime: REST_MS,
    gcTime: LONG_MS,
    enabled,
  });
}
