/**
 * The same training in a real browser, from a page that is cross-origin isolated (several workers, shared memory) and
 * from one that is not (one worker, its own memory). It fails, and is never skipped, where there is no browser.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { requireChromium } from "../../scripts/chromium.js";
import type { Info } from "../../src/index.ts";
import { expectClose } from "../ops/reference.ts";
import { digits, serve, type Site } from "./server.ts";

interface Report {
  readonly isolated: boolean;
  readonly info: Info;
  readonly losses: number[];
  readonly testAccuracy: number;
  readonly rates: number[];
  readonly milliseconds: number;
  readonly parameters: string;
}

interface Lecture {
  readonly values: Record<string, number[]>;
  readonly structures: string[];
  readonly checked: boolean;
  readonly anomaly: string;
}

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** The project's promise about the page's thread, in milliseconds of its processor's time. */
const LONGEST_TASK = 50;

let browser: Browser;
let folder: string;
const files: Record<string, Uint8Array> = {};
const reports = new Map<boolean, Report>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fourlane-"));
  files["/train.bin"] = digits(300, 0);
  files["/test.bin"] = digits(50, 700);
  browser = await chromium.launch({ executablePath: requireChromium(), args: ARGS });
});

afterAll(async () => {
  await browser?.close();
  if (!process.env.KEEP_SCREENSHOTS) await rm(folder, { recursive: true, force: true });
});

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  /** Microseconds of the thread's processor time. */
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

/**
 * Milliseconds of processor time of the longest task of a page's thread while `action` runs. The clock on the wall would also
 * count what other programs of a busy machine do in the middle of a task.
 */
async function longestTask<T>(page: Page, action: () => Promise<T>): Promise<{ value: T; longest: number }> {
  await browser.startTracing(page, { categories: ["toplevel"] });
  let value: T;
  let trace: Buffer;
  try {
    value = await action();
  } finally {
    trace = await browser.stopTracing();
  }
  const { traceEvents } = JSON.parse(trace.toString()) as { traceEvents: TraceEvent[] };
  const main = traceEvents.filter((e) => e.name === "thread_name" && e.args?.name === "CrRendererMain");
  const tasks = traceEvents.filter(
    (e) => e.ph === "X" && e.name.endsWith("::RunTask") && main.some((m) => m.pid === e.pid && m.tid === e.tid),
  );
  expect(tasks.length).toBeGreaterThan(0);
  return { value, longest: Math.max(...tasks.map((e) => e.tdur as number)) / 1000 };
}

/** Trains once in a page of its own. Whatever the page complains about fails the test. */
async function train(site: Site, options: object, screenshot: string): Promise<{ report: Report; longest: number }> {
  const context = await browser.newContext({ viewport: { width: 800, height: 560 } });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (m) => {
    if (m.type() === "error" || m.type() === "warning") complaints.push(m.text());
  });
  page.on("pageerror", (e) => complaints.push(e.message));
  page.on("requestfailed", (r) => complaints.push(`${r.url()} failed`));
  const kernels: string[] = [];
  page.on("request", (r) => {
    if (r.url().includes("/kernels/")) kernels.push(r.url());
  });
  try {
    await page.goto(site.url);
    await page.waitForSelector("html[data-ready]", { state: "attached", timeout: 10_000 });
    const { value: report, longest } = await longestTask(page, () =>
      page.evaluate((o) => (globalThis as unknown as { train(o: object): Promise<Report> }).train(o), {
        epochs: 4,
        options,
      }),
    );
    await page.screenshot({ path: join(folder, screenshot) });
    expect(complaints).toEqual([]);
    expect(kernels).toHaveLength(1);
    return { report, longest };
  } finally {
    await context.close();
  }
}

test("a page that computes for long is noticed", async () => {
  const page = await browser.newPage();
  try {
    // A tenth of the time would do; the rest is for what other programs take of it.
    const spin = "{ const end = performance.now() + 500; while (performance.now() < end); }";
    const { longest } = await longestTask(page, () =>
      page.evaluate(`new Promise((done) => setTimeout(() => { ${spin} setTimeout(done, 10); }))`),
    );
    expect(longest).toBeGreaterThan(LONGEST_TASK);
  } finally {
    await page.close();
  }
});

describe.each([
  ["cross-origin isolated", true],
  ["not isolated", false],
])("a page, %s", (name, isolated) => {
  test("learns, and its own thread stays free", async () => {
    const site = await serve(isolated, files);
    try {
      const { report, longest } = await train(site, isolated ? { workers: 2 } : {}, `${name.replaceAll(" ", "-")}.png`);
      reports.set(isolated, report);

      expect(report.isolated).toBe(isolated);
      expect(report.info).toMatchObject({ platform: "browser", sharedMemory: isolated, simd: true });
      if (isolated) expect(report.info.workers).toBeGreaterThanOrEqual(2);
      else expect(report.info.workers).toBe(1);
      expect(report.info.reason).toMatch(isolated ? /is cross-origin isolated/ : /not cross-origin isolated/);

      const { losses } = report;
      expect(losses).toHaveLength(4);
      for (let i = 1; i < losses.length; i++) expect(losses[i]).toBeLessThan(losses[i - 1]);
      expect(losses[3]).toBeLessThan(0.5 * losses[0]);
      expect(report.testAccuracy).toBeGreaterThan(0.85);

      // Start, tracing, compilation, the first steps: all of it counts.
      expect(longest).toBeLessThan(LONGEST_TASK);
      console.log(
        `${name}: longest task ${longest.toFixed(0)} ms of processor time, accuracy ${(100 * report.testAccuracy).toFixed(1)} %, ` +
          `${report.milliseconds.toFixed(0)} ms`,
      );
    } finally {
      await site.close();
    }
  });
});

test("the parameters are the same bits either way", () => {
  const [a, b] = [reports.get(true), reports.get(false)];
  expect(a?.parameters).toMatch(/^[0-9a-f]{8}$/);
  expect(b?.parameters).toBe(a?.parameters);
  expect(b?.losses).toEqual(a?.losses);
});

test("derivatives of all kinds are in a page what they are in Node, and faults name the page's line", async () => {
  const site = await serve(true, files);
  const page = await browser.newPage();
  try {
    await page.goto(site.url);
    const found = (await page.evaluate('import("/lecture.js").then((m) => m.lecture())')) as Lecture;
    const { lecture } = (await import("./page/lecture.js" as string)) as { lecture(): Promise<Lecture> };
    const wanted = await lecture();
    const made =
      /^detectAnomaly: div -> [^]*in the backward pass of sqrt on \[2\], made\n\s+at .*\/lecture\.js:\d+:\d+/;
    for (const { anomaly } of [found, wanted]) expect(anomaly).toMatch(made);
    // The page's engine may fuse multiplications and additions where this Node does not.
    for (const [name, list] of Object.entries(wanted.values)) expectClose(found.values[name], list, name);
    expect({ ...found, anomaly: "", values: {} }).toEqual({ ...wanted, anomaly: "", values: {} });
    expect(found.structures.map((s) => s.split(" ")[4].replace(",", ""))).toEqual(["diagonal", "dense", "permutation"]);
    expect(found.checked).toBe(true);
  } finally {
    await page.close();
    await site.close();
  }
});

test.each([true, false])("forty models of 6 MB come and go in 64 MB; isolated: %s", async (isolated) => {
  const site = await serve(isolated, files);
  const page = await browser.newPage();
  try {
    await page.goto(site.url);
    const most = (await page.evaluate('import("/pressure.js").then((m) => m.pressure(40))')) as number;
    expect(most).toBeLessThan(64 * 2 ** 20);
  } finally {
    await page.close();
    await site.close();
  }
});
