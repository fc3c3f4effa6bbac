// Reductions over the middle axis of [Outer, R, Inner].
//
// Every fold follows one tree that depends on the number of reduced rows alone (one shape of tree where Inner is 1,
// another where it is not). The rows are cut into leaves; finished leaves are combined like the digits of a binary
// counter, which is pairwise summation without recursion: leaf 1 joins leaf 0, leaf 3 joins leaf 2 and their result
// joins {0, 1}, and so on (leaf i is followed by as many joins as i has trailing ones); what is left at the end is
// joined from the right. Partial results wait on a stack in scratch: 2^30 rows need less than 32 levels.
import { Reduce, ReduceKind } from "./isa";
import { arg, beat, loadPart, loadUpTo, PART, ptr, storePart } from "./simd";

/** Elements in a leaf of contiguous rows: 8 vector accumulators, 8 deep. */
const ROW_LEAF: i32 = 256;
/** Rows in a leaf of a column reduction. */
const COLUMN_LEAF: i32 = 32;
/** Most columns folded side by side; 32 levels of the stack then take a quarter of scratch. */
const STRIP: i32 = 1024;

/** An associative operation on four lanes. Never instantiated: `changetype<Op>(0)` picks methods at compile time. */
abstract class Fold {
  /** The neutral element in every lane. */
  abstract start(): v128;
  abstract step(a: v128, b: v128): v128;
}

/** A fold that picks one of its inputs, so that its place can be found. */
abstract class Choice extends Fold {
  /** Lanes in which v beats what was best so far. */
  abstract beats(v: v128, best: v128): v128;
  /** Lanes of v that are as good as the result of the whole fold. */
  abstract wins(v: v128, best: v128): v128;
}

class Sum extends Fold {
  @inline
  start(): v128 {
    return f32x4.splat(0);
  }
  @inline
  step(a: v128, b: v128): v128 {
    return f32x4.add(a, b);
  }
}

class Prod extends Fold {
  @inline
  start(): v128 {
    return f32x4.splat(1);
  }
  @inline
  step(a: v128, b: v128): v128 {
    return f32x4.mul(a, b);
  }
}

class Max extends Choice {
  @inline
  start(): v128 {
    return f32x4.splat(-Infinity);
  }
  @inline
  step(a: v128, b: v128): v128 {
    return f32x4.max(a, b);
  }
  @inline
  beats(v: v128, best: v128): v128 {
    return v128.or(f32x4.gt(v, best), v128.and(f32x4.ne(v, v), f32x4.eq(best, best)));
  }
  @inline
  wins(v: v128, best: v128): v128 {
    return v128.or(f32x4.eq(v, best), f32x4.ne(v, v));
  }
}

class Min extends Choice {
  @inline
  start(): v128 {
    return f32x4.splat(Infinity);
  }
  @inline
  step(a: v128, b: v128): v128 {
    return f32x4.min(a, b);
  }
  @inline
  beats(v: v128, best: v128): v128 {
    return v128.or(f32x4.lt(v, best), v128.and(f32x4.ne(v, v), f32x4.eq(best, best)));
  }
  @inline
  wins(v: v128, best: v128): v128 {
    return v128.or(f32x4.eq(v, best), f32x4.ne(v, v));
  }
}

class SumI extends Fold {
  @inline
  start(): v128 {
    return i32x4.splat(0);
  }
  @inline
  step(a: v128, b: v128): v128 {
    return i32x4.add(a, b);
  }
}

class ProdI extends Fold {
  @inline
  start(): v128 {
    return i32x4.splat(1);
  }
  @inline
  step(a: v128, b: v128): v128 {
    return i32x4.mul(a, b);
  }
}

class MaxI extends Choice {
  @inline
  start(): v128 {
    return i32x4.splat(i32.MIN_VALUE);
  }
  @inline
  step(a: v128, b: v128): v128 {
    return i32x4.max_s(a, b);
  }
  @inline
  beats(v: v128, best: v128): v128 {
    return i32x4.gt_s(v, best);
  }
  @inline
  wins(v: v128, best: v128): v128 {
    return i32x4.eq(v, best);
  }
}

class MinI extends Choice {
  @inline
  start(): v128 {
    return i32x4.splat(i32.MAX_VALUE);
  }
  @inline
  step(a: v128, b: v128): v128 {
    return i32x4.min_s(a, b);
  }
  @inline
  beats(v: v128, best: v128): v128 {
    return i32x4.lt_s(v, best);
  }
  @inline
  wins(v: v128, best: v128): v128 {
    return i32x4.eq(v, best);
  }
}

/** Steps the `bytes` bytes (whole vectors) at a with those at b. */
function merge<Op extends Fold>(a: usize, b: usize, bytes: usize): void {
  const op = changetype<Op>(0);
  const end = a + bytes;
  for (; a < end; a += 16, b += 16) v128.store(a, op.step(v128.load(a), v128.load(b)));
}

/** Joins the topmost two entries of the stack, `bytes` wide each, `joins` times. Returns the stack's new height. */
function join<Op extends Fold>(stack: usize, height: i32, joins: i32, bytes: usize): i32 {
  for (; joins > 0; joins--) {
    height--;
    const top = stack + <usize>height * bytes;
    merge<Op>(top - bytes, top, bytes);
  }
  return height;
}

/** Folds n contiguous elements down to four lanes. */
function rowLeaf<Op extends Fold>(p: usize, n: i32): v128 {
  const op = changetype<Op>(0);
  let a0 = op.start();
  if (n >= 32) {
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let a4 = a0;
    let a5 = a0;
    let a6 = a0;
    let a7 = a0;
    do {
      a0 = op.step(a0, v128.load(p));
      a1 = op.step(a1, v128.load(p, 16));
      a2 = op.step(a2, v128.load(p, 32));
      a3 = op.step(a3, v128.load(p, 48));
      a4 = op.step(a4, v128.load(p, 64));
      a5 = op.step(a5, v128.load(p, 80));
      a6 = op.step(a6, v128.load(p, 96));
      a7 = op.step(a7, v128.load(p, 112));
      p += 128;
      n -= 32;
    } while (n >= 32);
    a0 = op.step(op.step(a0, a1), op.step(a2, a3));
    a4 = op.step(op.step(a4, a5), op.step(a6, a7));
    a0 = op.step(a0, a4);
  }
  for (; n > 0; n -= 4, p += 16) a0 = op.step(a0, loadUpTo(p, n, op.start()));
  return a0;
}

/** Folds n contiguous elements; the result is in every lane. */
function row<Op extends Fold>(p: usize, n: i32, stack: usize): v128 {
  const op = changetype<Op>(0);
  let v: v128;
  if (n <= ROW_LEAF) {
    v = rowLeaf<Op>(p, n);
  } else {
    let height = 0;
    for (let leaf = 0; n > 0; leaf++) {
      if ((leaf & 63) == 63) beat();
      v128.store(stack + ((<usize>height) << 4), rowLeaf<Op>(p, min(n, ROW_LEAF)));
      height = join<Op>(stack, height + 1, ctz(~leaf), 16);
      p += (<usize>ROW_LEAF) << 2;
      n -= ROW_LEAF;
    }
    join<Op>(stack, height, height - 1, 16);
    v = v128.load(stack);
  }
  v = op.step(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return op.step(v, v128.shuffle<i32>(v, v, 1, 0, 3, 2));
}

/** Folds `rows` rows of `cols` columns, `stride` bytes apart, top to bottom; 16 columns are one cache line. */
function columnLeaf<Op extends Fold>(to: usize, p: usize, rows: i32, cols: i32, stride: usize): void {
  const op = changetype<Op>(0);
  for (; cols >= 16; cols -= 16, to += 64, p += 64) {
    let a0 = op.start();
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let q = p;
    for (let r = rows; r > 0; r--, q += stride) {
      a0 = op.step(a0, v128.load(q));
      a1 = op.step(a1, v128.load(q, 16));
      a2 = op.step(a2, v128.load(q, 32));
      a3 = op.step(a3, v128.load(q, 48));
    }
    v128.store(to, a0);
    v128.store(to, a1, 16);
    v128.store(to, a2, 32);
    v128.store(to, a3, 48);
  }
  for (; cols >= 4; cols -= 4, to += 16, p += 16) {
    let a = op.start();
    let q = p;
    for (let r = rows; r > 0; r--, q += stride) a = op.step(a, v128.load(q));
    v128.store(to, a);
  }
  if (cols > 0) {
    let a = op.start();
    let q = p;
    for (let r = rows; r > 0; r--, q += stride) a = op.step(a, loadPart(q, cols));
    storePart(to, a, cols);
  }
}

/** Folds every one of at most STRIP columns. */
function columns<Op extends Fold>(to: usize, p: usize, rows: i32, cols: i32, stride: usize, stack: usize): void {
  if (rows <= COLUMN_LEAF) {
    columnLeaf<Op>(to, p, rows, cols, stride);
    return;
  }
  const bytes = (<usize>(cols + 3) >> 2) << 4;
  let height = 0;
  for (let leaf = 0; rows > 0; leaf++) {
    if ((leaf & 15) == 15) beat();
    columnLeaf<Op>(stack + <usize>height * bytes, p, min(rows, COLUMN_LEAF), cols, stride);
    height = join<Op>(stack, height + 1, ctz(~leaf), bytes);
    p += <usize>COLUMN_LEAF * stride;
    rows -= COLUMN_LEAF;
  }
  join<Op>(stack, height, height - 1, bytes);
  memory.copy(to, stack, (<usize>cols) << 2);
}

/** First place of the result of the fold among n > 0 contiguous elements. */
function rowPlace<Op extends Choice>(p: usize, n: i32, stack: usize): i32 {
  const op = changetype<Op>(0);
  const best = row<Op>(p, n, stack);
  let place = 0;
  for (; place + 4 <= n; place += 4, p += 16) {
    const won = op.wins(v128.load(p), best);
    if (v128.any_true(won)) return place + ctz(i32x4.bitmask(won));
  }
  // The winner is among the last n - place < 4 elements; lanes above them come after it.
  return place + ctz(i32x4.bitmask(op.wins(loadPart(p, n - place), best)));
}

/** How many of n > PART elements come before the part that has it. */
function passOver<Op extends Choice>(p: usize, n: i32, stack: usize): i32 {
  const op = changetype<Op>(0);
  const best = row<Op>(p, n, stack);
  let place = 0;
  for (; n - place > PART; place += PART) {
    const end = p + (PART << 2);
    while (p != end && !v128.any_true(op.wins(v128.load(p), best))) p += 16;
    if (p != end) break;
    beat();
  }
  return place;
}

/** First place of the best element of every one of at most STRIP columns, a leaf of rows at a time for the cache. */
function columnPlaces<Op extends Choice>(to: usize, p: usize, rows: i32, cols: i32, stride: usize, state: usize): void {
  const op = changetype<Op>(0);
  const places = state + ((<usize>STRIP) << 2);
  for (let top = 0; top < rows; top += COLUMN_LEAF) {
    if ((top & (15 * COLUMN_LEAF)) == 15 * COLUMN_LEAF) beat();
    const bottom = min(rows, top + COLUMN_LEAF);
    for (let c = 0; c < cols; c += 4) {
      const at = (<usize>c) << 2;
      const n = cols - c;
      let best = top == 0 ? loadUpTo(p + at, n, i32x4.splat(0)) : v128.load(state + at);
      let place = top == 0 ? i32x4.splat(0) : v128.load(places + at);
      let q = p + <usize>top * stride + at;
      for (let r = top; r < bottom; r++, q += stride) {
        const v = loadUpTo(q, n, i32x4.splat(0));
        const better = op.beats(v, best);
        best = v128.bitselect(v, best, better);
        place = v128.bitselect(i32x4.splat(r), place, better);
      }
      v128.store(state + at, best);
      v128.store(places + at, place);
    }
  }
  memory.copy(to, places, (<usize>cols) << 2);
}

function fold<Op extends Fold>(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const r = arg(ip, Reduce.R);
  const inner = arg(ip, Reduce.Inner);
  const block = arg(ip, Reduce.Block);
  const blocks = arg(ip, Reduce.Blocks);
  const grain = arg(ip, Reduce.Grain);
  const stride = (<usize>inner) << 2;
  const last = min(arg(ip, Reduce.Outer) * blocks * inner, end * grain);
  let done = begin * grain;
  let to = ptr(ip, Reduce.Out) + ((<usize>done) << 2);
  while (done < last) {
    const line = done / inner;
    const column = done - line * inner;
    const outer = line / blocks;
    const top = (line - outer * blocks) * block;
    const rows = min(block, r - top);
    const from = ptr(ip, Reduce.In) + (<usize>outer * r + top) * stride + ((<usize>column) << 2);
    let cols = 1;
    if (inner == 1) {
      v128.store_lane<u32>(to, row<Op>(from, rows, scratch), 0);
    } else {
      cols = min(min(inner - column, last - done), STRIP);
      columns<Op>(to, from, rows, cols, stride, scratch);
    }
    done += cols;
    to += (<usize>cols) << 2;
  }
}

function place<Op extends Choice>(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const rows = arg(ip, Reduce.R);
  const inner = arg(ip, Reduce.Inner);
  const grain = arg(ip, Reduce.Grain);
  const stride = (<usize>inner) << 2;
  const last = min(arg(ip, Reduce.Outer) * inner, end * grain);
  let done = begin * grain;
  let to = ptr(ip, Reduce.Out) + ((<usize>done) << 2);
  while (done < last) {
    const outer = done / inner;
    const column = done - outer * inner;
    const from = ptr(ip, Reduce.In) + (<usize>outer * rows) * stride + ((<usize>column) << 2);
    let cols = 1;
    if (inner == 1) {
      // In two steps, or rowPlace had two callers and would no longer be part of this loop: a third of its speed.
      const over = rows > PART ? passOver<Op>(from, rows, scratch) : 0;
      const n = rows > PART ? min(PART, rows - over) : rows;
      store<i32>(to, over + rowPlace<Op>(from + ((<usize>over) << 2), n, scratch));
    } else {
      cols = min(min(inner - column, last - done), STRIP);
      columnPlaces<Op>(to, from, rows, cols, stride, scratch);
    }
    done += cols;
    to += (<usize>cols) << 2;
  }
}

/** Units that are one part of the work. */
function reduceUnits(ip: usize, begin: i32, end: i32, scratch: usize): void {
  switch (arg(ip, Reduce.Kind)) {
    case ReduceKind.Sum:
      fold<Sum>(ip, begin, end, scratch);
      break;
    case ReduceKind.Prod:
      fold<Prod>(ip, begin, end, scratch);
      break;
    case ReduceKind.Max:
      fold<Max>(ip, begin, end, scratch);
      break;
    case ReduceKind.Min:
      fold<Min>(ip, begin, end, scratch);
      break;
    case ReduceKind.ArgMax:
      place<Max>(ip, begin, end, scratch);
      break;
    case ReduceKind.ArgMin:
      place<Min>(ip, begin, end, scratch);
      break;
    case ReduceKind.SumI:
      fold<SumI>(ip, begin, end, scratch);
      break;
    case ReduceKind.ProdI:
      fold<ProdI>(ip, begin, end, scratch);
      break;
    case ReduceKind.MaxI:
      fold<MaxI>(ip, begin, end, scratch);
      break;
    case ReduceKind.MinI:
      fold<MinI>(ip, begin, end, scratch);
      break;
    case ReduceKind.ArgMaxI:
      place<MaxI>(ip, begin, end, scratch);
      break;
    case ReduceKind.ArgMinI:
      place<MinI>(ip, begin, end, scratch);
      break;
  }
}

export function reduce(ip: usize, begin: i32, end: i32, scratch: usize): void {
  // Columns are folded side by side: a part is a strip of them at least.
  const rows = max(1, min(arg(ip, Reduce.R), arg(ip, Reduce.Block)));
  const outputs = max(arg(ip, Reduce.Inner) == 1 ? 1 : STRIP, PART / rows);
  const units = max(1, outputs / arg(ip, Reduce.Grain));
  for (; end - begin > units; begin += units) {
    reduceUnits(ip, begin, begin + units, scratch);
    beat();
  }
  reduceUnits(ip, begin, end, scratch);
}
