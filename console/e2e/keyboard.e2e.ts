// Every change that the console can ask for, by keyboard alone. One that has no way here fails the last test.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { translator } from "../src/words";
import { launch, openPage, seriousFindings, STEP_MS } from "./browser";
import { Mock, PASSWORD } from "./mock";

const t = translator("en");
const TABS_MAX = 150;

let browser: Browser;
let mock: Mock;
let page: Page;
let origin: string;
const errors: string[] = [];

beforeAll(async () => {
  browser = await launch();
  mock = new Mock(Date.now(), 60);
  origin = await mock.listen();
  mock.loggedIn = true;
  mock.operations = mock.operations.map((one) => (one.Kind === "snapshot" ? { ...one, DiskId: null } : one));
  for (const [id, detail] of mock.details) mock.details.set(id, { ...detail, Hydrating: false });
  const opened = await openPage(browser, { origin });
  page = opened.page;
  if (process.env["QUICK"] !== undefined) page.setDefaultTimeout(6000);
  await page.goto(`${origin}/console/`);
  await page.locator("h1").waitFor();
});

afterAll(async () => {
  await browser.close();
  await mock.close();
  expect(errors).toEqual([]);
});

const press = (...keys: readonly string[]) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
const type = (text: string) => page.keyboard.type(text);
const dialog = () => page.locator("dialog[open]");
const closed = () => dialog().waitFor({ state: "detached" });

/** Moves the focus on by Tab until it is there; or back. */
async function reach(what: Locator, key: "Tab" | "Shift+Tab" = "Tab"): Promise<void> {
  await what.first().waitFor();
  for (let count = 0; count < TABS_MAX; count += 1) {
    if (await what.first().evaluate((element) => element === document.activeElement || (element.tagName !== "BUTTON" && element.contains(document.activeElement)))) return;
    await press(key);
  }
  throw new Error(`Tab does not lead to ${String(what)}`);
}

const button = (name: string, within: Page | Locator = page): Locator => within.getByRole("button", { name, exact: true });

async function push(name: string): Promise<void> {
  await reach(button(name));
  await press("Enter");
}

/** To a page or a dialog by what Ctrl-K finds for the text. */
async function go(text: string, address: RegExp): Promise<void> {
  await press("Control+k");
  await type(text);
  const option = page.locator(`[role=option]`).filter({ hasText: new RegExp(text.split(" ").at(-1) ?? "", "i") });
  await option.first().waitFor();
  // What was typed last is looked for by now: the first is what it finds.
  await page.waitForTimeout(300);
  await press("Enter");
  await page.waitForURL(address);
}

async function submit(name: string): Promise<void> {
  await reach(button(name, dialog()));
  await press("Enter");
}

const asked = (action: string) => mock.changes.filter(([one]) => one === action).map(([, body]) => body);
const disk = (index: number) => mock.disks[index]?.DiskName ?? "";

/** What is done, and the change that is asked for. */
const WAYS: readonly (readonly [string, () => Promise<void>])[] = [
  ["CreateDisks", async () => {
    await go(t("newDisk.button"), /\/disks$/);
    await dialog().waitFor();
    await type("by-hand");
    await press("Enter");
  }],
  ["ImportDisk", async () => {
    await go(t("import.title"), /\/disks$/);
    await dialog().waitFor();
    await type("/srv/image.qcow2");
    await press("Enter");
  }],
  ["CreateSnapshot", async () => {
    await go(`create snapshot ${disk(1)}`, /\/disks\/disk-/);
    await dialog().waitFor();
    await type("by-hand");
    await press("Enter");
    await page.getByRole("heading", { name: t("newSnap.runningTitle") }).waitFor();
    await press("Escape");
  }],
  ["AttachDisks", async () => {
    await go(`attach ${disk(3)}`, /\/disks\/disk-/);
    await submit(t("diskAction.attach"));
  }],
  ["DetachDisks", async () => {
    await go(`detach ${disk(2)}`, /\/disks\/disk-/);
    await submit(t("diskAction.detach"));
  }],
  ["ResizeDisk", async () => {
    await go("resize mail", /\/disks\/disk-/);
    await dialog().waitFor();
    await press("Control+a");
    await type("77");
    await press("Enter");
  }],
  ["ModifyDiskAttributes", async () => {
    await go("rename mail", /\/disks\/disk-/);
    await dialog().waitFor();
    await press("Control+a");
    await type("post");
    await press("Enter");
  }],
  ["AuditDisk", async () => {
    await go("audit mail", /\/disks\/disk-/);
    await submit(t("audit.submit"));
    await page.waitForURL(/\/snapshots\/snap-/);
  }],
  ["RewriteDisk", async () => {
    await go("rewrite mail", /\/disks\/disk-/);
    await submit(t("diskAction.rewrite"));
  }],
  ["InitializeDisks", async () => {
    await go(`${t("diskAction.initialize").split(" ")[0] ?? ""} mail`, /\/disks\/disk-/);
    await dialog().waitFor();
    await type("mail");
    await press("Enter");
  }],
  ["SetQuiesceProfile", async () => {
    await go("mail", /\/disks\/disk-/);
    await push(t("profile.set"));
    await reach(dialog().getByLabel(t("profile.field.mount")));
    await type("/srv/mail");
    await press("Enter");
  }],
  ["DeleteQuiesceProfile", async () => {
    await push(t("profile.remove"));
    await submit(t("profile.remove"));
  }],
  ["TerminateDisks", async () => {
    await go("mail", /\/disks\/disk-/);
    await reach(page.locator(".page-head__actions [aria-haspopup=menu]"));
    await press("Enter");
    await page.locator("[role=menu]").waitFor();
    await press("End", "Enter");
    await dialog().waitFor();
    await reach(dialog().getByLabel(t("confirm.type", { name: "mail" })));
    await type("mail");
    await press("Enter");
  }],
  ["ApplySnapshot", async () => {
    const snapshot = mock.snapshots.find((one) => one.DiskId === mock.disks[1]?.DiskId && one.SnapshotState === "NORMAL");
    await go(`restore ${snapshot?.SnapshotId ?? ""}`, /\/snapshots\/snap-/);
    await dialog().locator("input[value=inPlace]:enabled").waitFor();
    await press("ArrowDown");
    await submit(t("restore.next"));
    await reach(dialog().locator(".check input").first());
    await press("Space");
    await reach(dialog().getByLabel(t("confirm.type", { name: disk(1) })));
    await type(disk(1));
    await press("Enter");
  }],
  ["ProveSnapshot", async () => {
    await go(mock.snapshots[4]?.SnapshotId ?? "", /\/snapshots\/snap-/);
    await push(t("opening.prove"));
  }],
  ["ModifySnapshotAttribute", async () => {
    await go(`rename ${mock.snapshots[4]?.SnapshotId ?? ""}`, /\/snapshots\/snap-/);
    await dialog().waitFor();
    await press("Control+a");
    await type("kept");
    await press("Enter");
    await closed();
    await go(`${t("snapAction.keep")} ${mock.snapshots[4]?.SnapshotId ?? ""}`, /\/snapshots\/snap-/);
    await submit(t("common.submit"));
  }],
  ["ExportSnapshot", async () => {
    await go(`export ${mock.snapshots[4]?.SnapshotId ?? ""}`, /\/snapshots\/snap-/);
    await dialog().waitFor();
    await type("/srv/x.qcow2");
    await press("Enter");
  }],
  ["DeleteSnapshots", async () => {
    await go(`delete ${mock.snapshots[5]?.SnapshotId ?? ""}`, /\/snapshots\/snap-/);
    await submit(t("snapAction.remove"));
  }],
  ["CreateSnapshotGroup", async () => {
    await go(t("newGroup.button"), /\/groups$/);
    await dialog().locator(".what-list input:enabled").first().waitFor();
    await reach(dialog().getByLabel(t("newGroup.name")));
    await type("together");
    await press("Enter");
    await page.waitForURL(/\/groups\/csnap-/);
  }],
  ["ApplySnapshotGroup", async () => {
    mock.disks.forEach((one, index) => mock.disks.splice(index, 1, { ...one, DiskState: "UNATTACHED", InstanceId: "" }));
    await page.reload();
    const name = mock.groups[1]?.SnapshotGroupName ?? "";
    await push(t("snapAction.rollBack"));
    await dialog().locator(".what-list li").first().waitFor();
    await reach(dialog().locator(".check input").last());
    await press("Space");
    await reach(dialog().getByLabel(t("confirm.type", { name })));
    await type(name);
    await press("Enter");
  }],
  ["DeleteSnapshotGroup", async () => {
    await go(mock.groups[1]?.SnapshotGroupId ?? "", /\/groups\/csnap-/);
    await push(t("snapAction.remove"));
    await submit(t("snapAction.remove"));
    await page.waitForURL(/\/groups$/);
  }],
  ["AcknowledgeEvents", async () => {
    await go(t("nav.events"), /\/events/);
    await reach(page.locator(".table__head input"));
    await press("Space");
    await reach(button(t("event.acknowledge")), "Shift+Tab");
    await press("Enter");
  }],
  ["CancelOperation", async () => {
    await page.goto(`${origin}/console/operations/${mock.operations.find((one) => one.Cancellable)?.OperationId ?? ""}`);
    await push(t("op.cancel"));
  }],
  ["RetryOperation", async () => {
    await page.goto(`${origin}/console/operations/${mock.operations.find((one) => one.Retriable)?.OperationId ?? ""}`);
    await push(t("op.retry"));
  }],
  ["CreateAutoSnapshotPolicy", async () => {
    await go(t("policy.create"), /\/policies$/);
    await dialog().waitFor();
    await type("by-hand");
    // 02 is chosen; one hour more, and not on Sundays.
    await reach(dialog().getByRole("button", { name: "14:00" }));
    await press("Space");
    await reach(dialog().getByRole("button", { name: "Sun", exact: true }));
    await press("Space");
    await submit(t("common.submit"));
    await closed();
    expect(asked("CreateAutoSnapshotPolicy")).toEqual([{ Policy: [{ Hour: [2, 14], DayOfWeek: [1, 2, 3, 4, 5, 6] }], AutoSnapshotPolicyName: "by-hand", RetentionDays: 7 }]);
  }],
  ["SetPolicyOptions", () => Promise.resolve()],
  ["ModifyAutoSnapshotPolicyAttribute", async () => {
    await reach(page.getByRole("switch"));
    await press("Space");
  }],
  ["BindAutoSnapshotPolicy", async () => {
    await reach(page.getByRole("link", { name: /by-hand/ }));
    await press("Enter");
    await page.waitForURL(/\/policies\/asp-/);
    await push(t("policy.bind"));
    await dialog().locator(".what-list input").first().waitFor();
    await reach(dialog().locator(".what-list input").first());
    await press("Space");
    await submit(t("common.submit"));
  }],
  ["UnbindAutoSnapshotPolicy", async () => {
    await push(t("policy.bind"));
    await dialog().locator(".what-list input:checked").first().waitFor();
    await reach(dialog().locator(".what-list input:checked").first());
    await press("Space");
    await submit(t("common.submit"));
  }],
  ["DeleteAutoSnapshotPolicies", async () => {
    await push(t("policy.delete"));
    await submit(t("policy.delete"));
    await page.waitForURL(/\/policies$/);
  }],
  ["CreateInstance", async () => {
    await go(t("instance.create"), /\/settings\/instances$/);
    await dialog().waitFor();
    await type("vm");
    await press("Enter");
  }],
  ["DeleteInstance", async () => {
    await reach(button(t("instance.delete")));
    await press("Enter");
    await submit(t("instance.delete"));
  }],
  ["CreateKey", async () => {
    await go(t("keys.create"), /\/settings\/keys$/);
    await dialog().waitFor();
    await type(PASSWORD);
    await press("Enter");
    await page.getByRole("heading", { name: t("keys.made") }).waitFor();
    await press("Escape");
  }],
  ["DeleteKey", async () => {
    await reach(button(t("keys.revoke")));
    await press("Enter");
    await submit(t("keys.revoke"));
  }],
  ["CreateAccount", async () => {
    await go(t("account.create"), /\/settings\/accounts$/);
    await dialog().waitFor();
    await type("team");
    await press("Tab");
    await type(PASSWORD);
    await press("Enter");
    await page.getByRole("heading", { name: t("account.made") }).waitFor();
    await press("Escape");
  }],
  ["SetAccountPassword", async () => {
    await reach(button(t("account.password")));
    await press("Enter");
    await dialog().waitFor();
    await type(PASSWORD);
    await press("Enter");
    await dialog().locator("pre").first().waitFor();
    await press("Escape");
  }],
  ["password", async () => {
    await go(t("settings.password"), /\/settings\/password$/);
    await reach(page.getByLabel(t("password.old")));
    await type(PASSWORD);
    await reach(page.getByLabel(t("password.new")));
    await type("four other words here");
    await reach(page.getByLabel(t("password.again")));
    await type("four other words here");
    await press("Enter");
  }],
  ["ScrubStore", async () => {
    await go(`settings ${t("settings.store")}`, /\/settings\/store$/);
    await push(t("store.scrub"));
  }],
  ["CollectGarbage", () => push(t("store.free"))],
  ["ConfirmStore", async () => {
    mock.held = "recovered";
    await page.reload();
    await push(t("store.confirm"));
  }],
];

describe("by keyboard alone", () => {
  it.each(WAYS)("%s", async (action, way) => {
    await way();
    await expect.poll(() => asked(action).length, { timeout: STEP_MS }).toBeGreaterThan(0);
    await closed();
  });

  it("asks for every change that the console's source asks for", () => {
    const root = fileURLToPath(new URL("../src/", import.meta.url));
    const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => /\.tsx?$/.test(name) && !/\.test\.|^commands/.test(name));
    const source = files.map((name) => readFileSync(join(root, name), "utf8")).join("\n");
    const actions = [...source.matchAll(/\b(?:useAsked|useChange|useConfirmedChange|call)\(\s*"(?:cbs|drystone)",\s*"([A-Z]\w+)"/g)].map((match) => match[1] ?? "");
    const changing = new Set(actions.filter((action) => !action.startsWith("Describe")));
    expect(changing.size).toBeGreaterThan(30);
    expect([...changing].filter((action) => !WAYS.some(([one]) => one === action)).sort()).toEqual([]);
  });

  it("finds pages, disks and snapshots with Ctrl-K, also in Chinese, and goes back on Escape", async () => {
    const { page: chinese } = await openPage(browser, { origin, locale: "zh-CN", dark: true });
    await chinese.goto(`${origin}/console/operations`);
    await chinese.locator("h1").waitFor();
    await chinese.keyboard.press("Control+k");
    await chinese.locator("[role=option]").first().waitFor();
    expect(await seriousFindings(chinese)).toEqual([]);
    await chinese.keyboard.type(`扩容 ${disk(0).slice(0, 5)}`);
    await chinese.locator("[role=option]", { hasText: `扩容: ${disk(0)}` }).waitFor();
    await chinese.keyboard.press("Escape");
    await chinese.locator("dialog").waitFor({ state: "detached" });
    expect(chinese.url()).toBe(`${origin}/console/operations`);
    await chinese.context().close();
  });
});
