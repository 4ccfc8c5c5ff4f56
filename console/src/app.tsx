// Which page is shown at which address, and to whom.
import { useQueryClient } from "@tanstack/react-query";
import { Component, lazy, Suspense, useEffect, useSyncExternalStore, type ComponentType, type ReactNode } from "react";
import { Navigate, Route, Routes, useLocation } from "react-router";

import { connectionStore, NotLoadedError, SignedOutError } from "./api/client";
import { NamesProvider } from "./api/names";
import { useSession } from "./api/queries";
import { ErrorNote } from "./parts/ErrorNote";
import { Empty, Loading } from "./parts/Page";
import { ErrorCircleIcon } from "./parts/icons";
import { Shell } from "./parts/Shell";
import { useWords } from "./words";

/** A page that is loaded when it is needed. */
const page = (load: () => Promise<{ default: ComponentType }>) =>
  lazy(() =>
    load().catch(() => {
      throw new NotLoadedError();
    }),
  );

const LoginPage = page(() => import("./pages/login/LoginPage"));
const OverviewPage = page(() => import("./pages/overview/OverviewPage"));
const DisksPage = page(() => import("./pages/disks/DisksPage"));
const DiskPage = page(() => import("./pages/disks/DiskPage"));
const SnapshotsPage = page(() => import("./pages/snapshots/SnapshotsPage"));
const SnapshotPage = page(() => import("./pages/snapshots/SnapshotPage"));
const GroupsPage = page(() => import("./pages/groups/GroupsPage"));
const GroupPage = page(() => import("./pages/groups/GroupPage"));
const OperationPage = page(() => import("./pages/operations/OperationPage"));
const OperationsPage = page(() => import("./pages/operations/OperationsPage"));
const EventsPage = page(() => import("./pages/events/EventsPage"));
const PoliciesPage = page(() => import("./pages/policies/PoliciesPage"));
const ProtectionPage = page(() => import("./pages/protection/ProtectionPage"));
const SettingsPage = page(() => import("./pages/settings/SettingsPage"));

const useConnection = () => useSyncExternalStore(connectionStore.subscribe, connectionStore.get);

export function App() {
  return (
    <Suspense fallback={<Loading />}>
      <Routes>
        <Route path="/login" element={<LoginPage />} />
        <Route path="*" element={<Inside />} />
      </Routes>
    </Suspense>
  );
}

/** Everything that needs a session. Without one: the log-in page, which comes back to where the user was. */
function Inside() {
  const { t } = useWords();
  const session = useSession();
  const { signedOut, reachable } = useConnection();
  const location = useLocation();
  const client = useQueryClient();
  const mustLogIn = signedOut || session.error instanceof SignedOutError;
  useEffect(() => {
    // What one user saw is not shown to the next.
    if (mustLogIn) client.clear();
  }, [client, mustLogIn]);
  useEffect(() => {
    // The server is back: what is shown may be old.
    if (reachable) void client.invalidateQueries({ predicate: (query) => query.queryKey[0] !== "session" });
  }, [client, reachable]);
  if (mustLogIn) {
    const from = location.pathname + location.search;
    return <Navigate to="/login" replace state={{ from, expired: session.data !== undefined }} />;
  }
  if (session.data === undefined) {
    if (session.error === null) return <Loading />;
    return (
      <main className="alone">
        <ErrorNote error={session.error} />
        <button type="button" className="link" onClick={() => void session.refetch()}>
          {t("common.again")}
        </button>
      </main>
    );
  }
  return (
    <Shell session={session.data} reachable={reachable}>
      <Mishap key={location.pathname}>
        <NamesProvider>
          <Suspense fallback={<Loading />}>
            <Routes>
              <Route path="/" element={<OverviewPage />} />
              <Route path="/disks" element={<DisksPage />} />
              <Route path="/disks/:id" element={<DiskPage />} />
              <Route path="/snapshots" element={<SnapshotsPage />} />
              <Route path="/snapshots/:id" element={<SnapshotPage />} />
              <Route path="/groups" element={<GroupsPage />} />
              <Route path="/groups/:id" element={<GroupPage />} />
              <Route path="/operations" element={<OperationsPage />} />
              <Route path="/operations/:id" element={<OperationPage />} />
              <Route path="/policies/:id?" element={<PoliciesPage />} />
              <Route path="/protection" element={<ProtectionPage />} />
              <Route path="/events" element={<EventsPage />} />
              <Route path="/settings/:part?" element={<SettingsPage />} />
              <Route path="*" element={<NoSuchPage />} />
            </Routes>
          </Suspense>
        </NamesProvider>
      </Mishap>
    </Shell>
  );
}

function NoSuchPage() {
  const { t } = useWords();
  return <Empty icon={<ErrorCircleIcon />} title={t("page.none")} text={t("page.noneText")} />;
}

/** A bug of one page, or a page that could not be loaded, leaves the others usable. */
class Mishap extends Component<{ readonly children: ReactNode }, { readonly error: Error | null }> {
  override state: { readonly error: Error | null } = { error: null };
  static getDerivedStateFromError(error: Error) {
    return { error };
  }
  override render() {
    return this.state.error === null ? this.props.children : <MishapNote error={this.state.error} />;
  }
}

function MishapNote({ error }: { readonly error: Error }) {
  const { t } = useWords();
  return (
    <div className="alone">
      <ErrorNote error={error} />
      <button type="button" className="link" onClick={() => globalThis.location.reload()}>
        {t("common.reload")}
      </button>
    </div>
  );
}
