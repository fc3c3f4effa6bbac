/**
 * @file What the compiler knows of operations that few programs have. Where these are used it comes with them, by one import: a
 * page that uses none of them loads nothing of it. See extensions/.
 */
import type { OpDef } from "../graph/node.ts";
import { addRowWriters } from "./lower/parts.ts";
import { addRules, type rule as lowering } from "./lower/table.ts";
import { addMatcher, type Matcher } from "./match.ts";
import { addPass, type Pass } from "./rewrite.ts";
import { addSimplifications, addSlices, type rule as simplification } from "./simplify.ts";

export interface Extension {
  /** Operations with instructions of their own. */
  readonly lower: readonly ReturnType<typeof lowering>[];
  /** Of these, those whose kernels write rows of the last axis wherever they go. */
  readonly rows?: readonly OpDef[];
  readonly simplify?: readonly ReturnType<typeof simplification>[];
  /** What slices of operations become, where nothing else uses these. */
  readonly slices?: readonly ReturnType<typeof simplification>[];
  readonly pass?: Pass;
  readonly match?: Matcher;
}

/**
 * Teaches the compiler what becomes of operations, and returns these. To be called where a file is loaded, marked as pure: bundlers then
 * keep it if, and only if, the operations are used.
 */
export function extended<Operations>(operations: Operations, extension: () => Extension): Operations {
  const { lower, rows, simplify, slices, pass, match } = extension();
  addRules(lower);
  if (rows) addRowWriters(rows);
  if (simplify) addSimplifications(simplify);
  if (slices) addSlices(slices);
  if (pass) addPass(pass);
  if (match) addMatcher(match);
  return operations;
}
