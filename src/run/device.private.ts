/** @file One worker with a memory of its own: the same programs, a message a step. */
import type * as isa from "../../assembly/isa.ts";
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
import { Control, CONTROL_WORD, heapStart, Launch, launchWord, paceOf, type PrivateJob } from "./protocol.ts";

/** One worker with a private memory: the same programs, a message a step. */
export class PrivateDevice implements Device {
  readonly shared = false;
  readonly workers = 1;
  readonly depth = 1;
  readonly allocator: Allocator;
  private launches = 0;
  /** Launches and readings. */
  private steps = 0;
  private ended: Error | undefined;
  /** Rejects what is in flight. */
  private reject: ((error: Error) => void) | undefined;
  private readonly crew: Crew;
  private readonly options: DeviceOptions;
  private readonly watchdog: Watchdog;

  private constructor(crew: Crew, options: DeviceOptions) {
    this.crew = crew;
    this.options = options;
    this.watchdog = new Watchdog(
      options.hangTimeout,
      () => (this.reject || crew.loading.size > 0 ? `${this.steps}:${crew.pulses}:${crew.loading.size}` : undefined),
      (ms) => crew.report("hung", 0, new Error(`no answer for ${ms} ms`)),
    );
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

  get families(): ReadonlySet<isa.Family> {
    return this.crew.families;
  }

  load(kernels: Promise<Modules>): Promise<void> {
    return this.crew.load(kernels, () => this.watchdog.watch());
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
    this.steps++;
    this.watchdog.watch();
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
      crew.step = -1;
      crew.hold(false);
    }
  }

  peek(): undefined {
    return undefined;
  }

  async dispose(): Promise<void> {
    this.ended = new DisposedError(DISPOSED);
    this.watchdog.stop();
    this.reject?.(this.ended);
    await this.crew.end();
  }
}
