/**
 * @file Phases: instructions between two barriers. Workers run the instructions of a phase without waiting for each other,
 * so whatever an instruction reads must have been written in an earlier phase, or in its own by the same worker: writer and
 * reader then cut the buffer alike and use the same lanes. Row-local chains need no barrier.
 */
import type { Access, Instr } from "./instr.ts";

/** Whether the worker that does a piece of `a` also does the same piece of `b`, for any number of workers. */
export function sameSlices(a: Instr, x: Access, b: Instr, y: Access): boolean {
  if (a.lanes === 1 && b.lanes === 1) return true; // both on the first worker alone
  return x.unit > 0 && x.unit === y.unit && a.units === b.units && a.lanes === b.lanes;
}

/** Gives each instruction the earliest phase it can run in, and orders them by phase. Returns the number of phases. */
export function partition(instrs: Instr[]): number {
  const writers = new Map<number, { instr: Instr; access: Access }[]>();
  let phases = 0;
  for (const i of instrs) {
    for (const r of i.reads)
      for (const w of writers.get(r.buffer.id) ?? [])
        i.phase = Math.max(i.phase, w.instr.phase + (sameSlices(w.instr, w.access, i, r) ? 0 : 1));
    for (const a of i.writes) {
      // Several writers of one buffer: zeros, then parts. Parts do not overlap, but come after what they overwrite.
      const list = writers.get(a.buffer.id);
      if (!list) writers.set(a.buffer.id, [{ instr: i, access: a }]);
      else {
        const first = list[0];
        if (first.access.unit > 0)
          i.phase = Math.max(i.phase, first.instr.phase + (i.lanes === 1 && first.instr.lanes === 1 ? 0 : 1));
        list.push({ instr: i, access: a });
      }
    }
    phases = Math.max(phases, i.phase + 1);
  }
  instrs.sort((a, b) => a.phase - b.phase);
  return phases;
}
