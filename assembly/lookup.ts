// Elements by index along an axis, and the adjoint of that.
import { Gather, ScatterAdd, ScatterKind } from "./isa";
import { arg, faultIndex, loadUpTo, ptr, storeUpTo } from "./simd";

/** Copies n 4-byte elements, whatever their bits mean. */
function copyRow(to: usize, from: usize, n: i32): void {
  for (; n > 0; n -= 4, to += 16, from += 16) storeUpTo(to, loadUpTo(from, n, i32x4.splat(0)), n);
}

export function gather(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const rows = arg(ip, Gather.Rows);
  const bound = arg(ip, Gather.Bound);
  const inner = arg(ip, Gather.Inner);
  const step = arg(ip, Gather.IndexInner);
  const block = arg(ip, Gather.Block);
  const bytes = (<usize>inner) << 2;
  const last = min(arg(ip, Gather.Outer) * rows, end * block);
  if (inner == 0 && step != 0) return;
  for (let row = begin * block; row < last; row++) {
    const outer = row / rows;
    let place = outer * arg(ip, Gather.IndexOuter) + (row - outer * rows) * arg(ip, Gather.IndexRow);
    const from = ptr(ip, Gather.In) + <usize>(outer * bound) * bytes;
    const to = ptr(ip, Gather.Out) + <usize>row * bytes;
    // One index for the whole row (which may be empty, but not the index out of range), or one for each element of it.
    const width = step == 0 ? inner : 1;
    let at: i32 = 0;
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
    } while (at < inner);
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

export function scatterAdd(ip: usize, begin: i32, end: i32, scratch: usize): void {
  // Every worker reads all indices and keeps those of its own rows. Whoever has the first row records faults.
  const rows = arg(ip, ScatterAdd.Rows);
  const bound = arg(ip, ScatterAdd.Bound);
  const inner = arg(ip, ScatterAdd.Inner);
  const step = arg(ip, ScatterAdd.IndexInner);
  const block = arg(ip, ScatterAdd.Block);
  const kind = arg(ip, ScatterAdd.Kind);
  const bytes = (<usize>inner) << 2;
  const first = begin * block;
  const last = min(arg(ip, ScatterAdd.Outer) * bound, end * block);
  if (first >= last || (inner == 0 && step != 0)) return;
  const out = ptr(ip, ScatterAdd.Out);
  memory.fill(out + <usize>first * bytes, kind == ScatterKind.Last ? 255 : 0, <usize>(last - first) * bytes);
  for (let outer = first / bound; outer * bound < last; outer++) {
    const top = outer * bound;
    const low = max(0, first - top);
    const own = min(bound, last - top) - low;
    for (let i = 0; i < rows; i++) {
      let place = outer * arg(ip, ScatterAdd.IndexOuter) + i * arg(ip, ScatterAdd.IndexRow);
      const from = ptr(ip, ScatterAdd.In) + <usize>(outer * rows + i) * bytes;
      const width = step == 0 ? inner : 1;
      let at: i32 = 0;
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
      } while (at < inner);
    }
  }
}
