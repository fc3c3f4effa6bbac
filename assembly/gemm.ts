// Matrix products: one micro-kernel, several packers, after Goto and van de Geijn (2008) and BLIS.
//
// An element of C is a sum over blocks of K whose length depends on K alone; within a block it is accumulated one k at
// a time from zero, and the blocks are added to C in order. Every path below keeps to that, so an element has the same
// bits wherever slices, blocks and edges happen to fall. Lanes that hold no element of C repeat valid data: they are
// computed and thrown away.
import { arg, beat, fillBytes, loadPart, madd, ptr, storePart } from "./simd";
import { Gemm } from "./isa";

/** Longest block of K: a panel of B (12.5 KB) and one of A (6.3 KB) stay in the L1 cache. */
const KC: i32 = 400;
/** Scratch: packed B and packed A share the L2 cache, then comes one tile for the edges. */
const B_BYTES: i32 = 262144;
const A_BYTES: i32 = 204800;
const TILE: usize = B_BYTES + A_BYTES;

/** Up to this many rows B is read in place: packing it would cost more than it saves. */
const FEW_ROWS: i32 = 8;
/** Up to this many if a panel of B then stays in the L1 cache: at most this many of its lines share one of the 64 sets. */
const SOME_ROWS: i32 = 32;
const WAYS: i32 = 4;
/** Up to this many rows, and from this K on, B is read in place where it lies along K: A is packed instead. */
const ROWS_ALONG_K: i32 = 64;
const LONG: i32 = 64;
/** Up to this many columns A is read in place, where its elements lie side by side along K or along M. */
const FEW_COLUMNS_ALONG_K: i32 = 32;
const FEW_COLUMNS_ALONG_M: i32 = 16;

export function gemm(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const m = arg(ip, Gemm.M);
  const n = arg(ip, Gemm.N);
  const byColumns = arg(ip, Gemm.Slice) != 0;
  const block = arg(ip, Gemm.Block);
  const extent = byColumns ? n : m;
  const cRow = ptr(ip, Gemm.CRow) << 2;
  const aRow = ptr(ip, Gemm.ARow) << 2;
  const bCol = ptr(ip, Gemm.BCol) << 2;
  while (begin < end) {
    // All units of one batch entry make one product, so B is packed once.
    const blocks = (extent + block - 1) / block;
    const entry = begin / blocks;
    const first = begin - entry * blocks;
    if ((entry & 3) == 3) beat();
    const last = min(blocks, first + end - begin);
    begin += last - first;
    const from = first * block;
    const size = min(extent, last * block) - from;
    let c = ptr(ip, Gemm.C) + <usize>entry * (ptr(ip, Gemm.CBatch) << 2);
    let a = ptr(ip, Gemm.A) + <usize>entry * (ptr(ip, Gemm.ABatch) << 2);
    let b = ptr(ip, Gemm.B) + <usize>entry * (ptr(ip, Gemm.BBatch) << 2);
    if (byColumns) {
      c += (<usize>from) << 2;
      b += <usize>from * bCol;
    } else {
      c += <usize>from * cRow;
      a += <usize>from * aRow;
    }
    gemmSlice(
      c,
      cRow,
      a,
      aRow,
      ptr(ip, Gemm.ACol) << 2,
      b,
      ptr(ip, Gemm.BRow) << 2,
      bCol,
      byColumns ? m : size,
      byColumns ? size : n,
      arg(ip, Gemm.K),
      scratch,
    );
  }
}

/** C = A B for one slice of one batch entry. Strides are in bytes from here on. */
export function gemmSlice(
  c: usize,
  cRow: usize,
  a: usize,
  aRow: usize,
  aCol: usize,
  b: usize,
  bRow: usize,
  bCol: usize,
  m: i32,
  n: i32,
  k: i32,
  scratch: usize,
): void {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    for (let i = 0; i < m; ++i) {
      if ((i & 63) == 63) beat();
      fillBytes(c + <usize>i * cRow, 0, (<usize>n) << 2);
    }
    return;
  }
  if (n == 1 && m > 1 && cRow == 4) {
    // A column is as good a row: C^T = B^T A^T.
    const matrix = a;
    const matrixRow = aRow;
    a = b;
    b = matrix;
    aRow = bCol;
    bCol = matrixRow;
    const matrixCol = aCol;
    aCol = bRow;
    bRow = matrixCol;
    n = m;
    m = 1;
  }

  const depths = (k + KC - 1) / KC;
  const depth = ((k + depths - 1) / depths + 3) & ~3;
  // Its tiles have 8 rows: not if half of the last ones would be empty. Without fused multiply-adds it is slower.
  if (ASC_FEATURE_RELAXED_SIMD && bRow == 4 && k >= LONG && m > FEW_ROWS && m <= ROWS_ALONG_K && ((m - 1) & 4) != 0) {
    gemmAlong(c, cRow, a, aRow, aCol, b, bCol, m, n, k, depth, scratch);
    return;
  }
  // Rows of B this many bytes apart meet in so many of the sets.
  const sets = 4096 >> max(6, min(12, ctz(<i32>bRow)));
  const bInPlace = bCol == 4 && (m <= FEW_ROWS || (m <= SOME_ROWS && depth <= WAYS * sets));
  const height = m == 1 ? 1 : (A_BYTES / 4 / depth) & ~3;
  // If all rows are one block, a packed panel is used soon after: better it never leaves the L1 cache.
  const width = bInPlace ? n : m <= FEW_ROWS ? 32 : m <= height ? 16 : (B_BYTES / 4 / depth) & ~7;
  // A in place: row by row where it is contiguous along K (or there is one row), whole panels where along M.
  const aByRows = m == 1 || (aCol == 4 && n <= FEW_COLUMNS_ALONG_K);
  const aByColumns = !aByRows && aRow == 4 && aCol != 0 && n <= FEW_COLUMNS_ALONG_M;
  const packedA = scratch + B_BYTES;

  // Loop over K.
  for (let p = 0; p < k; p += depth) {
    const kc = min(depth, k - p);
    const ap = a + <usize>p * aCol;
    const bp = b + <usize>p * bRow;
    // Loop over N.
    for (let j = 0; j < n; j += width) {
      const nc = min(width, n - j);
      const bBlock = bp + <usize>j * bCol;
      if (!bInPlace) gemmPackB(scratch, bBlock, bRow, bCol, kc, nc);
      else if (nc & 7) gemmPackB(scratch, bBlock + <usize>((nc & ~7) << 2), bRow, bCol, kc, nc & 7);
      // Loop over M.
      for (let i = 0; i < m; i += height) {
        const mc = min(height, m - i);
        if ((i | j | p) != 0) beat();
        const aBlock = ap + <usize>i * aRow;
        // A block of all rows is packed once for all columns.
        if (!aByRows && (j == 0 || mc < m)) {
          if (!aByColumns) gemmPackA(packedA, aBlock, aRow, aCol, kc, mc);
          else if (mc & 3) gemmPackA(packedA, aBlock + <usize>((mc & ~3) << 2), aRow, aCol, kc, mc & 3);
        }
        const cBlock = c + <usize>i * cRow + ((<usize>j) << 2);
        let jr = 0;
        if (m == 1) {
          const bStep: usize = bInPlace ? bRow : 32;
          const bPanel: usize = bInPlace ? 32 : (<usize>kc) << 5;
          for (; jr + 32 <= nc; jr += 32) {
            if ((jr & 1023) == 992) beat();
            gemmRow1x32(
              aBlock,
              aCol,
              bInPlace ? bBlock + ((<usize>jr) << 2) : scratch + <usize>jr * ((<usize>kc) << 2),
              bStep,
              bPanel,
              kc,
              cBlock + ((<usize>jr) << 2),
              p,
            );
          }
        }
        // Loop over the panels of B.
        for (; jr < nc; jr += 8) {
          if ((jr & 127) == 120) beat();
          const cols = nc - jr;
          let panelB = scratch;
          let bStep: usize = 32;
          if (!bInPlace) panelB += <usize>jr * ((<usize>kc) << 2);
          else if (cols >= 8) {
            panelB = bBlock + ((<usize>jr) << 2);
            bStep = bRow;
          }
          const cPanel = cBlock + ((<usize>jr) << 2);
          // The panels of A: whole tiles in one call, then those at the edges.
          const tiles = cols >= 8 ? mc >> 2 : 0;
          if (tiles) {
            if (aByRows) gemmRows4x8(aBlock, aRow, aCol, 4, panelB, bStep, kc, cPanel, cRow, p, tiles, false);
            else if (aByColumns) gemmTiles4x8(aBlock, aCol, 16, panelB, bStep, kc, cPanel, cRow, p, tiles);
            else gemmTiles4x8(packedA, 16, (<usize>kc) << 4, panelB, bStep, kc, cPanel, cRow, p, tiles);
          }
          for (let ir = tiles << 2; ir < mc; ir += 4) {
            const rows = mc - ir;
            const tile = scratch + TILE;
            if (aByRows) {
              gemmRows4x8(aBlock + <usize>ir * aRow, aRow, aCol, rows, panelB, bStep, kc, tile, 32, 0, 1, false);
            } else if (!aByColumns) {
              gemmTiles4x8(packedA + <usize>ir * ((<usize>kc) << 2), 16, 0, panelB, bStep, kc, tile, 32, 0, 1);
            } else if (rows >= 4) {
              gemmTiles4x8(aBlock + ((<usize>ir) << 2), aCol, 0, panelB, bStep, kc, tile, 32, 0, 1);
            } else {
              gemmTiles4x8(packedA, 16, 0, panelB, bStep, kc, tile, 32, 0, 1);
            }
            gemmEdge(cPanel + <usize>ir * cRow, cRow, tile, 32, min(rows, 4), min(cols, 8), p);
          }
        }
      }
    }
  }
}

/**
 * The product where columns of B lie along K, as the weights of a layer do: four of them are read in place, only A is
 * packed. All rows are one block.
 */
function gemmAlong(
  c: usize,
  cRow: usize,
  a: usize,
  aRow: usize,
  aCol: usize,
  b: usize,
  bCol: usize,
  m: i32,
  n: i32,
  k: i32,
  depth: i32,
  scratch: usize,
): void {
  for (let p = 0; p < k; p += depth) {
    const kc = min(depth, k - p);
    // Rows of A are columns of its transpose.
    gemmPackB(scratch, a + <usize>p * aCol, aCol, aRow, kc, m);
    for (let j = 0; j < n; j += 4) {
      if ((j & 63) == 60) beat();
      const cols = n - j;
      const bBlock = b + <usize>j * bCol + ((<usize>p) << 2);
      const cPanel = c + ((<usize>j) << 2);
      const tiles = cols >= 4 ? m >> 3 : 0;
      if (tiles) gemmRows4x8(bBlock, bCol, 4, 4, scratch, 32, kc, cPanel, cRow, p, tiles, true);
      for (let i = tiles << 3; i < m; i += 8) {
        const panelA = scratch + <usize>i * ((<usize>kc) << 2);
        const tile = scratch + TILE;
        gemmRows4x8(bBlock, bCol, 4, cols, panelA, 32, kc, tile, 16, 0, 1, true);
        gemmEdge(cPanel + <usize>i * cRow, cRow, tile, 16, min(m - i, 8), min(cols, 4), p);
      }
    }
  }
}

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

/** Packs kc x nc of B into panels of 8 columns, [kc][8] each; the last panel is filled up by repetition. */
export function gemmPackB(to: usize, b: usize, bRow: usize, bCol: usize, kc: i32, nc: i32): void {
  const panel = (<usize>kc) << 5;
  if (bCol == 4) {
    // Two panels at once, or lines of the cache would be fetched twice where the strides make them collide.
    for (; nc >= 16; nc -= 16) {
      copy16(to, to + 16, to + panel, to + panel + 16, 32, b, bRow, kc);
      to += panel << 1;
      b += 64;
    }
    if (nc >= 8) {
      copy8(to, b, bRow, kc);
      to += panel;
      b += 32;
      nc -= 8;
    }
  }
  for (; nc > 0; nc -= 8) {
    packColumns(to, 32, b, bRow, bCol, kc, nc);
    // The right half of the panel need only hold something valid.
    packColumns(to + 16, 32, nc > 4 ? b + (bCol << 2) : b, bRow, bCol, kc, nc > 4 ? nc - 4 : nc);
    to += panel;
    b += bCol << 3;
  }
}

/** Packs mc x kc of A into panels of 4 rows, [kc][4] each; the last panel is filled up by repetition. */
export function gemmPackA(to: usize, a: usize, aRow: usize, aCol: usize, kc: i32, mc: i32): void {
  const panel = (<usize>kc) << 4;
  if (aRow == 4) {
    for (; mc >= 16; mc -= 16) {
      copy16(to, to + panel, to + (panel << 1), to + panel * 3, 16, a, aCol, kc);
      to += panel << 2;
      a += 64;
    }
    for (; mc >= 4; mc -= 4) {
      copy4(to, a, aCol, kc);
      to += panel;
      a += 16;
    }
  }
  for (; mc > 0; mc -= 4) {
    packColumns(to, 16, a, aCol, aRow, kc, mc);
    to += panel;
    a += aRow << 2;
  }
}

/** kc rows of 16 elements to four places each; `step` leads to those of the next row. */
function copy16(t0: usize, t1: usize, t2: usize, t3: usize, step: usize, from: usize, row: usize, kc: i32): void {
  do {
    v128.store(t0, v128.load(from));
    v128.store(t1, v128.load(from, 16));
    v128.store(t2, v128.load(from, 32));
    v128.store(t3, v128.load(from, 48));
    t0 += step;
    t1 += step;
    t2 += step;
    t3 += step;
    from += row;
  } while (--kc);
}

/** kc rows of 8 elements. */
function copy8(to: usize, from: usize, row: usize, kc: i32): void {
  do {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    to += 32;
    from += row;
  } while (--kc);
}

/** kc rows of 4 elements. */
function copy4(to: usize, from: usize, row: usize, kc: i32): void {
  do {
    v128.store(to, v128.load(from));
    to += 16;
    from += row;
  } while (--kc);
}

/** kc x 4 elements of any strides to rows of `step` bytes; the last of `cols` < 4 columns is repeated. */
function packColumns(to: usize, step: usize, p0: usize, row: usize, col: usize, kc: i32, cols: i32): void {
  let p1 = cols > 1 ? p0 + col : p0;
  let p2 = cols > 2 ? p1 + col : p1;
  let p3 = cols > 3 ? p2 + col : p2;
  if (row == 4) {
    for (; kc >= 4; kc -= 4) {
      const r0 = v128.load(p0);
      const r1 = v128.load(p1);
      const r2 = v128.load(p2);
      const r3 = v128.load(p3);
      const l01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
      const l23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
      const h01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
      const h23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
      v128.store(to, v128.shuffle<f64>(l01, l23, 0, 2));
      to += step;
      v128.store(to, v128.shuffle<f64>(l01, l23, 1, 3));
      to += step;
      v128.store(to, v128.shuffle<f64>(h01, h23, 0, 2));
      to += step;
      v128.store(to, v128.shuffle<f64>(h01, h23, 1, 3));
      to += step;
      p0 += 16;
      p1 += 16;
      p2 += 16;
      p3 += 16;
    }
  }
  for (; kc > 0; --kc) {
    store<u32>(to, load<u32>(p0));
    store<u32>(to, load<u32>(p1), 4);
    store<u32>(to, load<u32>(p2), 8);
    store<u32>(to, load<u32>(p3), 12);
    to += step;
    p0 += row;
    p1 += row;
    p2 += row;
    p3 += row;
  }
}
