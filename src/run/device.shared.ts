/** @file Memory shared by several workers and this thread. */
import * as isa from "../../assembly/isa.ts";
import { DisposedError, OutOfMemoryError } from "../core/errors.ts";
import { Crew } from "./crew.ts";
import {
  type Device,
  type DeviceOptions,
  DISPOSED,
  GROWTH,
  type Job,
  type JobResult,
  outcomeOf,
  recordOf,
  type Span,
} from "./device.ts";
import { Allocator } from "./memory.ts";
import { Watchdog } from "./watchdog.ts";
import type { Modules } from "./kernels.ts";
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
} from "./protocol.ts";

/** A job on its way, number n. */
interface Flight {
  readonly n: number;
  readonly job: Job;
  readonly team: number;
  readonly settle: (result: JobResult) => void;
}

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
  private readonly watchdog: Watchdog;

  private constructor(crew: Crew, memory: WebAssembly.Memory, options: DeviceOptions) {
    this.crew = crew;
    this.memory = memory;
    const counts = (): number[] =>
      Array.from({ length: this.flights[0].team }, (_, w) => this.words[heartbeatOf(w) >> 2]);
    this.watchdog = new Watchdog(
      options.hangTimeout,
      () => {
        const { flights } = this;
        const loading = crew.loading.size;
        return flights[0] ? `${flights[0].n}:${counts().join()}` : loading > 0 ? `loading ${loading}` : undefined;
      },
      (ms) => {
        if (this.flights.length === 0) {
          const [worker] = crew.loading.values();
          crew.report("hung", worker, new Error(`no answer for ${ms} ms`));
          return;
        }
        // All count the same instructions: who is behind holds up the others.
        const behind = counts().reduce((least, n, w, all) => (n < all[least] ? w : least), 0);
        crew.report("hung", behind, new Error(`no worker moved for ${ms} ms`));
      },
    );
    this.allocator = new Allocator(heapStart(crew.size), options.memoryLimit);
    this.words = new Int32Array(memory.buffer);
    this.bytes = new Uint8Array(memory.buffer);
  }

  static async start(platform: Platform, options: DeviceOptions): Promise<SharedDevice> {
    const initial = Math.ceil((heapStart(options.workers) + GROWTH) / isa.Size.Page);
    let memory: WebAssembly.Memory;
    try {
      memory = new WebAssembly.Memory({ initial, maximum: isa.Size.Pages, shared: true });
    } catch (cause) {
      throw new OutOfMemoryError(initial * isa.Size.Page, options.memoryLimit, undefined, { cause });
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
    device.serve();
    crew.failed.catch((error) => device.fail(error));
    return device;
  }

  /** Sends the workers to their bells. */
  private serve(): void {
    const { crew } = this;
    crew.apis.forEach((api, w) => {
      Promise.resolve(api.serve()).catch((cause) => crew.report("trap", w, cause));
    });
  }

  get workers(): number {
    return this.crew.size;
  }

  get families(): ReadonlySet<isa.Family> {
    return this.crew.families;
  }

  load(kernels: Promise<Modules>): Promise<void> {
    return this.crew.load(kernels, () => {
      // They read the message when they leave their bells, and then return to them: both are on their way.
      this.serve();
      for (let w = 0; w < this.workers; w++) {
        Atomics.add(this.words, (bellOf(w) >> 2) + 3, 1);
        this.ring(w);
      }
      this.watchdog.watch();
    });
  }

  private ring(worker: number): void {
    const bell = bellOf(worker) >> 2;
    Atomics.add(this.words, bell, 1);
    Atomics.notify(this.words, bell);
  }

  get failed(): boolean {
    return this.crew.fault !== undefined;
  }

  private grow(): void {
    const missing = this.allocator.top - this.memory.buffer.byteLength;
    if (missing > 0) {
      const pages = Math.min(
        Math.ceil(Math.max(missing, GROWTH) / isa.Size.Page),
        Math.max(Math.ceil(missing / isa.Size.Page), isa.Size.Pages - this.memory.buffer.byteLength / isa.Size.Page),
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
      this.watchdog.watch();
      for (let w = 0; w < team; w++) {
        Atomics.store(words, (bellOf(w) >> 2) + 1 + (n & 1), n);
        this.ring(w);
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
    if (first) {
      first.settle({ completed: Atomics.load(words, launchWord(first.n) + Launch.Completed), reads: [], error });
      for (const f of others) f.settle({ completed: 0, reads: [] });
      this.next();
    }
    // This thread too: its wait would keep the abandoned memory alive.
    for (const word of [Control.Generation, Control.Done]) Atomics.notify(words, CONTROL_WORD + word);
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
    this.watchdog.stop();
    this.fail(new DisposedError(DISPOSED));
    await this.crew.end();
  }
}
