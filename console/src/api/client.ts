// Calls of the server: one function for actions, four for the session. Knows nothing of React.
import { setZoneHours } from "../units/times";
import type { ActionName, AnswerOf, ParametersOf, ServiceName } from "./answers";

export type Session = {
  readonly AccountId: string;
  readonly Name: string;
  readonly CsrfToken: string;
  readonly Region: string;
  readonly Zones: readonly string[];
  readonly Version: string;
  readonly Admin?: boolean;
  readonly Proofs?: boolean;
  readonly TimeZoneOffsetHours?: number;
};

/** The server refused, with a code and (for actions) a request id. Nothing was changed. */
export class RefusedError extends Error {
  override name = "RefusedError";
  constructor(
    readonly code: string,
    message: string,
    readonly requestId: string,
  ) {
    super(message);
  }
}

/** There is no session, or it has ended. */
export class SignedOutError extends Error {
  override name = "SignedOutError";
}

/** No answer, or none that this console understands: whether anything was done is not known. */
export class UnreachableError extends Error {
  override name = "UnreachableError";
  /** Whether it was a change that was asked for. */
  changing = false;
}

/** A part of the console itself could not be read: the server does not answer, or has another version of it by now. */
export class NotLoadedError extends Error {
  override name = "NotLoadedError";
}

const SECONDS_MAX = 60;
const API = "/console/api";

type Listener = () => void;
type Connection = { readonly reachable: boolean; readonly signedOut: boolean };

/** What is known of the server from the calls made; one per page. */
let connection: Connection = { reachable: true, signedOut: false };
let csrfToken = "";
/** Whose page this is: the account that the user sees in its header. Empty until that is known. */
let accountId = "";
const listeners = new Set<Listener>();

function note(change: Partial<Connection>): void {
  const next = { ...connection, ...change };
  if (next.reachable === connection.reachable && next.signedOut === connection.signedOut) return;
  connection = next;
  listeners.forEach((listener) => {
    listener();
  });
}

export const connectionStore = {
  get: (): Connection => connection,
  subscribe: (listener: Listener): (() => void) => {
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  },
};

async function request(method: "GET" | "POST", path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const timeout = AbortSignal.timeout(SECONDS_MAX * 1000);
  let response: Response;
  try {
    response = await fetch(`${API}${path}`, {
      method,
      headers: {
        ...(method === "POST" ? { "Content-Type": "application/json", "X-Csrf-Token": csrfToken } : {}),
        "X-TC-Language": document.documentElement.lang.startsWith("zh") ? "zh-CN" : "en-US",
      },
      body: method === "POST" ? JSON.stringify(body ?? {}) : null,
      credentials: "same-origin",
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    note({ reachable: false });
    throw new UnreachableError();
  }
  // A proxy in front of a server that is being started again answers for it.
  if (response.status >= 502 && response.status <= 504) {
    note({ reachable: false });
    throw new UnreachableError(`HTTP ${response.status}`);
  }
  note({ reachable: true });
  return response;
}

type ErrorBody = { readonly Code?: string; readonly Message?: string };

async function json(response: Response): Promise<Record<string, unknown>> {
  try {
    return (await response.json()) as Record<string, unknown>;
  } catch {
    throw new UnreachableError(`HTTP ${response.status}: not an answer of Drystone`);
  }
}

function refused(error: ErrorBody | undefined, status: number, requestId = ""): RefusedError {
  return new RefusedError(error?.Code ?? `HTTP ${status}`, error?.Message ?? "", requestId);
}

async function sessionCall(path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await request(body === undefined ? "GET" : "POST", path, body);
  const answer = await json(response);
  if (response.ok) return answer;
  const error = answer["Error"] as ErrorBody | undefined;
  if (response.status === 401 && error?.Code !== "AuthFailure.PasswordWrong") throw new SignedOutError();
  throw refused(error, response.status);
}

/** The session of this browser, whose page this is from now on; raises SignedOutError where there is none. */
export async function fetchSession(): Promise<Session> {
  const session = await readSession();
  csrfToken = session.CsrfToken;
  accountId = session.AccountId;
  if (session.TimeZoneOffsetHours !== undefined) setZoneHours(session.TimeZoneOffsetHours);
  note({ signedOut: false });
  return session;
}

async function readSession(): Promise<Session> {
  return (await sessionCall("/session")) as unknown as Session;
}

export async function logIn(account: string, password: string): Promise<void> {
  const answer = await sessionCall("/login", { Account: account, Password: password });
  csrfToken = String(answer["CsrfToken"]);
  note({ signedOut: false });
}

export async function logOut(): Promise<void> {
  await sessionCall("/logout", {});
}

export async function changePassword(old: string, fresh: string): Promise<void> {
  await sessionCall("/password", { Old: old, New: fresh });
}

/** Gives the password again, for the one call that follows: of what outlives the session. */
export async function confirmPassword(password: string): Promise<void> {
  await sessionCall("/confirm", { Password: password });
}

/**
 * Calls an action; returns the fields of its answer.
 *
 * Raises RefusedError (nothing was changed), SignedOutError, or UnreachableError (anything may have happened).
 */
export async function call<S extends ServiceName, A extends ActionName<S>>(
  service: S,
  action: A,
  parameters: ParametersOf<S, A>,
  signal?: AbortSignal,
): Promise<AnswerOf<S, A>> {
  const caller = accountId;
  const path = `/call/${service}/${action}`;
  let response = await request("POST", path, parameters, signal).catch((error: unknown) => {
    if (error instanceof UnreachableError) error.changing = !action.startsWith("Describe");
    throw error;
  });
  if (response.status === 403) {
    // Another tab logged in anew: this tab's token is of the session before. 403 means that nothing was done.
    const session = await readSession();
    if (session.AccountId !== caller) {
      // As somebody else: what this page shows and what its user means to do are of the account before.
      note({ signedOut: true });
      throw new SignedOutError();
    }
    csrfToken = session.CsrfToken;
    response = await request("POST", path, parameters, signal);
  }
  if (response.status === 401) {
    note({ signedOut: true });
    throw new SignedOutError();
  }
  const body = await json(response);
  const answer = body["Response"] as (Record<string, unknown> & { Error?: ErrorBody; RequestId?: string }) | undefined;
  if (answer === undefined || answer.Error !== undefined) {
    throw refused(answer?.Error ?? (body["Error"] as ErrorBody | undefined), response.status, answer?.RequestId);
  }
  return answer;
}
