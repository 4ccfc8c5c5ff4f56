// The whole way of a user against the real service: log in, make a disk, attach it, take a snapshot, make a disk from
// it, roll back, delete; in both languages. Needs DRYSTONE_ENDPOINT and DRYSTONE_CONSOLE_PASSWORD of a running server.
import { execFileSync } from "node:child_process";

import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { translator, type Language, type Translate } from "../src/words";
import { launch, openPage, STEP_MS } from "./browser";

const origin = process.env["DRYSTONE_ENDPOINT"] ?? "";
const account = process.env["DRYSTONE_CONSOLE_ACCOUNT"] ?? "admin";
const password = process.env["DRYSTONE_CONSOLE_PASSWORD"] ?? "";
const instance = process.env["DRYSTONE_NBD_INSTANCE_ID"] ?? "";
const restart = process.env["DRYSTONE_RESTART_COMMAND"] ?? "";
const SLOW_MS = 2 * STEP_MS;

const LANGUAGES: readonly (readonly [Language, "en-US" | "zh-CN"])[] = [["en", "en-US"], ["zh", "zh-CN"]];

async function logIn(page: Page): Promise<void> {
  await page.goto(`${origin}/console/`);
  await page.locator("input[name=password]").waitFor();
  await page.locator("input[name=account]").fill(account);
  await page.locator("input[name=password]").fill(password);
  await page.keyboard.press("Enter");
  await page.locator(".shell h1").waitFor();
}

const open = (page: Page): Locator => page.locator("dialog[open]");
const submit = (page: Page): Promise<void> => open(page).locator("button[type=submit]").click();
const closed = (page: Page): Promise<void> => open(page).waitFor({ state: "detached", timeout: SLOW_MS });

/** Opens the menu of a page or a row, and chooses. */
async function choose(page: Page, within: string, text: string): Promise<void> {
  await page.locator(`${within} [aria-haspopup=menu]`).click();
  const entry = page.getByRole("menuitem", { name: text, exact: true });
  await entry.waitFor();
  await expect.poll(() => entry.getAttribute("aria-disabled"), { timeout: SLOW_MS }).toBe("false");
  await entry.click();
  await open(page).waitFor();
}

const leadState = (page: Page, text: string): Promise<void> =>
  page.locator(".page-head .state", { hasText: text }).waitFor({ timeout: SLOW_MS });

const HEAD = ".page-head__actions";

async function createDisk(page: Page, t: Translate, name: string): Promise<void> {
  await page.goto(`${origin}/console/disks`);
  await page.locator(HEAD).getByRole("button", { name: t("newDisk.button") }).click();
  await open(page).getByLabel(t("field.name")).fill(name);
  await open(page).getByLabel(t("disk.size")).fill("10");
  await submit(page);
  await closed(page);
  await page.getByText(name, { exact: true }).first().click();
  await leadState(page, t("disk.state.UNATTACHED"));
}

async function attachDisk(page: Page, t: Translate): Promise<void> {
  await choose(page, HEAD, t("diskAction.attach"));
  await open(page).getByLabel(t("attach.instance")).selectOption(instance);
  await submit(page);
  await closed(page);
  await leadState(page, t("disk.state.ATTACHED"));
}

/** Takes a snapshot in the dialog and watches it become ready there; returns its id. */
async function createSnapshot(page: Page, t: Translate, name: string): Promise<string> {
  await page.locator(HEAD).getByRole("button", { name: t("diskAction.createSnapshot") }).click();
  await open(page).getByLabel(t("newSnap.name")).fill(name);
  await submit(page);
  await open(page).getByRole("heading", { name: t("newSnap.doneTitle") }).waitFor({ timeout: SLOW_MS });
  const id = (await open(page).locator(".facts code").first().textContent()) ?? "";
  await submit(page);
  await page.waitForURL(`${origin}/console/snapshots/${id}`);
  await leadState(page, t("snap.state.NORMAL"));
  return id;
}

describe.skipIf(origin === "")("against the real service", () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await launch();
  });

  afterAll(async () => {
    await browser.close();
  });

  it.each(LANGUAGES)("goes the whole way in %s", async (language, locale) => {
    const t = translator(language);
    const { page, foreign, errors } = await openPage(browser, { origin, locale });
    const disk = `e2e-${language}-${Date.now() % 1_000_000}`;
    await logIn(page);
    await createDisk(page, t, disk);
    await attachDisk(page, t);
    await page.getByText("nbdinfo 'nbd+unix:", { exact: false }).waitFor({ timeout: SLOW_MS });
    const snapshot = await createSnapshot(page, t, `first of ${disk}`);

    // A disk from it.
    await choose(page, HEAD, t("snapAction.createDisk"));
    await open(page).getByLabel(t("field.name")).fill(`${disk}-copy`);
    await submit(page);
    await closed(page);

    // Roll back: the disk is detached on the way, and stays so.
    await page.goto(`${origin}/console/snapshots/${snapshot}`);
    await choose(page, HEAD, t("snapAction.rollBack"));
    expect(await open(page).locator("button[type=submit], .t-is-disabled").last().getAttribute("class")).toContain("t-is-disabled");
    await open(page).getByText(t("rollback.attachAgain")).click();
    await open(page).getByLabel(t("confirm.type", { name: disk })).fill(disk);
    await submit(page);
    await closed(page);
    await page.goto(`${origin}/console/operations?kind=rollback`);
    await page.locator("[role=table] .state", { hasText: t("op.state.DONE") }).first().waitFor({ timeout: SLOW_MS });

    // Delete: the snapshot, by way of its page, then both disks at once.
    await page.goto(`${origin}/console/snapshots/${snapshot}`);
    await choose(page, HEAD, t("snapAction.remove"));
    await open(page).locator(".frees strong").waitFor({ timeout: SLOW_MS });
    await submit(page);
    await page.waitForURL(`${origin}/console/snapshots`);
    await page.goto(`${origin}/console/snapshots/${snapshot}`);
    await page.getByRole("heading", { name: t("snap.gone", { id: snapshot }) }).first().waitFor({ timeout: SLOW_MS });
    await page.context().close();
    expect(foreign).toEqual([]);
    expect(errors).toEqual([]);
  });

  it.each(LANGUAGES)("takes a group of two disks at one instant, holds something still, and proves that a snapshot opens, in %s", async (language, locale) => {
    const t = translator(language);
    const { page, errors } = await openPage(browser, { origin, locale });
    await logIn(page);
    const name = `e2e-group-${language}-${Date.now() % 1_000_000}`;
    for (const disk of [`${name}-data`, `${name}-log`]) {
      await createDisk(page, t, disk);
      await attachDisk(page, t);
    }
    const diskUrl = page.url();

    // A profile: what the server refuses is said, then it is set, shown and removed.
    await page.getByRole("button", { name: t("profile.set") }).click();
    await open(page).getByLabel(t("profile.field.mount")).fill("srv/nowhere");
    await submit(page);
    await open(page).getByRole("alert").getByText("InvalidParameterValue").waitFor();
    await open(page).getByLabel(t("profile.field.mount")).fill("/srv/nowhere");
    await submit(page);
    await closed(page);
    await page.locator(".held", { hasText: "/srv/nowhere" }).waitFor();
    await page.getByRole("button", { name: t("profile.remove"), exact: true }).click();
    await submit(page);
    await page.locator(".held").waitFor({ state: "detached", timeout: SLOW_MS });

    // A group of both, and nothing else that the instance has.
    await page.goto(`${origin}/console/groups`);
    await page.locator(HEAD).getByRole("button", { name: t("newGroup.button") }).click();
    await open(page).getByLabel(t("group.instance")).selectOption(instance);
    await open(page).locator(".what-list li", { hasText: name }).nth(1).waitFor();
    const others = open(page).locator(".what-list li").filter({ hasNotText: name }).locator("input:enabled");
    for (let left = await others.count(); left > 0; left -= 1) await others.nth(left - 1).uncheck();
    await open(page).getByLabel(t("newGroup.name")).fill(name);
    await submit(page);
    await page.waitForURL(/\/groups\/csnap-/, { timeout: SLOW_MS });
    await leadState(page, t("snap.state.NORMAL"));
    await expect.poll(() => page.locator(".rows li").count(), { timeout: SLOW_MS }).toBe(2);

    // A member opens, or the console says why that cannot be told: its disk is empty.
    const groupUrl = page.url();
    await page.locator(".rows li .row-link").first().click();
    await page.getByRole("button", { name: t("opening.prove") }).click();
    await page.locator(".opening .state, .opening [role=alert]").first().waitFor({ timeout: SLOW_MS });

    // Rolled back together: refused while attached, then done by typing the group's name.
    await page.goto(groupUrl);
    await page.locator(HEAD).getByRole("button", { name: t("snapAction.rollBack") }).click();
    await open(page).getByText(t("why.attached")).first().waitFor();
    await page.keyboard.press("Escape");
    const links: string[] = [];
    for (const link of await page.locator(".rows .stacked a").all()) links.push(`${origin}${(await link.getAttribute("href")) ?? ""}`);
    for (const link of links) {
      await page.goto(link);
      await choose(page, HEAD, t("diskAction.detach"));
      await submit(page);
      await closed(page);
      await leadState(page, t("disk.state.UNATTACHED"));
    }
    await page.goto(groupUrl);
    await page.locator(HEAD).getByRole("button", { name: t("snapAction.rollBack") }).click();
    await open(page).getByLabel(t("group.safety")).uncheck();
    await open(page).getByLabel(t("confirm.type", { name })).fill(name);
    await submit(page);
    await closed(page);
    await leadState(page, t("snap.state.NORMAL"));
    for (const link of links) {
      await page.goto(link);
      await leadState(page, t("disk.state.UNATTACHED"));
    }

    // Deleted with its members.
    await page.goto(groupUrl);
    const remove = page.locator(HEAD).getByRole("button", { name: t("snapAction.remove") });
    await expect.poll(() => remove.getAttribute("aria-disabled"), { timeout: SLOW_MS }).toBe("false");
    await remove.click();
    await open(page).locator(".frees strong").waitFor({ timeout: SLOW_MS });
    await submit(page);
    await page.waitForURL(`${origin}/console/groups`);
    await page.goto(diskUrl);
    await page.getByText(t("timeline.none")).waitFor({ timeout: SLOW_MS });
    await page.context().close();
    expect(errors).toEqual([]);
  });

  it("two tabs delete the same snapshot: the second says that it is gone, and is on the right page", async () => {
    const t = translator("en");
    const { page } = await openPage(browser, { origin });
    await logIn(page);
    await createDisk(page, t, `e2e-tabs-${Date.now() % 1_000_000}`);
    const snapshot = await createSnapshot(page, t, "for two tabs");
    const other = await page.context().newPage();
    await other.goto(`${origin}/console/snapshots/${snapshot}`);
    await choose(other, HEAD, t("snapAction.remove"));
    await choose(page, HEAD, t("snapAction.remove"));
    await submit(page);
    await page.waitForURL(`${origin}/console/snapshots`);
    if ((await open(other).count()) > 0) await submit(other).catch(() => undefined);
    await other
      .getByText(t("remove.already"))
      .or(other.getByRole("heading", { name: t("snap.gone", { id: snapshot }) }))
      .first()
      .waitFor({ timeout: SLOW_MS });
    await page.context().close();
  });

  it("a refusal shows message, code and request id", async () => {
    const t = translator("en");
    const { page } = await openPage(browser, { origin });
    await logIn(page);
    await page.goto(`${origin}/console/settings/instances`);
    await page.getByRole("button", { name: t("instance.create") }).click();
    await open(page).getByLabel(t("field.name")).fill("x".repeat(61));
    await submit(page);
    await open(page).getByRole("alert").getByText("InvalidParameterValue").waitFor();
    expect(await open(page).getByRole("alert").textContent()).toMatch(new RegExp(`${t("error.requestId")} [0-9a-f-]{36}`));
    await page.context().close();
  });

  it.skipIf(restart === "")("a server that is killed and comes back is noticed, and the page goes on", async () => {
    const t = translator("en");
    const { page } = await openPage(browser, { origin });
    await logIn(page);
    await page.goto(`${origin}/console/disks`);
    await page.locator("[role=table], .empty").first().waitFor();
    await page.route("**/console/api/call/**", (route) => route.abort("connectionrefused"));
    await page.getByText(t("error.unreachableBanner")).waitFor({ timeout: SLOW_MS });
    execFileSync("bash", ["-c", restart], { stdio: "inherit" });
    await page.unroute("**/console/api/call/**");
    await page.getByText(t("error.unreachableBanner")).waitFor({ state: "detached", timeout: SLOW_MS });
    await page.locator("[role=table], .empty").first().waitFor();
    // The session survives the restart.
    await page.goto(`${origin}/console/operations`);
    await page.locator(".shell h1").waitFor();
    await page.context().close();
  });
});
