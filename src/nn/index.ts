/** @file torch.nn's names. */
export * as functional from "./functional.ts";
export * from "./layers.ts";
export * as utils from "./utils.ts";
export { Module } from "./module.ts";
export { Buffer, Parameter } from "../tensor.ts";
