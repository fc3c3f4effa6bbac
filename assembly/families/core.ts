// The kernels that every page loads: what an MLP needs to be initialised and to train. A kernel's export is named as its
// Opcode, a micro-operation's after its Micro: exporting also keeps the optimiser from inlining them into their one
// caller, where they would stay in baseline code.
export { writeConstants } from "../constants";
export { random as Random } from "../random";
export { reduce as Reduce } from "../reduce";
export {
  crossEntropy as CrossEntropy,
  crossEntropyGrad as CrossEntropyGrad,
  softmax as Softmax,
  softmaxGrad as SoftmaxGrad,
} from "../rows";
export { transpose as Transpose } from "../transpose";
export { gemm as Gemm, gemmSlice } from "../gemm";
export { gemmPackA, gemmPackB } from "../pack";
export { gemmEdge, gemmRow1x32, gemmRows4x8, gemmTiles4x8 } from "../tiles";
export { map as Map } from "../map";
export * from "../micro";
export { adam as Adam, adamRange } from "../optimizer";
