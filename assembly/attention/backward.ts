// What attention sends back: weights are computed again, tile by tile, from the largest score and the sum that the forward pass kept.
import { gemmSlice } from "../gemm";
import { Attention, AttentionOperand, AttentionSplit, AttentionTile } from "../isa";
import { weight } from "./exponential";
import { gemmPackB } from "../pack";
import { arg, beat, farg, loadUpTo, PART, ptr } from "../simd";
import { scoreTile, STEP, sumOverKeys, sumOverQueries } from "./panels";
import {
  addMask,
  clear,
  EDGE,
  entryOf,
  maskOf,
  PANELS,
  PANELS_BYTES,
  panelBytes,
  SCORES,
  SECOND,
  TILE_ROW,
  thereOf,
} from "./scores";

/** Sum of the products of n elements of two rows. */
function dot(a: usize, b: usize, n: i32): f32 {
  const zero = f32x4.splat(0);
  let sum = zero;
  while (n > 0) {
    const rest = max(n - PART, 0);
    for (; n > rest; n -= 4, a += 16, b += 16)
      sum = f32x4.add(sum, f32x4.mul(loadUpTo(a, n, zero), loadUpTo(b, n, zero)));
    if (rest > 0) beat();
  }
  sum = f32x4.add(sum, v128.shuffle<i32>(sum, sum, 2, 3, 0, 1));
  return f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 1);
}

/**
 * n products, times `factor`, to weights, and what came back to these to what goes back to products; both are 0 behind them, up to `keys`.
 * `along` is what the result's row and what came back to it have in common. The first `whole` vectors are all there.
 */
function weights(
  row: usize,
  back: usize,
  whole: i32,
  n: i32,
  keys: i32,
  factor: f32,
  most: f32,
  share: f32,
  along: f32,
  scale: f32,
): void {
  const by = f32x4.splat(factor);
  const shift = f32x4.splat(most);
  const each = f32x4.splat(share);
  const less = f32x4.splat(along);
  const send = f32x4.splat(scale);
  const end = row + ((<usize>whole) << 4);
  for (; row < end; row += 16, back += 16) {
    const p = f32x4.mul(weight(f32x4.sub(f32x4.mul(v128.load(row), by), shift)), each);
    v128.store(row, p);
    v128.store(back, f32x4.mul(f32x4.mul(p, f32x4.sub(v128.load(back), less)), send));
  }
  for (let j = whole << 2; j < keys; j += 4, row += 16, back += 16) {
    // What lies behind the last key is no number of the tile's; and zero times a NaN is none.
    const there = thereOf(j, n);
    let p = f32x4.splat(0);
    let d = p;
    if (j < n) {
      p = v128.and(f32x4.mul(weight(f32x4.sub(f32x4.mul(v128.load(row), by), shift)), each), there);
      d = v128.and(f32x4.mul(f32x4.mul(p, f32x4.sub(v128.load(back), less)), send), there);
    }
    v128.store(row, p);
    v128.store(back, d);
  }
}

export function attentionGrad(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const length = arg(ip, Attention.L);
  const all = arg(ip, Attention.S);
  const depth = arg(ip, Attention.E);
  const width = arg(ip, Attention.Ev);
  const causal = arg(ip, Attention.Causal) != 0;
  const scale = farg(ip, Attention.Scale);
  const split = arg(ip, Attention.Split);
  const block = arg(ip, Attention.Block);
  const extent = split == AttentionSplit.Keys ? all : length;
  const blocks = split == AttentionSplit.None ? 1 : (extent + block - 1) / block;
  const qRow = ptr(ip, Attention.QRow) << 2;
  const kRow = ptr(ip, Attention.KRow) << 2;
  const vRow = ptr(ip, Attention.VRow) << 2;
  const outRow = ptr(ip, Attention.OutRow) << 2;
  const gradRow = ptr(ip, Attention.GradRow) << 2;
  const toQRow = ptr(ip, Attention.ToQRow) << 2;
  const toKRow = ptr(ip, Attention.ToKRow) << 2;
  const toVRow = ptr(ip, Attention.ToVRow) << 2;
  const tile = scratch + SCORES;
  const back = scratch + SECOND;
  // Panels of rows, and of what is to be summed over rows.
  const keysAcross = scratch + PANELS;
  const keysDown = keysAcross + panelBytes(depth);
  const queries = keysDown + panelBytes(depth);
  const valuesAcross = queries + panelBytes(depth);
  const grads = valuesAcross + panelBytes(width);
  const inPanels = depth > 0 && width > 0 && 3 * panelBytes(depth) + 2 * panelBytes(width) <= PANELS_BYTES;
  const edge = scratch + EDGE;
  for (let u = begin; u < end; ++u) {
    const entry = u / blocks;
    let piece = u - entry * blocks;
    if (causal) piece = piece & 1 ? blocks - 1 - (piece >> 1) : piece >> 1;
    const from = piece * block;
    const firstQuery = split == AttentionSplit.Queries ? from : 0;
    const lastQuery = split == AttentionSplit.Queries ? min(length, from + block) : length;
    const firstKey = split == AttentionSplit.Keys ? from : 0;
    const lastKey = split == AttentionSplit.Keys ? min(all, from + block) : all;
    const q = ptr(ip, Attention.Q) + (entryOf(ip, AttentionOperand.Q, entry) << 2);
    const k = ptr(ip, Attention.K) + (entryOf(ip, AttentionOperand.K, entry) << 2);
    const v = ptr(ip, Attention.V) + (entryOf(ip, AttentionOperand.V, entry) << 2);
    const out = ptr(ip, Attention.Out) + (entryOf(ip, AttentionOperand.Out, entry) << 2);
    const grad = ptr(ip, Attention.Grad) + (entryOf(ip, AttentionOperand.Grad, entry) << 2);
    let mask = ptr(ip, Attention.Mask);
    if (mask) mask += entryOf(ip, AttentionOperand.Mask, entry) * ptr(ip, Attention.MaskBytes);
    let toQ = ptr(ip, Attention.ToQ);
    let toK = ptr(ip, Attention.ToK);
    let toV = ptr(ip, Attention.ToV);
    if (toQ) toQ += entryOf(ip, AttentionOperand.ToQ, entry) << 2;
    if (toK) toK += entryOf(ip, AttentionOperand.ToK, entry) << 2;
    if (toV) toV += entryOf(ip, AttentionOperand.ToV, entry) << 2;
    const statistics = ptr(ip, Attention.Statistics) + ((<usize>entry * <usize>length) << 3);
    if (all == 0 && toQ) clear(toQ, toQRow, lastQuery - firstQuery, depth);
    for (let j = firstKey; j < lastKey; j += AttentionTile.Keys) {
      const keys = min(AttentionTile.Keys, lastKey - j);
      const begins = causal ? max(firstQuery, j & ~(AttentionTile.Queries - 1)) : firstQuery;
      // Keys that no query sees.
      if (begins >= lastQuery) {
        if (toK) clear(toK + <usize>j * toKRow, toKRow, keys, depth);
        if (toV) clear(toV + <usize>j * toVRow, toVRow, keys, width);
        continue;
      }
      const ks = k + <usize>j * kRow;
      const vs = v + <usize>j * vRow;
      if (inPanels) {
        gemmPackB(keysAcross, ks, 4, kRow, depth, keys);
        gemmPackB(valuesAcross, vs, 4, vRow, width, keys);
        if (toQ) gemmPackB(keysDown, ks, kRow, 4, keys, depth);
      }
      for (let i = begins; i < lastQuery; i += AttentionTile.Queries) {
        const rows = min(AttentionTile.Queries, lastQuery - i);
        beat();
        const trimmed = causal && inPanels && ((i - j) & (STEP - 1)) == 0;
        const qs = q + <usize>i * qRow;
        const gs = grad + <usize>i * gradRow;
        if (inPanels) {
          if (toK) gemmPackB(queries, qs, qRow, 4, rows, depth);
          if (toV) gemmPackB(grads, gs, gradRow, 4, rows, width);
          scoreTile(tile, TILE_ROW, qs, qRow, keysAcross, depth, rows, keys, causal, i - j, edge);
          scoreTile(back, TILE_ROW, gs, gradRow, valuesAcross, width, rows, keys, causal, i - j, edge);
        } else {
          gemmSlice(tile, TILE_ROW, qs, qRow, 4, ks, 4, kRow, rows, keys, depth, 0, scratch);
          gemmSlice(back, TILE_ROW, gs, gradRow, 4, vs, 4, vRow, rows, keys, width, 0, scratch);
        }
        for (let r = 0; r < rows; ++r) {
          const row = tile + <usize>r * TILE_ROW;
          const seen = causal ? min(keys, i + r + 1 - j) : keys;
          // Of four rows as many: so it can be foreseen.
          const whole = causal ? max(0, min(keys, i + (r & ~3) + 1 - j)) >> 2 : keys >> 2;
          let factor = scale;
          if (mask) {
            addMask(ip, row, maskOf(ip, mask, i + r, j), keys);
            factor = 1;
          }
          const kept = statistics + ((<usize>(i + r)) << 3);
          const along = dot(out + <usize>(i + r) * outRow, gs + <usize>r * gradRow, width);
          const share = load<f32>(kept, 4);
          // Sums of products leave out what no row of its step sees; those of keys that none sees are zeros of the last row.
          const needed = trimmed && r < rows - 1 ? min(keys, (r & -STEP) + STEP + i - j) : keys;
          weights(row, back + <usize>r * TILE_ROW, whole, seen, needed, factor, load<f32>(kept), share, along, scale);
        }
        const more = i - begins;
        if (inPanels) {
          const to = toV + <usize>j * toVRow;
          if (toV) sumOverQueries(to, toVRow, tile, TILE_ROW, grads, rows, keys, width, more, causal, i - j, edge);
          const toKeys = toK + <usize>j * toKRow;
          if (toK)
            sumOverQueries(toKeys, toKRow, back, TILE_ROW, queries, rows, keys, depth, more, causal, i - j, edge);
          const toQueries = toQ + <usize>i * toQRow;
          const again = j - firstKey;
          if (toQ)
            sumOverKeys(toQueries, toQRow, back, TILE_ROW, keysDown, rows, keys, depth, again, causal, i - j, edge);
          continue;
        }
        if (toV)
          gemmSlice(toV + <usize>j * toVRow, toVRow, tile, 4, TILE_ROW, gs, gradRow, 4, keys, width, rows, more, scratch);
        if (toK)
          gemmSlice(toK + <usize>j * toKRow, toKRow, back, 4, TILE_ROW, qs, qRow, 4, keys, depth, rows, more, scratch);
        if (toQ)
          gemmSlice(toQ + <usize>i * toQRow, toQRow, back, TILE_ROW, 4, ks, kRow, 4, rows, depth, keys, j - firstKey, scratch);
      }
    }
  }
}
