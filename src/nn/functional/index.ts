/** @file Losses and layers as functions, with torch.nn.functional's names. */
export { oneHot } from "../../tensor/composites/selection.ts";
export * from "./activation.ts";
export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool1dWithIndices,
  adaptiveMaxPool2d,
  adaptiveMaxPool2dWithIndices,
  adaptiveMaxPool3d,
  adaptiveMaxPool3dWithIndices,
  type OutputSize,
} from "./adaptive.ts";
export { type AttentionOptions, scaledDotProductAttention } from "./attention.ts";
export * from "./convolution.ts";
export * from "./distance.ts";
export * from "./dropout.ts";
export * from "./linear.ts";
export * from "./loss.ts";
export * from "./normalisation.ts";
export { pad, type PaddingMode, type PadMode } from "./padding.ts";
export {
  avgPool1d,
  avgPool2d,
  avgPool3d,
  type AvgPoolOptions,
  lpPool1d,
  lpPool2d,
  lpPool3d,
  type LPPoolOptions,
  type MaxPoolOptions,
  maxPool1d,
  maxPool1dWithIndices,
  maxPool2d,
  maxPool2dWithIndices,
  maxPool3d,
  maxPool3dWithIndices,
  maxUnpool1d,
  maxUnpool2d,
  maxUnpool3d,
  type MaxUnpoolOptions,
  type PoolOptions,
} from "./pooling.ts";
export {
  gru,
  gruCell,
  lstm,
  lstmCell,
  type RecurrentOptions,
  rnnRelu,
  rnnReluCell,
  rnnTanh,
  rnnTanhCell,
} from "./recurrence.ts";
export { type Sizes } from "./sizes.ts";
export * from "./sparse.ts";
export * from "./vision.ts";
export { fold, unfold, type UnfoldOptions } from "./windows.ts";
