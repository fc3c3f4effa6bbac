/** @file What the owner of the memory and its workers agree on: control words, and the calls that go over comlink. */
import * as isa from "../../assembly/isa.ts";

const LINE = 16; // words of a cache line: every contended word has one to itself

/** Word offsets from isa.Memory.Control. */
export const Control = {
  /** Byte address and length in words of the program to run. */
  Entry: 0,
  Length: 1,
  /** How many workers, from the first on, run it; the others sleep on. */
  Team: 2,
  /** Workers at the barrier. */
  Arrived: LINE,
  /** Grows by one each time a barrier opens. */
  Generation: 2 * LINE,
  /** Workers asleep at the barrier. */
  Sleepers: 3 * LINE,
  /** Workers that finished the launch. */
  Finished: 4 * LINE,
  /** The last launch that all workers finished. The owner waits on it. */
  Done: 5 * LINE,
  /** Not 0: everybody leaves whatever they wait for. */
  Abort: 6 * LINE,
} as const;

export const CONTROL_WORD = isa.Memory.Control / 4;

/** Per worker: scratch, a line with its heartbeat, a line with its doorbell. */
export const WORKER_BYTES = isa.Scratch.Bytes + 128;
export const scratchOf = (worker: number): number => isa.Memory.Heap + worker * WORKER_BYTES;
/** Instructions of the launch that the worker has behind it. */
export const heartbeatOf = (worker: number): number => scratchOf(worker) + isa.Scratch.Bytes;
/** The number of the launch the worker is to run; it sleeps on this word between steps. */
export const bellOf = (worker: number): number => heartbeatOf(worker) + 64;
/** First address the allocator may hand out. */
export const heapStart = (workers: number): number => scratchOf(workers);

/** How a worker is set up. */
export interface Setup {
  readonly worker: number;
  readonly module: WebAssembly.Module;
  /** Shared by all workers; absent: the worker makes a private one. */
  readonly memory?: WebAssembly.Memory;
  /** Bytes a private memory starts with. */
  readonly bytes: number;
}

/** One launch as a message, for a worker with private memory. */
export interface PrivateJob {
  /** Grow the memory to at least this many bytes first. */
  readonly bytes: number;
  readonly writes: readonly { readonly address: number; readonly data: Uint8Array }[];
  readonly entry: number;
  readonly length: number;
  readonly reads: readonly { readonly address: number; readonly bytes: number }[];
}

/** What a worker offers over comlink. */
export interface WorkerApi {
  /** Instantiates the kernels. Resolves when the worker is ready. */
  setup(options: Setup): Promise<void> | void;
  /** Shared memory: runs launches as the bell rings. Resolves if another worker's fault ended
   * the launch, rejects if a kernel traps. */
  serve(): Promise<void> | void;
  /** Private memory: one launch. */
  step(job: PrivateJob): Promise<Uint8Array[]> | Uint8Array[];
}
