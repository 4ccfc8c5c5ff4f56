// How quick the console is with 10,000 snapshots and 1,000 disks (`npm run figures`): the first row, a search, an order,
// scrolling. The server is made up, so that its own time is small: what is measured is the page. Each is the middle of
// several rounds; beside it stands the worst.
import type { Page } from "playwright-core";

import { launch, openPage } from "./browser";
import { Mock } from "./mock";
import { idOf } from "./world";

const [SNAPSHOTS, DISKS] = [10_000, 1_000];
const ROUNDS = Number(process.argv.at(-1)) || 5;

const mock = new Mock(Date.now(), SNAPSHOTS);
mock.loggedIn = true;
const models = [...mock.disks];
for (let index = models.length; index < DISKS; index += 1) {
  const model = models[index % models.length];
  const detail = model && mock.details.get(model.DiskId);
  if (model === undefined || detail === undefined) continue;
  const DiskId = idOf("disk", index * 9_973 + 50_000_000);
  mock.disks.push({ ...model, DiskId, DiskName: `${model.DiskName}-${index}`, DiskState: "UNATTACHED", InstanceId: "" });
  mock.details.set(DiskId, { ...detail, DiskId, Device: null, NbdUri: null, Hydrating: false });
}
const origin = await mock.listen();

/** Milliseconds until the first row shows a text, from now, as the page sees it: each frame looks. */
const untilRow = (page: Page, text: string): Promise<number> =>
  page.evaluate<number>(
    `new Promise((resolve) => {
      const began = performance.now();
      const look = () => document.querySelector("[data-index='0']")?.textContent.includes(${JSON.stringify(text)}) ? resolve(performance.now() - began) : requestAnimationFrame(look);
      look();
    })`,
  );

/** Scrolls through the table in 120 steps, a frame each: the times of the frames, and of tasks over 50 ms. */
const scroll = (page: Page): Promise<{ readonly frames: readonly number[]; readonly tasks: readonly number[] }> =>
  page.evaluate(`new Promise((resolve) => {
    const table = document.querySelector("[role=table]");
    const tasks = []; const frames = []; let last = performance.now();
    const watch = new PerformanceObserver((list) => list.getEntries().forEach((entry) => tasks.push(entry.duration)));
    watch.observe({ entryTypes: ["longtask"] });
    const step = (now) => {
      frames.push(now - last); last = now; table.scrollTop += 600;
      if (frames.length < 120) requestAnimationFrame(step); else { watch.disconnect(); resolve({ frames, tasks }); }
    };
    requestAnimationFrame(step);
  })`);

const figures = new Map<string, number[]>();
const note = (name: string, ms: number) => figures.set(name, [...(figures.get(name) ?? []), ms]);

const LISTS = [
  ["snapshots", `${SNAPSHOTS} snapshots`, mock.snapshots[9_000]?.SnapshotId ?? "", "stored"],
  ["disks", `${DISKS} disks`, mock.disks[900]?.DiskName ?? "", "size"],
] as const;

const browser = await launch();
try {
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [path, called, searched, order] of LISTS) {
      const { page, errors } = await openPage(browser, { origin });
      await page.goto(`${origin}/console/${path}`);
      await page.locator("[data-index='0'] [data-column=name] .row-link").waitFor();
      note(`${called}: first row`, await page.evaluate<number>("performance.getEntriesByName('first-row')[0]?.startTime ?? performance.now()"));
      const box = page.locator(".search input");
      // A part of a name or an id, which the server does not find by itself.
      await box.focus();
      await page.keyboard.insertText(searched.slice(1));
      note(`${called}: search`, await untilRow(page, searched));
      await box.fill("");
      await page.locator("[data-index='3'] [data-column=name] .row-link").waitFor();
      await page.evaluate("document.querySelector(\"[data-index='0']\").dataset.old = document.querySelector(\"[data-index='0']\").textContent");
      const began = Date.now();
      await page.goto(`${origin}/console/${path}?sort=-${order}`);
      await page.locator("[aria-sort=descending]").waitFor();
      await page.locator("[data-index='0'] [data-column=name] .row-link").waitFor();
      note(`${called}: page in another order`, Date.now() - began);
      await page.waitForTimeout(500);
      const { frames, tasks } = await scroll(page);
      note(`${called}: scrolling, middle frame`, [...frames].sort((a, b) => a - b)[60] ?? 0);
      note(`${called}: scrolling, worst frame`, Math.max(...frames));
      note(`${called}: scrolling, longest task`, Math.max(0, ...tasks));
      if (errors.length > 0) throw new Error(errors.join("; "));
      await page.context().close();
    }
  }
} finally {
  await browser.close();
  await mock.close();
}
for (const [name, all] of figures) {
  const ordered = [...all].sort((a, b) => a - b);
  const [middle = 0, worst = 0] = [ordered[Math.floor(ordered.length / 2)], ordered.at(-1)];
  console.log(`${name.padEnd(44)} ${middle.toFixed(0).padStart(6)} ms   worst of ${ordered.length}: ${worst.toFixed(0)} ms`);
}
