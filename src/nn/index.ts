/** @file torch.nn's names. */
export * as functional from "./functional.ts";
export * from "./layers.ts";
export { Module } from "./module.ts";
export { Buffer, Parameter } from "../tensor.ts";
