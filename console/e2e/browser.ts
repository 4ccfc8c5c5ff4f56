// A browser for the tests, and what is asked of every page.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

import { chromium, type Browser, type Page } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SHOTS = fileURLToPath(new URL("screenshots/", import.meta.url));

/** Long: a step may wait for a machine that does something else. */
export const STEP_MS = 90_000;

export async function launch(more: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--font-render-hinting=none", ...more],
  });
}

export type Look = {
  readonly origin: string;
  readonly locale?: "en-US" | "zh-CN";
  readonly dark?: boolean;
  readonly phone?: boolean;
};

/** A page whose every request to another host, and every error in it, is noted. */
export async function openPage(browser: Browser, look: Look): Promise<{ page: Page; foreign: string[]; errors: string[] }> {
  const context = await browser.newContext({
    locale: look.locale ?? "en-US",
    timezoneId: "Asia/Shanghai",
    colorScheme: look.dark ? "dark" : "light",
    viewport: look.phone ? { width: 390, height: 844 } : { width: 1360, height: 860 },
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  const foreign: string[] = [];
  const errors: string[] = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(look.origin)) foreign.push(request.url());
  });
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) errors.push(message.text());
  });
  return { page, foreign, errors };
}

type AxeResult = { readonly violations: readonly { readonly id: string; readonly impact: string; readonly help: string; readonly nodes: readonly { readonly html: string }[] }[] };

/** The serious and critical findings of axe on the page as it is, as text. */
export async function seriousFindings(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const result = await page.evaluate<AxeResult>("axe.run(document, { resultTypes: ['violations'] })");
  return result.violations
    .filter((violation) => violation.impact === "serious" || violation.impact === "critical")
    .flatMap((violation) => violation.nodes.map((node) => `${violation.id}: ${violation.help}: ${node.html.slice(0, 200)}`));
}

export async function shoot(page: Page, name: string): Promise<void> {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}${name}.png` });
}
