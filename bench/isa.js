// What every benchmark of raw kernels needs: the numbers of the instruction set, and the kernels on a private memory.
import { existsSync, readFileSync } from "node:fs";
import { isa } from "../scripts/isa.js";
import { FAMILIES } from "../scripts/kernels.js";

export { isa };

/** A binary of a variant, from build/ or from another directory (a URL that ends in a slash). */
export function wasmBytes(name, variant, directory = new URL("../build/", import.meta.url)) {
  const file = new URL(`${name}.${variant}.wasm`, directory);
  if (!existsSync(file)) throw new Error(`${file.pathname} is missing: run \`node scripts/kernels.js\` first`);
  return readFileSync(file);
}

/** True if this engine takes the relaxed binaries. */
export function hasRelaxed(directory) {
  return WebAssembly.validate(wasmBytes("core", "relaxed", directory));
}

/** An instance on a memory of its own, with a bump allocator that never frees. */
export class Bench {
  constructor(variant, { pages = 1024, directory } = {}) {
    this.variant = variant;
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: isa.Size.Pages });
    const instance = (name) =>
      new WebAssembly.Instance(new WebAssembly.Module(wasmBytes(name, variant, directory)), {
        env: { memory: this.memory, beat() {} },
      }).exports;
    this.kernels = Object.assign({}, ...FAMILIES.map(instance));
    /** Computes as fast as an engine can. */
    this.peak = instance("peak").peak;
    this.kernels.writeConstants();
    this.scratch = isa.Memory.Heap;
    this.top = this.scratch + isa.Scratch.Bytes;
  }

  /** Address of `bytes` bytes on a 64-byte boundary. */
  alloc(bytes) {
    const address = Math.ceil(this.top / 64) * 64;
    this.top = address + bytes;
    const missing = this.top - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / isa.Size.Page));
    return address;
  }

  /** Address of n float32, filled by index. */
  f32(n, fill = () => 0) {
    const address = this.alloc(n * 4);
    const values = new Float32Array(this.memory.buffer, address, n);
    for (let i = 0; i < n; i++) values[i] = fill(i);
    return address;
  }

  /** Address of an instruction: `operands` by word offset, everything else 0. */
  instruction(opcode, length, units, operands) {
    const address = this.alloc(length * 4);
    const words = new Int32Array(this.memory.buffer, address, length).fill(0);
    words[isa.At.Opcode] = opcode;
    words[isa.At.Length] = length;
    words[isa.At.Units] = units;
    words[isa.At.Lanes] = 0x7fffffff;
    for (const [word, value] of Object.entries(operands)) words[word] = value;
    return address;
  }
}

/** Floating-point operations of one call of `peak`: 8 sums of 4 lanes, a product and a sum each. */
const PEAK_ITERATIONS = 20000;
const PEAK_FLOP = PEAK_ITERATIONS * 8 * 4 * 2;

/** The task that measures how fast a worker can compute, to stand between others; `ceilingOf` reads what came of it. */
export const peakTask = (bench) => ({ name: "peak", run: () => bench.peak(PEAK_ITERATIONS), calls: 1 });

/** The ceiling in GFLOP/s, of what `fastest` found. */
export const ceilingOf = (seconds) => PEAK_FLOP / seconds.get("peak") / 1e9;

/**
 * Least seconds per call of each task {name, run, calls}: `calls` calls make one burst, bursts of the tasks take turns,
 * and the least of `bursts` counts, because other load only ever adds time. A task may stand in the list several times.
 * Warms up first, until every task has had `warm` milliseconds and the engine a moment to finish compiling.
 */
export async function fastest(tasks, { bursts = 30, warm = 60 } = {}) {
  for (let round = 0; round < 2; round++) {
    for (const task of tasks) {
      const until = performance.now() + warm / 2;
      do for (let i = 0; i < task.calls; i++) task.run();
      while (performance.now() < until);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const best = new Map(tasks.map((task) => [task.name, Infinity]));
  for (let burst = 0; burst < bursts; burst++) {
    for (const { name, run, calls } of tasks) {
      run(); // whoever had the turn before has left other data in the caches
      const start = performance.now();
      for (let i = 0; i < calls; i++) run();
      const seconds = (performance.now() - start) / 1000 / calls;
      if (seconds < best.get(name)) best.set(name, seconds);
    }
  }
  return best;
}
