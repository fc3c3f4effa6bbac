/** @file The device: linear memory and the workers that compute in it, behind one call, launch(). Two kinds, a file each. */
import * as isa from "../../assembly/isa.ts";
import type { Modules } from "./kernels.ts";
import { Allocator } from "./memory.ts";
import { Launch } from "./protocol.ts";

/** Memory grows by at least this much: growing is cheap, but every worker makes new views. */
export const GROWTH = 4 * 1024 * 1024;

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

/** A fault the kernels recorded; see Fault in assembly/isa.ts. */
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
  /** Whose kernels the workers have: a job must need no others. */
  readonly families: ReadonlySet<isa.Family>;
  /**
   * Gives the workers the kernels they lack, once these are there; jobs in flight go on. Resolves when they have them, or when the
   * device failed or was disposed; rejects if the kernels cannot be had.
   */
  load(kernels: Promise<Modules>): Promise<void>;
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
  readonly kernels: Promise<Modules>;
  /** Of the machine: one is left for this thread. */
  readonly cores: number;
  /** Milliseconds a worker may stand still within a step before it counts as hung. */
  readonly hangTimeout: number;
  /** Most bytes of memory. */
  readonly memoryLimit: number;
}

/** The record of a launch; see Launch in protocol.ts. */
export function recordOf(job: Job, team: number): Int32Array {
  const record = new Int32Array(Launch.Words);
  record.set([...job.images, job.length, team, job.count]);
  record[Launch.Instructions] = job.instructions;
  if (job.times) record.set([job.times.address, job.times.bytes], Launch.Times);
  return record;
}

/** What a launch left in its record. */
export function outcomeOf(record: Int32Array): Pick<JobResult, "completed" | "fault"> {
  const at = (offset: isa.Fault): number => record[Launch.Fault + offset / 4];
  const fault = {
    code: at(isa.Fault.Code),
    ip: at(isa.Fault.Ip) >>> 0,
    where: at(isa.Fault.Where),
    value: at(isa.Fault.Value),
    bound: at(isa.Fault.Bound),
  };
  return { completed: record[Launch.Completed], fault: fault.code === isa.FaultCode.None ? undefined : fault };
}

export const DISPOSED = "the runtime was disposed while a step was in flight";
