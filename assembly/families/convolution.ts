// Convolutions by any path. What they share with matrix products is in either binary; exported, it is not inlined.
export { convolution as Convolution, convolutionKernel as ConvolutionKernel } from "../convolution/index";
export { winograd as Winograd, winogradTaps as WinogradTaps } from "../winograd/convolution";
export { winogradKernel as WinogradKernel } from "../winograd/kernel";
export { gemmSlice } from "../gemm";
export { gemmPackA, gemmPackB } from "../pack";
export { gemmEdge, gemmRow1x32, gemmRows4x8, gemmTiles4x8 } from "../tiles";
