// Batched matrix transposition of 4-byte elements, in blocks of 4 x 4.
import { Transpose } from "./isa";
import { arg, loadUpTo, ptr, storeUpTo } from "./simd";

/** Rows of Out per tile: one cache line of every row of In. */
const TILE_COLS: i32 = 16;
/** Rows of In per tile; the tile and its transpose are 4 KiB each. */
const TILE_ROWS: i32 = 64;

/**
 * Transposes the block of `rows` x `cols` elements at `from` (1 to 4 each, and any more are left to other blocks); byte
 * distances between rows: `inRow`, `outRow`. Rows that do not exist are not read; their lanes are not stored either.
 */
// @ts-ignore: decorator
@inline
function block4(to: usize, from: usize, rows: i32, cols: i32, inRow: usize, outRow: usize): void {
  const zero = i32x4.splat(0);
  const a = loadUpTo(from, cols, zero);
  const b = rows > 1 ? loadUpTo(from + inRow, cols, zero) : zero;
  const c = rows > 2 ? loadUpTo(from + 2 * inRow, cols, zero) : zero;
  const d = rows > 3 ? loadUpTo(from + 3 * inRow, cols, zero) : zero;
  const ab01 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const ab23 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cd01 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const cd23 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  storeUpTo(to, v128.shuffle<i64>(ab01, cd01, 0, 2), rows);
  if (cols > 1) storeUpTo(to + outRow, v128.shuffle<i64>(ab01, cd01, 1, 3), rows);
  if (cols > 2) storeUpTo(to + 2 * outRow, v128.shuffle<i64>(ab23, cd23, 0, 2), rows);
  if (cols > 3) storeUpTo(to + 3 * outRow, v128.shuffle<i64>(ab23, cd23, 1, 3), rows);
}

/** Transposes one tile. */
function tile(to: usize, from: usize, rows: i32, cols: i32, inRow: usize, outRow: usize): void {
  for (let c = 0; c < cols; c += 4) {
    let p = from + ((<usize>c) << 2);
    let q = to + <usize>c * outRow;
    let r = rows;
    if (cols - c >= 4) {
      for (; r >= 4; r -= 4, p += 4 * inRow, q += 16) block4(q, p, 4, 4, inRow, outRow);
    }
    for (; r > 0; r -= 4, p += 4 * inRow, q += 16) block4(q, p, r, cols - c, inRow, outRow);
  }
}

export function transpose(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  const rows = arg(ip, Transpose.Rows);
  const cols = arg(ip, Transpose.Cols);
  const block = arg(ip, Transpose.Block);
  const inRow = (<usize>cols) << 2;
  const outRow = (<usize>rows) << 2;
  const perMatrix = (cols + block - 1) / block;
  for (let unit = begin; unit < end; unit++) {
    const batch = unit / perMatrix;
    const left = (unit - batch * perMatrix) * block;
    const right = min(cols, left + block);
    const matrix = <usize>batch * <usize>rows * inRow;
    for (let c = left; c < right; c += TILE_COLS) {
      for (let r = 0; r < rows; r += TILE_ROWS) {
        const from = ptr(ip, Transpose.In) + matrix + <usize>r * inRow + ((<usize>c) << 2);
        const to = ptr(ip, Transpose.Out) + matrix + <usize>c * outRow + ((<usize>r) << 2);
        tile(to, from, min(TILE_ROWS, rows - r), min(TILE_COLS, right - c), inRow, outRow);
      }
    }
  }
}
