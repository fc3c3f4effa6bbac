// Updates of optimisers: one pass over a parameter and its moments.
import { Adam } from "./isa";
import { arg, farg, loadPart, ptr, storePart } from "./simd";

/** See Adam in isa.ts. Every product and sum is rounded, so that the bits are those of the same expression in Map. */
export function adam(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const grain = arg(ip, Adam.Grain);
  const from = begin * grain;
  const n = arg(ip, Adam.N);
  const stop = end * grain;
  const to = stop < n ? stop : n;
  if (from >= to) return;
  const at = (<usize>from) << 2;
  adamRange(ip, at, (<usize>to) << 2);
}

/** The elements between two byte offsets. A function of its own: V8 enters optimised code only at calls. */
export function adamRange(ip: usize, from: usize, to: usize): void {
  const w = ptr(ip, Adam.W);
  const m = ptr(ip, Adam.M);
  const v = ptr(ip, Adam.V);
  const g = ptr(ip, Adam.G);
  const newW = ptr(ip, Adam.NewW);
  const newM = ptr(ip, Adam.NewM);
  const newV = ptr(ip, Adam.NewV);
  const stepSize = f32x4.splat(load<f32>(ptr(ip, Adam.StepSize)));
  const root = f32x4.splat(load<f32>(ptr(ip, Adam.Root)));
  const b1 = f32x4.splat(farg(ip, Adam.Beta1));
  const c1 = f32x4.splat(farg(ip, Adam.Rest1));
  const b2 = f32x4.splat(farg(ip, Adam.Beta2));
  const c2 = f32x4.splat(farg(ip, Adam.Rest2));
  const eps = f32x4.splat(farg(ip, Adam.Eps));
  for (let o = from; o < to; o += 16) {
    const left = <i32>((to - o) >> 2);
    const whole = left >= 4;
    const grad = whole ? v128.load(g + o) : loadPart(g + o, left);
    const mo = whole ? v128.load(m + o) : loadPart(m + o, left);
    const vo = whole ? v128.load(v + o) : loadPart(v + o, left);
    const wo = whole ? v128.load(w + o) : loadPart(w + o, left);
    const mn = f32x4.add(f32x4.mul(mo, b1), f32x4.mul(grad, c1));
    const vn = f32x4.add(f32x4.mul(vo, b2), f32x4.mul(f32x4.mul(grad, grad), c2));
    const denominator = f32x4.add(f32x4.mul(f32x4.sqrt(vn), root), eps);
    const wn = f32x4.sub(wo, f32x4.div(f32x4.mul(mn, stepSize), denominator));
    if (whole) {
      v128.store(newM + o, mn);
      v128.store(newV + o, vn);
      v128.store(newW + o, wn);
    } else {
      storePart(newM + o, mn, left);
      storePart(newV + o, vn, left);
      storePart(newW + o, wn, left);
    }
  }
}
