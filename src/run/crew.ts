/**
 * @file The workers themselves: started together, watched, ended together. comlink never settles a call whose worker died,
 * so liveness is kept here: the first fault of any worker fails the whole crew, once, with a typed error.
 */
import { releaseProxy, type Remote, wrap } from "comlink";
import { WorkerError, type WorkerFault } from "../core/errors.ts";
import type * as isa from "../../assembly/isa.ts";
import type { Modules } from "./kernels.ts";
import type { Platform, WorkerHandle } from "./platform.ts";
import type { Setup, WorkerApi } from "./protocol.ts";

/** How long workers may take to start, counted in ticks that came on time: a stalled machine is not a failed worker. */
const START_TICKS = 12;
const TICK_MS = 100;

export class Crew {
  readonly apis: Remote<WorkerApi>[] = [];
  /** Whose kernels all workers have. */
  readonly families = new Set<isa.Family>();
  /** Workers that are loading kernels, by what they are to answer. */
  readonly loading = new Map<Promise<void>, number>();
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
  private leave = (): void => {};
  /** Resolves when the crew is of no more use: at the first fault, or when it is ended. */
  private readonly over = new Promise<void>((resolve) => {
    this.leave = resolve;
  });

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
        this.leave();
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
  async start(kernels: Promise<Modules>, setup: Omit<Setup, "worker" | "modules">): Promise<void> {
    this.hold(true); // while kernels are compiled, too: that alone keeps no process alive
    const known = new Map(await kernels); // more may come meanwhile
    const modules = [...known.values()];
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
      Promise.resolve(api.setup({ ...setup, modules, worker })).then(
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
      for (const family of known.keys()) this.families.add(family);
    } finally {
      clearInterval(clock);
      this.hold(false);
    }
  }

  /**
   * Gives all workers the kernels they lack, once these are there. Calls `posted` when the messages are on their way. Resolves when all
   * have them, or when the crew is of no more use; rejects if they cannot be had.
   */
  async load(kernels: Promise<Modules>, posted: () => void): Promise<void> {
    this.hold(true);
    try {
      const known = await Promise.race([kernels, this.over]);
      if (!known || this.fault || this.ended) return;
      const lacking = [...known].filter(([family]) => !this.families.has(family));
      const modules = lacking.map(([, module]) => module);
      const answers = this.apis.map((api, worker) => {
        const answer: Promise<void> = Promise.resolve(api.load(modules)).then(
          () => void this.loading.delete(answer),
          (cause) => this.report("trap", worker, cause),
        );
        this.loading.set(answer, worker);
        return answer;
      });
      posted();
      await Promise.race([Promise.all(answers), this.over]);
      if (!this.fault && !this.ended) for (const [family] of lacking) this.families.add(family);
    } finally {
      this.hold(false);
    }
  }

  /** Reports a fault found by other means. */
  report(fault: WorkerFault, worker: number, cause: unknown): void {
    this.fail(fault, worker, cause);
  }

  /** How many reasons there are for the workers to keep the process alive. */
  private reasons = 0;

  /** Whether the workers keep the process alive: they do while a step is in flight. Each true is followed by a false. */
  hold(alive: boolean): void {
    if (this.ended) return; // ending workers keep the process alive until they are gone
    const before = this.reasons;
    this.reasons += alive ? 1 : -1;
    if (before === 0 || this.reasons === 0) for (const h of this.handles) h.hold(alive);
  }

  /** Ends all workers. */
  async end(): Promise<void> {
    this.ended = true;
    this.leave();
    // comlink keeps a proxy's port, and with it whoever waits for an answer, until the proxy is released.
    for (const api of this.apis) api[releaseProxy]();
    for (const p of this.ports) p.close();
    await Promise.all(this.handles.map((h) => h.terminate()));
  }

  get size(): number {
    return this.apis.length;
  }
}
