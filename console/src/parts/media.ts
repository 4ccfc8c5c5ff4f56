import { useSyncExternalStore } from "react";

const NARROW = "(max-width: 760px)";

/** Whether the page is as narrow as a phone: lists are then cards. */
export function useNarrow(): boolean {
  return useSyncExternalStore(
    (changed) => {
      const media = matchMedia(NARROW);
      media.addEventListener("change", changed);
      return () => media.removeEventListener("change", changed);
    },
    () => matchMedia(NARROW).matches,
  );
}
