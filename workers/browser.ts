/** @file Entry of a Web Worker: the first message brings the port that comlink speaks over. */
import { expose } from "comlink";
import { api, door } from "./worker.ts";

door.pulse = () => (self as unknown as Worker).postMessage(null, []);
self.addEventListener("message", (event: MessageEvent) => expose(api, event.data as MessagePort), { once: true });
