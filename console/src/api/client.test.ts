import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { call, connectionStore, fetchSession, logIn, RefusedError, SignedOutError, UnreachableError } from "./client";

type Sent = { readonly path: string; readonly method: string; readonly headers: Readonly<Record<string, string>>; readonly credentials: string };

let sent: Sent[] = [];
let answers: Response[] = [];
const json = (value: unknown, status = 200) => new Response(JSON.stringify(value), { status });
const session = (CsrfToken: string, AccountId = "1") => json({ AccountId, Name: "admin", CsrfToken, Region: "r", Zones: [], Version: "1" });

beforeEach(() => {
  sent = [];
  answers = [];
  vi.stubGlobal("document", { documentElement: { lang: "zh-CN" } });
  vi.stubGlobal("fetch", (path: string, init: Omit<Sent, "path">) => {
    sent.push({ path, method: init.method, headers: init.headers, credentials: init.credentials });
    const answer = answers.shift();
    return answer === undefined ? Promise.reject(new TypeError("refused")) : Promise.resolve(answer);
  });
});

afterEach(() => vi.unstubAllGlobals());

describe("calls", () => {
  it("carry the session's token, and say in which language the answer is wanted", async () => {
    answers = [session("one"), json({ Response: { TotalCount: 0, KeySet: [], RequestId: "r" } })];
    await fetchSession();
    await call("drystone", "DescribeKeys", {});
    expect(sent.map((one) => [one.method, one.path])).toEqual([["GET", "/console/api/session"], ["POST", "/console/api/call/drystone/DescribeKeys"]]);
    expect(sent[1]?.headers).toEqual({ "Content-Type": "application/json", "X-Csrf-Token": "one", "X-TC-Language": "zh-CN" });
    expect(sent.every((one) => one.credentials === "same-origin")).toBe(true);
  });

  it("take the token of a new session when another tab logged in anew, once", async () => {
    answers = [session("one"), json({ Error: { Code: "AuthFailure.CsrfTokenWrong" } }, 403), session("two"), json({ Response: { KeySet: [] } })];
    await fetchSession();
    await call("drystone", "DescribeKeys", {});
    expect(sent.at(-1)?.headers["X-Csrf-Token"]).toBe("two");
    answers = [json({}, 403), session("three"), json({ Error: { Code: "AuthFailure.CsrfTokenWrong", Message: "no" } }, 403)];
    await expect(call("drystone", "DescribeKeys", {})).rejects.toThrow("no");
    expect(sent).toHaveLength(7);
  });

  it("are never repeated as another account that another tab logged in: this one is signed out, and nothing is sent twice", async () => {
    const wrong = () => json({ Error: { Code: "AuthFailure.CsrfTokenWrong" } }, 403);
    answers = [session("one"), wrong(), session("two", "2"), wrong(), session("two", "2")];
    await fetchSession();
    for (const action of ["CreateDisks", "TerminateDisks"] as const) {
      await expect(call("cbs", action, {} as never)).rejects.toThrow(SignedOutError);
      expect(connectionStore.get().signedOut).toBe(true);
    }
    expect(sent.map((one) => one.path.split("/").at(-1))).toEqual(["session", "CreateDisks", "session", "TerminateDisks", "session"]);
    expect(sent.at(-2)?.headers["X-Csrf-Token"]).toBe("one");
    // Nor where the page has become the other's before the refusal of what the first one asked for came.
    sent = [];
    answers = [session("one"), wrong(), session("two", "2"), session("two", "2")];
    await fetchSession();
    const late = call("cbs", "CreateDisks", {} as never);
    await fetchSession();
    await expect(late).rejects.toThrow(SignedOutError);
    expect(sent.filter((one) => one.path.endsWith("CreateDisks"))).toHaveLength(1);
    // Who logs in then has a page of its own.
    answers = [session("two", "2"), json({ Response: { KeySet: [] } })];
    await fetchSession();
    await call("drystone", "DescribeKeys", {});
    expect([sent.at(-1)?.headers["X-Csrf-Token"], connectionStore.get().signedOut]).toEqual(["two", false]);
    answers = [session("one")];
    await fetchSession();
  });

  it("raise what the server refused, with its code and the id of the request", async () => {
    answers = [json({ Response: { Error: { Code: "InvalidDiskId.NotFound", Message: "There is no disk." }, RequestId: "r-1" } })];
    const error = await call("cbs", "DescribeDisks", {}).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RefusedError);
    expect(error).toMatchObject({ code: "InvalidDiskId.NotFound", message: "There is no disk.", requestId: "r-1" });
  });

  it("note that there is no session any more, until there is one again", async () => {
    answers = [json({ Error: { Code: "AuthFailure.SessionExpired" } }, 401)];
    await expect(call("cbs", "DescribeDisks", {})).rejects.toThrow(SignedOutError);
    expect(connectionStore.get().signedOut).toBe(true);
    answers = [session("four")];
    await logIn("admin", "secret");
    expect(connectionStore.get().signedOut).toBe(false);
  });

  it("tell a wrong password from a session that is over", async () => {
    answers = [json({ Error: { Code: "AuthFailure.PasswordWrong", Message: "wrong" } }, 401), json({ Error: { Code: "X" } }, 401)];
    await expect(logIn("admin", "x")).rejects.toThrow(RefusedError);
    await expect(fetchSession()).rejects.toThrow(SignedOutError);
  });

  it("note that the server does not answer, also where a proxy says so, and that it does again", async () => {
    await expect(call("cbs", "DescribeDisks", {})).rejects.toThrow(UnreachableError);
    expect(connectionStore.get().reachable).toBe(false);
    answers = [json({ Response: { TotalCount: 0, DiskSet: [] } }), new Response("<html>", { status: 502 })];
    await call("cbs", "DescribeDisks", {});
    expect(connectionStore.get().reachable).toBe(true);
    await expect(call("cbs", "DescribeDisks", {})).rejects.toThrow(UnreachableError);
    expect(connectionStore.get().reachable).toBe(false);
  });
});
