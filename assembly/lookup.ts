// Rows of a table by index, and the adjoint of that.
import { GatherRows, ScatterAddRows } from "./isa";
import { arg, faultIndex, loadUpTo, ptr, storeUpTo } from "./simd";

/** Copies n 4-byte elements, whatever their bits mean. */
function copyRow(to: usize, from: usize, n: i32): void {
  for (; n > 0; n -= 4, to += 16, from += 16) storeUpTo(to, loadUpTo(from, n, i32x4.splat(0)), n);
}

/** Adds n float32. */
function addRow(to: usize, from: usize, n: i32): void {
  const zero = f32x4.splat(0);
  for (; n > 0; n -= 4, to += 16, from += 16)
    storeUpTo(to, f32x4.add(loadUpTo(to, n, zero), loadUpTo(from, n, zero)), n);
}

export function gatherRows(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  const bound = arg(ip, GatherRows.TableRows);
  const width = arg(ip, GatherRows.Width);
  const block = arg(ip, GatherRows.Block);
  const last = min(arg(ip, GatherRows.Rows), end * block);
  const bytes = (<usize>width) << 2;
  const table = ptr(ip, GatherRows.Table);
  for (let i = begin * block; i < last; i++) {
    const to = ptr(ip, GatherRows.Out) + <usize>i * bytes;
    const index = load<i32>(ptr(ip, GatherRows.Index) + ((<usize>i) << 2));
    if (<u32>index >= <u32>bound) {
      faultIndex(ip, i, index, bound);
      memory.fill(to, 0, bytes);
    } else {
      copyRow(to, table + <usize>index * bytes, width);
    }
  }
}

export function scatterAddRows(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  // Every worker reads all indices and keeps those of its own rows. The worker with unit 0 records faults.
  if (begin >= end) return;
  const bound = arg(ip, ScatterAddRows.OutRows);
  const width = arg(ip, ScatterAddRows.Width);
  const block = arg(ip, ScatterAddRows.Block);
  const rows = arg(ip, ScatterAddRows.Rows);
  const bytes = (<usize>width) << 2;
  const out = ptr(ip, ScatterAddRows.Out);
  const first = begin * block;
  const own = min(bound, end * block) - first;
  memory.fill(out + <usize>first * bytes, 0, <usize>own * bytes);
  for (let i = 0; i < rows; i++) {
    const index = load<i32>(ptr(ip, ScatterAddRows.Index) + ((<usize>i) << 2));
    if (<u32>(index - first) < <u32>own) {
      addRow(out + <usize>index * bytes, ptr(ip, ScatterAddRows.In) + <usize>i * bytes, width);
    } else if (begin == 0 && <u32>index >= <u32>bound) {
      faultIndex(ip, i, index, bound);
    }
  }
}
