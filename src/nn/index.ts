/** @file Layers, losses and what they are made of. */
export * as functional from "./functional/index.ts";
export * from "./modules/activation.ts";
export * from "./modules/container.ts";
export * from "./modules/convolution.ts";
export * from "./modules/dropout.ts";
export * from "./modules/linear.ts";
export * from "./modules/normalisation.ts";
export * from "./modules/pooling.ts";
export * from "./modules/recurrence.ts";
export * from "./modules/sparse.ts";
export * from "./modules/vision.ts";
export * from "./modules/module.ts";
export * as utils from "./utils.ts";
export { Buffer, Parameter } from "../tensor/parameter.ts";
