// Makes the pictures of docs/images anew (`npm run pictures`): pages of the made-up world, at a fixed time. Look at them
// before you commit them.
import { fileURLToPath } from "node:url";

import type { Page } from "playwright-core";

import { launch, openPage, type Look } from "./browser";
import { Mock } from "./mock";

const FOLDER = fileURLToPath(new URL("../../docs/images/", import.meta.url));
const NOW = Date.parse("2026-11-30T10:20:00+08:00");

const mock = new Mock(NOW, 220);
const origin = await mock.listen();
mock.loggedIn = true;

const PICTURES: readonly (readonly [string, string, Omit<Look, "origin">])[] = [
  ["overview", "/", {}],
  ["snapshot", `/snapshots/${mock.snapshots[1]?.SnapshotId ?? ""}`, {}],
  ["groups", "/groups", {}],
  ["disk-dark", `/disks/${mock.disks[0]?.DiskId ?? ""}`, { dark: true, locale: "zh-CN" }],
];

async function settled(page: Page): Promise<void> {
  await page.locator("h1").waitFor();
  await page.waitForLoadState("networkidle");
}

// Drawn by several threads, or in part, the edges of rounded corners differ from run to run.
const browser = await launch(["--disable-partial-raster", "--num-raster-threads=1"]);
try {
  for (const [name, path, look] of PICTURES) {
    const { page, errors } = await openPage(browser, { origin, ...look });
    await page.clock.setFixedTime(NOW);
    await page.goto(`${origin}/console${path}`);
    await settled(page);
    // The map of changes is the last on the page of a snapshot.
    if (name === "snapshot") await page.setViewportSize({ width: 1360, height: 1240 });
    await page.screenshot({ path: `${FOLDER}console-${name}.png` });
    if (errors.length > 0) throw new Error(`${name}: ${errors.join("; ")}`);
    await page.context().close();
  }
} finally {
  await browser.close();
  await mock.close();
}
