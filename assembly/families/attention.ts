// Attention, and what it sends back. What it shares with matrix products is in either binary; exported, it is not inlined.
export { attention as Attention } from "../attention/forward";
export { attentionGrad as AttentionGrad } from "../attention/backward";
export { gemmSlice } from "../gemm";
export { gemmPackA, gemmPackB } from "../pack";
export { gemmEdge, gemmRow1x32, gemmRows4x8, gemmTiles4x8 } from "../tiles";
