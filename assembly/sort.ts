// Stable sorting of rows, by merging runs of positions.
import { Argsort } from "./isa";
import { arg, beat, copyBytes, PART, ptr } from "./simd";

/** Positions sorted by insertion before runs are merged. */
const RUN: i32 = 8;

/** Element i as an integer of the same order, NaN above infinity, both zeros equal; with `flip` = -1 the other way round. */
// @ts-ignore: decorator
@inline
function key(row: usize, i: i32, integer: bool, flip: i32): i32 {
  const bits = load<i32>(row + ((<usize>i) << 2));
  if (integer) return bits ^ flip;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return i32.MAX_VALUE ^ flip;
  return (bits < 0 ? -magnitude : bits) ^ flip;
}

// @ts-ignore: decorator
@inline
function at(positions: usize, i: i32): i32 {
  return load<i32>(positions + ((<usize>i) << 2));
}

// @ts-ignore: decorator
@inline
function put(positions: usize, i: i32, value: i32): void {
  store<i32>(positions + ((<usize>i) << 2), value);
}

/** Sorts the positions [from, to) into `out`, by insertion. */
function insertion(out: usize, row: usize, from: i32, to: i32, integer: bool, flip: i32): void {
  for (let i = from; i < to; i++) {
    const k = key(row, i, integer, flip);
    let j = i;
    for (; j > from && key(row, at(out, j - 1), integer, flip) > k; j--) put(out, j, at(out, j - 1));
    put(out, j, i);
  }
}

/** Elements after which a long merge gives a sign of life; a power of two. */
const BEAT: i32 = 1 << 20;

/** Merges the sorted runs [from, middle) and [middle, to) of `a` into `b`; of equals, the first run's come first. */
function merge(b: usize, a: usize, row: usize, from: i32, middle: i32, to: i32, integer: bool, flip: i32): void {
  let left = from;
  let right = middle;
  for (let i = from; i < to; i++) {
    const second =
      left == middle || (right < to && key(row, at(a, right), integer, flip) < key(row, at(a, left), integer, flip));
    put(b, i, at(a, second ? right : left));
    if (second) right++;
    else left++;
    if ((i & (BEAT - 1)) == 0) beat();
  }
}

export function argsort(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  const cols = arg(ip, Argsort.Cols);
  const block = arg(ip, Argsort.Block);
  const integer = arg(ip, Argsort.Integer) != 0;
  const flip = arg(ip, Argsort.Descending) != 0 ? -1 : 0;
  const bytes = (<usize>cols) << 2;
  const last = min(arg(ip, Argsort.Rows), end * block);
  for (let r = begin * block; r < last; r++) {
    const row = ptr(ip, Argsort.In) + <usize>r * bytes;
    const out = ptr(ip, Argsort.Out) + <usize>r * bytes;
    let a = out;
    let b = ptr(ip, Argsort.Spare) + <usize>r * bytes;
    for (let part = 0; part < cols; part += PART) {
      const stop = min(cols, part + PART);
      for (let i = part; i < stop; i += RUN) insertion(a, row, i, min(cols, i + RUN), integer, flip);
      if (stop < cols) beat();
    }
    for (let run = RUN; run < cols; run <<= 1) {
      for (let i = 0; i < cols; i += run << 1) {
        merge(b, a, row, i, min(cols, i + run), min(cols, i + (run << 1)), integer, flip);
      }
      const t = a;
      a = b;
      b = t;
    }
    if (a != out) copyBytes(out, a, bytes);
  }
}
