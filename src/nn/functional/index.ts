/** @file Losses and layers as functions, with torch.nn.functional's names. */
export { oneHot } from "../../tensor/composites/selection.ts";
export * from "./activation.ts";
export * from "./convolution.ts";
export * from "./distance.ts";
export * from "./dropout.ts";
export * from "./linear.ts";
export * from "./loss.ts";
export * from "./normalisation.ts";
export { pad, type PadMode } from "./padding.ts";
export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  avgPool1d,
  avgPool2d,
  type AvgPoolOptions,
  type MaxPoolOptions,
  maxPool1d,
  maxPool2d,
  maxPool2dWithIndices,
  type PoolOptions,
} from "./pooling.ts";
export { type Sizes } from "./sizes.ts";
export * from "./sparse.ts";
export * from "./vision.ts";
export { fold, unfold, type UnfoldOptions } from "./windows.ts";
