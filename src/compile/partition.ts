/**
 * @file Phases: instructions between two barriers. Workers run the instructions of a phase without waiting for each other,
 * so whatever an instruction reads must have been written in an earlier phase, or in its own by the same worker: writer and
 * reader then cut the buffer alike and use the same lanes. Row-local chains need no barrier.
 */
import { At } from "../../assembly/isa.ts";
import type { Access, Allocation, Instr, Schedule } from "./instr.ts";

/** Whether the worker that does a piece of `a` also does the same piece of `b`, for any number of workers. */
export function sameSlices(a: Instr, x: Access, b: Instr, y: Access): boolean {
  if (a.lanes === 1 && b.lanes === 1) return true; // both on the first worker alone
  return x.unit > 0 && x.unit === y.unit && a.units === b.units && a.lanes === b.lanes;
}

/** Whether a reader that cuts a buffer like one of two accesses cuts it like the other one too. */
function cutAlike(a: Instr, x: Access, b: Instr, y: Access): boolean {
  if (a.lanes !== b.lanes) return false;
  return a.lanes === 1 || (x.unit === 0 && y.unit === 0) || (x.unit === y.unit && a.units === b.units);
}

/** How a buffer was written: all that wrote it in slices alike, and the last phase in which they did. */
interface Written {
  readonly instr: Instr;
  readonly access: Access;
  /** The phase of the first of them. */
  readonly first: number;
  phase: number;
}

/**
 * The instructions of a loop, where those of as many units take as many lanes: a worker that is there for one of them does its part
 * of the others too, instead of waiting for whoever does, step after step.
 */
export function evenLanes(instrs: readonly Instr[]): Instr[] {
  const most = new Map<number, number>();
  for (const i of instrs) most.set(i.units, Math.max(most.get(i.units) ?? 1, i.lanes));
  return instrs.map((i) => {
    const lanes = most.get(i.units) as number;
    return { ...i, lanes, words: i.words.map((w, k) => (k === At.Lanes ? lanes : w)) };
  });
}

/** Each instruction in the earliest phase it can run in. */
export function partition(instrs: readonly Instr[]): Schedule {
  // Several instructions may write one buffer: zeros, then parts. Those that cut it alike are as one to who reads it.
  const written = new Map<Allocation, Written[]>();
  const count = instrs.length;
  const earliest = new Int32Array(count);
  let phases = 0;
  for (let k = 0; k < count; k++) {
    const i = instrs[k];
    let phase = 0;
    for (const r of i.reads) {
      for (const w of written.get(r.buffer) ?? [])
        phase = Math.max(phase, w.phase + (sameSlices(w.instr, w.access, i, r) ? 0 : 1));
      if (r.after) for (const w of written.get(r.after) ?? []) phase = Math.max(phase, w.phase + 1);
    }
    // Parts do not overlap, but come after the zeros they overwrite.
    for (const access of i.writes) {
      const zeros = written.get(access.buffer)?.[0];
      if (zeros && zeros.access.unit > 0)
        phase = Math.max(phase, zeros.first + (sameSlices(zeros.instr, zeros.access, i, access) ? 0 : 1));
    }
    for (const access of i.writes) {
      const list = written.get(access.buffer);
      const alike = list?.find((w) => cutAlike(w.instr, w.access, i, access));
      if (alike) alike.phase = Math.max(alike.phase, phase);
      else if (list) list.push({ instr: i, access, first: phase, phase });
      else written.set(access.buffer, [{ instr: i, access, first: phase, phase }]);
    }
    earliest[k] = phase;
    phases = Math.max(phases, phase + 1);
  }
  sink(instrs, earliest);
  // By phase, in linear time; in one, as they were.
  const next = new Int32Array(phases + 1);
  for (let k = 0; k < count; k++) next[earliest[k] + 1]++;
  for (let p = 0; p < phases; p++) next[p + 1] += next[p];
  const ordered = new Array<Instr>(count);
  const phaseOf = new Int32Array(count);
  for (let k = 0; k < count; k++) {
    const at = next[earliest[k]]++;
    ordered[at] = instrs[k];
    phaseOf[at] = earliest[k];
  }
  return { instrs: ordered, phaseOf, phases };
}

/** Moves what reads nothing, zeros above all, to the last phase that will do: its result needs no memory before. */
function sink(instrs: readonly Instr[], phaseOf: Int32Array): void {
  const fills = new Map<Allocation, number>();
  instrs.forEach((i, k) => {
    if (i.reads.length === 0 && i.writes.length === 1 && !fills.has(i.writes[0].buffer))
      fills.set(i.writes[0].buffer, k);
  });
  const latest = new Map<number, number>();
  instrs.forEach((i, k) => {
    for (const access of [...i.reads, ...i.writes]) {
      const f = fills.get(access.buffer);
      if (f === undefined || f === k) continue;
      const limit = phaseOf[k] - (sameSlices(instrs[f], instrs[f].writes[0], i, access) ? 0 : 1);
      latest.set(f, Math.min(latest.get(f) ?? limit, limit));
    }
  });
  for (const [f, phase] of latest) phaseOf[f] = Math.max(phaseOf[f], phase);
}
