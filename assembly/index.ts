// Entry of the WASM build. A kernel's export is named after its Opcode, a micro-operation's after its Micro: exporting
// also keeps the optimiser from inlining them into their one caller, where they would stay in baseline code.
export { writeConstants } from "./constants";
export { gather, scatterAdd } from "./lookup";
export { random } from "./random";
export { reduce } from "./reduce";
export { crossEntropy, crossEntropyGrad, softmax, softmaxGrad } from "./rows";
export { transpose } from "./transpose";
export { gemm, gemmEdge, gemmPackA, gemmPackB, gemmRow1x32, gemmRows4x8, gemmSlice, gemmTiles4x8 } from "./gemm";
export { peak, peakLoop } from "./peak";
export { map } from "./map";
export * from "./micro";
export { adam, adamRange } from "./optimizer";
export { product } from "./product";
export { scan } from "./scan";
export { argsort } from "./sort";
export { fold } from "./windows";
