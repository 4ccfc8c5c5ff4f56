// Every page against the mock: both languages, light and dark, a phone, axe, no request to another host, 10,000 snapshots.
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { launch, openPage, seriousFindings, shoot, STEP_MS, type Look } from "./browser";
import { Mock, PASSWORD } from "./mock";

const NOW = Date.now();
const PAGES = (mock: Mock): readonly (readonly [string, string])[] => [
  ["overview", "/"],
  ["disks", "/disks"],
  ["disk", `/disks/${mock.disks[0]?.DiskId ?? ""}`],
  ["snapshots", "/snapshots"],
  ["snapshot", `/snapshots/${mock.snapshots[1]?.SnapshotId ?? ""}`],
  ["operations", "/operations"],
  ["settings-keys", "/settings/keys"],
  ["settings-password", "/settings/password"],
  ["settings-quotas", "/settings/quotas"],
  ["settings-instances", "/settings/instances"],
  ["settings-about", "/settings/about"],
];

let browser: Browser;
let mock: Mock;
let origin: string;

beforeAll(async () => {
  browser = await launch();
  mock = new Mock(NOW, 220);
  origin = await mock.listen();
});

afterAll(async () => {
  await browser.close();
  await mock.close();
});

async function visit(page: Page, path: string): Promise<void> {
  await page.goto(`${origin}/console${path}`);
  await page.locator("h1").waitFor();
  await page.locator(".loading").waitFor({ state: "hidden" });
}

const LOOKS: readonly (readonly [string, Omit<Look, "origin">])[] = [
  ["light, English", {}],
  ["dark, Chinese", { dark: true, locale: "zh-CN" }],
  ["phone, English", { phone: true }],
];

describe.each(LOOKS)("%s", (title, look) => {
  const name = title.replaceAll(/[, ]+/g, "-");

  it("shows every page, asks no other host, and has no serious finding of axe", async () => {
    const { page, foreign, errors } = await openPage(browser, { origin, ...look });
    mock.loggedIn = false;
    await page.goto(`${origin}/console/disks`);
    await page.locator("input[name=password]").waitFor();
    const findings = (await seriousFindings(page)).map((finding) => `login: ${finding}`);
    await shoot(page, `login-${name}`);
    await page.locator("input[name=password]").fill(PASSWORD);
    await page.keyboard.press("Enter");
    await page.waitForURL(`${origin}/console/disks`);
    for (const [called, path] of PAGES(mock)) {
      await visit(page, path);
      findings.push(...(await seriousFindings(page)).map((finding) => `${called}: ${finding}`));
      await shoot(page, `${called}-${name}`);
      const wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth");
      if (wide === true) findings.push(`${called}: the page is wider than the screen`);
    }
    await page.context().close();
    expect(findings).toEqual([]);
    expect(foreign).toEqual([]);
    expect(errors).toEqual([]);
  });

  it("shows its dialogs, and they have no serious finding of axe", async () => {
    const { page, errors } = await openPage(browser, { origin, ...look });
    mock.loggedIn = true;
    const findings: string[] = [];
    const look_at = async (called: string) => {
      await page.locator("dialog[open]").waitFor();
      findings.push(...(await seriousFindings(page)).map((finding) => `${called}: ${finding}`));
      await shoot(page, `dialog-${called}-${name}`);
      await page.keyboard.press("Escape");
      await page.locator("dialog[open]").waitFor({ state: "detached" });
    };
    await visit(page, "/disks");
    await page.locator(".page-head__actions button").click();
    await look_at("create-disk");
    await page.locator("[data-index='1'] .row-actions .t-button").click();
    await look_at("create-snapshot");
    await page.locator("[data-index='3'] .row-actions [aria-haspopup=menu]").click();
    await page.locator("[role=menu]").waitFor();
    findings.push(...(await seriousFindings(page)).map((finding) => `menu: ${finding}`));
    await shoot(page, `menu-${name}`);
    await page.keyboard.press("End");
    await page.keyboard.press("Enter");
    await look_at("delete-disk");
    await visit(page, `/snapshots/${mock.snapshots[1]?.SnapshotId ?? ""}`);
    await page.locator(".page-head__actions [aria-haspopup=menu]").click();
    await page.keyboard.press("End");
    await page.keyboard.press("Enter");
    await look_at("delete-snapshot");
    await page.context().close();
    expect(findings).toEqual([]);
    expect(errors).toEqual([]);
  });
});

describe("what goes wrong", () => {
  it("says that the password is wrong, and what the code is", async () => {
    const { page } = await openPage(browser, { origin });
    mock.loggedIn = false;
    await page.goto(`${origin}/console/`);
    await page.locator("input[name=password]").fill("wrong");
    await page.keyboard.press("Enter");
    await page.getByText("Account or password is wrong").waitFor();
    await page.getByText("AuthFailure.PasswordWrong").waitFor();
    await page.context().close();
  });

  it("asks for the password again when the session has ended, and comes back", async () => {
    const { page } = await openPage(browser, { origin });
    mock.loggedIn = true;
    await visit(page, "/snapshots?state=NORMAL");
    mock.loggedIn = false;
    await page.getByText("Your session has ended.").waitFor({ timeout: STEP_MS });
    await page.locator("input[name=password]").fill(PASSWORD);
    await page.keyboard.press("Enter");
    await page.waitForURL(`${origin}/console/snapshots?state=NORMAL`);
    await page.locator("[role=table]").waitFor();
    await page.context().close();
  });

  it("says why a disabled action is disabled, and does not do it", async () => {
    const { page } = await openPage(browser, { origin });
    mock.loggedIn = true;
    await visit(page, "/disks");
    await page.locator("[data-index='0'] .row-actions [aria-haspopup=menu]").click();
    const entry = page.getByRole("menuitem", { name: "Delete" });
    await entry.waitFor();
    expect(await entry.getAttribute("aria-disabled")).toBe("true");
    expect(await entry.textContent()).toContain("Detach the disk first");
    await entry.click({ force: true });
    expect(await page.locator("dialog[open]").count()).toBe(0);
    await page.context().close();
  });

  it("tells that a snapshot is gone, on its own page", async () => {
    const { page } = await openPage(browser, { origin });
    mock.loggedIn = true;
    const gone = mock.snapshots[3];
    await visit(page, `/snapshots/${gone?.SnapshotId ?? ""}`);
    const before = mock.snapshots;
    mock.snapshots = before.filter((snapshot) => snapshot !== gone);
    await page.getByRole("heading", { name: `There is no snapshot ${gone?.SnapshotId ?? ""}` }).first().waitFor({ timeout: STEP_MS });
    mock.snapshots = before;
    await page.context().close();
  });
});

describe("10,000 snapshots", () => {
  it("shows the first row soon, scrolls smoothly, and asks only for what is seen", async () => {
    const many = new Mock(NOW, 10_000);
    const at = await many.listen();
    many.loggedIn = true;
    const { page } = await openPage(browser, { origin: at });
    await page.goto(`${at}/console/snapshots`);
    await page.locator("[data-index='0'] .row-link").waitFor();
    const firstRow = await page.evaluate<number>("performance.now()");
    const rows = await page.locator(".table__body [role=row]").count();
    expect(rows).toBeLessThan(60);
    await page.waitForTimeout(500);
    // Through 6,000 rows in small steps, a frame each: how long the frames take.
    const frames = await page.evaluate<number[]>(`new Promise((resolve) => {
      const table = document.querySelector("[role=table]");
      const times = []; let last = performance.now(); let count = 0;
      const step = (now) => {
        times.push(now - last); last = now; count += 1;
        table.scrollTop += 3000;
        if (count < 120) requestAnimationFrame(step); else resolve(times);
      };
      requestAnimationFrame(step);
    })`);
    const sorted = [...frames].sort((a, b) => a - b);
    const calls = many.calls.get("DescribeSnapshots") ?? 0;
    await page.evaluate("document.querySelector('[role=table]').scrollTop = 9999 * 60");
    await page.locator("[data-index='9999'] .row-link").waitFor();
    const load = await page.evaluate<Record<string, number>>(`(() => {
      const [page] = performance.getEntriesByType("navigation");
      const paint = performance.getEntriesByName("first-contentful-paint")[0];
      const bytes = performance.getEntriesByType("resource").filter((r) => r.name.includes("/assets/")).reduce((sum, r) => sum + r.decodedBodySize, 0);
      return { domMs: page.domContentLoadedEventEnd, paintMs: paint ? paint.startTime : -1, assetBytes: bytes };
    })()`);
    console.log(JSON.stringify({
      firstRowMs: Math.round(firstRow), rows, frameMsMedian: sorted[60], frameMsP95: sorted[114], frameMsMax: sorted.at(-1), calls, load,
    }));
    await page.context().close();
    await many.close();
    // Scrolling through 60 pages must not ask for each of them as often as for the first.
    expect(calls).toBeLessThan(150);
    expect(sorted[60]).toBeLessThan(200);
  });
});
