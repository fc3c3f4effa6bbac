/**
 * @file The static memory plan. A buffer lives from the first instruction that touches it to the last one; where several
 * workers take part in an instruction, it counts as the whole of its phase, because within one they are at different
 * instructions. Placement is greedy by size (Pisarchyk and Lee, arXiv 2001.03288), then in other orders unless that reaches
 * the lower bound, the largest sum of bytes alive at once.
 */
import { align, type MemoryPlan } from "../program/program.ts";
import type { Access, Allocation, Homes, Instr, Schedule } from "./instr.ts";
import { sameSlices } from "./partition.ts";

export interface Plan extends MemoryPlan {
  /** Offset of each arena buffer, by buffer id. */
  readonly offsets: ReadonlyMap<number, number>;
}

interface Life {
  buffers: Allocation[];
  bytes: number;
  from: number;
  to: number;
  offset: number;
}

/** When instructions touch their buffers: from `begin[k]` to `end[k]` the k-th one, in positions in their order. */
interface Times {
  readonly begin: Int32Array;
  readonly end: Int32Array;
}

/**
 * The first worker does what is for one worker alone in the order of the instructions. What several do is spread over the
 * whole phase: they do not wait for each other.
 */
function timesOf({ instrs, phaseOf }: Schedule): Times {
  const begin = Int32Array.from(instrs.keys());
  const end = begin.slice();
  for (let first = 0, next = 0; first < instrs.length; first = next) {
    while (next < instrs.length && phaseOf[next] === phaseOf[first]) next++;
    for (let k = first; k < next; k++) {
      if (instrs[k].lanes === 1) continue;
      begin[k] = first;
      end[k] = next - 1;
    }
  }
  return { begin, end };
}

/** Lifetimes, with buffers that may share one place merged. */
function lifetimes(buffers: readonly Allocation[], homes: Homes, schedule: Schedule): Life[] {
  const { instrs } = schedule;
  const { begin, end } = timesOf(schedule);
  const after = instrs.length;
  // By buffer.
  const lives = buffers.map((b): Life | undefined => {
    if (homes[b.id]) return undefined;
    return { buffers: [b], bytes: align(b.bytes), from: after, to: -1, offset: 0 };
  });
  /** By buffer: the positions of the instructions that touch it. */
  const users = buffers.map((): number[] => []);
  instrs.forEach((i, k) => {
    const touch = ({ buffer }: Access): void => {
      const life = lives[buffer.id];
      if (!life) return;
      life.from = Math.min(life.from, begin[k]);
      life.to = Math.max(life.to, end[k]);
      const list = users[buffer.id];
      if (list[list.length - 1] !== k) list.push(k);
    };
    i.reads.forEach(touch);
    i.writes.forEach(touch);
  });
  // In place: what works through tiles may write over an operand nobody needs afterwards.
  instrs.forEach((i, k) => {
    for (const w of i.writes) {
      const target = lives[w.buffer.id];
      if (!target || w.at === undefined || w.unit === 0 || users[w.buffer.id][0] !== k) continue;
      for (const r of i.reads) {
        const source = lives[r.buffer.id];
        if (!source || source === target || r.buffer.bytes !== w.buffer.bytes || r.unit !== w.unit) continue;
        if (source.to > end[k] || !lastUse(schedule, k, r, users[r.buffer.id])) continue;
        if (i.writes.some((x) => lives[x.buffer.id] === source)) continue; // taken by another result
        if ((r.at ?? -1) > w.at) continue; // read after it was written over
        source.to = Math.max(source.to, target.to);
        for (const b of target.buffers) {
          source.buffers.push(b);
          lives[b.id] = source;
        }
        break;
      }
    }
  });
  const all = [...new Set(lives)].filter((l) => l !== undefined && l.to >= l.from && l.bytes > 0) as Life[];
  return successive(all, users, schedule);
}

/** A life whose buffers all are cut alike by all that touches them, on several workers; its first and last instruction. */
interface Cut {
  readonly life: Life;
  readonly first: number;
  last: number;
}

/**
 * Lives of one phase that are cut alike, one after the other in one place: each worker does its own slices in order, so what it
 * is done with may be written over, though others are behind.
 */
function successive(
  lives: readonly Life[],
  users: readonly (readonly number[])[],
  { instrs, phaseOf }: Schedule,
): Life[] {
  const classes = new Map<string, Cut[]>();
  for (const life of lives) {
    let cut: string | undefined;
    let [first, last] = [instrs.length, -1];
    let alike = true;
    for (const b of life.buffers)
      for (const k of users[b.id]) {
        const { units, lanes, reads, writes } = instrs[k];
        first = Math.min(first, k);
        last = Math.max(last, k);
        for (const x of [...reads, ...writes]) {
          if (x.buffer !== b) continue;
          const now = `${b.bytes}/${x.unit}/${units}/${lanes}`;
          cut ??= now;
          alike &&= x.unit > 0 && lanes > 1 && cut === now;
        }
      }
    if (!alike || cut === undefined) continue;
    const list = classes.get(cut);
    if (list) list.push({ life, first, last });
    else classes.set(cut, [{ life, first, last }]);
  }
  const gone = new Set<Life>();
  for (const list of classes.values()) {
    if (list.length === 1) continue;
    const done = [...list].sort((a, b) => a.last - b.last);
    const free: Cut[] = [];
    let ended = 0;
    /** Those that took the place of another, until they end. */
    const taken: Cut[] = [];
    for (const next of list.sort((a, b) => a.first - b.first)) {
      for (; ended < done.length && done[ended].last < next.first; ended++)
        if (!gone.has(done[ended].life)) free.push(done[ended]);
      for (let i = taken.length - 1; i >= 0; i--) if (taken[i].last < next.first) free.push(...taken.splice(i, 1));
      // What ended in an earlier phase is out of the way as it is.
      while (free.length > 0 && phaseOf[free[free.length - 1].last] !== phaseOf[next.first]) free.pop();
      const before = free.pop();
      if (!before) continue;
      before.life.to = Math.max(before.life.to, next.life.to);
      before.life.buffers.push(...next.life.buffers);
      gone.add(next.life);
      taken.push({ life: before.life, first: next.first, last: next.last });
    }
  }
  return lives.filter((l) => !gone.has(l));
}

/** Whether the instruction at k, which reads a buffer, is its last user, and those of its phase use it in the same slices. */
function lastUse({ instrs, phaseOf }: Schedule, k: number, read: Access, users: readonly number[]): boolean {
  if (users[users.length - 1] !== k) return false;
  const i = instrs[k];
  const alike = (o: Instr, x: Access): boolean => x.buffer !== read.buffer || sameSlices(o, x, i, read);
  for (let u = users.length - 2; u >= 0 && phaseOf[users[u]] === phaseOf[k]; u--) {
    const o = instrs[users[u]];
    if (!o.reads.every((x) => alike(o, x)) || !o.writes.every((x) => alike(o, x))) return false;
  }
  return true;
}

/**
 * Gives each life, in the given order, the lowest offset at which it fits beside those before it that overlap it in time.
 * Returns the bytes that takes. Quadratic.
 */
function firstFit(lives: readonly Life[]): number {
  const placed: Life[] = []; // by offset
  let top = 0;
  for (const l of lives) {
    let at = 0;
    for (const p of placed) {
      if (p.from > l.to || l.from > p.to) continue;
      if (at + l.bytes <= p.offset) break;
      at = Math.max(at, p.offset + p.bytes);
    }
    l.offset = at;
    placed.splice(positionOf(placed, at), 0, l);
    top = Math.max(top, at + l.bytes);
  }
  return top;
}

/** Where in a list sorted by offset the first entry stands whose offset is not less. */
function positionOf(list: readonly { readonly offset: number }[], offset: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (list[mid].offset < offset) low = mid + 1;
    else high = mid;
  }
  return low;
}

/** The same as firstFit in the order of the lives' beginnings, in little more than linear time: as an allocator does it. */
function sweep(lives: readonly Life[]): number {
  const gaps = [{ offset: 0, end: Number.POSITIVE_INFINITY }];
  const free = ({ offset, bytes }: Life): void => {
    const k = positionOf(gaps, offset);
    const below = gaps[k - 1];
    const above = gaps[k];
    const end = offset + bytes;
    if (below?.end === offset) {
      below.end = above.offset === end ? above.end : end;
      if (above.offset === end) gaps.splice(k, 1);
    } else if (above.offset === end) above.offset = offset;
    else gaps.splice(k, 0, { offset, end });
  };
  const byEnd = [...lives].sort((a, b) => a.to - b.to);
  let ended = 0;
  let top = 0;
  for (const l of [...lives].sort((a, b) => a.from - b.from || b.bytes - a.bytes)) {
    for (; byEnd[ended].to < l.from; ended++) free(byEnd[ended]);
    const k = gaps.findIndex((gap) => gap.end - gap.offset >= l.bytes);
    const gap = gaps[k];
    l.offset = gap.offset;
    gap.offset += l.bytes;
    if (gap.offset === gap.end) gaps.splice(k, 1);
    top = Math.max(top, l.offset + l.bytes);
  }
  return top;
}

/** Most lives for which quadratic time is spent. */
const QUADRATIC_LIMIT = 8192;

type Placement = (lives: readonly Life[]) => number;
const length = (l: Life): number => l.to - l.from;
const inOrder =
  (order: (a: Life, b: Life) => number): Placement =>
  (lives) =>
    lives.length <= QUADRATIC_LIMIT ? firstFit([...lives].sort(order)) : Number.POSITIVE_INFINITY;

/** How often lives are shuffled, and the most of which that is done. */
const SHUFFLES = 64;
const SHUFFLED_LIMIT = 256;

/** The best of many orders roughly by size: each size counts times a pseudorandom factor, the same in every run. */
function shuffled(lives: readonly Life[]): number {
  if (lives.length > SHUFFLED_LIMIT) return Number.POSITIVE_INFINITY;
  let state = 1;
  const weigh = (l: Life): { l: Life; weight: number } => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return { l, weight: l.bytes * (0.25 + state / 2 ** 32) };
  };
  let best = lives;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < SHUFFLES; i++) {
    const weighed = lives.map(weigh).sort((a, b) => b.weight - a.weight);
    const order = weighed.map(({ l }) => l);
    const bytes = firstFit(order);
    if (bytes < least) [best, least] = [order, bytes];
  }
  return firstFit(best);
}

/** Ways to place lives, the one that mostly does best first. */
const PLACEMENTS: readonly Placement[] = [
  inOrder((a, b) => b.bytes - a.bytes || length(b) - length(a) || a.from - b.from),
  inOrder((a, b) => length(b) - length(a) || b.bytes - a.bytes),
  sweep,
  shuffled,
];

/** The largest sum of bytes alive at once, of lives within `end` positions. */
function mostAlive(lives: readonly Life[], end: number): number {
  const change = new Float64Array(end + 1);
  for (const l of lives) {
    change[l.from] += l.bytes;
    change[l.to + 1] -= l.bytes;
  }
  let most = 0;
  let now = 0;
  for (const bytes of change) {
    now += bytes;
    most = Math.max(most, now);
  }
  return most;
}

/** Places in the arena for the buffers without a home. */
export function plan(buffers: readonly Allocation[], homes: Homes, schedule: Schedule): Plan {
  const lives = lifetimes(buffers, homes, schedule);
  const lowerBound = mostAlive(lives, schedule.instrs.length);
  const offsets = new Map<number, number>();
  let bytes = Number.POSITIVE_INFINITY;
  for (const place of PLACEMENTS) {
    const needed = place(lives);
    if (needed >= bytes) continue;
    bytes = needed;
    for (const l of lives) for (const b of l.buffers) offsets.set(b.id, l.offset);
    if (bytes === lowerBound) break;
  }
  const unshared = buffers.reduce((s, b) => s + (homes[b.id] ? 0 : align(b.bytes)), 0);
  return { bytes, lowerBound, unshared, offsets };
}
