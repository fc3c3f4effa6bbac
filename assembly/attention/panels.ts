// Products of tiles, with the right operand packed in panels of 8 columns.
import { AttentionTile } from "../isa";
import { gemmEdge, gemmRows4x8, gemmTiles4x8 } from "../tiles";

/** Queries, or keys, at once: of those further on a causal mask leaves out as many. */
export const STEP: i32 = 16;

/** C = A B, or C += A B if `add`: rows of A `aRow` bytes apart, the elements of each side by side. */
function byRows(
  c: usize,
  cRow: usize,
  a: usize,
  aRow: usize,
  b: usize,
  panel: usize,
  kc: i32,
  rows: i32,
  cols: i32,
  add: i32,
  edge: usize,
): void {
  for (; cols > 0; cols -= 8) {
    const tiles = cols >= 8 ? rows >> 2 : 0;
    if (tiles) gemmRows4x8(a, aRow, 4, 4, b, 32, kc, c, cRow, add, tiles, false);
    for (let i = tiles << 2; i < rows; i += 4) {
      gemmRows4x8(a + <usize>i * aRow, aRow, 4, rows - i, b, 32, kc, edge, 32, 0, 1, false);
      gemmEdge(c + <usize>i * cRow, cRow, edge, 32, min(4, rows - i), min(8, cols), add);
    }
    c += 32;
    b += panel;
  }
}

/**
 * Products of `rows` queries with `keys` keys in panels of depth `depth`, to a tile. If `causal`, row i needs those of the keys up to
 * first + i, of the tile's: others may be left out.
 */
export function scoreTile(
  tile: usize,
  tileRow: usize,
  q: usize,
  qRow: usize,
  panels: usize,
  depth: i32,
  rows: i32,
  keys: i32,
  causal: bool,
  first: i32,
  edge: usize,
): void {
  // A panel's spare columns repeat its last one, and a row of the tile has room for them.
  keys = (keys + 7) & ~7;
  const panel = (<usize>depth) << 5;
  if (!causal) return byRows(tile, tileRow, q, qRow, panels, panel, depth, rows, keys, 0, edge);
  for (let r = 0; r < rows; r += STEP) {
    const some = min(STEP, rows - r);
    const seen = min(keys, (first + r + some + 7) & ~7);
    const at = <usize>r;
    byRows(tile + at * tileRow, tileRow, q + at * qRow, qRow, panels, panel, depth, some, seen, 0, edge);
  }
}

/** C = weights times panels of `keys` rows, or C += that if `add`; if `causal`, `first` is not negative. See scoreTile. */
export function sumOverKeys(
  c: usize,
  cRow: usize,
  tile: usize,
  tileRow: usize,
  panels: usize,
  rows: i32,
  keys: i32,
  cols: i32,
  add: i32,
  causal: bool,
  first: i32,
  edge: usize,
): void {
  const panel = (<usize>keys) << 5;
  if (!causal) return byRows(c, cRow, tile, tileRow, panels, panel, keys, rows, cols, add, edge);
  for (let r = 0; r < rows; r += STEP) {
    const some = min(STEP, rows - r);
    const at = <usize>r;
    const seen = min(keys, first + r + some);
    byRows(c + at * cRow, cRow, tile + at * tileRow, tileRow, panels, panel, seen, some, cols, add, edge);
  }
}

/** C = the transpose of weights times panels of `rows` rows, or C += that if `add`: see scoreTile. */
export function sumOverQueries(
  c: usize,
  cRow: usize,
  tile: usize,
  tileRow: usize,
  panels: usize,
  rows: i32,
  keys: i32,
  cols: i32,
  add: i32,
  causal: bool,
  first: i32,
  edge: usize,
): void {
  const panel = (<usize>rows) << 5;
  const step = causal ? STEP : AttentionTile.Keys;
  for (let k = 0; k < keys; k += step) {
    const some = min(step, keys - k);
    // The first query that sees key k; one at least.
    const from = causal ? min(rows - 1, max(0, k - first)) : 0;
    const kc = rows - from;
    let a = tile + <usize>from * tileRow + ((<usize>k) << 2);
    let b = panels + ((<usize>from) << 5);
    let to = c + <usize>k * cRow;
    for (let j = cols; j > 0; j -= 8) {
      const tiles = j >= 8 ? some >> 2 : 0;
      if (tiles) gemmTiles4x8(a, tileRow, 16, b, 32, kc, to, cRow, add, tiles);
      for (let i = tiles << 2; i < some; i += 4) {
        gemmTiles4x8(a + ((<usize>i) << 2), tileRow, 0, b, 32, kc, edge, 32, 0, 1);
        gemmEdge(to + <usize>i * cRow, cRow, edge, 32, min(4, some - i), min(8, j), add);
      }
      to += 32;
      b += panel;
    }
  }
}
