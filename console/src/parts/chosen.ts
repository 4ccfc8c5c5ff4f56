import { useSearchParams } from "react-router";

type Chosen = {
  /** What is chosen under a name, "" if nothing is. */
  readonly chosen: (name: string) => string;
  readonly choose: (name: string, value: string) => void;
};

/** What a list is filtered by, kept in the page's address; `replace` makes no step in the browser's history. */
export function useChosen({ replace }: { readonly replace: boolean }): Chosen {
  const [search, setSearch] = useSearchParams();
  return {
    chosen: (name) => search.get(name) ?? "",
    choose: (name, value) =>
      setSearch(
        (old) => {
          if (value === "") old.delete(name);
          else old.set(name, value);
          return old;
        },
        { replace },
      ),
  };
}
