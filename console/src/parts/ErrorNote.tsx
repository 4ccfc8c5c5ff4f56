import { NotLoadedError, RefusedError, SignedOutError, UnreachableError } from "../api/client";
import { isWordKey, useWords, type Translate, type WordKey } from "../words";
import { ErrorCircleFilledIcon } from "./icons";

/** What an error means, in the user's language where it is a common one. */
function errorTitle(t: Translate, error: Error): string {
  if (error instanceof SignedOutError) return t("error.signedOut");
  if (error instanceof UnreachableError) return t("error.unreachable");
  if (error instanceof NotLoadedError) return t("error.notLoaded");
  if (error instanceof RefusedError) {
    const key = `error.code.${error.code}`;
    return isWordKey(key) ? (t as (key: WordKey) => string)(key) : error.message || error.code;
  }
  return t("error.bug");
}

/** The server's own words, its code and the id by which its log has the request. */
function ErrorDetail({ error }: { readonly error: Error }) {
  const { t } = useWords();
  const title = errorTitle(t, error);
  if (error instanceof UnreachableError) return error.changing ? <span className="error-detail">{t("error.unreachableChange")}</span> : null;
  if (!(error instanceof RefusedError)) return <span className="error-detail">{error.message}</span>;
  return (
    <span className="error-detail">
      {title !== error.message && <span>{error.message}</span>}
      <span>
        <code>{error.code}</code>
        {error.requestId !== "" && (
          <>
            {" · "}
            {t("error.requestId")} <code className="selectable">{error.requestId}</code>
          </>
        )}
      </span>
    </span>
  );
}

export function ErrorNote({ error }: { readonly error: Error | null | undefined }) {
  const { t } = useWords();
  if (!error) return null;
  return (
    <div className="error-note" role="alert">
      <ErrorCircleFilledIcon />
      <div>
        <strong>{errorTitle(t, error)}</strong>
        <ErrorDetail error={error} />
      </div>
    </div>
  );
}
