/** @file Entry of a worker_threads worker: the first message brings the port that comlink speaks over. */
import { type MessagePort as NodePort, parentPort } from "node:worker_threads";
import { expose } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter";
import { api, door } from "./worker.ts";

door.pulse = () => parentPort?.postMessage(null, []);
parentPort?.once("message", (port: NodePort) => {
  expose(api, nodeEndpoint(port));
  // The port keeps the thread alive; the parent decides how long.
  parentPort?.unref();
});
