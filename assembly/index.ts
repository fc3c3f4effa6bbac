// Entry of the WASM build. A kernel's export is named as its Opcode, a micro-operation's after its Micro: exporting also
// keeps the optimiser from inlining them into their one caller, where they would stay in baseline code.
export { assert as Assert } from "./assert";
export { writeConstants } from "./constants";
export { convolution as Convolution, convolutionKernel as ConvolutionKernel } from "./convolution/index";
export { gather as Gather, scatterAdd as ScatterAdd } from "./lookup";
export { norm as Norm } from "./norm";
export { normGrad as NormGrad, normParameters as NormParameters } from "./normgrad";
export { random as Random } from "./random";
export { reduce as Reduce } from "./reduce";
export {
  crossEntropy as CrossEntropy,
  crossEntropyGrad as CrossEntropyGrad,
  softmax as Softmax,
  softmaxGrad as SoftmaxGrad,
} from "./rows";
export { transpose as Transpose } from "./transpose";
export { gemm as Gemm, gemmSlice } from "./gemm";
export { gemmPackA, gemmPackB } from "./pack";
export { gemmEdge, gemmRow1x32, gemmRows4x8, gemmTiles4x8 } from "./tiles";
export { map as Map } from "./map";
export * from "./micro";
export { adam as Adam, adamRange } from "./optimizer";
export { maxPool as MaxPool } from "./pooling/max";
export { spreadWindows as SpreadWindows, sumWindows as SumWindows } from "./pooling/sums";
export { putTaps as PutTaps, takeTaps as TakeTaps } from "./pooling/taps";
export { product as Product } from "./product";
export { cumsum as Cumsum } from "./cumsum";
export { argsort as Argsort } from "./sort";
export { fold as Fold } from "./windows";
export { winograd as Winograd, winogradTaps as WinogradTaps } from "./winograd/convolution";
export { winogradKernel as WinogradKernel } from "./winograd/kernel";
