/** @file The public names of tensors. */
export * from "./composites/pieces.ts";
export * from "./composites/products.ts";
export * from "./composites/reduction.ts";
export * from "./composites/selection.ts";
export { arange, full, ones, tensor, type TensorOptions, zeros } from "./creation.ts";
export { einsum } from "./einsum.ts";
export { cat, matmul, stack, where } from "./functions.ts";
export { Parameter } from "./parameter.ts";
export { defaultGenerator, Generator, manualSeed, rand, randn, uniform } from "./random.ts";
export { Tensor, type TensorLike } from "./tensor.ts";
export type { NestedArray } from "./values.ts";
