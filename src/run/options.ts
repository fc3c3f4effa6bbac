/** @file What the runtime can be told when it starts, and what it says of itself. */
import { type MemoryUse, ValueError } from "../core/errors.ts";
import { checkOptions as checkNames, type Names } from "../core/options.ts";

export interface InitOptions {
  /** Number of workers; default: the machine's logical cores. */
  workers?: number;
  /**
   * "fast" (default) uses relaxed SIMD where the engine has it; "portable" never does, and then gives the same bits on every
   * host. Either way the bits do not depend on the number of workers.
   */
  math?: "fast" | "portable";
  /**
   * 256, in Node from 23.5 on: V8 pairs the kernels' vectors of 128 bits into some of 256, on processors with AVX2, which is an
   * experiment of V8's: it is off by default, and sets a flag for the whole process. Same bits. Default: 128.
   */
  vectors?: 128 | 256;
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

/** Default and maximum of the WebAssembly memory: what 32 bits address. */
export const MEMORY_LIMIT = 2 ** 32;

const NAMES: Names<InitOptions> = {
  workers: true,
  math: true,
  vectors: true,
  shared: true,
  hangTimeout: true,
  memoryLimit: true,
};

/** @throws ValueError that names the option. */
export function checkOptions(options: InitOptions): void {
  const { workers, math, vectors, shared, hangTimeout, memoryLimit } = checkNames("init", options, NAMES);
  if (shared !== undefined && typeof shared !== "boolean")
    throw new ValueError(`init: shared must be true or false, got ${String(shared)}`);
  if (workers !== undefined && (!Number.isInteger(workers) || workers < 1 || workers > 256))
    throw new ValueError(`init: workers must be an integer from 1 to 256, got ${workers}`);
  if (math !== undefined && math !== "fast" && math !== "portable")
    throw new ValueError(`init: math must be "fast" or "portable", got ${String(math)}`);
  if (vectors !== undefined && vectors !== 128 && vectors !== 256)
    throw new ValueError(`init: vectors must be 128 or 256, got ${String(vectors)}`);
  if (hangTimeout !== undefined && !(hangTimeout >= 100))
    throw new ValueError(`init: hangTimeout must be at least 100 milliseconds, got ${hangTimeout}`);
  if (memoryLimit !== undefined && !(memoryLimit >= 2 ** 20 && memoryLimit <= MEMORY_LIMIT))
    throw new ValueError(`init: memoryLimit must be from 2^20 to 2^32 bytes, got ${memoryLimit}`);
}
