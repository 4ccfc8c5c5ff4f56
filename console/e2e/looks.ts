// A picture of every page and dialog (`npm run looks DIRECTORY [NAME]`): light and dark, English and Chinese, 1366, 1920
// and 390 wide. To be looked at, not kept.
import { mkdirSync } from "node:fs";

import type { Page } from "playwright-core";

import { launch, openPage } from "./browser";
import { Mock } from "./mock";

const [directory = "", only = ""] = process.argv.slice(2);
if (directory === "") throw new Error("say in which directory");
mkdirSync(directory, { recursive: true });

const mock = new Mock(Date.now(), 220);
mock.loggedIn = true;
mock.disks.forEach((disk, index) => index > 3 && mock.disks.splice(index, 1, { ...disk, DiskState: "UNATTACHED", RollbackPercent: 100 }));
const origin = await mock.listen();
const [disk, free] = [mock.disks[1]?.DiskId ?? "", mock.disks[4]?.DiskId ?? ""];
const snapshot = mock.snapshots[2]?.SnapshotId ?? "";
const group = mock.groups[1]?.SnapshotGroupId ?? "";

const PAGES: readonly (readonly [string, string])[] = [
  ["overview", "/"], ["disks", "/disks"], ["disk", `/disks/${disk}`], ["snapshots", "/snapshots"], ["snapshot", `/snapshots/${snapshot}`], ["groups", "/groups"],
  ["group", `/groups/${group}`], ["policies", "/policies"], ["policy", `/policies/${mock.policies.all[0]?.PolicyId ?? ""}`], ["operations", "/operations"],
  ["operation", `/operations/${mock.operations.find((one) => one.State === "FAILED")?.OperationId ?? ""}`], ["protection", "/protection"], ["events", "/events"],
  ...["keys", "password", "quotas", "instances", "accounts", "store", "about"].map((part) => [`settings-${part}`, `/settings/${part}`] as const),
  ["create-disk", "/disks?do=create"], ["import", "/disks?do=import"], ["create-group", "/groups?do=create"], ["create-policy", "/policies?do=create"],
  ["create-key", "/settings/keys?do=create"], ["create-account", "/settings/accounts?do=create"], ["create-instance", "/settings/instances?do=create"],
  ...["createSnapshot", "detach", "rename", "audit"].map((kind) => [`disk-${kind}`, `/disks/${disk}?do=${kind}`] as const),
  ...["attach", "resize", "initialize", "terminate"].map((kind) => [`disk-${kind}`, `/disks/${free}?do=${kind}`] as const),
  ...["restore", "createDisk", "rollBack", "keep", "export", "remove"].map((kind) => [`snapshot-${kind}`, `/snapshots/${snapshot}?do=${kind}`] as const),
  ["finder", "/protection#finder"],
];

async function settled(page: Page, path: string): Promise<void> {
  await page.goto(`${origin}/console${path}`);
  await page.locator("h1").waitFor();
  if (path.includes("do=")) await page.locator("dialog[open]").waitFor();
  if (path.endsWith("#finder")) {
    await page.keyboard.press("Control+k");
    await page.keyboard.type("my");
  }
  const shown = page.locator("dialog[open] .commands summary");
  if ((await shown.count()) > 0 && path.includes("do=c")) await shown.click();
  await page.waitForLoadState("networkidle");
  await page.waitForTimeout(150);
}

/** Texts that are cut off, and what lies outside of the page. */
const cut = (page: Page) =>
  page.evaluate<string[]>(`[...document.querySelectorAll("main *, dialog[open] *")].filter((one) => one.children.length === 0 && one.textContent.trim() !== "" && one.checkVisibility() && !one.closest(".unseen, pre, option, .plain-table, [role=table]")
    && (one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0 && getComputedStyle(one).overflow !== "visible" || one.getBoundingClientRect().right > innerWidth + 1)).map((one) => one.textContent.trim().slice(0, 60))`);

const browser = await launch();
try {
  for (const locale of ["en-US", "zh-CN"] as const) {
    for (const dark of [false, true]) {
      for (const width of [1366, 1920, 390]) {
        const { page, errors } = await openPage(browser, { origin, locale, dark, phone: width === 390 });
        await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
        for (const [name, path] of PAGES) {
          const look = `${locale.slice(0, 2)}-${dark ? "dark" : "light"}-${width}`;
          if (!`${name}-${look}`.includes(only)) continue;
          await settled(page, path);
          await page.screenshot({ path: `${directory}/${name}-${look}.png` });
          const wrong = await cut(page);
          if (wrong.length > 0) console.log(`${name}-${look}: cut: ${wrong.join(" | ")}`);
        }
        if (errors.length > 0) console.log(errors.join("\n"));
        await page.context().close();
      }
    }
  }
} finally {
  await browser.close();
  await mock.close();
}
