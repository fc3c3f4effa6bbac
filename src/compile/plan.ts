/**
 * @file The static memory plan. A buffer lives from the phase that first writes it to the last one that reads it: inside a
 * phase workers are at different instructions, so lifetimes are counted in phases. Placement is greedy by size (Pisarchyk
 * and Lee, arXiv 2001.03288), tried in several orders; the result is compared with the largest sum of bytes alive at once.
 */
import * as isa from "../../assembly/isa.ts";
import type { Buffer, Instr, Ref } from "./instr.ts";
import { sameSlices } from "./partition.ts";

const ALIGN = 64;

export interface Plan {
  /** Bytes of the arena. */
  readonly bytes: number;
  /** No plan can be smaller: the largest sum of bytes alive in one phase. */
  readonly lowerBound: number;
  /** Bytes if nothing shared memory. */
  readonly unshared: number;
  /** Offset of each arena buffer, by buffer id. */
  readonly offsets: ReadonlyMap<number, number>;
}

interface Life {
  buffers: Buffer[];
  bytes: number;
  from: number;
  to: number;
  offset: number;
}

/** Bytes rounded up to whole cache lines. */
export const align = (n: number): number => Math.ceil(n / ALIGN) * ALIGN;
const inArena = (b: Buffer): boolean => b.kind === "temp";

/** Lifetimes in phases, with buffers that may share one place merged. */
function lifetimes(buffers: readonly Buffer[], instrs: readonly Instr[], phases: number): Life[] {
  const lives = new Map<Buffer, Life>();
  for (const b of buffers)
    if (inArena(b)) lives.set(b, { buffers: [b], bytes: align(b.bytes), from: phases, to: -1, offset: 0 });
  const accesses = new Map<Buffer, Instr[]>();
  for (const i of instrs)
    for (const { buffer } of [...i.reads, ...i.writes]) {
      const life = lives.get(buffer);
      if (!life) continue;
      life.from = Math.min(life.from, i.phase);
      life.to = Math.max(life.to, i.phase);
      const list = accesses.get(buffer);
      if (!list) accesses.set(buffer, [i]);
      else if (list[list.length - 1] !== i) list.push(i);
    }
  // In place: a Map may write over an operand nobody needs afterwards.
  for (const i of instrs) {
    if (i.opcode !== isa.Opcode.Map || i.writes.length === 0) continue;
    for (const w of i.writes) {
      const target = lives.get(w.buffer);
      if (!target || w.unit === 0 || (accesses.get(w.buffer) as Instr[])[0] !== i) continue;
      for (const r of i.reads) {
        const source = lives.get(r.buffer);
        if (!source || source === target || r.buffer.bytes !== w.buffer.bytes || r.unit !== w.unit) continue;
        if (source.to !== i.phase || !lastUse(i, r.buffer, accesses)) continue;
        if (source.buffers.some((b) => i.writes.some((x) => x.buffer === b))) continue; // taken by another result
        if (!readBefore(i, r.buffer, w.buffer)) continue;
        const merged = source;
        merged.buffers.push(...target.buffers);
        merged.to = Math.max(merged.to, target.to);
        for (const b of target.buffers) lives.set(b, merged);
        break;
      }
    }
  }
  return [...new Set(lives.values())].filter((l) => l.to >= l.from);
}

/** Whether i is the last to touch b, and whoever touches b in the same phase does so on the same slices. */
function lastUse(i: Instr, b: Buffer, accesses: ReadonlyMap<Buffer, Instr[]>): boolean {
  const list = accesses.get(b) as Instr[];
  if (list[list.length - 1] !== i) return false;
  const mine = i.reads.find((r) => r.buffer === b);
  if (!mine) return false;
  return list.every(
    (o) =>
      o === i ||
      o.phase < i.phase ||
      [...o.reads, ...o.writes].every((x) => x.buffer !== b || sameSlices(o, x, i, mine)),
  );
}

/** Whether within a tile every micro-operation that reads buffer r comes no later than the first one that writes w. */
function readBefore(i: Instr, r: Buffer, w: Buffer): boolean {
  const I = isa.Map;
  const num = (at: number): number => i.words[at] as number;
  const bufferOf = (slot: number): Buffer | undefined => {
    const word = i.words[num(I.SlotsAt) + slot * 2 + 1];
    return typeof word === "object" ? (word as Ref).buffer : undefined;
  };
  let written = false;
  for (let m = 0; m < num(I.Micros); m++) {
    const at = num(I.MicrosAt) + m * 5;
    const op = num(at);
    if (written && [2, 3, 4].some((k) => bufferOf(num(at + k)) === r)) return false;
    if (op !== isa.Micro.Splat && bufferOf(num(at + 1)) === w) written = true;
  }
  return true;
}

/** Lowest offset at which a life fits beside those already placed that overlap it in time. */
function placeAll(lives: readonly Life[]): number {
  const placed: Life[] = [];
  let top = 0;
  for (const l of lives) {
    const others = placed.filter((p) => p.from <= l.to && l.from <= p.to).sort((a, b) => a.offset - b.offset);
    let at = 0;
    for (const o of others) {
      if (at + l.bytes <= o.offset) break;
      at = Math.max(at, o.offset + o.bytes);
    }
    l.offset = at;
    placed.push(l);
    top = Math.max(top, at + l.bytes);
  }
  return top;
}

export function plan(buffers: readonly Buffer[], instrs: readonly Instr[], phases: number): Plan {
  const lives = lifetimes(buffers, instrs, phases);
  const live = new Array<number>(phases + 2).fill(0);
  for (const l of lives) for (let p = l.from; p <= l.to; p++) live[p + 1] += l.bytes;
  const orders: ((a: Life, b: Life) => number)[] = [
    (a, b) => b.bytes - a.bytes || b.to - b.from - (a.to - a.from) || a.from - b.from,
    (a, b) => b.to - b.from - (a.to - a.from) || b.bytes - a.bytes,
    (a, b) => a.from - b.from || b.bytes - a.bytes,
  ];
  let best = Number.POSITIVE_INFINITY;
  const offsets = new Map<number, number>();
  for (const order of orders) {
    const bytes = placeAll([...lives].sort(order));
    if (bytes >= best) continue;
    best = bytes;
    for (const l of lives) for (const b of l.buffers) offsets.set(b.id, l.offset);
  }
  const unshared = buffers.reduce((s, b) => s + (inArena(b) ? align(b.bytes) : 0), 0);
  return { bytes: lives.length > 0 ? best : 0, lowerBound: Math.max(0, ...live), unshared, offsets };
}
