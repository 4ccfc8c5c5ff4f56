import { useEffect, useState } from "react";

import { exactTime, parseTime, relativeTime } from "../units/times";
import { useWords } from "../words";

const TICK_MS = 20_000;

/** The clock, read anew now and then, so that "3 minutes ago" stays true. */
export function useNow(): Date {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => setNow(new Date()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** A time as the server writes it: how long ago, and exactly as a tip. */
export function Time({ text, exact = false }: { readonly text: string | null | undefined; readonly exact?: boolean }) {
  const { locale } = useWords();
  const now = useNow();
  const at = parseTime(text);
  if (at === null) return <>–</>;
  const full = exactTime(at);
  return (
    <time dateTime={at.toISOString()} title={full}>
      {exact ? full : relativeTime(at, now, locale)}
    </time>
  );
}
