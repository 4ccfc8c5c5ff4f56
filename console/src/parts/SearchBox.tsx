import { useEffect, useState } from "react";
import { Input } from "tdesign-react/es/input";

import { useWords } from "../words";
import { SearchIcon } from "./icons";

const WAIT_MS = 150;

/** Searches when the user stops typing. */
export function SearchBox({ value, onChange, hint }: { readonly value: string; readonly onChange: (text: string) => void; readonly hint: string }) {
  const { t } = useWords();
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return undefined;
    const timer = setTimeout(() => onChange(text), WAIT_MS);
    return () => clearTimeout(timer);
    // `onChange` is new with every drawing; what is typed counts alone.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [text]);
  return (
    <label className="search">
      <span className="unseen">{t("search.label")}</span>
      <Input value={text} onChange={(typed: string) => setText(typed)} placeholder={hint} prefixIcon={<SearchIcon />} clearable />
    </label>
  );
}
