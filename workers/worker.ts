/** @file The worker: instantiates the kernels, waits at the doorbell, runs programs. The same code everywhere. */
import { transfer } from "comlink";
import * as isa from "../assembly/isa.ts";
import {
  bellOf,
  Control,
  CONTROL_WORD,
  heartbeatOf,
  type PrivateJob,
  scratchOf,
  type Setup,
  type WorkerApi,
} from "../src/run/protocol.ts";

type Kernel = (ip: number, begin: number, end: number, scratch: number) => void;

/** Most and fewest turns a worker spins at a barrier before it sleeps: some tens of microseconds, or hardly any. */
const MAX_SPINS = 20_000;
const MIN_SPINS = 64;
/** Longest sleep at a barrier before the abort word is looked at again, in milliseconds. */
const SLICE_MS = 100;

class Aborted extends Error {}

let kernels: Kernel[] = [];
let memory: WebAssembly.Memory;
let words: Int32Array;
let worker = 0;
/** How many workers run the launch. */
let team = 1;
/** Halved when spinning was in vain: with more workers than free cores it keeps the others from arriving. */
let spins = MAX_SPINS;

function refresh(): void {
  // A memory that grew has a new buffer; old views keep their old length.
  if (words === undefined || words.buffer !== memory.buffer) words = new Int32Array(memory.buffer);
}

function barrier(): void {
  const at = CONTROL_WORD;
  const generation = Atomics.load(words, at + Control.Generation);
  if (Atomics.add(words, at + Control.Arrived, 1) === team - 1) {
    Atomics.store(words, at + Control.Arrived, 0);
    Atomics.add(words, at + Control.Generation, 1);
    if (Atomics.load(words, at + Control.Sleepers) > 0) Atomics.notify(words, at + Control.Generation);
    return;
  }
  for (let i = 0; i < spins; i++)
    if (Atomics.load(words, at + Control.Generation) !== generation) {
      spins = Math.min(MAX_SPINS, spins + (spins >> 2));
      return;
    }
  spins = Math.max(MIN_SPINS, spins >> 1);
  Atomics.add(words, at + Control.Sleepers, 1);
  while (Atomics.load(words, at + Control.Generation) === generation) {
    if (Atomics.load(words, at + Control.Abort) !== 0) throw new Aborted();
    Atomics.wait(words, at + Control.Generation, generation, SLICE_MS);
  }
  Atomics.sub(words, at + Control.Sleepers, 1);
}

/** Runs the program: `length` words at byte address `entry`. */
function run(entry: number, length: number): void {
  const scratch = scratchOf(worker);
  const heartbeat = heartbeatOf(worker) >> 2;
  const end = (entry >> 2) + length;
  for (let pc = entry >> 2; pc < end; ) {
    const opcode = words[pc + isa.At.Opcode];
    if (opcode === isa.Opcode.Barrier) {
      if (team > 1) barrier();
    } else {
      const units = words[pc + isa.At.Units];
      const lanes = Math.min(team, words[pc + isa.At.Lanes]);
      if (worker < lanes) {
        const first = Math.floor((units * worker) / lanes);
        const last = Math.floor((units * (worker + 1)) / lanes);
        if (first < last) kernels[opcode](pc << 2, first, last, scratch);
      }
    }
    words[heartbeat]++;
    pc += words[pc + isa.At.Length];
  }
}

/** Sleeps until the bell shows another number than `seen`; returns it. */
function waitForBell(seen: number): number {
  const bell = bellOf(worker) >> 2;
  let now = Atomics.load(words, bell);
  while (now === seen) {
    Atomics.wait(words, bell, seen, 10 * SLICE_MS);
    now = Atomics.load(words, bell);
  }
  return now;
}

export const api: WorkerApi = {
  setup(options: Setup): void {
    ({ worker } = options);
    memory = options.memory ?? new WebAssembly.Memory({ initial: Math.ceil(options.bytes / 65536), maximum: 65536 });
    const { exports } = new WebAssembly.Instance(options.module, { env: { memory } });
    const names = Object.values(isa.Opcode).filter((v) => typeof v === "string");
    kernels = names.map((name) => exports[name[0].toLowerCase() + name.slice(1)] as Kernel);
    if (worker === 0) (exports.writeConstants as () => void)();
    refresh();
  },

  serve(): void {
    let seen = 0;
    for (;;) {
      seen = waitForBell(seen);
      refresh();
      const at = CONTROL_WORD;
      team = words[at + Control.Team];
      try {
        run(words[at + Control.Entry] >>> 0, words[at + Control.Length]);
      } catch (error) {
        if (error instanceof Aborted) return;
        Atomics.store(words, at + Control.Abort, 1);
        Atomics.notify(words, at + Control.Generation);
        throw error;
      }
      if (Atomics.add(words, at + Control.Finished, 1) === team - 1) {
        Atomics.store(words, at + Control.Finished, 0);
        Atomics.store(words, at + Control.Done, seen);
        Atomics.notify(words, at + Control.Done);
      }
    }
  },

  step(job: PrivateJob): Uint8Array[] {
    const missing = job.bytes - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / 65536));
    refresh();
    const bytes = new Uint8Array(memory.buffer);
    for (const { address, data } of job.writes) bytes.set(data, address);
    run(job.entry, job.length);
    const results = job.reads.map(({ address, bytes: n }) => bytes.slice(address, address + n));
    return transfer(
      results,
      results.map((r) => r.buffer),
    );
  },
};
