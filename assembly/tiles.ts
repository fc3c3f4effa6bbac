// The micro-kernels of matrix products: tiles of C from panels of A and B.
import { loadPart, madd, storePart } from "./simd";

/** Four columns of C, four elements each. */
function storeColumns(c: usize, cRow: usize, v0: v128, v1: v128, v2: v128, v3: v128, add: i32): void {
  const l01 = v128.shuffle<f32>(v0, v1, 0, 4, 1, 5);
  const l23 = v128.shuffle<f32>(v2, v3, 0, 4, 1, 5);
  const h01 = v128.shuffle<f32>(v0, v1, 2, 6, 3, 7);
  const h23 = v128.shuffle<f32>(v2, v3, 2, 6, 3, 7);
  v0 = v128.shuffle<f64>(l01, l23, 0, 2);
  v1 = v128.shuffle<f64>(l01, l23, 1, 3);
  v2 = v128.shuffle<f64>(h01, h23, 0, 2);
  v3 = v128.shuffle<f64>(h01, h23, 1, 3);
  if (add) {
    v0 = f32x4.add(v128.load(c), v0);
    v1 = f32x4.add(v128.load(c + cRow), v1);
    v2 = f32x4.add(v128.load(c + 2 * cRow), v2);
    v3 = f32x4.add(v128.load(c + 3 * cRow), v3);
  }
  v128.store(c, v0);
  v128.store((c += cRow), v1);
  v128.store((c += cRow), v2);
  v128.store(c + cRow, v3);
}

/**
 * The micro-kernel: 4x8 tiles (see GemmTile) of C = A B, or C += A B if `add`, over kc > 0, `tiles` of them below each other. Four elements
 * of A lie side by side, eight of B; aStep and bStep lead to the next k, aTile to the next tile's A. Eight accumulators, two
 * vectors of B, four splats and a product are all the registers x64 has, and unrolling would spill. The loop over tiles is
 * in here because a call for each costs 3 % of a product, 6 % where K is 64.
 */
export function gemmTiles4x8(
  a: usize,
  aStep: usize,
  aTile: usize,
  b: usize,
  bStep: usize,
  kc: i32,
  c: usize,
  cRow: usize,
  add: i32,
  tiles: i32,
): void {
  const aPanel = <usize>kc * aStep;
  const bPanel = <usize>kc * bStep;
  do {
    const end = a + aPanel;
    let c00 = f32x4.splat(0);
    let c01 = c00;
    let c10 = c00;
    let c11 = c00;
    let c20 = c00;
    let c21 = c00;
    let c30 = c00;
    let c31 = c00;
    do {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      const a0 = v128.load32_splat(a);
      c00 = madd(a0, b0, c00);
      c01 = madd(a0, b1, c01);
      const a1 = v128.load32_splat(a, 4);
      c10 = madd(a1, b0, c10);
      c11 = madd(a1, b1, c11);
      const a2 = v128.load32_splat(a, 8);
      c20 = madd(a2, b0, c20);
      c21 = madd(a2, b1, c21);
      const a3 = v128.load32_splat(a, 12);
      c30 = madd(a3, b0, c30);
      c31 = madd(a3, b1, c31);
      a += aStep;
      b += bStep;
    } while (a != end);
    storeRow(c, c00, c01, add);
    storeRow((c += cRow), c10, c11, add);
    storeRow((c += cRow), c20, c21, add);
    storeRow((c += cRow), c30, c31, add);
    c += cRow;
    a += aTile - aPanel;
    b -= bPanel;
  } while (--tiles);
}

/**
 * The same tiles from `rows` rows of A in place; below 4, the last valid one stands in for the others. `turned`: C gets the
 * transposes; then the tiles have the rows of A in common, and a panel of B each.
 */
export function gemmRows4x8(
  a: usize,
  aRow: usize,
  aStep: usize,
  rows: i32,
  b: usize,
  bStep: usize,
  kc: i32,
  c: usize,
  cRow: usize,
  add: i32,
  tiles: i32,
  turned: bool,
): void {
  const bPanel = <usize>kc * bStep;
  do {
    let p0 = a;
    let p1 = rows > 1 ? a + aRow : a;
    let p2 = rows > 2 ? p1 + aRow : p1;
    let p3 = rows > 3 ? p2 + aRow : p2;
    let left = kc;
    let c00 = f32x4.splat(0);
    let c01 = c00;
    let c10 = c00;
    let c11 = c00;
    let c20 = c00;
    let c21 = c00;
    let c30 = c00;
    let c31 = c00;
    do {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      const a0 = v128.load32_splat(p0);
      c00 = madd(a0, b0, c00);
      c01 = madd(a0, b1, c01);
      const a1 = v128.load32_splat(p1);
      c10 = madd(a1, b0, c10);
      c11 = madd(a1, b1, c11);
      const a2 = v128.load32_splat(p2);
      c20 = madd(a2, b0, c20);
      c21 = madd(a2, b1, c21);
      const a3 = v128.load32_splat(p3);
      c30 = madd(a3, b0, c30);
      c31 = madd(a3, b1, c31);
      p0 += aStep;
      p1 += aStep;
      p2 += aStep;
      p3 += aStep;
      b += bStep;
    } while (--left);
    if (ASC_FEATURE_RELAXED_SIMD && turned) {
      storeColumns(c, cRow, c00, c10, c20, c30, add);
      storeColumns((c += cRow << 2), cRow, c01, c11, c21, c31, add);
    } else {
      storeRow(c, c00, c01, add);
      storeRow(c + cRow, c10, c11, add);
      storeRow(c + (cRow << 1), c20, c21, add);
      storeRow(c + cRow * 3, c30, c31, add);
      a += aRow << 2;
      b -= bPanel;
    }
    c += cRow << 2;
  } while (--tiles);
}

/** One row of C, 32 columns: four panels of B, bPanel bytes apart. */
export function gemmRow1x32(
  a: usize,
  aStep: usize,
  b: usize,
  bStep: usize,
  bPanel: usize,
  kc: i32,
  c: usize,
  add: i32,
): void {
  let p1 = b + bPanel;
  let p2 = p1 + bPanel;
  let p3 = p2 + bPanel;
  let c0 = f32x4.splat(0);
  let c1 = c0;
  let c2 = c0;
  let c3 = c0;
  let c4 = c0;
  let c5 = c0;
  let c6 = c0;
  let c7 = c0;
  do {
    const s = v128.load32_splat(a);
    c0 = madd(s, v128.load(b), c0);
    c1 = madd(s, v128.load(b, 16), c1);
    c2 = madd(s, v128.load(p1), c2);
    c3 = madd(s, v128.load(p1, 16), c3);
    c4 = madd(s, v128.load(p2), c4);
    c5 = madd(s, v128.load(p2, 16), c5);
    c6 = madd(s, v128.load(p3), c6);
    c7 = madd(s, v128.load(p3, 16), c7);
    a += aStep;
    b += bStep;
    p1 += bStep;
    p2 += bStep;
    p3 += bStep;
  } while (--kc);
  storeRow(c, c0, c1, add);
  storeRow(c + 32, c2, c3, add);
  storeRow(c + 64, c4, c5, add);
  storeRow(c + 96, c6, c7, add);
}

// @ts-ignore: decorator
@inline
function storeRow(c: usize, v0: v128, v1: v128, add: i32): void {
  if (add) {
    v0 = f32x4.add(v128.load(c), v0);
    v1 = f32x4.add(v128.load(c, 16), v1);
  }
  v128.store(c, v0);
  v128.store(c, v1, 16);
}

/** Moves or adds the valid part of a tile to C. */
export function gemmEdge(
  c: usize,
  cRow: usize,
  tile: usize,
  tileRow: usize,
  rows: i32,
  cols: i32,
  add: i32,
): void {
  do {
    let from = tile;
    let to = c;
    let left = cols;
    for (; left >= 4; left -= 4) {
      let v = v128.load(from);
      if (add) v = f32x4.add(v128.load(to), v);
      v128.store(to, v);
      from += 16;
      to += 16;
    }
    if (left) {
      let v = v128.load(from);
      if (add) v = f32x4.add(loadPart(to, left), v);
      storePart(to, v, left);
    }
    tile += tileRow;
    c += cRow;
  } while (--rows);
}
