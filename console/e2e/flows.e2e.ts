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

async function attachAndDetach(page: Page, t: Translate): Promise<void> {
  await choose(page, HEAD, t("diskAction.attach"));
  await open(page).getByLabel(t("attach.instance")).selectOption(instance);
  await submit(page);
  await closed(page);
  await leadState(page, t("disk.state.ATTACHED"));
  await page.getByText("nbdinfo 'nbd+unix:", { exact: false }).waitFor({ timeout: SLOW_MS });
}

/** Takes a snapshot in the dialog and watches it become ready there; returns its id. */
async function createSnapshot(page: Page, t: Translate, name: string): Promise<string> {
  await page.locator(HEAD).getByRole("button", { name: t("newSnap.button") }).click();
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
    const diskUrl = page.url();
    await attachAndDetach(page, t);
    const snapshot = await createSnapshot(page, t, `first of ${disk}`);

    // A disk from it.
    await page.locator(HEAD).getByRole("button", { name: t("snapAction.createDisk") }).click();
    await open(page).getByLabel(t("field.name")).fill(`${disk}-copy`);
    await submit(page);
    await closed(page);

    // Roll back: refused while the disk is attached, and the console says so.
    const rollBack = page.locator(HEAD).getByRole("button", { name: t("snapAction.rollBack") });
    await expect.poll(() => rollBack.getAttribute("title"), { timeout: SLOW_MS }).toBe(t("why.attached"));
    await page.goto(diskUrl);
    await choose(page, HEAD, t("diskAction.detach"));
    await submit(page);
    await closed(page);
    await leadState(page, t("disk.state.UNATTACHED"));
    await page.goto(`${origin}/console/snapshots/${snapshot}`);
    await expect.poll(() => rollBack.getAttribute("aria-disabled"), { timeout: SLOW_MS }).toBe("false");
    await rollBack.click();
    expect(await open(page).locator("button[type=submit], .t-is-disabled").last().getAttribute("class")).toContain("t-is-disabled");
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
    expect(await open(page).getByRole("alert").textContent()).toMatch(/Request id [0-9a-f-]{36}/);
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
