// Convolutions and their adjoints, on the path that the compiler has chosen.
import { Convolution, ConvolutionPath } from "../isa";
import { arg } from "../simd";
import { gathered, gatheredKernel } from "./gathered";
import { plain, plainKernel } from "./plain";
import { planes } from "./planes";
import { planesKernel } from "./planeskernel";
import { precise, preciseKernel } from "./precise";

export function convolution(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const path = arg(ip, Convolution.Path);
  if (path == ConvolutionPath.Gathered) gathered(ip, begin, end, scratch);
  else if (path == ConvolutionPath.Precise) precise(ip, begin, end);
  else if (path == ConvolutionPath.Planes) planes(ip, begin, end, scratch);
  else plain(ip, begin, end, scratch);
}

export function convolutionKernel(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const path = arg(ip, Convolution.Path);
  if (path == ConvolutionPath.Gathered) gatheredKernel(ip, begin, end, scratch);
  else if (path == ConvolutionPath.Precise) preciseKernel(ip, begin, end);
  else if (path == ConvolutionPath.Planes) planesKernel(ip, begin, end, scratch);
  else plainKernel(ip, begin, end, scratch);
}
