/** @file The public names, nothing else. */
export * from "./tensor/index.ts";
export type { DType, TypedArray } from "./core/dtype.ts";
export * from "./core/errors.ts";
export type { Shape } from "./core/shape.ts";
export * from "./data/index.ts";
export * from "./func/index.ts";
export { compile, type Compiled, type CompileOptions, type MemoryPlan } from "./trace/compile.ts";
export * as nn from "./nn/index.ts";
export { crossEntropy, dropout, linear, mseLoss, relu } from "./nn/functional/index.ts";
export * as optim from "./optim/index.ts";
export { Profile, type ProfiledInstruction } from "./trace/profile.ts";
export { dispose, info, init } from "./run/active.ts";
export type { Info, InitOptions } from "./run/options.ts";
