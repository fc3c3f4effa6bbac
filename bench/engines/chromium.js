// Engines in a page of a real Chromium: each page is bundled, served over loopback and asked like a child process.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { findChromium } from "../../scripts/chromium.js";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

let browser;
let pages = 0;

/** Serves one page with its script and TensorFlow.js's binaries. */
async function serve(script, isolated) {
  const server = createServer(async (request, response) => {
    const headers = { "Cache-Control": "no-store", ...(isolated && ISOLATION) };
    const send = (type, body) => response.writeHead(200, { ...headers, "Content-Type": type }).end(body);
    if (request.url === "/") send("text/html", '<!doctype html><script type="module" src="/page.js"></script>');
    else if (request.url === "/page.js") send("text/javascript", script);
    else if (/^\/wasm\/[\w-]+\.wasm$/.test(request.url))
      send(
        "application/wasm",
        await readFile(path(`../node_modules/@tensorflow/tfjs-backend-wasm/dist/${request.url.slice(6)}`)),
      );
    else response.writeHead(404, headers).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

async function bundle(name) {
  const { version } = JSON.parse(readFileSync(path("../node_modules/@jax-js/jax/package.json"), "utf8"));
  const { outputFiles } = await build({
    entryPoints: [path(`pages/${name}.js`)],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
    logLevel: "silent",
    define: { JAX_VERSION: JSON.stringify(version) },
  });
  return outputFiles[0].text;
}

/** A page that answers requests. `options` go to the engine's hello. */
export async function openPage(name, { isolated, ...options }) {
  const executablePath = findChromium();
  if (!executablePath) throw new Error("there is no Chromium");
  browser ??= await chromium.launch({ executablePath, args: FLAGS });
  const server = await serve(await bundle(name), isolated);
  pages++;
  const stop = async () => {
    server.close();
    server.closeAllConnections();
    if (--pages > 0) return;
    await browser.close();
    browser = undefined;
  };
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page
      .waitForFunction(() => "engine" in globalThis, undefined, { timeout: 20_000 })
      .catch(() => {
        throw new Error(errors[0] ?? "the page did not start");
      });
    const request = (command, args = {}) => page.evaluate(([c, a]) => globalThis.engine[c](a), [command, args]);
    const isIsolated = await page.evaluate(() => globalThis.crossOriginIsolated);
    if (isIsolated !== isolated) throw new Error(`the page is ${isIsolated ? "" : "not "}cross-origin isolated`);
    const hello = await request("hello", options);
    hello.versions = { ...hello.versions, Chromium: browser.version() };
    return { hello, request, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
