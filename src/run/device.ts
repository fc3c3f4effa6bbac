/**
 * @file The device: linear memory and the workers that compute in it, behind one call, launch(). Two kinds: memory shared
 * by several workers and this thread, or one worker with a memory of its own.
 */
import * as isa from "../../assembly/isa.ts";
import { DisposedError, OutOfMemoryError } from "../core/errors.ts";
import { Crew } from "./crew.ts";
import { Allocator } from "./memory.ts";
import type { Platform } from "./platform.ts";
import {
  bellOf,
  Control,
  CONTROL_WORD,
  DEPTH,
  heapStart,
  heartbeatOf,
  Launch,
  launchWord,
  paceOf,
  type PrivateJob,
} from "./protocol.ts";

const PAGE = 65536;
const MAX_PAGES = 65536;
/** Memory grows by at least this much: growing is cheap, but every worker makes new views. */
const GROWTH = 4 * 1024 * 1024;

/** A number of runs of one program. Everything the device needs to know, and nothing of what it means. */
export interface Job {
  /** Bytes written before the run. */
  readonly writes: readonly { readonly address: number; readonly data: ArrayBufferView }[];
  /** Pairs (address, value) of words written before the run. */
  readonly patches: readonly number[];
  /** Addresses of two images of the program, which are run in turns. See Launch in protocol.ts. */
  readonly images: readonly [number, number];
  /** In words. */
  readonly length: number;
  readonly instructions: number;
  /** How many times it is run. */
  readonly count: number;
  /** How many workers have anything to do. */
  readonly lanes: number;
  /** Where the first worker writes when it was at which instruction, the others behind it. */
  readonly times?: Span;
  /** What is to be read if all runs were completed. */
  readonly reads: readonly Span[];
}

export interface Span {
  readonly address: number;
  readonly bytes: number;
}

/** A fault the kernels recorded: an index out of range. */
export interface FaultRecord {
  readonly code: number;
  readonly ip: number;
  readonly where: number;
  readonly value: number;
  readonly bound: number;
}

/** How a job ended. */
export interface JobResult {
  /** Completed runs; all of them if there is neither a fault nor an error, and the job was not passed over. */
  readonly completed: number;
  /** One buffer per read. */
  readonly reads: ArrayBuffer[];
  /** What ended the job: the kernels' fault, */
  readonly fault?: FaultRecord;
  /** or the workers', after which the device is of no more use but for peek(), or that it was disposed. */
  readonly error?: Error;
}

export interface Device {
  readonly allocator: Allocator;
  readonly workers: number;
  readonly shared: boolean;
  /** Most jobs in flight. */
  readonly depth: number;
  /** Whether a worker failed: launches reject, the workers are to be replaced. */
  readonly failed: boolean;
  /**
   * Starts a job behind the one in flight, if there is one; its bytes are written at once. If that one fails, this one is
   * passed over: its result has no completed run, no fault and no error, and no third may be started before both have
   * settled. Throws an OutOfMemoryError before anything was written; never rejects.
   */
  launch(job: Job): Promise<JobResult>;
  /** Copies of what memory holds now; only the workers of a private memory need to be asked. */
  read(spans: readonly Span[]): Promise<ArrayBuffer[]>;
  /** Bytes as they are now, without asking anyone; undefined if they cannot be had. */
  peek(address: number, bytes: number): ArrayBuffer | undefined;
  /** Rejects what is in flight with a DisposedError and ends the workers. */
  dispose(): Promise<void>;
}

export interface DeviceOptions {
  readonly workers: number;
  /** Loading while the workers start. */
  readonly kernels: Promise<WebAssembly.Module>;
  /** Of the machine: one is left for this thread. */
  readonly cores: number;
  /** Milliseconds a worker may stand still within a step before it counts as hung. */
  readonly hangTimeout: number;
  /** Most bytes of memory. */
  readonly memoryLimit: number;
}

/** The record of a launch; see Launch in protocol.ts. */
function recordOf(job: Job, team: number): Int32Array {
  const record = new Int32Array(Launch.Words);
  record.set([...job.images, job.length, team, job.count]);
  record[Launch.Instructions] = job.instructions;
  if (job.times) record.set([job.times.address, job.times.bytes], Launch.Times);
  return record;
}

/** What a launch left in its record. */
function outcomeOf(record: Int32Array): Pick<JobResult, "completed" | "fault"> {
  const [code, ip, where, value, bound] = record.subarray(Launch.Fault);
  const fault = code === isa.FaultCode.None ? undefined : { code, ip: ip >>> 0, where, value, bound };
  return { completed: record[Launch.Completed], fault };
}

/** A job on its way, number n. */
interface Flight {
  readonly n: number;
  readonly job: Job;
  readonly team: number;
  readonly settle: (result: JobResult) => void;
}

const DISPOSED = "the runtime was disposed while a step was in flight";

/** Several workers on one memory that this thread can read and write too. */
export class SharedDevice implements Device {
  readonly shared = true;
  readonly depth = DEPTH;
  readonly allocator: Allocator;
  private words: Int32Array;
  private bytes: Uint8Array;
  private launches = 0;
  private ended = false;
  /** In the order of their start. */
  private readonly flights: Flight[] = [];
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
      throw new OutOfMemoryError(initial * PAGE, options.memoryLimit, undefined, { cause });
    }
    const crew = new Crew(platform, options.workers);
    const device = new SharedDevice(crew, memory, options);
    try {
      await crew.start(options.kernels, {
        memory,
        bytes: 0,
        spinners: options.cores - 1,
        pace: paceOf(options.hangTimeout),
      });
    } catch (error) {
      await crew.end();
      throw error;
    }
    crew.apis.forEach((api, w) => {
      Promise.resolve(api.serve()).catch((cause) => crew.report("trap", w, cause));
    });
    crew.failed.catch((error) => device.fail(error));
    return device;
  }

  get workers(): number {
    return this.crew.size;
  }

  get failed(): boolean {
    return this.crew.fault !== undefined;
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
        throw new OutOfMemoryError(missing, this.memory.buffer.byteLength, undefined, { cause });
      }
    }
    if (this.words.buffer !== this.memory.buffer) {
      this.words = new Int32Array(this.memory.buffer);
      this.bytes = new Uint8Array(this.memory.buffer);
    }
  }

  launch(job: Job): Promise<JobResult> {
    const { crew, flights } = this;
    const error = this.ended ? new DisposedError(DISPOSED) : crew.fault;
    if (error) return Promise.resolve({ completed: 0, reads: [], error });
    this.grow();
    const { words, bytes } = this;
    for (const { address, data } of job.writes)
      bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), address);
    for (let i = 0; i < job.patches.length; i += 2) words[job.patches[i] >>> 2] = job.patches[i + 1];
    if (flights.length === 0) words[CONTROL_WORD + Control.Cancel] = 0;
    this.launches = (this.launches + 1) | 0;
    const n = this.launches;
    const team = Math.min(this.workers, job.lanes);
    words.set(recordOf(job, team), launchWord(n));
    return new Promise((settle) => {
      flights.push({ n, job, team, settle });
      if (flights.length === 1) {
        crew.step = n;
        crew.hold(true);
        void this.attend();
      }
      this.watch();
      for (let w = 0; w < team; w++) {
        const bell = bellOf(w) >> 2;
        Atomics.store(words, bell + 1 + (n & 1), n);
        Atomics.store(words, bell, n);
        Atomics.notify(words, bell);
      }
    });
  }

  /** Settles jobs as they are done, until none is in flight. */
  private async attend(): Promise<void> {
    const at = CONTROL_WORD + Control.Done;
    for (let pause = 0; this.flights.length > 0; ) {
      const { words } = this;
      const done = Atomics.load(words, at);
      if (this.land(done)) pause = 0;
      else if (typeof Atomics.waitAsync === "function") {
        const wait = Atomics.waitAsync(words, at, done);
        if (wait.async) await wait.value;
      } else {
        // Engines without waitAsync: look again, with growing pauses. The page stays free.
        await new Promise((resolve) => setTimeout(resolve, pause));
        pause = Math.min(pause + 0.25, 4);
      }
    }
  }

  /** Settles the jobs that are done, in order: those up to number `done`. Whether there was one. */
  private land(done: number): boolean {
    const { flights, words } = this;
    let any = false;
    for (let f = flights[0]; f && ((done - f.n) | 0) >= 0; f = flights[0]) {
      any = true;
      flights.shift();
      this.next();
      const record = words.slice(launchWord(f.n), launchWord(f.n) + Launch.Words);
      const outcome = outcomeOf(record);
      const complete = outcome.completed === f.job.count;
      f.settle({ ...outcome, reads: complete ? f.job.reads.map((r) => this.peek(r.address, r.bytes)) : [] });
    }
    return any;
  }

  /** After one left: who is the first now. */
  private next(): void {
    const [first] = this.flights;
    this.crew.step = first ? first.n : -1;
    if (!first) this.crew.hold(false);
  }

  /**
   * Ends whatever is in flight. Everybody leaves what they wait for, and begins no other step: first the word that says so,
   * then a look at what was completed.
   */
  private fail(error: Error): void {
    const { words, flights } = this;
    Atomics.store(words, CONTROL_WORD + Control.Abort, 1);
    this.land(Atomics.load(words, CONTROL_WORD + Control.Done));
    const [first, ...others] = flights.splice(0);
    first?.settle({ completed: Atomics.load(words, launchWord(first.n) + Launch.Completed), reads: [], error });
    for (const f of others) f.settle({ completed: 0, reads: [] });
    this.next();
    // This thread too: its wait would keep the abandoned memory alive.
    for (const word of [Control.Generation, Control.Done]) Atomics.notify(words, CONTROL_WORD + word);
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
      const [first] = this.flights;
      if (!first) {
        clearInterval(this.watchdog);
        this.watchdog = undefined;
        return;
      }
      const now = performance.now();
      const onTime = now - last < 2 * period;
      last = now;
      const counts = Array.from({ length: first.team }, (_, w) => this.words[heartbeatOf(w) >> 2]);
      const seen = `${first.n}:${counts.join()}`;
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

  async read(spans: readonly Span[]): Promise<ArrayBuffer[]> {
    return spans.map((s) => this.peek(s.address, s.bytes));
  }

  peek(address: number, bytes: number): ArrayBuffer {
    const copy = new ArrayBuffer(bytes);
    new Uint8Array(copy).set(this.bytes.subarray(address, address + bytes));
    return copy;
  }

  async dispose(): Promise<void> {
    this.ended = true;
    clearInterval(this.watchdog);
    this.fail(new DisposedError(DISPOSED));
    await this.crew.end();
  }
}

/** One worker with a private memory: the same programs, a message a step. */
export class PrivateDevice implements Device {
  readonly shared = false;
  readonly workers = 1;
  readonly depth = 1;
  readonly allocator: Allocator;
  private launches = 0;
  private ended: Error | undefined;
  /** Rejects what is in flight. */
  private reject: ((error: Error) => void) | undefined;
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
      await crew.start(options.kernels, {
        bytes: heapStart(1) + GROWTH,
        spinners: 0,
        pace: paceOf(options.hangTimeout),
      });
    } catch (error) {
      await crew.end();
      throw error;
    }
    const device = new PrivateDevice(crew, options);
    crew.failed.catch((error) => device.reject?.(error));
    return device;
  }

  get failed(): boolean {
    return this.crew.fault !== undefined;
  }

  async launch(job: Job): Promise<JobResult> {
    const writes = job.writes.map(({ address, data }) => ({
      address,
      // A copy: what is shared or part of a larger buffer must not travel whole.
      data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice(),
    }));
    const word = (address: number, data: Int32Array): void => {
      writes.push({ address, data: new Uint8Array(data.buffer as ArrayBuffer) });
    };
    for (let i = 0; i < job.patches.length; i += 2) word(job.patches[i], Int32Array.of(job.patches[i + 1]));
    const launch = ++this.launches;
    const record = { address: launchWord(launch) * 4, bytes: Launch.Words * 4 };
    word(record.address, recordOf(job, 1));
    word((CONTROL_WORD + Control.Cancel) * 4, Int32Array.of(0));
    try {
      const reads = await this.step(launch, writes, [...job.reads, record]);
      return { ...outcomeOf(new Int32Array(reads.pop() as ArrayBuffer)), reads };
    } catch (error) {
      return { completed: 0, reads: [], error: error as Error };
    }
  }

  read(spans: readonly Span[]): Promise<ArrayBuffer[]> {
    return this.step(0, [], spans);
  }

  private async step(launch: number, writes: PrivateJob["writes"], reads: readonly Span[]): Promise<ArrayBuffer[]> {
    const { crew } = this;
    const error = this.ended ?? crew.fault;
    if (error) throw error;
    crew.step = launch;
    crew.hold(true);
    // Only time this thread was awake for counts: a page that slept, or was busy, accuses nobody.
    const { hangTimeout } = this.options;
    const period = Math.min(1000, hangTimeout / 4);
    let still = 0;
    let last = performance.now();
    let { pulses } = crew;
    const clock = setInterval(() => {
      const now = performance.now();
      if (crew.pulses !== pulses) still = 0;
      else if (now - last < 2 * period) still += period;
      ({ pulses } = crew);
      last = now;
      if (still >= hangTimeout) crew.report("hung", 0, new Error(`no answer for ${Math.round(still)} ms`));
    }, period);
    const bytes = this.allocator.top;
    try {
      const results = await new Promise<Uint8Array[] | null>((resolve, reject) => {
        this.reject = reject;
        const answer = crew.apis[0].step({ bytes, writes, launch, reads });
        // A trap rejects by way of the crew.
        Promise.resolve(answer).then(resolve, (cause) => crew.report("trap", 0, cause));
      });
      if (results) return results.map((r) => r.buffer as ArrayBuffer);
      // What was to be written is not there: this memory is of no more use, but that is nobody's doing.
      this.reject = undefined;
      const failure = new OutOfMemoryError(bytes, this.options.memoryLimit);
      crew.report("crash", 0, failure);
      throw failure;
    } finally {
      this.reject = undefined;
      clearInterval(clock);
      crew.step = -1;
      crew.hold(false);
    }
  }

  peek(): undefined {
    return undefined;
  }

  async dispose(): Promise<void> {
    this.ended = new DisposedError(DISPOSED);
    this.reject?.(this.ended);
    await this.crew.end();
  }
}
