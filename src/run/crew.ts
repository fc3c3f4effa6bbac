/**
 * @file The workers themselves: started together, watched, ended together. comlink never settles a call whose worker died,
 * so liveness is kept here: the first fault of any worker fails the whole crew, once, with a typed error.
 */
import { releaseProxy, type Remote, wrap } from "comlink";
import { WorkerError, type WorkerFault } from "../core/errors.ts";
import type { Platform, WorkerHandle } from "./platform.ts";
import type { Setup, WorkerApi } from "./protocol.ts";

/** How long workers may take to start, counted in ticks that came on time: a stalled machine is not a failed worker. */
const START_TICKS = 12;
const TICK_MS = 100;

export class Crew {
  readonly apis: Remote<WorkerApi>[] = [];
  /** Rejects with the first fault; never resolves. */
  readonly failed: Promise<never>;
  /** The first fault, once there is one. */
  fault: WorkerError | undefined;
  /** How often a worker said that it moves. */
  pulses = 0;
  /** Number of the step in flight, for messages. */
  step = -1;
  private readonly handles: WorkerHandle[] = [];
  private readonly ports: MessagePort[] = [];
  private fail: (fault: WorkerFault, worker: number, cause: unknown) => void = () => {};
  private ended = false;

  constructor(platform: Platform, count: number) {
    this.failed = new Promise<never>((_, reject) => {
      this.fail = (fault, worker, cause) => {
        if (this.fault || this.ended) return;
        const error = cause instanceof Error ? cause : new Error(String(cause));
        // The worker's script is a data: URL in Node: its whole text would stand in every line of the stack.
        if (error.stack) error.stack = error.stack.replace(/data:text\/javascript,[^:\s]*/g, "worker");
        const what = { start: "did not start", crash: "died", trap: "trapped", hung: "stopped moving" }[fault];
        const when = this.step < 0 ? "" : ` in step ${this.step}`;
        const message = `worker ${worker} ${what}${when}: ${error.message}`;
        this.fault = new WorkerError(fault, worker, this.step, message, { cause: error });
        reject(this.fault);
      };
    });
    this.failed.catch(() => {});
    for (let w = 0; w < count; w++) {
      let handle: WorkerHandle;
      try {
        handle = platform.spawn(`fourlane ${w}`);
      } catch (cause) {
        // A policy of the page, or no more threads: start() rejects with it, and the workers before are ended.
        this.fail("start", w, cause);
        return;
      }
      const { port1, port2 } = new MessageChannel();
      handle.onFailure((cause) => this.fail(this.apis.length < count || !this.ready ? "start" : "crash", w, cause));
      handle.onPulse(() => {
        this.pulses++;
      });
      handle.post(port2, [port2]);
      this.handles.push(handle);
      this.ports.push(port1);
      this.apis.push(wrap<WorkerApi>(platform.endpoint(port1)));
      platform.release(port1);
    }
  }

  private ready = false;

  /** Sets all workers up once the kernels are there; rejects if one does not answer in time. */
  async start(kernels: Promise<WebAssembly.Module>, setup: Omit<Setup, "worker" | "module">): Promise<void> {
    this.hold(true); // while kernels are compiled, too: that alone keeps no process alive
    const module = await kernels;
    const answered = new Array<boolean>(this.apis.length).fill(false);
    let ticks = 0;
    let last = performance.now();
    const clock = setInterval(() => {
      const now = performance.now();
      if (now - last < 1.5 * TICK_MS) ticks++;
      last = now;
      if (ticks >= START_TICKS) this.report("start", answered.indexOf(false), new Error("no answer to the handshake"));
    }, TICK_MS);
    const calls = this.apis.map((api, worker) =>
      Promise.resolve(api.setup({ ...setup, module, worker })).then(
        () => {
          answered[worker] = true;
          ticks = 0; // many workers on few cores start one after the other
        },
        (cause) => this.report("start", worker, cause),
      ),
    );
    try {
      await Promise.race([Promise.all(calls), this.failed]);
      if (this.fault) throw this.fault;
      this.ready = true;
    } finally {
      clearInterval(clock);
      this.hold(false);
    }
  }

  /** Reports a fault found by other means. */
  report(fault: WorkerFault, worker: number, cause: unknown): void {
    this.fail(fault, worker, cause);
  }

  /** Whether the workers keep the process alive: they do while a step is in flight. */
  hold(alive: boolean): void {
    if (this.ended) return; // ending workers keep the process alive until they are gone
    for (const h of this.handles) h.hold(alive);
  }

  /** Ends all workers. */
  async end(): Promise<void> {
    this.ended = true;
    // comlink keeps a proxy's port, and with it whoever waits for an answer, until the proxy is released.
    for (const api of this.apis) api[releaseProxy]();
    for (const p of this.ports) p.close();
    await Promise.all(this.handles.map((h) => h.terminate()));
  }

  get size(): number {
    return this.apis.length;
  }
}
