// Convolutions without tiles, summed in float64: small ones, and those of which a tile would see too much.
import { kernelOf, lineAt, placeOf, volume } from "./image";
import { Border, Convolution } from "../isa";
import { borderAt } from "../borders";
import { arg, beat, ptr } from "../simd";

/** The place in In of one of an axis that may be spread apart, or of its border; -1 for a zero. */
// @ts-ignore: decorator
@inline
function placeIn(place: i32, spread: i32, extent: i32, around: i32): i32 {
  return around == Border.Zeros ? lineAt(place, spread, extent) : borderAt(place, extent, around);
}

/** Element (z, y, x) of the axes of In, as they are spread; 0 outside. */
function seen(ip: usize, source: usize, z: i32, y: i32, x: i32): f64 {
  const around = arg(ip, Convolution.Around);
  z = placeIn(z - arg(ip, Convolution.PadD), arg(ip, Convolution.SpreadD), arg(ip, Convolution.InD), around);
  y = placeIn(y - arg(ip, Convolution.PadH), arg(ip, Convolution.SpreadH), arg(ip, Convolution.InH), around);
  x = placeIn(x - arg(ip, Convolution.PadW), arg(ip, Convolution.SpreadW), arg(ip, Convolution.InW), around);
  if ((z | y | x) < 0) return 0;
  const at = (<usize>(z * arg(ip, Convolution.InH) + y) * <usize>arg(ip, Convolution.InW) + <usize>x) << 2;
  return <f64>load<f32>(source + at);
}

/**
 * What `taps` (three axes) at `kernel`, so many elements apart along each axis, make of place (d, h, w) of a plane of In. Places and
 * taps take each other's part where kernels are what is wanted.
 */
function planeSum(
  ip: usize,
  source: usize,
  kernel: usize,
  taps: i32,
  stepD: i32,
  stepH: i32,
  stepW: i32,
  d: i32,
  h: i32,
  w: i32,
  byTaps: bool,
): f64 {
  const tapsD = arg(ip, taps);
  const tapsH = arg(ip, taps + 1);
  const tapsW = arg(ip, taps + 2);
  const place = byTaps ? Convolution.DilationD : Convolution.StrideD;
  const tap = byTaps ? Convolution.StrideD : Convolution.DilationD;
  let sum: f64 = 0;
  for (let z = 0; z < tapsD; ++z) {
    for (let y = 0; y < tapsH; ++y) {
      if ((y & 63) == 63) beat();
      for (let x = 0; x < tapsW; ++x) {
        if ((x & 4095) == 4095) beat();
        const e = seen(
          ip,
          source,
          d * arg(ip, place) + z * arg(ip, tap),
          h * arg(ip, place + 1) + y * arg(ip, tap + 1),
          w * arg(ip, place + 2) + x * arg(ip, tap + 2),
        );
        sum += e * <f64>load<f32>(kernel + ((z * stepD + y * stepH + x * stepW) << 2));
      }
    }
  }
  return sum;
}

/** Place by place, in float64. */
export function precise(ip: usize, begin: i32, end: i32): void {
  const groups = arg(ip, Convolution.Groups);
  const channels = arg(ip, Convolution.Channels);
  const results = arg(ip, Convolution.Results);
  const inner = volume(ip, Convolution.InD);
  const outH = arg(ip, Convolution.OutH);
  const outW = arg(ip, Convolution.OutW);
  const block = arg(ip, Convolution.Block);
  const pieces = arg(ip, Convolution.Pieces);
  const planeRows = arg(ip, Convolution.OutD) * outH;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = <i32>((<i64>planeRows * piece) / pieces);
    const to = <i32>((<i64>planeRows * (piece + 1)) / pieces);
    const first = (u / pieces) * block;
    for (let n = first; n < min(first + block, arg(ip, Convolution.N)); ++n) {
      for (let r = 0; r < groups * results; ++r) {
        const g = r / results;
        const source = ptr(ip, Convolution.In) + ((<usize>(n * groups + g) * <usize>(channels * inner)) << 2);
        for (let row = from; row < to; ++row) {
          const d = row / outH;
          let out = placeOf(ip, n * groups * results + r, d, row - d * outH, 0);
          for (let w = 0; w < outW; ++w) {
            let sum: f64 = 0;
            for (let c = 0; c < channels; ++c) {
              if ((c & 7) == 0) beat();
              sum += planeSum(
                ip,
                source + ((<usize>c * <usize>inner) << 2),
                kernelOf(ip, g, r - g * results, c),
                Convolution.TapsD,
                arg(ip, Convolution.KernelStepD),
                arg(ip, Convolution.KernelStepH),
                arg(ip, Convolution.KernelStepW),
                d,
                row - d * outH,
                w,
                false,
              );
            }
            store<f32>(out, arg(ip, Convolution.Add) ? load<f32>(out) + <f32>sum : <f32>sum);
            out += (<usize>arg(ip, Convolution.OutStepW)) << 2;
          }
        }
      }
    }
  }
}

/** Tap by tap, in float64. */
export function preciseKernel(ip: usize, begin: i32, end: i32): void {
  const groups = arg(ip, Convolution.Groups);
  const channels = arg(ip, Convolution.Channels);
  const results = arg(ip, Convolution.Results);
  const tapsH = arg(ip, Convolution.TapsH);
  const tapsW = arg(ip, Convolution.TapsW);
  const taps = volume(ip, Convolution.TapsD);
  const inner = volume(ip, Convolution.InD);
  const places = volume(ip, Convolution.OutD);
  const block = arg(ip, Convolution.Block);
  const pieces = arg(ip, Convolution.Pieces);
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = <i32>((<i64>channels * piece) / pieces);
    const to = <i32>((<i64>channels * (piece + 1)) / pieces);
    const first = (u / pieces) * block;
    const last = min(first + block, arg(ip, Convolution.N));
    for (let r = 0; r < groups * results; ++r) {
      const g = r / results;
      for (let c = from; c < to; ++c) {
        let out =
          ptr(ip, Convolution.Out) +
          ((<usize>(((u / pieces) * groups * results + r) * channels + c) * <usize>taps) << 2);
        for (let t = 0; t < taps; ++t) {
          let sum: f64 = 0;
          for (let n = first; n < last; ++n) {
            beat();
            const source = ptr(ip, Convolution.In) + ((<usize>((n * groups + g) * channels + c) * <usize>inner) << 2);
            const grad = ptr(ip, Convolution.Kernels) + ((<usize>(n * groups * results + r) * <usize>places) << 2);
            const rest = t / tapsW;
            const outW = arg(ip, Convolution.OutW);
            const plane = arg(ip, Convolution.OutH) * outW;
            const rows = rest / tapsH;
            sum += planeSum(ip, source, grad, Convolution.OutD, plane, outW, 1, rows, rest - rows * tapsH, t % tapsW, true);
          }
          store<f32>(out, <f32>sum);
          out += 4;
        }
      }
    }
  }
}
