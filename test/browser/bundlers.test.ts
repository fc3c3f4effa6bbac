/**
 * What bundlers make of the package: what a page does not use is dropped, what it uses works in a browser, and kernels are files
 * beside it, of which it asks for those it needs.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nodeResolve } from "@rollup/plugin-node-resolve";
import { build as esbuild } from "esbuild";
import { type Browser, chromium } from "playwright-core";
import { rollup } from "rollup";
import { build as vite } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { requireChromium } from "../../scripts/chromium.js";
import { serve } from "./server.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

interface Page {
  readonly source: string;
  readonly out: string;
  /** Kernels it asks for. */
  readonly families: readonly string[];
  /** Operations that are in it, and those that are not. */
  readonly has: readonly string[];
  readonly lacks: readonly string[];
}

const PAGES: Record<string, Page> = {
  "an MLP": {
    source: `
      import { nn, ones, tensor } from "fourlane";
      const layer = new nn.Linear(2, 3);
      layer.weight.assign(ones([3, 2]));
      layer.bias.assign(ones([3]));
      document.title = String(await new nn.Sequential(layer, new nn.ReLU()).forward(tensor([[1, 2]])).data());`,
    out: "4,4,4",
    families: ["core"],
    has: ["matmul", "relu"],
    lacks: ["convolutionInput", "standardizeInput", "putTaps", "jacobianOperator", "gradcheck"],
  },
  "a ConvNet": {
    source: `
      import { nn, ones, Parameter, tensor } from "fourlane";
      const { conv2d, layerNorm, maxPool2d } = nn.functional;
      const x = new Parameter(tensor(Array.from({ length: 36 }, (_, i) => i)).reshape(1, 1, 6, 6));
      const y = maxPool2d(conv2d(x.relu(), ones([1, 1, 3, 3])), 2);
      layerNorm(y.reshape(4), [4]).mul(tensor([1, 2, 3, 5])).sum().backward();
      document.title = String(await y.data()) + " " + (await x.grad.sum().item()).toFixed(3);`,
    out: "126,144,234,252 0.000",
    families: ["convolution", "core", "norm", "pooling"],
    has: ["convolutionInput", "standardizeInput", "putTaps"],
    lacks: ["jacobianOperator", "gradcheck"],
  },
};

/** esbuild keeps all of a namespace that is exported as one, such as `nn`. */
const COARSE = ["esbuild"];

const BUNDLERS: Record<string, (entry: string, dir: string) => Promise<unknown>> = {
  async rollup(input, dir) {
    const plugins = [nodeResolve({ exportConditions: ["browser", "default"] })];
    const build = await rollup({ input, plugins });
    await build.write({ dir, format: "es", entryFileNames: "page.js", chunkFileNames: "[name].js" });
    await build.close();
  },
  esbuild: (entry, outdir) =>
    esbuild({
      entryPoints: { page: entry },
      outdir,
      bundle: true,
      splitting: true,
      minify: true,
      format: "esm",
      logLevel: "silent",
    }),
  vite: (input, outDir) =>
    vite({
      root: outDir,
      base: "./",
      configFile: false,
      logLevel: "silent",
      build: {
        outDir,
        emptyOutDir: false,
        target: "es2022",
        modulePreload: false,
        rollupOptions: { input, output: { entryFileNames: "page.js", chunkFileNames: "[name].js" } },
      },
    }),
};

let folder: string;
let browser: Browser;
beforeAll(async () => {
  folder = mkdtempSync(join(root, "build/bundles-"));
  browser = await chromium.launch({
    executablePath: requireChromium(),
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  });
});
afterAll(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

const cases = Object.keys(BUNDLERS).flatMap((bundler) => Object.keys(PAGES).map((page) => [bundler, page]));

test.each(cases)("%s: a page with %s", async (bundler, name) => {
  const { source, out, families, has, lacks } = PAGES[name];
  const dir = join(folder, `${bundler}-${name.replace(" ", "-")}`);
  mkdirSync(dir);
  const entry = join(dir, "entry.mjs");
  writeFileSync(entry, source);
  await BUNDLERS[bundler](entry, dir);
  const scripts = readdirSync(dir).filter((file) => file.endsWith(".js"));
  const kernels = new Map<string, string>();
  for (const file of readdirSync(`${root}dist/kernels`)) {
    const [text] = /"[^"]*"/.exec(readFileSync(`${root}dist/kernels/${file}`, "utf8")) as RegExpExecArray;
    const found = scripts.filter((s) => readFileSync(join(dir, s), "utf8").includes(text.slice(1, -1)));
    expect(found.length, file).toBeGreaterThan(0); // two if both binaries of a family are the same
    for (const script of found) kernels.set(`/${script}`, file.split(".")[0]);
  }
  expect(kernels.has("/page.js")).toBe(false);
  const text = readFileSync(join(dir, "page.js"), "utf8");
  const isIn = (what: string): boolean => text.includes(what);
  expect(has.filter((what) => !isIn(what))).toEqual([]);
  expect(lacks.filter(isIn)).toEqual(COARSE.includes(bundler) ? lacks.filter(isIn) : []);

  const files = Object.fromEntries(scripts.map((file) => [`/${file}`, new Uint8Array(readFileSync(join(dir, file)))]));
  const html = '<!doctype html><title></title><script type="module" src="./page.js"></script>';
  const site = await serve(true, { ...files, "/page.html": new TextEncoder().encode(html) });
  const page = await browser.newPage();
  try {
    const complaints: string[] = [];
    const asked = new Set<string>();
    page.on("console", (m) => complaints.push(m.text()));
    page.on("pageerror", (e) => complaints.push(e.message));
    page.on("request", (r) => asked.add(kernels.get(new URL(r.url()).pathname) ?? ""));
    await page.goto(`${site.url}page.html`);
    await page.waitForFunction("document.title !== ''", undefined, { timeout: 15_000 }).catch(() => {});
    expect(complaints).toEqual([]);
    expect(await page.title()).toBe(out);
    expect([...asked].filter((family) => family !== "").sort()).toEqual(families);
  } finally {
    await page.close();
    await site.close();
  }
});
