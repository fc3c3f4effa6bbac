// Matrix products: one micro-kernel, several packers, after Goto and van de Geijn (2008) and BLIS.
//
// An element of C is a sum over blocks of K whose length depends on K alone; within a block it is accumulated one k at
// a time from zero, and the blocks are added to C in order. Every path below keeps to that, so an element has the same
// bits wherever slices, blocks and edges happen to fall. Lanes that hold no element of C repeat valid data: they are
// computed and thrown away.
import { arg, beat, fillBytes, ptr } from "./simd";
import { Gemm } from "./isa";
import { gemmPackA, gemmPackB } from "./pack";
import { gemmEdge, gemmRow1x32, gemmRows4x8, gemmTiles4x8 } from "./tiles";

/** Longest block of K: a panel of B (12.5 KB) and one of A (6.3 KB) stay in the L1 cache. */
const KC: i32 = 400;
/** Scratch: packed B and packed A share the L2 cache, then comes one tile for the edges. */
const B_BYTES: i32 = 262144;
const A_BYTES: i32 = 204800;
const TILE: usize = B_BYTES + A_BYTES;
/** What a product needs of scratch. */
export const GEMM_BYTES: usize = TILE + 128;

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
      arg(ip, Gemm.Add),
      scratch,
    );
  }
}

/** C = A B, or C += A B if `add`, for one slice of one batch entry. Strides are in bytes from here on. */
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
  add: i32,
  scratch: usize,
): void {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    if (add) return;
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
    gemmAlong(c, cRow, a, aRow, aCol, b, bCol, m, n, k, depth, add, scratch);
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
    const more = p | add;
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
              more,
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
            if (aByRows) gemmRows4x8(aBlock, aRow, aCol, 4, panelB, bStep, kc, cPanel, cRow, more, tiles, false);
            else if (aByColumns) gemmTiles4x8(aBlock, aCol, 16, panelB, bStep, kc, cPanel, cRow, more, tiles);
            else gemmTiles4x8(packedA, 16, (<usize>kc) << 4, panelB, bStep, kc, cPanel, cRow, more, tiles);
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
            gemmEdge(cPanel + <usize>ir * cRow, cRow, tile, 32, min(rows, 4), min(cols, 8), more);
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
  add: i32,
  scratch: usize,
): void {
  for (let p = 0; p < k; p += depth) {
    const kc = min(depth, k - p);
    const more = p | add;
    // Rows of A are columns of its transpose.
    gemmPackB(scratch, a + <usize>p * aCol, aCol, aRow, kc, m);
    for (let j = 0; j < n; j += 4) {
      if ((j & 63) == 60) beat();
      const cols = n - j;
      const bBlock = b + <usize>j * bCol + ((<usize>p) << 2);
      const cPanel = c + ((<usize>j) << 2);
      const tiles = cols >= 4 ? m >> 3 : 0;
      if (tiles) gemmRows4x8(bBlock, bCol, 4, 4, scratch, 32, kc, cPanel, cRow, more, tiles, true);
      for (let i = tiles << 3; i < m; i += 8) {
        const panelA = scratch + <usize>i * ((<usize>kc) << 2);
        const tile = scratch + TILE;
        gemmRows4x8(bBlock, bCol, 4, cols, panelA, 32, kc, tile, 16, 0, 1, true);
        gemmEdge(cPanel + <usize>i * cRow, cRow, tile, 16, min(m - i, 8), min(cols, 4), more);
      }
    }
  }
}
