/** @file The worker: instantiates the kernels, waits at the doorbell, runs programs. The same code everywhere. */
import { transfer } from "comlink";
import * as isa from "../assembly/isa.ts";
import {
  bellOf,
  Control,
  CONTROL_WORD,
  FAULT_WORDS,
  faultOf,
  heartbeatOf,
  Launch,
  launchWord,
  type PrivateJob,
  scratchOf,
  type Setup,
  type WorkerApi,
} from "../src/run/protocol.ts";

type Kernel = (ip: number, begin: number, end: number, scratch: number) => void;

/** Most and fewest turns a worker spins before it sleeps: some tens of microseconds, or hardly any. */
const MAX_SPINS = 20_000;
const MIN_SPINS = 64;
/** Longest sleep before the abort word is looked at again, in milliseconds. */
const SLICE_MS = 100;

/** Instructions whose calls each read all of an operand: cut finely they would take longer. Their estimates are good. */
const COARSE: readonly number[] = [isa.Opcode.Gemm, isa.Opcode.ScatterAdd];

class Aborted extends Error {}

/** By the numbers of their instructions; of families that no program needed yet there are none. */
const kernels: Kernel[] & { writeConstants?: () => void } = [];
let memory: WebAssembly.Memory;
let words: Int32Array;
let worker = 0;
/** How many workers run the launch. */
let team = 1;
/** Halved when spinning was in vain: with more workers than free cores it keeps the others from arriving. */
let spins = MAX_SPINS;
/** The same for the bell; 0 if it is not worth it. */
let bellSpins = 0;

function refresh(): void {
  // A memory that grew has a new buffer; old views keep their old length.
  if (words === undefined || words.buffer !== memory.buffer) words = new Int32Array(memory.buffer);
}

const stopped = (word: number): boolean => Atomics.load(words, CONTROL_WORD + word) !== 0;

/** Waits while a control word shows `value`. */
function waitWhile(word: number, value: number): void {
  const at = CONTROL_WORD + word;
  for (let i = 0; i < spins; i++)
    if (Atomics.load(words, at) !== value) {
      spins = Math.min(MAX_SPINS, spins + (spins >> 2));
      return;
    }
  spins = Math.max(MIN_SPINS, spins >> 1);
  const sleepers = CONTROL_WORD + Control.Sleepers;
  Atomics.add(words, sleepers, 1);
  while (Atomics.load(words, at) === value) {
    if (stopped(Control.Abort)) throw new Aborted();
    Atomics.wait(words, at, value, SLICE_MS);
  }
  Atomics.sub(words, sleepers, 1);
}

/** Waits for all workers of the team; the last one to arrive calls `whenAll` first. */
function barrier(whenAll?: () => void): void {
  const at = CONTROL_WORD;
  const generation = Atomics.load(words, at + Control.Generation);
  if (Atomics.add(words, at + Control.Arrived, 1) !== team - 1) {
    waitWhile(Control.Generation, generation);
    return;
  }
  whenAll?.();
  Atomics.store(words, at + Control.Arrived, 0);
  Atomics.add(words, at + Control.Generation, 1);
  if (Atomics.load(words, at + Control.Sleepers) > 0) Atomics.notify(words, at + Control.Generation);
}

/** Tells the owner of a private memory, who sees no heartbeat, that the worker moves. Set by the worker's door. */
export const door = { pulse: (): void => {} };

/** Work since the last sign of life to the owner of a private memory; see Setup.pace. */
let since = 0;
let pace = 0;
/** When the last one was. */
let told = 0;
let isPrivate = false;

/** A sign of life after some more work. */
function moved(work: number): void {
  words[heartbeatOf(worker) >> 2]++;
  since += work;
  if (!isPrivate || since < pace) return;
  since = 0;
  // Kernels beat so often that a message each time would be many. In milliseconds the pace is a thirtieth of the time
  // after which a worker counts as hung.
  const now = performance.now();
  if (now - told < pace) return;
  told = now;
  door.pulse();
}

/** Does what takes long in several calls of the kernel, with a sign of life after each. */
function inPieces(opcode: number, ip: number, first: number, last: number, work: number): void {
  const most = COARSE.includes(opcode) ? 100 * pace : pace;
  const calls = Math.max(1, Math.min(last - first, Math.ceil(work / most)));
  for (let i = 0, from = first; i < calls; i++) {
    const to = first + Math.floor(((last - first) * (i + 1)) / calls);
    kernels[opcode](ip, from, to, scratchOf(worker));
    moved(work / calls);
    from = to;
  }
}

/** Where a run notes its times: of an instruction of the program begin and end, of one in a loop 0 and how long it took in all. */
let times: Float64Array | undefined;

/**
 * Runs instructions, from one word to another; what takes long is done in several calls of its kernel. The first of them notes its
 * times at `tick`. Returns how many there are, with those of loops.
 */
function perform(from: number, end: number, tick: number, looping: boolean): number {
  const scratch = scratchOf(worker);
  const heartbeat = heartbeatOf(worker) >> 2;
  let done = 0;
  let pc = from;
  while (pc < end) {
    const opcode = words[pc + isa.At.Opcode];
    const estimate = words[pc + isa.At.Lanes];
    const at = tick + 2 * done;
    const begin = times ? performance.now() : 0;
    if (opcode === isa.Opcode.Barrier) {
      if (team > 1) barrier();
    } else {
      const units = words[pc + isa.At.Units];
      if (units <= 0 || estimate <= 0) throw new Error("an instruction has nothing to do");
      if (opcode === isa.Opcode.Loop) done += repeat(pc, estimate, at + 2, looping);
      else {
        const lanes = Math.min(team, estimate);
        if (worker < lanes) {
          const first = Math.floor((units * worker) / lanes);
          const last = Math.floor((units * (worker + 1)) / lanes);
          if (first < last) {
            if (estimate > pace) inPieces(opcode, pc << 2, first, last, estimate / lanes);
            else kernels[opcode](pc << 2, first, last, scratch);
          }
        }
      }
    }
    if (times) {
      const now = performance.now();
      times[at + 1] = looping ? times[at + 1] + now - begin : now;
      if (!looping) times[at] = begin;
    }
    words[heartbeat]++;
    if (isPrivate) moved(estimate);
    const size = words[pc + isa.At.Length];
    if (size <= isa.At.Lanes) throw new Error("an instruction has no length");
    pc += size;
    done++;
  }
  // Nothing may pass for done that was not: what memory holds would be taken for results.
  if (pc !== end) throw new Error("the program is not whole");
  return done;
}

/** Runs a loop, on a copy of its own whose addresses move on. Returns how many instructions are in it. */
function repeat(pc: number, lanes: number, tick: number, looping: boolean): number {
  const of = (operand: isa.Loop): number => words[pc + operand];
  const instructions = of(isa.Loop.Instructions);
  const size = of(isa.Loop.Words);
  const steps = 2 * of(isa.Loop.Steps);
  const all = size + steps + 2 * of(isa.Loop.Turns);
  const from = pc + isa.Loop.Length;
  if (of(isa.Loop.Count) <= 0) throw new Error("a loop has no steps");
  if (from + all !== pc + words[pc + isa.At.Length]) throw new Error("a loop is not whole");
  if (times && !looping) times.fill(0, tick, tick + 2 * instructions);
  // Who takes part in none of it only waits where the others wait.
  const takesPart = worker < lanes;
  let at = from;
  if (takesPart) {
    at = (of(isa.Loop.Copies) >>> 2) + worker * (of(isa.Loop.Bytes) >> 2);
    words.copyWithin(at, from, from + all);
  }
  // What was recorded before is earlier in the program; kernels compare addresses alone.
  const record = faultOf(worker) >> 2;
  const before = words[record] === isa.FaultCode.None ? undefined : words.slice(record, record + FAULT_WORDS);
  if (before) words[record] = isa.FaultCode.None;
  for (let left = of(isa.Loop.Count); left > 0; left--) {
    if (perform(at, at + size, tick, true) !== instructions) throw new Error("the program is not whole");
    if (stopped(Control.Abort)) throw new Aborted();
    if (!takesPart) continue;
    for (let p = at + size; p < at + size + steps; p += 2) words[at + words[p]] += words[p + 1];
    for (let p = at + size + steps; p < at + all; p += 2) {
      words[at + words[p]] += words[p + 1];
      words[p + 1] = -words[p + 1];
    }
  }
  // A fault is known by its instruction, and that by its place in the program.
  if (before) words.set(before, record);
  else if (words[record] !== isa.FaultCode.None) words[record + (isa.Fault.Ip >> 2)] += (from - at) * 4;
  return instructions;
}

/** Runs the program: `length` words at byte address `entry`. Writes when each instruction begins and ends to `log`. */
function run(entry: number, length: number, instructions: number, log?: Float64Array): void {
  times = log;
  if (log) log[0] = performance.timeOrigin;
  // Addresses are unsigned: a memory has up to 4 GiB.
  const from = entry >>> 2;
  if (perform(from, from + length, 1, false) !== instructions || instructions === 0)
    throw new Error("the program is not whole");
}

/** The word address of the launch in progress. */
let launch = 0;

/** Word address of the fault record that counts, the earliest instruction's first place of all workers; 0 if there is none. */
function faulted(): number {
  let found = 0;
  const [ip, where] = [isa.Fault.Ip >> 2, isa.Fault.Where >> 2];
  for (let w = 0; w < team; w++) {
    const record = faultOf(w) >> 2;
    if (words[record] === isa.FaultCode.None) continue;
    const later =
      (words[record + ip] >>> 0) - (words[found + ip] >>> 0) || words[record + where] - words[found + where];
    if (found === 0 || later < 0) found = record;
  }
  return found;
}

/** Between two steps of a launch, with nobody at work: the next run of this image finds what comes next. */
function endStep(): void {
  if (faulted() > 0) return;
  const completed = ++words[launch + Launch.Completed];
  const image = words[launch + Launch.Images + ((completed - 1) & 1)] >>> 2;
  let at = image + words[launch + Launch.Length];
  for (let left = words[at++]; left > 0; left--, at += 2) words[image + words[at]] += words[at + 1];
}

/** After the last step, with nobody at work. */
function endLaunch(n: number): void {
  const record = faulted();
  for (let i = 0; i < FAULT_WORDS; i++) words[launch + Launch.Fault + i] = record > 0 ? words[record + i] : 0;
  if (record > 0) {
    for (let w = 0; w < team; w++) words[faultOf(w) >> 2] = isa.FaultCode.None;
    words[CONTROL_WORD + Control.Cancel] = 1;
  } else if (!stopped(Control.Cancel) && !stopped(Control.Abort)) {
    words[launch + Launch.Completed] = words[launch + Launch.Count];
  }
  Atomics.store(words, CONTROL_WORD + Control.Finished, 0);
  Atomics.store(words, CONTROL_WORD + Control.Done, n);
  Atomics.notify(words, CONTROL_WORD + Control.Done);
}

/** Runs launch n, once the one before it is done: they may use the same memory. */
function takeTurn(n: number): void {
  for (;;) {
    const done = Atomics.load(words, CONTROL_WORD + Control.Done);
    if (done === ((n - 1) | 0)) break;
    waitWhile(Control.Done, done);
  }
  refresh();
  launch = launchWord(n);
  team = words[launch + Launch.Team];
  words[heartbeatOf(worker) >> 2] = 0;
  const count = stopped(Control.Cancel) ? 0 : words[launch + Launch.Count];
  const length = words[launch + Launch.Length];
  const instructions = words[launch + Launch.Instructions];
  const log = words[launch + Launch.Times] >>> 0;
  const bytes = words[launch + Launch.TimesBytes];
  const times = log > 0 ? new Float64Array(memory.buffer, log + worker * bytes, bytes >> 3) : undefined;
  for (let i = 0; i < count; i++) {
    run(words[launch + Launch.Images + (i & 1)] >>> 0, length, instructions, times);
    if (i === count - 1) break;
    if (team > 1) barrier(endStep);
    else endStep();
    if (words[launch + Launch.Completed] === i || stopped(Control.Abort)) break;
  }
  if (Atomics.add(words, CONTROL_WORD + Control.Finished, 1) === team - 1) endLaunch(n);
}

/** How often the bell had been rung when it was looked at, the last launch that was run, and calls that were answered. */
let heard = 0;
let latest = 0;
let answered = 0;

/** Sleeps until the bell shows another number than `seen`; returns it. */
function waitForBell(seen: number): number {
  const bell = bellOf(worker) >> 2;
  let now = Atomics.load(words, bell);
  for (let i = 0; i < bellSpins && now === seen; i++) now = Atomics.load(words, bell);
  if (bellSpins > 0) bellSpins = now === seen ? Math.max(MIN_SPINS, bellSpins >> 1) : MAX_SPINS;
  while (now === seen) {
    Atomics.wait(words, bell, seen, 10 * SLICE_MS);
    now = Atomics.load(words, bell);
  }
  return now;
}

export const api: WorkerApi = {
  setup(options: Setup): void {
    ({ worker, pace } = options);
    isPrivate = options.memory === undefined;
    memory =
      options.memory ??
      new WebAssembly.Memory({ initial: Math.ceil(options.bytes / isa.Size.Page), maximum: isa.Size.Pages });
    this.load(options.modules);
    if (worker === 0) kernels.writeConstants?.();
    if (worker < options.spinners) bellSpins = MAX_SPINS;
    refresh();
  },

  load(modules: readonly WebAssembly.Module[]): void {
    const imports = { env: { memory, beat: () => moved(pace) } };
    // Exports are named by the numbers of their instructions.
    for (const module of modules) Object.assign(kernels, new WebAssembly.Instance(module, imports).exports);
  },

  serve(): void {
    const mail = (bellOf(worker) >> 2) + 1;
    for (;;) {
      heard = waitForBell(heard);
      const [even, odd] = [Atomics.load(words, mail), Atomics.load(words, mail + 1)];
      try {
        for (const n of ((even - odd) | 0) < 0 ? [even, odd] : [odd, even])
          if (((n - latest) | 0) > 0) {
            takeTurn(n);
            latest = n;
          }
      } catch (error) {
        if (error instanceof Aborted) return;
        Atomics.store(words, CONTROL_WORD + Control.Abort, 1);
        for (const word of [Control.Generation, Control.Done]) Atomics.notify(words, CONTROL_WORD + word);
        throw error;
      }
      if (Atomics.load(words, mail + 2) !== answered) {
        answered = (answered + 1) | 0;
        return;
      }
    }
  },

  step(job: PrivateJob): Uint8Array[] | null {
    const missing = job.bytes - memory.buffer.byteLength;
    if (missing > 0) {
      try {
        memory.grow(Math.ceil(missing / isa.Size.Page));
      } catch {
        return null;
      }
    }
    refresh();
    const bytes = new Uint8Array(memory.buffer);
    for (const { address, data } of job.writes) bytes.set(data, address);
    if (job.launch > 0) takeTurn(job.launch);
    const results = job.reads.map(({ address, bytes: n }) => bytes.slice(address, address + n));
    return transfer(
      results,
      results.map((r) => r.buffer),
    );
  },
};
