/**
 * @file The session: loads programs, binds variables, runs steps one after the other. A step is a transaction: new values of
 * variables go to a second place and only a completed step makes it the current one, so a step that fails, for whatever
 * reason, leaves every variable as the last completed step left it. While a step runs the next one is prepared and started
 * behind it, as if the first had completed; if that turns out wrong, it is taken back and prepared anew.
 */
import { platform } from "#platform";
import { allocate, byteLength, type DType, type TypedArray, viewAs } from "../core/dtype.ts";
import {
  DisposedError,
  FourlaneError,
  IndexError,
  type MemoryUse,
  NonFiniteError,
  OutOfMemoryError,
  StaleError,
  ValueError,
  WorkerError,
} from "../core/errors.ts";
import { numel, type Shape } from "../core/shape.ts";
import { align } from "../compile/plan.ts";
import { INPUTS, OUTPUTS, type Program } from "../compile/program.ts";
import { type Device, type FaultRecord, type JobResult, PrivateDevice, SharedDevice, type Span } from "./device.ts";
import { collectGarbage } from "./garbage.ts";
import { hasRelaxedSimd, loadKernels } from "./kernels.ts";
import { timesOf } from "./protocol.ts";

export interface InitOptions {
  /** Number of workers; default: the machine's logical cores. */
  workers?: number;
  /**
   * "fast" (default) uses relaxed SIMD where the engine has it; "portable" never does, and then gives the same bits on every
   * host. Either way the bits do not depend on the number of workers.
   */
  math?: "fast" | "portable";
  /** false: one worker with private memory even where memory could be shared. */
  shared?: boolean;
  /** Milliseconds a step may stand still before its workers count as hung; default 30,000. */
  hangTimeout?: number;
  /** Most bytes of WebAssembly memory; default and maximum 4 GiB. */
  memoryLimit?: number;
}

/** What runs, and why. */
export interface Info {
  readonly platform: "node" | "browser";
  readonly workers: number;
  readonly cores: number;
  /** Whether workers share one memory with the calling thread. */
  readonly sharedMemory: boolean;
  readonly simd: true;
  readonly relaxedSimd: boolean;
  readonly math: "fast" | "portable";
  /** Why memory is shared or not, why relaxed SIMD is used or not. */
  readonly reason: string;
  /** What holds the WebAssembly memory now. */
  readonly memory: MemoryUse;
}

const MEMORY_LIMIT = 2 ** 32;
/** Most bytes of programs that are kept in memory while they do not run, and most of the limit. */
const PROGRAM_BYTES = 2 ** 27;
const PROGRAM_SHARE = 1 / 8;
/** After so many bytes of new variables, and as much of those there are, a look at which of them nobody needs is due. */
const FRESH_BYTES = 2 ** 26;
const FRESH_SHARE = 1 / 2;
/** Collections of garbage before memory counts as used up. */
const COLLECTIONS = 3;

function checkOptions(options: InitOptions): void {
  const { workers, math, shared, hangTimeout, memoryLimit, ...others } = options ?? {};
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new ValueError(`init: there is no option ${unknown}`);
  if (shared !== undefined && typeof shared !== "boolean")
    throw new ValueError(`init: shared must be true or false, got ${String(shared)}`);
  if (workers !== undefined && (!Number.isInteger(workers) || workers < 1 || workers > 256))
    throw new ValueError(`init: workers must be an integer from 1 to 256, got ${workers}`);
  if (math !== undefined && math !== "fast" && math !== "portable")
    throw new ValueError(`init: math must be "fast" or "portable", got ${String(math)}`);
  if (hangTimeout !== undefined && !(hangTimeout >= 100))
    throw new ValueError(`init: hangTimeout must be at least 100 milliseconds, got ${hangTimeout}`);
  if (memoryLimit !== undefined && !(memoryLimit >= 2 ** 20 && memoryLimit <= MEMORY_LIMIT))
    throw new ValueError(`init: memoryLimit must be from 2^20 to 2^32 bytes, got ${memoryLimit}`);
}

/** The failure of a launch, to be told once to one of those who use what it was to change. */
interface Notice {
  readonly why: unknown;
  told: boolean;
}

/** A value that outlives steps: a parameter, a moment of an optimiser, a learning rate, a captured tensor. */
export class State {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly bytes: number;
  /** Changes asked for so far; what refers to an older value knows by this count. */
  enqueued = 0;
  /** Changes carried out. */
  done = 0;
  /** A tensor from outside; otherwise a parameter, a moment or a random state. */
  readonly captured: boolean;
  /** The value on this side, if it is known here. */
  host: TypedArray | null;
  /** The value while it is being computed elsewhere. */
  arriving: Promise<void> | undefined;
  /** The two places in memory; the second exists once a program updates the state. */
  slots: [number, number] | null = null;
  current: 0 | 1 = 0;
  /** Whether memory holds what `host` holds. */
  uploaded = false;
  /** Which change made the current value; a change that failed made none. */
  changedAt = 0;
  /** Which change made the value in the other slot; Infinity if there is none. */
  previousAt = Number.POSITIVE_INFINITY;
  /** Whether a program has yet to compute the first value. */
  empty: boolean;
  /** Why the last change that failed did so. */
  failure: unknown;
  /** A change that failed when nobody was there to be told: which one. */
  private untold: { readonly change: number; readonly notice: Notice } | undefined;
  disposed = false;

  /** `value`: null if a program is to compute the first one. */
  constructor(shape: Shape, dtype: DType, value: TypedArray | Promise<TypedArray> | null, captured: boolean) {
    this.shape = shape;
    this.dtype = dtype;
    this.captured = captured;
    this.bytes = byteLength(shape, dtype);
    this.host = ArrayBuffer.isView(value) ? value : null;
    this.empty = value === null;
    if (!(value instanceof Promise)) return;
    this.arriving = value.then((array) => {
      this.host = array;
      this.arriving = undefined;
    });
    this.arriving.catch(() => {}); // reported by the launches that need it
  }

  /** Throws the failure of a change that the value after `seen` changes depends on, unless somebody was told of it. */
  tell(seen: number | undefined): void {
    const { untold } = this;
    if (!untold || (seen !== undefined && seen < untold.change)) return;
    this.untold = undefined;
    if (untold.notice.told) return;
    untold.notice.told = true;
    throw untold.notice.why;
  }

  /** Somebody was told of this failure. */
  forgive(why: unknown): void {
    if (this.untold && this.untold.notice.why === why) this.untold.notice.told = true;
  }

  /** Counts a change that set the value from outside. */
  replaced(): void {
    this.untold = undefined;
    this.done++;
    this.previousAt = Number.POSITIVE_INFINITY;
    this.changedAt = this.done;
    this.empty = false;
  }

  /** Counts a change as carried out by `steps` steps, each of which writes the other slot. Returns what takes it back. */
  advance(steps: number): () => void {
    const { host, uploaded, current, done, changedAt, previousAt, empty, untold } = this;
    this.untold = undefined;
    this.done++;
    this.previousAt = steps === 1 ? this.changedAt : Number.POSITIVE_INFINITY;
    this.changedAt = this.done;
    this.empty = false;
    this.current = ((current + steps) & 1) as 0 | 1;
    this.host = null;
    this.uploaded = true;
    return () => Object.assign(this, { host, uploaded, current, done, changedAt, previousAt, empty, untold });
  }

  /** Counts a change that did not take place; with a notice whoever uses the state next is told. */
  failed(why: unknown, notice?: Notice): void {
    this.done++;
    this.failure = why;
    if (notice) this.untold = { change: this.done, notice };
  }

  /** Forgets its places in memory. */
  leave(): void {
    this.slots = null;
    this.current = 0;
    this.uploaded = false;
    this.previousAt = Number.POSITIVE_INFINITY;
  }
}

/** A state as a leaf of a program: its current value, or that after `seen` changes. */
export interface Bound {
  readonly state: State;
  readonly seen?: number;
  /** Whose state it is: kept until the launch has ended. */
  readonly holder?: object;
}

export interface LaunchArgs {
  /** If it failed, the launch fails likewise. */
  readonly after?: Promise<unknown>;
  /** How many times the program runs, one run after the other, each from where the one before left the variables; default 1. */
  readonly count?: number;
  /** Called with the times of each worker that took part, as timesOf in protocol.ts says. */
  readonly onTimes?: (times: Float64Array[]) => void;
  /** One array per input: one value for all runs, or the values of all runs, one after the other. */
  readonly inputs: readonly (TypedArray | Promise<TypedArray>)[];
  readonly residents: readonly Bound[];
  readonly updates: readonly State[];
  /** Whose the updates are: kept until the launch has ended. */
  readonly holders?: readonly object[];
  /** Whether the next to use what should have been updated is told of this failure, for nobody else is. */
  readonly untold?: (error: unknown) => boolean;
}

/** The program's code in memory. */
interface Image {
  readonly address: number;
  /** Its own inputs and outputs, for launches of one run. */
  readonly inputs: number;
  readonly outputs: number;
  /** Address of each region the code is adjusted to. */
  bases: readonly number[];
  /** What its own inputs hold. */
  held: readonly TypedArray[];
}

/** A program in memory; twice if it is called while it runs: one image may be in use while the other is adjusted. */
interface Loaded {
  readonly images: Image[];
  /** Words to adjust, by region. */
  readonly words: readonly (readonly number[])[];
  /** What an image begins with. */
  readonly text: Int32Array;
  /** Of an image. */
  readonly bytes: number;
}

/** A launch whose values are known. */
interface Prepared {
  readonly program: Program;
  readonly args: LaunchArgs;
  readonly values: readonly TypedArray[];
  readonly count: number;
}

/** A launch on the device. */
interface Started {
  readonly result: Promise<JobResult>;
  /** Takes back what was assumed of its completion. */
  undo: () => void;
  /** The images it runs: not to be adjusted meanwhile. */
  readonly used: readonly Image[];
  /** Frees what it alone used. */
  readonly release: () => void;
  readonly device: Device;
  readonly loaded: Loaded;
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
  private readonly states = new Set<State>();
  /** States to be freed when no launch uses them any more. */
  private readonly doomed = new Set<State>();
  private readonly programs = new WeakMap<Program, Loaded>();
  /** Programs in memory, the one that was used last at the end. What is not here was evicted. */
  private readonly loaded = new Set<Loaded>();
  private arena = { address: 0, bytes: 0 };
  /** Bytes of variables that came to memory since the last look at which of them nobody needs. */
  private freshBytes = 0;
  private isDisposed = false;
  private kernels: Promise<WebAssembly.Module> | undefined;
  private readonly sharing: { shared: boolean; reason: string };
  private readonly collected = new FinalizationRegistry<Loaded>((loaded) => this.evict(loaded));

  constructor(options: InitOptions = {}) {
    checkOptions(options);
    this.options = { ...options };
    this.sharing =
      this.options.shared === false
        ? { shared: false, reason: "init was called with shared: false" }
        : platform.sharing();
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
      memory: this.memory(),
    };
  }

  /** Who holds how much of the memory. */
  private memory(): MemoryUse {
    const limit = this.memoryLimit;
    let [parameters, captured, programs] = [0, 0, 0];
    for (const { slots, bytes, captured: outside } of this.states) {
      const held = slots ? bytes * slots.filter((slot) => slot > 0).length : 0;
      if (outside) captured += held;
      else parameters += held;
    }
    for (const { images, bytes } of this.loaded) programs += images.length * bytes;
    const free = this.device?.allocator.left ?? limit;
    return { limit, parameters, captured, programs, intermediates: this.arena.bytes, free };
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
    for (const state of this.states) state.leave();
    this.states.clear();
    this.doomed.clear();
    this.loaded.clear();
    this.arena = { address: 0, bytes: 0 };
    if (device) await device.dispose();
    await this.starting?.catch(() => {});
  }

  // --- states ------------------------------------------------------------------------------------------------------------------

  /** A new state with the given value, which becomes the session's; null: a program is to compute the first one. */
  state(shape: Shape, dtype: DType, value: TypedArray | Promise<TypedArray> | null, captured: boolean): State {
    const state = new State(shape, dtype, value, captured);
    this.states.add(state);
    return state;
  }

  /** Frees a state's memory, as soon as no launch uses it. */
  release(state: State): void {
    if (state.disposed || this.isDisposed) return;
    state.disposed = true;
    this.doomed.add(state);
    this.sweep();
  }

  /** Frees the doomed states that no launch uses. */
  private sweep(): void {
    if (this.doomed.size === 0) return;
    const used = new Set<State>();
    for (const { args } of this.inFlight) {
      for (const { state } of args.residents) used.add(state);
      for (const state of args.updates) used.add(state);
    }
    for (const state of this.doomed) {
      if (used.has(state)) continue;
      this.doomed.delete(state);
      this.states.delete(state);
      if (state.slots && this.device) for (const slot of state.slots) if (slot) this.device.allocator.free(slot);
      state.leave();
      state.host = null;
    }
  }

  /** The state's value after everything asked for so far. */
  read(state: State, seen?: number): Promise<TypedArray> {
    return this.enqueue(async () => {
      state.tell(seen);
      const known = (): TypedArray | undefined =>
        this.slotOf({ state, seen }) === state.current && state.host ? state.host.slice() : undefined;
      const host = known();
      if (host) return host;
      const device = await this.ready();
      const rescued = known(); // from workers that had failed
      if (rescued) return rescued;
      const slot = this.slotOf({ state, seen });
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

  private slotOf({ state, seen }: Bound): 0 | 1 {
    if (state.disposed) throw new DisposedError("a tensor was used after it was disposed");
    if (state.empty) throw state.failure ?? new FourlaneError("INTERNAL", "a variable has no value yet");
    const wanted = seen ?? state.done;
    if (wanted >= state.changedAt) return state.current;
    if (wanted >= state.previousAt && state.slots) return (1 - state.current) as 0 | 1;
    throw new StaleError(
      `a tensor depends on a value of a variable of shape [${state.shape.join(", ")}] that later changes overwrote; ` +
        "read it before the variable changes again",
    );
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
      const needed = job.count > 1 ? 2 : 1;
      const alone = this.arena.bytes < job.program.arenaBytes || this.idleImages(job.program) < needed;
      const most = alone ? 0 : device.depth - 1;
      if (this.inFlight.length > most || this.recovering) {
        await this.room(most);
        continue;
      }
      try {
        return this.begin(device, job);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        if (!(await this.relieve(failures++, error.requested)))
          throw new OutOfMemoryError(error.requested, error.limit, this.memory());
      }
    }
  }

  /** How many images of a program may be adjusted now, or made. */
  private idleImages(program: Program): number {
    const loaded = this.programs.get(program);
    if (!loaded || !this.loaded.has(loaded)) return 2;
    return 2 - loaded.images.filter((image) => this.inFlight.some(({ used }) => used.includes(image))).length;
  }

  /** Makes room after the n-th failure for want of `wanted` bytes; false if there is nothing left to try. */
  private async relieve(n: number, wanted: number): Promise<boolean> {
    if (n === 0) {
      this.evictIdle();
      return true;
    }
    if (n === 1) {
      await this.room(0);
      this.evictIdle();
      if (this.arena.bytes > 0) this.device?.allocator.free(this.arena.address);
      this.arena = { address: 0, bytes: 0 };
      return true;
    }
    // What nobody refers to any more is freed when finalizers have run. One collection may have begun before it was dropped.
    if (n < 2 + COLLECTIONS && (await collectGarbage())) return true;
    // Enough in all, but in pieces: everything comes here, and goes back side by side when it is used.
    if (this.device === undefined || wanted > this.device.allocator.left || n > 2 + COLLECTIONS) return false;
    await this.room(0);
    await this.bringHome(this.device);
    return true;
  }

  /** Takes the values of all states out of memory, to this side. */
  private async bringHome(device: Device): Promise<void> {
    const states = [...this.states].filter((s) => s.slots && !s.disposed);
    const away = states.filter((s) => s.uploaded && !s.host);
    await this.fetch(device, away);
    for (const state of states) {
      if (!state.slots || (state.uploaded && !state.host)) continue;
      for (const slot of state.slots) if (slot) device.allocator.free(slot);
      state.leave();
    }
  }

  /** Takes programs that do not run out of memory, the one that was used longest ago first, until `bytes` are left of all. */
  private evictIdle(bytes = 0): void {
    let total = 0;
    for (const loaded of this.loaded) total += loaded.images.length * loaded.bytes;
    for (const loaded of this.loaded) {
      if (total <= bytes) return;
      if (this.inFlight.some((started) => started.loaded === loaded)) continue;
      total -= loaded.images.length * loaded.bytes;
      this.evict(loaded);
    }
  }

  private evict(loaded: Loaded): void {
    if (!this.loaded.delete(loaded)) return;
    for (const { address } of loaded.images) this.device?.allocator.free(address);
  }

  /** A place for a state's value. */
  private slot(device: Device, state: State): number {
    const address = device.allocator.alloc(state.bytes);
    this.freshBytes += state.bytes;
    return address;
  }

  /** The synchronous part of start(): either all of it happens, or nothing. */
  private begin(device: Device, job: Prepared): Started {
    const { program, args, values, count } = job;
    const { residents, updates } = args;
    const { allocator } = device;
    const writes: { address: number; data: ArrayBufferView }[] = [];
    for (const { state, seen } of residents) state.tell(seen);
    if (this.arena.bytes < program.arenaBytes) {
      if (this.arena.bytes > 0) allocator.free(this.arena.address);
      this.arena = { address: 0, bytes: 0 };
      this.arena = { address: allocator.alloc(program.arenaBytes), bytes: program.arenaBytes };
    }
    // True once the writes are done; until then anything may fail, for want of memory or because a tensor is stale.
    const uploads: State[] = [];
    /** Addresses of residents and updates in the first run, and in the second. */
    const places: [number, number][] = [];
    /** Of several runs: the places of residents that stand for their state's value now. */
    const live = new Map<State, [number, number]>();
    const upload = (state: State): void => {
      if (state.uploaded || state.empty || uploads.includes(state)) return;
      writes.push({ address: state.slots?.[state.current] as number, data: state.host as TypedArray });
      uploads.push(state);
    };
    for (const bound of residents) {
      const { state } = bound;
      const slot = this.slotOf(bound);
      state.slots ??= [this.slot(device, state), 0];
      if (slot === state.current) upload(state);
      const place: [number, number] = [state.slots[slot], state.slots[slot]];
      places.push(place);
      if (count > 1 && bound.seen === undefined) live.set(state, place);
    }
    for (const state of updates) {
      if (state.disposed) throw new DisposedError("a variable was updated after it was disposed");
      state.slots ??= [this.slot(device, state), 0];
      const { current, slots } = state;
      slots[1 - current] ||= this.slot(device, state);
      upload(state); // as the value before, it may still be read
      places.push([slots[1 - current], slots[current]]);
      // What one run writes, the next one reads.
      const read = live.get(state);
      if (read) read[1] = slots[1 - current];
    }

    const temporary: number[] = [];
    const release = (): void => {
      for (const address of temporary) allocator.free(address);
    };
    const known = this.programs.get(program);
    const loaded = known && this.loaded.has(known) ? known : prepare(program);
    const made: Image[] = [];
    const patches: number[] = [];
    try {
      const used: Image[] = [];
      for (let i = 0; used.length < (count > 1 ? 2 : 1); i++) {
        if (i === loaded.images.length + made.length) {
          made.push(imageAt(allocator.alloc(loaded.bytes), program, loaded));
          writes.push({ address: made[made.length - 1].address, data: loaded.text });
        }
        const image = loaded.images[i] ?? made[i - loaded.images.length];
        if (!this.inFlight.some((started) => started.used.includes(image))) used.push(image);
      }
      const [own] = used;
      let { inputs, outputs } = own;
      if (count > 1)
        [inputs, outputs] = [program.inputBytes, program.outputBytes].map((bytes) => {
          const address = bytes > 0 ? allocator.alloc(bytes * count) : 0;
          if (address > 0) temporary.push(address);
          return address;
        });
      const bases = used.map((image, run) => {
        const io = [inputs + run * program.inputBytes, outputs + run * program.outputBytes];
        const now = [this.arena.address, ...io, ...places.map((p) => p[run])];
        adjust(program, loaded, image, now, patches);
        // Several runs move on through their inputs and outputs.
        return count === 1 ? now : now.map((base, r) => (r === INPUTS || r === OUTPUTS ? -1 : base));
      });
      values.forEach((data, i) => {
        if (count === 1 && own.held[i] === data) return;
        const { offset, bytes } = program.inputs[i];
        const same = data.byteLength === bytes;
        for (let run = 0; run < count; run++) {
          const length = data.length / count;
          const value = same ? data : data.subarray(run * length, (run + 1) * length);
          writes.push({ address: inputs + offset + run * program.inputBytes, data: value });
        }
      });
      const reads = program.outputs.map((o) => ({
        address: outputs + o.offset,
        bytes: count === 1 ? o.bytes : (count - 1) * program.outputBytes + o.bytes,
      }));
      const team = Math.min(device.workers, program.lanes);
      let times: Span | undefined;
      if (args.onTimes) {
        const bytes = 8 * timesOf(program.labels.length);
        times = { address: allocator.alloc(team * bytes), bytes };
        temporary.push(times.address);
        for (let w = 0; w < team; w++) reads.push({ address: times.address + w * bytes, bytes });
      }
      // A private memory dies with its worker: what it updates comes back with every launch.
      if (!device.shared)
        updates.forEach((u, i) => {
          reads.push({ address: places[residents.length + i][(count - 1) & 1], bytes: u.bytes });
        });
      const result = device.launch({
        writes,
        patches,
        images: [used[0].address, used[used.length - 1].address],
        length: program.code.length,
        count,
        lanes: program.lanes,
        times,
        reads,
      });
      // From here on nothing fails.
      used.forEach((image, run) => {
        image.bases = bases[run];
      });
      if (count === 1) own.held = values;
      loaded.images.push(...made);
      if (loaded !== known) {
        this.programs.set(program, loaded);
        this.collected.register(program, loaded);
      }
      this.loaded.delete(loaded);
      this.loaded.add(loaded); // the most recent is last
      for (const state of uploads) state.uploaded = true;
      const undos = updates.map((u) => u.advance(count));
      const undo = (): void => {
        for (const u of undos) u();
      };
      const started: Started = { result, undo, release, used, device, loaded, args };
      this.inFlight.push(started);
      if (made.length > 0) this.evictIdle(Math.min(PROGRAM_BYTES, this.memoryLimit * PROGRAM_SHARE));
      if (this.freshBytes > Math.max(FRESH_BYTES, allocator.used * FRESH_SHARE)) {
        this.freshBytes = 0;
        void collectGarbage();
      }
      return started;
    } catch (error) {
      release();
      for (const image of made) allocator.free(image.address);
      throw error;
    }
  }

  /** Waits for a launch to end. Starts it again if it was passed over because of the one before it. */
  private async finish(job: Prepared, started: Started): Promise<TypedArray[]> {
    const { program, args, count } = job;
    const { updates } = args;
    const { device, loaded, release } = started;
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
      if (completed > 0 && !device.shared && !error) await this.fetch(device, updates);
    }
    const at = this.inFlight.indexOf(started);
    this.inFlight.splice(at, 1);
    // Launches that were passed over come next, before any other.
    const passedOver = !all && !fault && !error;
    this.recovering = passedOver || (!all && at < this.inFlight.length);
    let again: Started;
    try {
      if (all) return this.outputsOf(job, device, reads);
      if (error instanceof WorkerError) this.abandon(device);
      if (error) throw error;
      if (fault) throw this.indexError(program, loaded, fault);
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
      this.sweep();
      for (const wake of this.watchers.splice(0)) wake();
    }
    return this.finish(job, again);
  }

  /** The results of a completed launch. */
  private outputsOf({ program, args, count }: Prepared, device: Device, reads: readonly ArrayBuffer[]): TypedArray[] {
    if (!device.shared)
      args.updates.forEach((u, i) => {
        u.host = viewAs(u.dtype, reads[reads.length - args.updates.length + i], 0, numel(u.shape));
      });
    if (args.onTimes) {
      const first = program.outputs.length;
      const team = Math.min(device.workers, program.lanes);
      args.onTimes(reads.slice(first, first + team).map((r) => new Float64Array(r)));
    }
    return program.outputs.map((o, i) => {
      const length = numel(o.shape);
      if (count === 1) return viewAs(o.dtype, reads[i], 0, length);
      const all = allocate(o.dtype, count * length);
      for (let run = 0; run < count; run++)
        all.set(viewAs(o.dtype, reads[i], run * program.outputBytes, length), run * length);
      return all;
    });
  }

  /** Brings states here from a memory that dies with its worker. */
  private async fetch(device: Device, states: readonly State[]): Promise<void> {
    const spans = states.map((u) => ({ address: (u.slots as [number, number])[u.current], bytes: u.bytes }));
    const buffers = await device.read(spans).catch(() => []); // the worker's end is noticed with the next launch
    buffers.forEach((bytes, i) => {
      states[i].host = viewAs(states[i].dtype, bytes, 0, numel(states[i].shape));
    });
  }

  /** After a fault: takes what the last completed step left out of the memory, and gives the device up. */
  private abandon(device: Device): void {
    if (this.device !== device) return;
    for (const state of this.states) {
      if (state.slots && state.uploaded && !state.host) {
        const bytes = device.peek(state.slots[state.current], state.bytes);
        if (bytes) state.host = viewAs(state.dtype, bytes, 0, numel(state.shape));
      }
      state.leave();
    }
    this.loaded.clear();
    this.arena = { address: 0, bytes: 0 };
    this.device = undefined;
    void device.dispose();
  }

  private indexError(program: Program, loaded: Loaded, fault: FaultRecord): FourlaneError {
    const words = loaded.images.map((image) => (fault.ip - image.address) / 4);
    const label = program.labels.find((l) => words.includes(l.word));
    if (label?.finite)
      return new NonFiniteError(`assertFinite: ${label.finite[fault.value - 1]} has a NaN or an infinity`);
    const op = label?.op ?? "a kernel";
    const what = op.startsWith("crossEntropy") ? "label" : "index";
    const name = op.startsWith("crossEntropy") ? "crossEntropy" : op;
    return new IndexError(
      `${name}: ${what} ${fault.value} at position ${fault.where} is out of range for ${fault.bound} ` +
        `${what === "label" ? "classes" : "rows"} (operands ${label?.shapes ?? ""})`,
      fault.value,
      fault.bound,
      fault.where,
    );
  }
}

/** What images of a program are made from. */
function prepare(program: Program): Loaded {
  const words: number[][] = [];
  const advances: number[] = [];
  const stride = [0, 2 * program.inputBytes, 2 * program.outputBytes];
  const { relocations, code } = program;
  for (let i = 0; i < relocations.length; i += 2) {
    const [word, region] = [relocations[i], relocations[i + 1]];
    words[region] ??= [];
    words[region].push(word);
    if (region === INPUTS || region === OUTPUTS) advances.push(word, stride[region]);
  }
  const text = new Int32Array(code.length + 1 + advances.length);
  text.set(code);
  text.set([advances.length / 2, ...advances], code.length);
  return { images: [], words, text, bytes: align(text.byteLength) + program.inputBytes + program.outputBytes };
}

/** An image that lies at an address. */
function imageAt(address: number, program: Program, { text }: Loaded): Image {
  const inputs = address + align(text.byteLength);
  return { address, inputs, outputs: inputs + program.inputBytes, bases: [], held: [] };
}

/** Notes the words to write for an image whose regions are to lie at `bases`. */
function adjust(program: Program, loaded: Loaded, image: Image, bases: readonly number[], patches: number[]): void {
  for (let r = 0; r < bases.length; r++) {
    if (bases[r] === image.bases[r]) continue;
    for (const w of loaded.words[r] ?? []) patches.push(image.address + w * 4, (program.code[w] + bases[r]) | 0);
  }
}

// --- the session in use ------------------------------------------------------------------------------------------------------

let active: Session | undefined;

/** The session in use; the first use starts one with defaults. */
export function session(): Session {
  active ??= new Session();
  return active;
}

/**
 * Chooses workers and arithmetic, and starts the workers. Optional: the first computation does it with defaults. Call it
 * before anything is computed, or after dispose().
 */
export async function init(options: InitOptions = {}): Promise<Info> {
  const next = new Session(options); // checks the options
  if (active && !active.disposed) throw new ValueError("init: the runtime is already in use; call dispose() first");
  active = next;
  try {
    await next.ready();
  } catch (error) {
    if (active === next) active = undefined; // so that it can be tried again, with other options
    throw error;
  }
  return next.info();
}

/** What runs here, and why: workers, SIMD, shared memory. Starts nothing. */
export function info(): Promise<Info> {
  return session().info();
}

/**
 * Ends the workers and frees their memory. What is pending rejects with a DisposedError, and so does what is used later,
 * until init() is called again. Parameters made before cannot be used after.
 */
export async function dispose(): Promise<void> {
  active ??= new Session();
  await active.dispose();
}
