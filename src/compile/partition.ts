/**
 * @file Phases: instructions between two barriers. Workers run the instructions of a phase without waiting for each other,
 * so whatever an instruction reads must have been written in an earlier phase, or in its own by the same worker: writer and
 * reader then cut the buffer alike and use the same lanes. Row-local chains need no barrier.
 */
import type { Access, Buffer, Instr } from "./instr.ts";

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
  phase: number;
}

/** Gives each instruction the earliest phase it can run in, and orders them by phase. Returns the number of phases. */
export function partition(instrs: Instr[]): number {
  // Several instructions may write one buffer: zeros, then parts. Those that cut it alike are as one to who reads it.
  const written = new Map<Buffer, Written[]>();
  let phases = 0;
  for (const i of instrs) {
    for (const r of i.reads) {
      for (const w of written.get(r.buffer) ?? [])
        i.phase = Math.max(i.phase, w.phase + (sameSlices(w.instr, w.access, i, r) ? 0 : 1));
      if (r.after) for (const w of written.get(r.after) ?? []) i.phase = Math.max(i.phase, w.phase + 1);
    }
    // Parts do not overlap, but come after the zeros they overwrite.
    for (const { buffer } of i.writes) {
      const zeros = written.get(buffer)?.[0];
      if (zeros && zeros.access.unit > 0)
        i.phase = Math.max(i.phase, zeros.instr.phase + (i.lanes === 1 && zeros.instr.lanes === 1 ? 0 : 1));
    }
    for (const access of i.writes) {
      const list = written.get(access.buffer);
      const alike = list?.find((w) => cutAlike(w.instr, w.access, i, access));
      if (alike) alike.phase = Math.max(alike.phase, i.phase);
      else if (list) list.push({ instr: i, access, phase: i.phase });
      else written.set(access.buffer, [{ instr: i, access, phase: i.phase }]);
    }
    phases = Math.max(phases, i.phase + 1);
  }
  instrs.sort((a, b) => a.phase - b.phase);
  return phases;
}
