// Elements by index along an axis, and the adjoint of that.
import { Gather, ScatterAdd, ScatterKind } from "./isa";
import { arg, beat, faultIndex, fillBytes, loadUpTo, PART, ptr, storeUpTo } from "./simd";

/** Copies n 4-byte elements, whatever their bits mean. */
function copyRow(to: usize, from: usize, n: i32): void {
  for (; n > 0; n -= 4, to += 16, from += 16) storeUpTo(to, loadUpTo(from, n, i32x4.splat(0)), n);
}

/** The columns [left, right) of the rows [row, last) of Out. */
function gatherRows(ip: usize, row: i32, last: i32, left: i32, right: i32, scratch: usize): void {
  const rows = arg(ip, Gather.Rows);
  const bound = arg(ip, Gather.Bound);
  const step = arg(ip, Gather.IndexInner);
  const bytes = ptr(ip, Gather.Inner) << 2;
  for (; row < last; row++) {
    const outer = row / rows;
    let place = outer * arg(ip, Gather.IndexOuter) + (row - outer * rows) * arg(ip, Gather.IndexRow) + left * step;
    const from = ptr(ip, Gather.In) + <usize>(outer * bound) * bytes;
    const to = ptr(ip, Gather.Out) + <usize>row * bytes;
    // One index for the whole row (which may be empty, but not the index out of range), or one for each element of it.
    const width = step == 0 ? right - left : 1;
    let at = left;
    do {
      const index = load<i32>(ptr(ip, Gather.Index) + ((<usize>place) << 2));
      const q = to + ((<usize>at) << 2);
      if (<u32>index >= <u32>bound) {
        faultIndex(scratch, ip, place, index, bound);
        memory.fill(q, 0, (<usize>width) << 2);
      } else {
        copyRow(q, from + <usize>index * bytes + ((<usize>at) << 2), width);
      }
      at += width;
      place += step;
    } while (at < right);
  }
}

export function gather(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const inner = arg(ip, Gather.Inner);
  const block = arg(ip, Gather.Block);
  const last = min(arg(ip, Gather.Outer) * arg(ip, Gather.Rows), end * block);
  if (inner == 0 && arg(ip, Gather.IndexInner) != 0) return;
  const some = max(1, PART / max(1, inner));
  for (let row = begin * block; row < last; row += some) {
    let left = 0;
    do {
      if (left > 0 || row > begin * block) beat();
      gatherRows(ip, row, min(last, row + some), left, min(inner, left + PART), scratch);
      left += PART;
    } while (left < inner);
  }
}

/** Adds n elements, or writes the number of their row. */
function addRow(kind: i32, to: usize, from: usize, n: i32, row: i32): void {
  const zero = i32x4.splat(0);
  for (; n > 0; n -= 4, to += 16, from += 16) {
    let v = i32x4.splat(row);
    if (kind == ScatterKind.Sum) v = f32x4.add(loadUpTo(to, n, zero), loadUpTo(from, n, zero));
    else if (kind == ScatterKind.SumI) v = i32x4.add(loadUpTo(to, n, zero), loadUpTo(from, n, zero));
    storeUpTo(to, v, n);
  }
}

/** What rows [i, last) of In, their columns [left, right), add to `own` rows of Out, from row `low` of `outer` on. */
function scatterRows(
  ip: usize,
  outer: i32,
  i: i32,
  last: i32,
  left: i32,
  right: i32,
  low: i32,
  own: i32,
  scratch: usize,
): void {
  const bound = arg(ip, ScatterAdd.Bound);
  const step = arg(ip, ScatterAdd.IndexInner);
  const kind = arg(ip, ScatterAdd.Kind);
  const bytes = ptr(ip, ScatterAdd.Inner) << 2;
  const out = ptr(ip, ScatterAdd.Out);
  const top = outer * bound;
  const rows = arg(ip, ScatterAdd.Rows);
  const width = step == 0 ? right - left : 1;
  for (; i < last; i++) {
    let place = outer * arg(ip, ScatterAdd.IndexOuter) + i * arg(ip, ScatterAdd.IndexRow) + left * step;
    const from = ptr(ip, ScatterAdd.In) + <usize>(outer * rows + i) * bytes;
    let at = left;
    do {
      const index = load<i32>(ptr(ip, ScatterAdd.Index) + ((<usize>place) << 2));
      const column = (<usize>at) << 2;
      if (<u32>(index - low) < <u32>own) {
        addRow(kind, out + <usize>(top + index) * bytes + column, from + column, width, i);
      } else if (low == 0 && <u32>index >= <u32>bound) {
        faultIndex(scratch, ip, place, index, bound);
      }
      at += width;
      place += step;
    } while (at < right);
  }
}

export function scatterAdd(ip: usize, begin: i32, end: i32, scratch: usize): void {
  // Every worker reads all indices and keeps those of its own rows. Whoever has the first row records faults.
  const rows = arg(ip, ScatterAdd.Rows);
  const bound = arg(ip, ScatterAdd.Bound);
  const inner = arg(ip, ScatterAdd.Inner);
  const block = arg(ip, ScatterAdd.Block);
  const bytes = (<usize>inner) << 2;
  const first = begin * block;
  const last = min(arg(ip, ScatterAdd.Outer) * bound, end * block);
  if (first >= last || (inner == 0 && arg(ip, ScatterAdd.IndexInner) != 0)) return;
  const value: u8 = arg(ip, ScatterAdd.Kind) == ScatterKind.Last ? 255 : 0;
  fillBytes(ptr(ip, ScatterAdd.Out) + <usize>first * bytes, value, <usize>(last - first) * bytes);
  const some = max(1, PART / max(1, inner));
  for (let outer = first / bound; outer * bound < last; outer++) {
    if ((outer & 63) == 63) beat();
    const top = outer * bound;
    const low = max(0, first - top);
    const own = min(bound, last - top) - low;
    for (let i = 0; i < rows; i += some) {
      let left = 0;
      do {
        if (i + left > 0) beat();
        scatterRows(ip, outer, i, min(rows, i + some), left, min(inner, left + PART), low, own, scratch);
        left += PART;
      } while (left < inner);
    }
  }
}
