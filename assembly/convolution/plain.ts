// Convolutions by one tap at every place: products of matrices as they lie, [results, channels] by [channels, places].
import { gemmSlice } from "../gemm";
import { Convolution } from "../isa";
import { arg, ptr } from "../simd";
import { kernelOf, volume } from "./image";

export function plain(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const groups = arg(ip, Convolution.Groups);
  const channels = arg(ip, Convolution.Channels);
  const results = arg(ip, Convolution.Results);
  const places = volume(ip, Convolution.InD);
  const pieces = arg(ip, Convolution.Pieces);
  const block = arg(ip, Convolution.Block);
  const outW = arg(ip, Convolution.OutW);
  const rows = places / outW;
  const row = (<usize>places) << 2;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = <i32>((<i64>rows * piece) / pieces) * outW;
    const to = <i32>((<i64>rows * (piece + 1)) / pieces) * outW;
    const first = (u / pieces) * block;
    for (let n = first; n < min(first + block, arg(ip, Convolution.N)); ++n)
      for (let g = 0; g < groups; ++g)
        gemmSlice(
          ptr(ip, Convolution.Out) + <usize>((n * groups + g) * results) * row + ((<usize>from) << 2),
          row,
          kernelOf(ip, g, 0, 0),
          <usize>(arg(ip, Convolution.KernelResult) << 2),
          <usize>(arg(ip, Convolution.KernelChannel) << 2),
          ptr(ip, Convolution.In) + <usize>((n * groups + g) * channels) * row + ((<usize>from) << 2),
          row,
          4,
          results,
          to - from,
          channels,
          0,
          scratch,
        );
  }
}

export function plainKernel(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const groups = arg(ip, Convolution.Groups);
  const channels = arg(ip, Convolution.Channels);
  const results = arg(ip, Convolution.Results);
  const places = volume(ip, Convolution.InD);
  const pieces = arg(ip, Convolution.Pieces);
  const block = arg(ip, Convolution.Block);
  const row = (<usize>places) << 2;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = <i32>((<i64>channels * piece) / pieces);
    const to = <i32>((<i64>channels * (piece + 1)) / pieces);
    const first = (u / pieces) * block;
    for (let g = 0; g < groups; ++g)
      for (let n = first; n < min(first + block, arg(ip, Convolution.N)); ++n)
        gemmSlice(
          ptr(ip, Convolution.Out) +
            ((<usize>(((u / pieces) * groups + g) * results) * <usize>channels + <usize>from) << 2),
          (<usize>channels) << 2,
          ptr(ip, Convolution.Kernels) + <usize>((n * groups + g) * results) * row,
          row,
          4,
          ptr(ip, Convolution.In) + <usize>((n * groups + g) * channels + from) * row,
          4,
          row,
          results,
          to - from,
          places,
          n - first,
          scratch,
        );
  }
}
