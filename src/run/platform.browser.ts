/** @file Browsers: Web Workers, from a blob of source that is part of this package. */
import { browserWorker } from "#embedded";
import type { Platform } from "./platform.ts";

let url: string | undefined;

export const platform: Platform = {
  name: "browser",
  cores: () => globalThis.navigator?.hardwareConcurrency || 1,
  sharing() {
    // Not by trying: an un-isolated Chromium can create a shared memory but not send it.
    if (!globalThis.crossOriginIsolated)
      return {
        shared: false,
        reason: "the page is not cross-origin isolated (it needs the headers COOP: same-origin and COEP: require-corp)",
      };
    if (typeof SharedArrayBuffer === "undefined") return { shared: false, reason: "there is no SharedArrayBuffer" };
    return { shared: true, reason: "the page is cross-origin isolated" };
  },
  spawn(name) {
    url ??= URL.createObjectURL(new Blob([browserWorker], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module", name });
    return {
      post: (message, transfer) => worker.postMessage(message, transfer),
      onPulse: (callback) => worker.addEventListener("message", callback),
      onFailure(callback) {
        worker.addEventListener("error", (event) => {
          const why = event.message || "it could not be loaded (a Content-Security-Policy needs worker-src blob:)";
          callback(event.error instanceof Error ? event.error : new Error(why));
        });
        worker.addEventListener("messageerror", () => callback(new Error("a message could not be read")));
      },
      async terminate() {
        worker.terminate();
      },
      hold() {},
    };
  },
  widen: () => "a page cannot, only Node can",
  async unpack(packed) {
    const deflated = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  },
  endpoint: (port) => port,
  release() {},
};
