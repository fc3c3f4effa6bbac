// The multiply-add ceiling of the engine: what the gemm benchmark measures itself against.
import { madd } from "./simd";

/** 8 multiply-adds of four lanes per iteration, all in registers. */
export function peak(iterations: i32): f32 {
  const step = f32x4.splat(1 / (<f32>iterations + 1));
  const a0 = f32x4.add(step, step);
  const a1 = f32x4.add(a0, step);
  const a2 = f32x4.add(a1, step);
  const a3 = f32x4.add(a2, step);
  return f32x4.extract_lane(peakLoop(iterations, a0, a1, a2, a3, f32x4.add(a3, step), step), 0);
}

/**
 * Eight sums, enough to keep two pipes of latency 4 busy. A function of its own, because V8 may move the computation
 * of the factors into the loop. The two of b change places all the time, or it would take the products out of it.
 */
export function peakLoop(iterations: i32, a0: v128, a1: v128, a2: v128, a3: v128, b0: v128, b1: v128): v128 {
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  for (; iterations > 0; --iterations) {
    c00 = madd(a0, b0, c00);
    c01 = madd(a0, b1, c01);
    c10 = madd(a1, b0, c10);
    c11 = madd(a1, b1, c11);
    c20 = madd(a2, b0, c20);
    c21 = madd(a2, b1, c21);
    c30 = madd(a3, b0, c30);
    c31 = madd(a3, b1, c31);
    const b = b0;
    b0 = b1;
    b1 = b;
  }
  c00 = f32x4.add(f32x4.add(c00, c10), f32x4.add(c20, c30));
  c01 = f32x4.add(f32x4.add(c01, c11), f32x4.add(c21, c31));
  return f32x4.sub(c00, c01);
}
