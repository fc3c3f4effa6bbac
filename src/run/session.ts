/**
 * @file The session: loads programs, binds variables, runs steps one after the other. A step is a transaction: new values of
 * variables go to a second place and only a completed step makes it the current one, so a step that fails, for whatever
 * reason, leaves every variable as the last completed step left it. While a step runs the next one is prepared and started
 * behind it, as if the first had completed; if that turns out wrong, it is taken back and prepared anew.
 */
import { platform } from "#platform";
import { type DType, type TypedArray, viewAs } from "../core/dtype.ts";
import { DisposedError, OutOfMemoryError, WorkerError } from "../core/errors.ts";
import { numel, type Shape } from "../core/shape.ts";
import type { Program } from "../program/program.ts";
import type { Device, JobResult } from "./device.ts";
import { PrivateDevice } from "./device.private.ts";
import { SharedDevice } from "./device.shared.ts";
import { faultError } from "./faults.ts";
import { Holdings } from "./holdings.ts";
import type { Image, Taken } from "./images.ts";
import { hasRelaxedSimd, loadKernels } from "./kernels.ts";
import { checkOptions, type Info, type InitOptions, MEMORY_LIMIT } from "./options.ts";
import { assemble, type LaunchArgs, outputsOf, type Prepared } from "./launch.ts";
import type { State } from "./state.ts";

/** A launch on the device. */
interface Started {
  readonly result: Promise<JobResult>;
  /** Takes back what was assumed of its completion. */
  undo: () => void;
  /** The images it runs: not to be adjusted meanwhile. */
  readonly taken: Taken;
  /** Frees what it alone used. */
  readonly release: () => void;
  readonly device: Device;
  /** What it reads and writes, and whose that is. */
  readonly args: LaunchArgs;
}

export class Session {
  private readonly options: InitOptions;
  private device: Device | undefined;
  private starting: Promise<Device> | undefined;
  /** Whose turn it is to use the device ends when this resolves. */
  private turn: Promise<unknown> = Promise.resolve();
  /** Launches on the device, oldest first. */
  private readonly inFlight: Started[] = [];
  /** Whether launches that were passed over are still to be started anew. */
  private recovering = false;
  /** Called when a launch has settled. */
  private readonly watchers: (() => void)[] = [];
  private readonly holdings: Holdings;
  private isDisposed = false;
  private kernels: Promise<WebAssembly.Module> | undefined;
  private readonly sharing: { shared: boolean; reason: string };

  constructor(options: InitOptions = {}) {
    checkOptions(options);
    this.options = { ...options };
    this.sharing =
      this.options.shared === false
        ? { shared: false, reason: "init was called with shared: false" }
        : platform.sharing();
    this.holdings = new Holdings(this.memoryLimit, {
      busy: this.busy,
      states: () =>
        new Set(this.inFlight.flatMap(({ args }) => [...args.residents.map((r) => r.state), ...args.updates])),
      none: () => this.room(0),
    });
  }

  get disposed(): boolean {
    return this.isDisposed;
  }

  // --- the device --------------------------------------------------------------------------------------------------------------

  /** Whether kernels use relaxed SIMD, and why (not). */
  private get relaxed(): { relaxed: boolean; why: string } {
    if (this.options.math === "portable") return { relaxed: false, why: "math is portable" };
    const relaxed = hasRelaxedSimd();
    return { relaxed, why: `the engine has ${relaxed ? "" : "no "}relaxed SIMD` };
  }

  private async startDevice(): Promise<Device> {
    this.kernels ??= loadKernels(this.relaxed.relaxed, this.sharing.shared);
    this.kernels.catch(() => {
      this.kernels = undefined; // so that it can be tried again
    });
    const options = {
      workers: this.workers,
      kernels: this.kernels,
      cores: platform.cores(),
      hangTimeout: this.options.hangTimeout ?? 30_000,
      memoryLimit: this.memoryLimit,
    };
    const device = await (this.sharing.shared
      ? SharedDevice.start(platform, options)
      : PrivateDevice.start(platform, options));
    if (this.isDisposed) {
      await device.dispose();
      throw new DisposedError("the runtime was disposed while it started");
    }
    this.device = device;
    this.holdings.moveTo(device);
    return device;
  }

  private get memoryLimit(): number {
    return this.options.memoryLimit ?? MEMORY_LIMIT;
  }

  private get workers(): number {
    return this.sharing.shared ? (this.options.workers ?? platform.cores()) : 1;
  }

  /** Starts the workers, if they are not running. */
  ready(): Promise<Device> {
    if (this.isDisposed) return Promise.reject(new DisposedError("the runtime was disposed"));
    // A worker that died between steps harmed none of them.
    if (this.device?.failed) this.abandon(this.device);
    if (this.device) return Promise.resolve(this.device);
    this.starting ??= this.startDevice().finally(() => {
      this.starting = undefined;
    });
    return this.starting;
  }

  async info(): Promise<Info> {
    const { relaxed, why } = this.relaxed;
    return {
      platform: platform.name,
      workers: this.workers,
      cores: platform.cores(),
      sharedMemory: this.sharing.shared,
      simd: true,
      relaxedSimd: relaxed,
      math: this.options.math ?? "fast",
      reason: `${this.sharing.reason}; ${why}`,
      memory: this.holdings.use,
    };
  }

  /** Ends the workers; whatever is pending rejects with a DisposedError. */
  dispose(): Promise<void> {
    this.ending ??= this.end();
    return this.ending;
  }

  private ending: Promise<void> | undefined;

  private async end(): Promise<void> {
    this.isDisposed = true;
    const device = this.device;
    this.device = undefined;
    this.holdings.end();
    if (device) await device.dispose();
    await this.starting?.catch(() => {});
  }

  // --- states ------------------------------------------------------------------------------------------------------------------

  /** A new state with the given value, which becomes the session's; null: a program is to compute the first one. */
  state(shape: Shape, dtype: DType, value: TypedArray | Promise<TypedArray> | null, captured: boolean): State {
    return this.holdings.add(shape, dtype, value, captured);
  }

  /** Frees a state's memory, as soon as no launch uses it. */
  release(state: State): void {
    this.holdings.release(state);
  }

  /** The state's value after everything asked for so far. */
  read(state: State, seen?: number): Promise<TypedArray> {
    return this.enqueue(async () => {
      state.tell(seen);
      const known = (): TypedArray | undefined =>
        state.slotOf(seen) === state.current && state.host ? state.host.slice() : undefined;
      const host = known();
      if (host) return host;
      const device = await this.ready();
      const rescued = known(); // from workers that had failed
      if (rescued) return rescued;
      const slot = state.slotOf(seen);
      const address = (state.slots as [number, number])[slot];
      const [bytes] = await device.read([{ address, bytes: state.bytes }]);
      return viewAs(state.dtype, bytes, 0, numel(state.shape));
    });
  }

  /** Sets the state's value, after everything asked for so far. */
  write(state: State, value: TypedArray): Promise<void> {
    state.enqueued++;
    return this.enqueue(() => {
      state.host = value;
      state.uploaded = false;
      state.replaced();
    });
  }

  // --- running -----------------------------------------------------------------------------------------------------------------

  /** In the order of calls: waits until `launches` at most are on the device, then does the job. */
  private async inTurn<T>(launches: number, job: () => T | Promise<T>): Promise<T> {
    const before = this.turn;
    let end = (): void => {};
    this.turn = new Promise<void>((resolve) => {
      end = resolve;
    });
    try {
      await before;
      await this.room(launches);
      if (this.isDisposed) throw new DisposedError("the runtime was disposed");
      return await job();
    } finally {
      end();
    }
  }

  /** Waits until at most `launches` are on the device. */
  private async room(launches: number): Promise<void> {
    while (this.inFlight.length > launches || this.recovering)
      await new Promise<void>((resolve) => this.watchers.push(resolve));
  }

  /** Does a job when nothing runs. */
  private enqueue<T>(job: () => T | Promise<T>): Promise<T> {
    return this.inTurn(0, job);
  }

  /** Runs a program after everything before it. Resolves to its outputs; of several runs, one after the other. */
  async launch(program: Program | Promise<Program>, args: LaunchArgs): Promise<TypedArray[]> {
    const { after, inputs, residents, updates, untold, count = 1 } = args;
    for (const u of updates) u.enqueued++;
    for (const x of inputs) if (x instanceof Promise) x.catch(() => {}); // if it comes to that, the launch fails with it
    let begun: readonly [Prepared, Started];
    try {
      begun = await this.inTurn(Number.POSITIVE_INFINITY, async () => {
        const ready = program instanceof Promise ? await program : program;
        if (after) await after;
        const values: TypedArray[] = [];
        for (const x of inputs) values.push(x instanceof Promise ? await x : x);
        for (const { state } of residents) if (state.arriving) await state.arriving;
        const made: Prepared = { program: ready, args, values, count };
        return [made, await this.start(made)];
      });
    } catch (error) {
      const notice = untold?.(error) ? { why: error, told: false } : undefined;
      for (const u of updates) u.failed(error, notice);
      throw error;
    }
    return this.finish(...begun); // counted as a change by now; taken back if it fails
  }

  /** Has the device begin a launch, and counts its changes as made. */
  private async start(job: Prepared): Promise<Started> {
    for (let failures = 0; ; ) {
      if (this.device?.failed) await this.room(0); // what it harmed is settled first
      const device = await this.ready();
      if (this.isDisposed) throw new DisposedError("the runtime was disposed");
      // A larger arena takes the place of the one in use; a launch of several runs needs both images.
      const alone = !this.hasRoom(job.program, job.count > 1 ? 2 : 1);
      const most = alone ? 0 : device.depth - 1;
      if (this.inFlight.length > most || this.recovering) {
        await this.room(most);
        continue;
      }
      try {
        return this.begin(device, job);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        if (!(await this.holdings.relieve(failures++, error.requested)))
          throw new OutOfMemoryError(error.requested, error.limit, this.holdings.use);
      }
    }
  }

  /** Whether an image runs. */
  private readonly busy = (image: Image): boolean => {
    for (const { taken } of this.inFlight) if (taken.used.includes(image)) return true;
    return false;
  };

  /** Whether a program may be prepared while another one runs. */
  private hasRoom(program: Program, images: number): boolean {
    const { holdings } = this;
    return holdings.arena.bytes >= program.arenaBytes && holdings.images.idle(program, this.busy) >= images;
  }

  /** The synchronous part of start(): either all of it happens, or nothing. */
  private begin(device: Device, job: Prepared): Started {
    const { job: order, taken, begun, abort, release } = assemble(device, this.holdings, job, this.busy);
    let result: Promise<JobResult>;
    try {
      result = device.launch(order);
    } catch (error) {
      abort();
      throw error;
    }
    const started: Started = { result, undo: begun(), release, device, taken, args: job.args };
    this.inFlight.push(started);
    this.holdings.tidy(device, taken.made.length > 0);
    return started;
  }

  /** Waits for a launch to end. Starts it again if it was passed over because of the one before it. */
  private async finish(job: Prepared, started: Started): Promise<TypedArray[]> {
    const { program, args, count } = job;
    const { updates } = args;
    const { device, taken, release } = started;
    const { completed, fault, error, reads } = await started.result;
    release();
    const all = completed === count;
    if (!all) {
      // What was assumed is taken back, the latest first.
      const assumed = this.inFlight.slice(this.inFlight.indexOf(started));
      for (const launch of assumed.reverse()) {
        launch.undo();
        launch.undo = () => {};
      }
      if (completed > 0) for (const u of updates) u.advance(completed);
      if (completed > 0 && !device.shared && !error) await this.holdings.fetch(device, updates);
    }
    const at = this.inFlight.indexOf(started);
    this.inFlight.splice(at, 1);
    // Launches that were passed over come next, before any other.
    const passedOver = !all && !fault && !error;
    this.recovering = passedOver || (!all && at < this.inFlight.length);
    let again: Started;
    try {
      if (all) return outputsOf(job, device, reads);
      if (error instanceof WorkerError) this.abandon(device);
      if (error) throw error;
      if (fault) throw faultError(program, taken.loaded, fault);
      again = this.begin(await this.ready(), job);
    } catch (why) {
      const notice = args.untold?.(why) ? { why, told: false } : undefined;
      for (const u of updates) {
        if (completed > 0) u.failure = why;
        else u.failed(why, notice);
      }
      throw why;
    } finally {
      if (passedOver) this.recovering = false;
      this.holdings.sweep();
      for (const wake of this.watchers.splice(0)) wake();
    }
    return this.finish(job, again);
  }

  /** After a fault: takes what the last completed step left out of the memory, and gives the device up. */
  private abandon(device: Device): void {
    if (this.device !== device) return;
    this.holdings.rescue();
    this.device = undefined;
    void device.dispose();
  }
}
