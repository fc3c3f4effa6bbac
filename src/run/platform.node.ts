/** @file Node: worker_threads, from source that is part of this package. */
import { availableParallelism } from "node:os";
import { setFlagsFromString } from "node:v8";
import { type MessagePort as NodePort, Worker } from "node:worker_threads";
import { inflateRawSync } from "node:zlib";
import nodeEndpoint from "comlink/dist/esm/node-adapter";
import { nodeWorker } from "#embedded";
import type { Platform } from "./platform.ts";

let url: URL | undefined;

export const platform: Platform = {
  name: "node",
  cores: () => availableParallelism(),
  sharing: () => ({ shared: true, reason: "Node shares memory between threads" }),
  spawn(name) {
    url ??= new URL(`data:text/javascript,${encodeURIComponent(nodeWorker)}`);
    const worker = new Worker(url, { name, stdout: false, stderr: false });
    worker.unref();
    return {
      post: (message, transfer) => worker.postMessage(message, transfer as unknown as NodePort[]),
      onPulse: (callback) => worker.on("message", callback),
      onFailure(callback) {
        worker.once("error", (error) => callback(error instanceof Error ? error : new Error(String(error))));
        worker.once("messageerror", callback);
        worker.once("exit", (code) => callback(new Error(`the worker exited with code ${code}`)));
      },
      terminate: () => worker.terminate(),
      hold: (alive) => (alive ? worker.ref() : worker.unref()),
    };
  },
  widen() {
    const [major, minor] = process.versions.node.split(".").map(Number);
    // Before, V8 had no such flag, or one that gave wrong code.
    if (major < 23 || (major === 23 && minor < 5)) return `Node ${process.versions.node} cannot, 23.5 and newer can`;
    setFlagsFromString("--experimental-wasm-revectorize");
  },
  unpack: async (packed) => new Uint8Array(inflateRawSync(Buffer.from(packed, "base64"))),
  // Node's own events: the first DOM event of a port makes Node 24 load its whole fetch, 30 ms in every thread.
  endpoint: (port) => nodeEndpoint(port as unknown as NodePort),
  release: (port) => (port as unknown as NodePort).unref(),
};
