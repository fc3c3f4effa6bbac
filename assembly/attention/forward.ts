// Attention: scores, their softmax and the mean of values by it, tile by tile, with the largest score and the sum of exponentials so
// far ("FlashAttention", Dao, Fu, Ermon, Rudra and Ré 2022; the running softmax is Milakov and Gimelshein's, 2018).
import { gemmSlice } from "../gemm";
import { Attention, AttentionOperand, AttentionTile } from "../isa";
import { weight } from "./exponential";
import { gemmPackB } from "../pack";
import { arg, beat, farg, loadPart, PART, ptr, storePart } from "../simd";
import { scoreTile, STEP, sumOverKeys } from "./panels";
import {
  addMask,
  clear,
  EDGE,
  entryOf,
  exponentials,
  maskOf,
  NUMBERS,
  PANELS,
  PANELS_BYTES,
  panelBytes,
  SCORES,
  scoresOf4,
  sumsOf4,
  TILE_ROW,
} from "./scores";

/** Multiplies n float32 in place. */
function multiply(p: usize, n: i32, by: f32): void {
  const factor = f32x4.splat(by);
  while (n >= 4) {
    const rest = max(n - PART, 3);
    for (; n > rest; n -= 4, p += 16) v128.store(p, f32x4.mul(v128.load(p), factor));
    if (rest > 3) beat();
  }
  if (n > 0) storePart(p, f32x4.mul(loadPart(p, n), factor), n);
}

export function attention(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const length = arg(ip, Attention.L);
  const all = arg(ip, Attention.S);
  const depth = arg(ip, Attention.E);
  const width = arg(ip, Attention.Ev);
  const inPanels = depth > 0 && width > 0 && panelBytes(depth) + panelBytes(width) <= PANELS_BYTES;
  const causal = arg(ip, Attention.Causal) != 0;
  const block = arg(ip, Attention.Block);
  const blocks = (length + block - 1) / block;
  const outRow = ptr(ip, Attention.OutRow) << 2;
  const qRow = ptr(ip, Attention.QRow) << 2;
  const kRow = ptr(ip, Attention.KRow) << 2;
  const vRow = ptr(ip, Attention.VRow) << 2;
  const maskBytes = arg(ip, Attention.MaskBytes);
  for (let u = begin; u < end; ++u) {
    const entry = u / blocks;
    let piece = u - entry * blocks;
    // Under a causal mask late queries have more to do: those of a pair have as much as those of the next one.
    if (causal) piece = piece & 1 ? blocks - 1 - (piece >> 1) : piece >> 1;
    const first = piece * block;
    const last = min(length, first + block);
    const q = ptr(ip, Attention.Q) + (entryOf(ip, AttentionOperand.Q, entry) << 2);
    const k = ptr(ip, Attention.K) + (entryOf(ip, AttentionOperand.K, entry) << 2);
    const v = ptr(ip, Attention.V) + (entryOf(ip, AttentionOperand.V, entry) << 2);
    let mask = ptr(ip, Attention.Mask);
    const factor: f32 = mask ? <f32>1 : farg(ip, Attention.Scale);
    if (mask) mask += entryOf(ip, AttentionOperand.Mask, entry) * <usize>maskBytes;
    const out = ptr(ip, Attention.Out) + (entryOf(ip, AttentionOperand.Out, entry) << 2);
    const statistics = ptr(ip, Attention.Statistics) + ((<usize>entry * <usize>length) << 3);
    for (let i = first; i < last; i += AttentionTile.Queries) {
      const rows = min(AttentionTile.Queries, last - i);
      const to = out + <usize>i * outRow;
      const keys = causal ? min(all, i + rows) : all;
      // Of each query the largest score so far, and the sum of exponentials; what they are multiplied by for another largest one.
      const largest = scratch + NUMBERS;
      const sums = largest + (AttentionTile.Queries << 2);
      const fades = sums + (AttentionTile.Queries << 2);
      for (let r = 0; r < AttentionTile.Queries << 2; r += 16) {
        v128.store(largest + <usize>r, f32x4.splat(-Infinity));
        v128.store(sums + <usize>r, f32x4.splat(0));
      }
      if (keys == 0) clear(to, outRow, rows, width);
      for (let j = 0; j < keys; j += AttentionTile.Keys) {
        const n = min(AttentionTile.Keys, keys - j);
        beat();
        const qs = q + <usize>i * qRow;
        const ks = k + <usize>j * kRow;
        const vs = v + <usize>j * vRow;
        const values = scratch + PANELS + panelBytes(depth);
        if (inPanels) {
          gemmPackB(scratch + PANELS, ks, 4, kRow, depth, n);
          gemmPackB(values, vs, vRow, 4, n, width);
          const edge = scratch + EDGE;
          scoreTile(scratch + SCORES, TILE_ROW, qs, qRow, scratch + PANELS, depth, rows, n, causal, i - j, edge);
        } else gemmSlice(scratch + SCORES, TILE_ROW, qs, qRow, 4, ks, 4, kRow, rows, n, depth, 0, scratch);
        if (mask)
          for (let r = 0; r < rows; ++r)
            addMask(ip, scratch + SCORES + <usize>r * TILE_ROW, maskOf(ip, mask, i + r, j), n);
        // Rows behind the last one are numbers of no query; their results go nowhere.
        for (let r = 0; r < rows; r += 4) {
          const row = scratch + SCORES + <usize>r * TILE_ROW;
          const at = (<usize>r) << 2;
          const seen = causal ? i + r + 1 - j : n;
          const before = v128.load(largest + at);
          const most = scoresOf4(row, seen, causal ? 1 : 0, n, factor, before);
          const shift = v128.andnot(most, f32x4.eq(most, f32x4.splat(-Infinity)));
          const end = (<usize>((min(n, causal ? seen + 3 : n) + 3) >> 2)) << 4;
          const needed = causal && inPanels ? min(n, (r & -STEP) + STEP + i - j) : n;
          const stop = (<usize>((needed + 3) >> 2)) << 4;
          const sum = sumsOf4(
            exponentials(row, row + end, row + stop, v128.shuffle<i32>(shift, shift, 0, 0, 0, 0)),
            exponentials(row + 256, row + 256 + end, row + 256 + stop, v128.shuffle<i32>(shift, shift, 1, 1, 1, 1)),
            exponentials(row + 512, row + 512 + end, row + 512 + stop, v128.shuffle<i32>(shift, shift, 2, 2, 2, 2)),
            exponentials(row + 768, row + 768 + end, row + 768 + stop, v128.shuffle<i32>(shift, shift, 3, 3, 3, 3)),
          );
          const fade = weight(f32x4.sub(before, shift));
          v128.store(largest + at, most);
          v128.store(fades + at, fade);
          v128.store(sums + at, f32x4.add(f32x4.mul(v128.load(sums + at), fade), sum));
        }
        if (j > 0)
          for (let r = 0; r < rows; ++r) {
            const fade = load<f32>(fades + ((<usize>r) << 2));
            if (fade != 1) multiply(to + <usize>r * outRow, width, fade);
          }
        if (inPanels) {
          const edge = scratch + EDGE;
          sumOverKeys(to, outRow, scratch + SCORES, TILE_ROW, values, rows, n, width, j, causal, i - j, edge);
        } else gemmSlice(to, outRow, scratch + SCORES, TILE_ROW, 4, vs, vRow, 4, rows, width, n, j, scratch);
      }
      for (let r = 0; r < rows; ++r) {
        const at = (<usize>r) << 2;
        const most = load<f32>(largest + at);
        const sum = load<f32>(sums + at);
        const share: f32 = sum == 0 ? 0 : 1 / sum;
        const kept = statistics + ((<usize>(i + r)) << 3);
        store<f32>(kept, most == -Infinity ? 0 : most);
        store<f32>(kept, share, 4);
        multiply(to + <usize>r * outRow, width, share);
      }
    }
  }
}
