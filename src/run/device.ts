/**
 * @file The device: linear memory and the workers that compute in it, behind one call, launch(). Two kinds: memory shared
 * by several workers and this thread, or one worker with a memory of its own.
 */
import * as isa from "../../assembly/isa.ts";
import { DisposedError, OutOfMemoryError, type WorkerError } from "../core/errors.ts";
import { Crew } from "./crew.ts";
import { Allocator } from "./memory.ts";
import type { Platform } from "./platform.ts";
import { bellOf, Control, CONTROL_WORD, heapStart, heartbeatOf } from "./protocol.ts";

const PAGE = 65536;
const MAX_PAGES = 65536;
/** Memory grows by at least this much: growing is cheap, but every worker makes new views. */
const GROWTH = 4 * 1024 * 1024;

/** One run of one program. Everything the device needs to know, and nothing of what it means. */
export interface Job {
  /** Bytes written before the run. */
  readonly writes: readonly { readonly address: number; readonly data: ArrayBufferView }[];
  /** Pairs (address, value) of words written before the run. */
  readonly patches: readonly number[];
  readonly entry: number;
  /** In words. */
  readonly length: number;
  /** How many workers have anything to do. */
  readonly lanes: number;
  readonly reads: readonly { readonly address: number; readonly bytes: number }[];
}

/** A fault the kernels recorded: an index out of range. */
export interface FaultRecord {
  readonly code: number;
  readonly ip: number;
  readonly where: number;
  readonly value: number;
  readonly bound: number;
}

export interface JobResult {
  /** One buffer per read. */
  readonly reads: ArrayBuffer[];
  readonly fault: FaultRecord | undefined;
}

export interface Device {
  readonly allocator: Allocator;
  readonly workers: number;
  readonly shared: boolean;
  /** Whether a worker failed: launches reject, the workers are to be replaced. */
  readonly failed: boolean;
  /** Runs a job. Rejects with a WorkerError, after which the device is of no more use but for peek(). */
  launch(job: Job): Promise<JobResult>;
  /** Bytes as they are now, without running anything; undefined if they cannot be had. */
  peek(address: number, bytes: number): ArrayBuffer | undefined;
  /** Rejects what is in flight with a DisposedError and ends the workers. */
  dispose(): Promise<void>;
}

export interface DeviceOptions {
  readonly workers: number;
  readonly module: WebAssembly.Module;
  /** Milliseconds a worker may stand still within a step before it counts as hung. */
  readonly hangTimeout: number;
  /** Most bytes of memory. */
  readonly memoryLimit: number;
}

const FAULT_BYTES = 20;

function faultOf(words: Int32Array): FaultRecord | undefined {
  const [code, ip, where, value, bound] = words;
  return code === isa.FaultCode.None ? undefined : { code, ip: ip >>> 0, where, value, bound };
}

/** Only one job is in flight: the next one starts when it settled. Its fate may be decided from outside. */
class Flight {
  private reject: ((error: Error) => void) | undefined;

  get inFlight(): boolean {
    return this.reject !== undefined;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.reject = reject;
      work().then(resolve, reject);
    }).finally(() => {
      this.reject = undefined;
    });
  }

  fail(error: Error): void {
    this.reject?.(error);
  }
}

const DISPOSED = "the runtime was disposed while a step was in flight";

/** Several workers on one memory that this thread can read and write too. */
export class SharedDevice implements Device {
  readonly shared = true;
  readonly allocator: Allocator;
  private words: Int32Array;
  private bytes: Uint8Array;
  private bell = 0;
  private team = 0;
  private ended = false;
  private readonly flight = new Flight();
  private readonly crew: Crew;
  private readonly memory: WebAssembly.Memory;
  private readonly options: DeviceOptions;

  private constructor(crew: Crew, memory: WebAssembly.Memory, options: DeviceOptions) {
    this.crew = crew;
    this.memory = memory;
    this.options = options;
    this.allocator = new Allocator(heapStart(crew.size), options.memoryLimit);
    this.words = new Int32Array(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer);
  }

  static async start(platform: Platform, options: DeviceOptions): Promise<SharedDevice> {
    const initial = Math.ceil((heapStart(options.workers) + GROWTH) / PAGE);
    let memory: WebAssembly.Memory;
    try {
      memory = new WebAssembly.Memory({ initial, maximum: MAX_PAGES, shared: true });
    } catch (cause) {
      throw new OutOfMemoryError(initial * PAGE, options.memoryLimit, { cause });
    }
    const crew = new Crew(platform, options.workers);
    const device = new SharedDevice(crew, memory, options);
    try {
      await crew.start({ module: options.module, memory, bytes: 0 });
    } catch (error) {
      await crew.end();
      throw error;
    }
    crew.apis.forEach((api, w) => {
      Promise.resolve(api.serve()).catch((cause) => crew.report("trap", w, cause));
    });
    crew.failed.catch((error) => {
      device.flight.fail(error);
      device.abort();
    });
    return device;
  }

  get workers(): number {
    return this.crew.size;
  }

  get failed(): boolean {
    return this.crew.fault !== undefined;
  }

  /** Makes everybody leave whatever they wait for. */
  private abort(): void {
    const { words } = this;
    Atomics.store(words, CONTROL_WORD + Control.Abort, 1);
    Atomics.notify(words, CONTROL_WORD + Control.Generation);
    // This thread too: its wait would keep the abandoned memory alive.
    Atomics.store(words, CONTROL_WORD + Control.Done, this.bell);
    Atomics.notify(words, CONTROL_WORD + Control.Done);
  }

  private grow(): void {
    const missing = this.allocator.top - this.memory.buffer.byteLength;
    if (missing > 0) {
      const pages = Math.min(
        Math.ceil(Math.max(missing, GROWTH) / PAGE),
        Math.max(Math.ceil(missing / PAGE), MAX_PAGES - this.memory.buffer.byteLength / PAGE),
      );
      try {
        this.memory.grow(pages);
      } catch (cause) {
        throw new OutOfMemoryError(missing, this.memory.buffer.byteLength, { cause });
      }
    }
    if (this.words.buffer !== this.memory.buffer) {
      this.words = new Int32Array(this.memory.buffer);
      this.bytes = new Uint8Array(this.memory.buffer);
    }
  }

  async launch(job: Job): Promise<JobResult> {
    if (this.ended) throw new DisposedError(DISPOSED);
    if (this.crew.fault) throw this.crew.fault;
    this.grow();
    const { words, bytes, crew } = this;
    for (const { address, data } of job.writes)
      bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), address);
    for (let i = 0; i < job.patches.length; i += 2) words[job.patches[i] >>> 2] = job.patches[i + 1];
    const fault = isa.Memory.Fault >> 2;
    words[fault] = isa.FaultCode.None;
    if (job.length > 0) {
      words[CONTROL_WORD + Control.Entry] = job.entry;
      words[CONTROL_WORD + Control.Length] = job.length;
      this.team = Math.min(this.workers, job.lanes);
      words[CONTROL_WORD + Control.Team] = this.team;
      for (let w = 0; w < this.team; w++) words[heartbeatOf(w) >> 2] = 0;
      crew.step = ++this.bell;
      crew.hold(true);
      this.watch();
      try {
        await this.flight.run(() => {
          const done = this.done();
          for (let w = 0; w < this.team; w++) {
            Atomics.store(words, bellOf(w) >> 2, this.bell);
            Atomics.notify(words, bellOf(w) >> 2);
          }
          return done;
        });
      } finally {
        crew.step = -1;
        crew.hold(false);
      }
    }
    const reads = job.reads.map(({ address, bytes: n }) => {
      const copy = new ArrayBuffer(n);
      new Uint8Array(copy).set(bytes.subarray(address, address + n));
      return copy;
    });
    return { reads, fault: faultOf(words.slice(fault, fault + 5)) };
  }

  /** Resolves when all workers finished the launch that is about to start. */
  private async done(): Promise<void> {
    const at = CONTROL_WORD + Control.Done;
    const { words } = this;
    const last = this.bell - 1;
    if (typeof Atomics.waitAsync !== "function") {
      // Engines without waitAsync: look again, with growing pauses. The page stays free.
      for (let pause = 0; Atomics.load(words, at) === last; pause = Math.min(pause + 0.25, 4))
        await new Promise((resolve) => setTimeout(resolve, pause));
      return;
    }
    while (Atomics.load(words, at) === last) {
      const wait = Atomics.waitAsync(words, at, last);
      if (wait.async) await wait.value;
    }
  }

  private watchdog: ReturnType<typeof setInterval> | undefined;

  /** Looks once a second whether workers still move; a clock that was itself held up does not count. */
  private watch(): void {
    if (this.watchdog !== undefined) return;
    const period = Math.min(1000, this.options.hangTimeout / 4);
    let beats = "";
    let still = 0;
    let last = performance.now();
    this.watchdog = setInterval(() => {
      if (!this.flight.inFlight) {
        clearInterval(this.watchdog);
        this.watchdog = undefined;
        return;
      }
      const now = performance.now();
      const onTime = now - last < 2 * period;
      last = now;
      const counts = Array.from({ length: this.team }, (_, w) => this.words[heartbeatOf(w) >> 2]);
      const seen = `${this.bell}:${counts.join()}`;
      if (seen !== beats) still = 0;
      else if (onTime) still += period;
      beats = seen;
      if (still < this.options.hangTimeout) return;
      // All count the same instructions: who is behind holds up the others.
      const behind = counts.reduce((least, n, w) => (n < counts[least] ? w : least), 0);
      this.crew.report("hung", behind, new Error(`no worker moved for ${Math.round(still)} ms`));
    }, period);
    (this.watchdog as { unref?: () => void }).unref?.();
  }

  peek(address: number, bytes: number): ArrayBuffer {
    const copy = new ArrayBuffer(bytes);
    new Uint8Array(copy).set(new Uint8Array(this.memory.buffer, address, bytes));
    return copy;
  }

  async dispose(): Promise<void> {
    this.ended = true;
    this.flight.fail(new DisposedError(DISPOSED));
    clearInterval(this.watchdog);
    this.abort();
    await this.crew.end();
  }
}

/** One worker with a private memory: the same programs, a message a step. */
export class PrivateDevice implements Device {
  readonly shared = false;
  readonly workers = 1;
  readonly allocator: Allocator;
  private readonly flight = new Flight();
  private launches = 0;
  private ended = false;
  private readonly crew: Crew;
  private readonly options: DeviceOptions;

  private constructor(crew: Crew, options: DeviceOptions) {
    this.crew = crew;
    this.options = options;
    this.allocator = new Allocator(heapStart(1), options.memoryLimit);
  }

  static async start(platform: Platform, options: DeviceOptions): Promise<PrivateDevice> {
    const crew = new Crew(platform, 1);
    try {
      await crew.start({ module: options.module, bytes: heapStart(1) + GROWTH });
    } catch (error) {
      await crew.end();
      throw error;
    }
    const device = new PrivateDevice(crew, options);
    crew.failed.catch((error) => device.flight.fail(error));
    return device;
  }

  get failed(): boolean {
    return this.crew.fault !== undefined;
  }

  async launch(job: Job): Promise<JobResult> {
    const { crew } = this;
    if (this.ended) throw new DisposedError(DISPOSED);
    if (crew.fault) throw crew.fault;
    const writes = job.writes.map(({ address, data }) => ({
      address,
      // A copy: what is shared or part of a larger buffer must not travel whole.
      data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice(),
    }));
    for (let i = 0; i < job.patches.length; i += 2)
      writes.push({ address: job.patches[i], data: new Uint8Array(Int32Array.of(job.patches[i + 1]).buffer) });
    writes.push({ address: isa.Memory.Fault, data: new Uint8Array(FAULT_BYTES) });
    crew.step = ++this.launches;
    crew.hold(true);
    // Only time this thread was awake for counts: a page that slept, or was busy, accuses nobody.
    const { hangTimeout } = this.options;
    const period = Math.min(1000, hangTimeout / 4);
    let still = 0;
    let last = performance.now();
    const clock = setInterval(() => {
      const now = performance.now();
      if (now - last < 2 * period) still += period;
      last = now;
      if (still >= hangTimeout) crew.report("hung", 0, new Error(`no answer for ${Math.round(still)} ms`));
    }, period);
    try {
      const results = await this.flight.run(() =>
        Promise.resolve(
          crew.apis[0].step({
            bytes: this.allocator.top,
            writes,
            entry: job.entry,
            length: job.length,
            reads: [...job.reads, { address: isa.Memory.Fault, bytes: FAULT_BYTES }],
          }),
        ).catch((cause) => {
          crew.report("trap", 0, cause);
          throw crew.fault as WorkerError;
        }),
      );
      const fault = results.pop() as Uint8Array;
      return {
        reads: results.map((r) => r.buffer as ArrayBuffer),
        fault: faultOf(new Int32Array(fault.buffer)),
      };
    } finally {
      clearInterval(clock);
      crew.step = -1;
      crew.hold(false);
    }
  }

  peek(): undefined {
    return undefined;
  }

  async dispose(): Promise<void> {
    this.ended = true;
    this.flight.fail(new DisposedError(DISPOSED));
    await this.crew.end();
  }
}
