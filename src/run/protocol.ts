/** @file What the owner of the memory and its workers agree on: control words, and the calls that go over comlink. */
import * as isa from "../../assembly/isa.ts";

const LINE = isa.Size.Line / 4;

/** Word offsets from isa.Memory.Control. */
export const Control = {
  /** Workers at the barrier. */
  Arrived: 0,
  /** Grows by one each time a barrier opens. */
  Generation: LINE,
  /** Workers asleep at the barrier, or until the launch before theirs is done. */
  Sleepers: 2 * LINE,
  /** Workers that finished the launch. */
  Finished: 3 * LINE,
  /** The last launch that all its workers finished. The owner waits on it, and so do the workers of the next launch. */
  Done: 4 * LINE,
  /** Not 0: everybody leaves whatever they wait for. */
  Abort: 5 * LINE,
  /** Not 0: a launch recorded a fault, and those after it are passed over until the owner has seen to it. */
  Cancel: 6 * LINE,
  /** Two records, see Launch: one launch runs while the next one is prepared. */
  Launches: 7 * LINE,
} as const;

export const CONTROL_WORD = isa.Memory.Control / 4;
export const FAULT_WORDS = isa.Fault.Bytes / 4;

/**
 * Word offsets in the record of a launch: `Count` steps, each a run of one of two images of a program, in turns. An image is
 * `Length` words of instructions, then the number of words that advance, then those: pairs of word offset and increment.
 */
export const Launch = {
  /** Byte addresses. */
  Images: 0,
  Length: 2,
  /** How many workers, from the first on, run it; the others sleep on. */
  Team: 3,
  Count: 4,
  /** Steps completed so far: at its end fewer than Count if one recorded a fault, or if it was passed over. */
  Completed: 5,
  /** Where each worker writes its times, see timesOf; 0: nowhere. */
  Times: 6,
  /** Bytes from one worker's times to those of the next. */
  TimesBytes: 7,
  /** How many there are in an image, barriers included. */
  Instructions: 8,
  /** The fault record that counts, as the launch left it: see isa.Fault. */
  Fault: 9,
  Words: 9 + FAULT_WORDS,
} as const;

/** Most launches between their start and the owner's notice of their end. */
export const DEPTH = 2;
/** Numbers (float64) of a worker's times: performance.timeOrigin; then begin and end of each instruction, performance.now(). */
export const timesOf = (instructions: number): number => 1 + 2 * instructions;

/** Word address of the record of launch n. */
export const launchWord = (n: number): number => CONTROL_WORD + Control.Launches + (n & 1) * LINE;

/** Per worker: scratch, a line with its heartbeat and its fault record, a line with its doorbell. */
export const WORKER_BYTES = isa.Scratch.Bytes + 2 * isa.Size.Line;
export const scratchOf = (worker: number): number => isa.Memory.Heap + worker * WORKER_BYTES;
/** Grows while the worker moves: with each instruction of the launch, and within those that take long. */
export const heartbeatOf = (worker: number): number => scratchOf(worker) + isa.Scratch.Bytes;
export const faultOf = (worker: number): number => scratchOf(worker) + isa.Fault.Record;
/**
 * How often the worker's bell was rung; it sleeps on this word between steps. What it is to do then stands in the words behind.
 * Two are numbers of launches, that of odd ones last: the last two it is to run, for one may be rung for before it noticed the one
 * before. The third is how often it was called: it leaves `serve` once for each call, to read its messages.
 */
export const bellOf = (worker: number): number => heartbeatOf(worker) + isa.Size.Line;
/** First address the allocator may hand out. */
export const heapStart = (workers: number): number => scratchOf(workers);

/** How a worker is set up. */
export interface Setup {
  readonly worker: number;
  /** The kernels there are so far. */
  readonly modules: readonly WebAssembly.Module[];
  /** Shared by all workers; absent: the worker makes a private one. */
  readonly memory?: WebAssembly.Memory;
  /** Bytes a private memory starts with. */
  readonly bytes: number;
  /** So many workers, the first ones, look at their bells for a while before they sleep: a core is left for the caller. */
  readonly spinners: number;
  /** Work between two signs of life at the most, in units of isa.Lane.Nanoseconds. */
  readonly pace: number;
}

/**
 * How much work goes by between two heartbeats, where a worker that stands still this long counts as hung: little, for the
 * estimates know neither slow functions nor slow machines.
 */
export const paceOf = (hangTimeout: number): number => Math.ceil((hangTimeout * 1e6) / 3000 / isa.Lane.Nanoseconds);

/** One launch as a message, for a worker with private memory. */
export interface PrivateJob {
  /** Grow the memory to at least this many bytes first. */
  readonly bytes: number;
  readonly writes: readonly { readonly address: number; readonly data: Uint8Array }[];
  /** Its number; its record is among the writes. 0: nothing is to be run. */
  readonly launch: number;
  readonly reads: readonly { readonly address: number; readonly bytes: number }[];
}

/** What a worker offers over comlink. */
export interface WorkerApi {
  /** Instantiates the kernels. Resolves when the worker is ready. */
  setup(options: Setup): Promise<void> | void;
  /** Instantiates more kernels. */
  load(modules: readonly WebAssembly.Module[]): Promise<void> | void;
  /** Shared memory: runs launches as the bell rings. Resolves if the worker was called, or if another worker's fault ended
   * the launch, rejects if a kernel traps. */
  serve(): Promise<void> | void;
  /** Private memory: one launch; null if memory could not grow, and nothing was done. */
  step(job: PrivateJob): Promise<Uint8Array[] | null> | Uint8Array[] | null;
}
