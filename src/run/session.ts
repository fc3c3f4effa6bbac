/** @file The session: workers that start, end and are replaced; states that are read and set; programs that are launched. */
import { platform } from "#platform";
import * as isa from "../../assembly/isa.ts";
import { type DType, type TypedArray, viewAs } from "../core/dtype.ts";
import { DisposedError } from "../core/errors.ts";
import { numel, type Shape } from "../core/shape.ts";
import type { Program } from "../program/program.ts";
import type { Device } from "./device.ts";
import { PrivateDevice } from "./device.private.ts";
import { SharedDevice } from "./device.shared.ts";
import { Holdings } from "./holdings.ts";
import { hasRelaxedSimd, Kernels } from "./kernels.ts";
import { checkOptions, type Info, type InitOptions, MEMORY_LIMIT } from "./options.ts";
import type { LaunchArgs } from "./launch.ts";
import { Queue } from "./queue.ts";
import type { State } from "./state.ts";

export class Session {
  private readonly options: InitOptions;
  private device: Device | undefined;
  private starting: Promise<Device> | undefined;
  private readonly holdings: Holdings;
  private readonly queue: Queue;
  private isDisposed = false;
  private known: Kernels | undefined;
  private readonly sharing: { shared: boolean; reason: string };

  constructor(options: InitOptions = {}) {
    checkOptions(options);
    this.options = { ...options };
    this.sharing =
      this.options.shared === false
        ? { shared: false, reason: "init was called with shared: false" }
        : platform.sharing();
    this.holdings = new Holdings(this.memoryLimit);
    this.queue = new Queue(this.holdings, {
      ready: () => this.ready(),
      isFailed: () => this.device?.failed === true,
      isDisposed: () => this.isDisposed,
      equip: (device, program) => device.load(this.kernels.load(program.families)),
      abandon: (device) => this.abandon(device),
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

  private get kernels(): Kernels {
    this.known ??= new Kernels(this.relaxed.relaxed, this.sharing.shared, this.options.vectors);
    return this.known;
  }

  private async startDevice(): Promise<Device> {
    const kernels = this.kernels.load([isa.Family.Core]);
    kernels.catch(() => {}); // if there is no memory, nobody waits for them
    const options = {
      workers: this.workers,
      kernels,
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
    this.queue.giveUp(new DisposedError("the runtime was disposed"));
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

  /** The state's value after everything asked for so far. `quiet`: who asks is not who is to be told of a failure. */
  read(state: State, seen?: number, quiet = false): Promise<TypedArray> {
    return this.queue.enqueue(async () => {
      if (!quiet) state.tell(seen);
      const known = (): TypedArray | undefined => state.hostOf(state.slotOf(seen))?.slice();
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
    const change = ++state.enqueued;
    const set = (): void => {
      state.host = value;
      state.uploaded = false;
      state.replaced(change);
    };
    return this.queue.enqueue(set, true);
  }

  // --- running -----------------------------------------------------------------------------------------------------------------

  /** Runs a program after everything before it. Resolves to its outputs; of several runs, one after the other. */
  launch(program: Program | Promise<Program>, args: LaunchArgs): Promise<TypedArray[]> {
    // Its kernels come while it waits for workers, and for its turn. If they do not, it finds out when it has it.
    const fetch = ({ families }: Program): void => {
      if (!this.isDisposed && !this.kernels.has(families)) this.kernels.load(families).catch(() => {});
    };
    if (program instanceof Promise) program.then(fetch, () => {});
    else fetch(program);
    return this.queue.launch(program, args);
  }

  /** After a fault: takes what the last completed step left out of the memory, and gives the device up. */
  private abandon(device: Device): void {
    if (this.device !== device) return;
    this.holdings.rescue();
    this.device = undefined;
    void device.dispose();
  }
}
