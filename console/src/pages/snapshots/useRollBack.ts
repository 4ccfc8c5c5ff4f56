import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";

import { call } from "../../api/client";
import { useNotices } from "../../parts/Notices";
import { useWords } from "../../words";
import { rollBack, type Around, type RollBackStep } from "./rollBack";

type What = { readonly diskIds: readonly string[]; readonly safetyName: string | null; readonly apply: () => Promise<unknown>; readonly around?: Around | null };

/** Rolls disks back while its dialog is open: who closes it before the rollback has begun has rolled back nothing. */
export function useRollBack(onDone: () => void) {
  const { t } = useWords();
  const notices = useNotices();
  const client = useQueryClient();
  const [step, setStep] = useState<RollBackStep>({ name: "asked" });
  const abort = useRef(new AbortController());
  useEffect(() => {
    // StrictMode draws everything twice: a controller that was aborted stays so.
    const controller = new AbortController();
    abort.current = controller;
    return () => controller.abort();
  }, []);
  const act = useMutation({
    mutationFn: (what: What) =>
      rollBack({
        ...what,
        call,
        pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        onStep: setStep,
        signal: abort.current.signal,
      }),
    onSuccess: () => {
      notices.show({ tone: "success", title: t("rollback.begun") });
      onDone();
    },
    onSettled: () => void client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "session" }),
  });
  return { act, step };
}
