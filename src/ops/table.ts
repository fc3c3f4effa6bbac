/** @file The op table: every operation there is, once. Tests, docs and the compiler's coverage check derive from it. */
import type { OpDef } from "../graph/node.ts";
import { CONTRACT } from "./contract.ts";
import { BINARY, COMPARE, LOGICAL, SELECT, UNARY } from "./elementwise.ts";
import { FUSED } from "./fused.ts";
import { CONSTANT, LEAF } from "./leaf.ts";
import { LOOKUP } from "./lookup.ts";
import { RANDOM } from "./random.ts";
import { SCAN } from "./scan.ts";
import { STRUCTURE } from "./structure.ts";
import { WINDOW } from "./windows.ts";

export const OPS: Readonly<Record<string, OpDef>> = {
  leaf: LEAF,
  constant: CONSTANT,
  ...UNARY,
  ...BINARY,
  ...COMPARE,
  ...LOGICAL,
  ...SELECT,
  ...STRUCTURE,
  ...WINDOW,
  ...SCAN,
  ...CONTRACT,
  ...LOOKUP,
  ...RANDOM,
  ...FUSED,
};
