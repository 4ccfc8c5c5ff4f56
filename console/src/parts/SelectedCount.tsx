import { useWords } from "../words";

/** How many rows are ticked; a click unticks them. Nothing if none is. */
export function SelectedCount({ count, onClear }: { readonly count: number; readonly onClear: () => void }) {
  const { t } = useWords();
  if (count === 0) return null;
  return (
    <button type="button" className="link" onClick={onClear}>
      {t("table.selected", { count })}
    </button>
  );
}
