/**
 * @file The session: loads programs, binds variables, runs steps one after the other. A step is a transaction: new values of
 * variables go to a second place and only a completed step makes it the current one, so a step that fails, for whatever
 * reason, leaves every variable as the last completed step left it.
 */
import { kernels } from "#embedded";
import { platform } from "#platform";
import { type DType, type TypedArray, viewAs } from "../core/dtype.ts";
import { DisposedError, FourlaneError, IndexError, StaleError, ValueError, WorkerError } from "../core/errors.ts";
import { numel, type Shape } from "../core/shape.ts";
import type { Program } from "../compile/program.ts";
import { type Device, type FaultRecord, PrivateDevice, SharedDevice } from "./device.ts";

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
}

const MEMORY_LIMIT = 2 ** 32;

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

function decode(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
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
  /** The value on this side, if it is known here. */
  host: TypedArray | null;
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
  disposed = false;

  constructor(shape: Shape, dtype: DType, host: TypedArray, empty: boolean) {
    this.shape = shape;
    this.dtype = dtype;
    this.bytes = host.byteLength;
    this.host = host;
    this.empty = empty;
  }

  /** Counts a change that took place. */
  changed(previousKept: boolean): void {
    this.done++;
    this.previousAt = previousKept ? this.changedAt : Number.POSITIVE_INFINITY;
    this.changedAt = this.done;
    this.empty = false;
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
}

export interface LaunchArgs {
  /** If it failed, the launch fails likewise. */
  readonly after?: Promise<unknown>;
  readonly inputs: readonly (TypedArray | Promise<TypedArray>)[];
  readonly residents: readonly Bound[];
  readonly updates: readonly State[];
}

interface Loaded {
  readonly address: number;
  /** Address of each region the code in memory was adjusted to. */
  bases: readonly number[];
  /** Words to adjust, by region. */
  readonly words: number[][];
}

export class Session {
  private readonly options: InitOptions;
  private device: Device | undefined;
  private starting: Promise<Device> | undefined;
  private tail: Promise<unknown> = Promise.resolve();
  private readonly states = new Set<State>();
  private programs = new WeakMap<Program, Loaded>();
  private arena = { address: 0, bytes: 0 };
  private isDisposed = false;
  private binary: { module: WebAssembly.Module; relaxed: boolean; why: string } | undefined;
  private readonly sharing: { shared: boolean; reason: string };
  private readonly collected = new FinalizationRegistry<{ device: WeakRef<Device>; address: number }>(
    ({ device, address }) => {
      if (this.device && device.deref() === this.device) this.device.allocator.free(address);
    },
  );

  constructor(options: InitOptions = {}) {
    checkOptions(options);
    this.options = { ...options };
    this.sharing =
      options.shared === false ? { shared: false, reason: "init was called with shared: false" } : platform.sharing();
  }

  get disposed(): boolean {
    return this.isDisposed;
  }

  // --- the device --------------------------------------------------------------------------------------------------------------

  private async loadBinary(): Promise<NonNullable<Session["binary"]>> {
    if (this.binary) return this.binary;
    const kind = this.sharing.shared ? "shared" : "private";
    let why = "math is portable";
    if (this.options.math !== "portable") {
      const bytes = decode(kernels[`${kind}-relaxed`]);
      if (WebAssembly.validate(bytes)) {
        this.binary = { module: await WebAssembly.compile(bytes), relaxed: true, why: "the engine has relaxed SIMD" };
        return this.binary;
      }
      why = "the engine has no relaxed SIMD";
    }
    const module = await WebAssembly.compile(decode(kernels[`${kind}-plain`]));
    this.binary = { module, relaxed: false, why };
    return this.binary;
  }

  private async startDevice(): Promise<Device> {
    const { module } = await this.loadBinary();
    const options = {
      workers: this.workers,
      module,
      hangTimeout: this.options.hangTimeout ?? 30_000,
      memoryLimit: this.options.memoryLimit ?? MEMORY_LIMIT,
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
    const { relaxed, why } = await this.loadBinary();
    return {
      platform: platform.name,
      workers: this.workers,
      cores: platform.cores(),
      sharedMemory: this.sharing.shared,
      simd: true,
      relaxedSimd: relaxed,
      math: this.options.math ?? "fast",
      reason: `${this.sharing.reason}; ${why}`,
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
    for (const state of this.states) state.leave();
    this.states.clear();
    if (device) await device.dispose();
    await this.starting?.catch(() => {});
  }

  // --- states ------------------------------------------------------------------------------------------------------------------

  /** A new state with the given value, which becomes the session's; `empty`: a program is to compute the first one. */
  state(shape: Shape, dtype: DType, value: TypedArray, empty = false): State {
    const state = new State(shape, dtype, value, empty);
    this.states.add(state);
    return state;
  }

  /** Frees a state's memory, after what is queued before. */
  release(state: State): void {
    if (state.disposed) return;
    state.disposed = true;
    void this.enqueue(() => {
      this.states.delete(state);
      if (state.slots && this.device) for (const slot of state.slots) if (slot) this.device.allocator.free(slot);
      state.slots = null;
      state.host = null;
    }).catch(() => {});
  }

  /** The state's value after everything asked for so far. */
  read(state: State, seen?: number): Promise<TypedArray> {
    return this.enqueue(async () => {
      const known = (): TypedArray | undefined =>
        this.slotOf({ state, seen }) === state.current && state.host ? state.host.slice() : undefined;
      const host = known();
      if (host) return host;
      const device = await this.ready();
      const rescued = known(); // from workers that had failed
      if (rescued) return rescued;
      const slot = this.slotOf({ state, seen });
      const { reads } = await device.launch({
        writes: [],
        patches: [],
        entry: 0,
        length: 0,
        lanes: 0,
        reads: [{ address: (state.slots as [number, number])[slot], bytes: state.bytes }],
      });
      return viewAs(state.dtype, reads[0], 0, numel(state.shape));
    });
  }

  /** Sets the state's value, after everything asked for so far. */
  write(state: State, value: TypedArray): Promise<void> {
    state.enqueued++;
    return this.enqueue(() => {
      state.host = value;
      state.uploaded = false;
      state.changed(false);
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

  private enqueue<T>(job: () => T | Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      if (this.isDisposed) throw new DisposedError("the runtime was disposed");
      return job();
    };
    const result = this.tail.then(run);
    this.tail = result.catch(() => {});
    return result;
  }

  /** Runs a program once everything before it is done. Resolves to its outputs. */
  launch(program: Program | Promise<Program>, args: LaunchArgs): Promise<TypedArray[]> {
    for (const u of args.updates) u.enqueued++;
    return this.enqueue(async () => {
      try {
        const outputs = await this.execute(program instanceof Promise ? await program : program, args);
        for (const u of args.updates) u.changed(true);
        return outputs;
      } catch (error) {
        for (const u of args.updates) {
          u.done++;
          u.failure = error;
        }
        throw error;
      }
    });
  }

  private async execute(program: Program, { after, inputs, residents, updates }: LaunchArgs): Promise<TypedArray[]> {
    if (after) await after;
    const values: TypedArray[] = [];
    for (const x of inputs) values.push(x instanceof Promise ? await x : x);
    const device = await this.ready();
    if (this.isDisposed) throw new DisposedError("the runtime was disposed");

    const { allocator } = device;
    const writes: { address: number; data: ArrayBufferView }[] = [];
    if (this.arena.bytes < program.arenaBytes) {
      if (this.arena.bytes > 0) allocator.free(this.arena.address);
      this.arena = { address: 0, bytes: 0 };
      this.arena = { address: allocator.alloc(program.arenaBytes), bytes: program.arenaBytes };
    }
    const bases = [this.arena.address];
    // True once the writes are done; until then anything may fail, for want of memory or because a tensor is stale.
    const uploads: State[] = [];
    for (const bound of residents) {
      const { state } = bound;
      const slot = this.slotOf(bound);
      state.slots ??= [allocator.alloc(state.bytes), 0];
      if (!state.uploaded && slot === state.current) {
        writes.push({ address: state.slots[slot], data: state.host as TypedArray });
        uploads.push(state);
      }
      bases.push(state.slots[slot]);
    }
    for (const state of updates) {
      if (state.disposed) throw new DisposedError("a variable was updated after it was disposed");
      state.slots ??= [allocator.alloc(state.bytes), 0];
      const other = 1 - state.current;
      state.slots[other] ||= allocator.alloc(state.bytes);
      bases.push(state.slots[other]);
    }
    const patches: number[] = [];
    const { loaded, isNew } = this.load(program, device, bases, writes, patches);
    values.forEach((data, i) => writes.push({ address: bases[0] + program.inputs[i].offset, data }));

    const reads = program.outputs.map((o) => ({ address: bases[o.region] + o.offset, bytes: o.bytes }));
    // A private memory dies with its worker: what it updates comes back with every step.
    if (!device.shared)
      for (const u of updates) reads.push({ address: (u.slots as number[])[1 - u.current], bytes: u.bytes });

    let result: Awaited<ReturnType<Device["launch"]>>;
    try {
      result = await device.launch({
        writes,
        patches,
        entry: loaded.address,
        length: program.code.length,
        lanes: program.lanes,
        reads,
      });
    } catch (error) {
      if (error instanceof WorkerError) this.abandon(device);
      else if (isNew) allocator.free(loaded.address);
      throw error;
    }
    for (const state of uploads) state.uploaded = true;
    loaded.bases = bases;
    if (isNew) {
      this.programs.set(program, loaded);
      this.collected.register(program, { device: new WeakRef(device), address: loaded.address });
    }
    if (result.fault) throw this.indexError(program, loaded, result.fault);

    const outputs = program.outputs.map((o, i) => viewAs(o.dtype, result.reads[i], 0, numel(o.shape)));
    updates.forEach((u, i) => {
      u.current = (1 - u.current) as 0 | 1;
      u.uploaded = true;
      u.host = device.shared ? null : viewAs(u.dtype, result.reads[program.outputs.length + i], 0, numel(u.shape));
    });
    return outputs;
  }

  /** The program's code in memory, adjusted to where its regions are now. */
  private load(
    program: Program,
    device: Device,
    bases: readonly number[],
    writes: { address: number; data: ArrayBufferView }[],
    patches: number[],
  ): { loaded: Loaded; isNew: boolean } {
    const loaded = this.programs.get(program);
    if (!loaded) {
      const words: number[][] = bases.map(() => []);
      const image = program.code.slice();
      const { relocations } = program;
      for (let i = 0; i < relocations.length; i += 2) {
        words[relocations[i + 1]].push(relocations[i]);
        image[relocations[i]] += bases[relocations[i + 1]];
      }
      const address = device.allocator.alloc(image.byteLength);
      writes.push({ address, data: image });
      return { loaded: { address, bases, words }, isNew: true };
    }
    for (let r = 0; r < bases.length; r++) {
      if (bases[r] === loaded.bases[r]) continue;
      for (const w of loaded.words[r]) patches.push(loaded.address + w * 4, (program.code[w] + bases[r]) | 0);
    }
    return { loaded, isNew: false };
  }

  /** After a fault: takes what the last completed step left out of the memory, and gives the device up. */
  private abandon(device: Device): void {
    for (const state of this.states) {
      if (state.slots && state.uploaded && !state.host) {
        const bytes = device.peek(state.slots[state.current], state.bytes);
        if (bytes) state.host = viewAs(state.dtype, bytes, 0, numel(state.shape));
      }
      state.leave();
    }
    this.programs = new WeakMap();
    this.arena = { address: 0, bytes: 0 };
    if (this.device === device) this.device = undefined;
    void device.dispose();
  }

  private indexError(program: Program, loaded: Loaded, fault: FaultRecord): FourlaneError {
    const word = (fault.ip - loaded.address) / 4;
    const label = program.labels.find((l) => l.word === word);
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
