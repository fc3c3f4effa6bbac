/** @file The op table: every operation there is, once. Tests, docs and the compiler's coverage check derive from it. */
import type { OpDef } from "../graph/node.ts";
import { ASSERT } from "./assert.ts";
import { ATTENTIONS } from "./attention.ts";
import { CONTRACT } from "./contract.ts";
import { CONVOLUTIONS } from "./convolution.ts";
import { CUMULATIVE } from "./cumulative.ts";
import { BINARY, COMPARE, LOGICAL, SELECT, UNARY } from "./elementwise.ts";
import { EXTENSION } from "./extend.ts";
import { FUSED } from "./fused.ts";
import { IDENTITY } from "./identity.ts";
import { CONSTANT, IOTA, LEAF } from "./leaf.ts";
import { LOOKUP } from "./lookup.ts";
import { MOVEMENT } from "./movement.ts";
import { NORM } from "./norm.ts";
import { ORDER } from "./order.ts";
import { POOLING } from "./pooling.ts";
import { RANDOM } from "./random.ts";
import { REDUCTION } from "./reduction.ts";
import { SCANS } from "./scan.ts";
import { WINDOW } from "./windows.ts";

export const OPS: Readonly<Record<string, OpDef>> = {
  leaf: LEAF,
  constant: CONSTANT,
  iota: IOTA,
  ...UNARY,
  ...BINARY,
  ...COMPARE,
  ...LOGICAL,
  ...SELECT,
  ...MOVEMENT,
  ...REDUCTION,
  ...IDENTITY,
  ...ASSERT,
  ...WINDOW,
  ...POOLING,
  ...EXTENSION,
  ...CUMULATIVE,
  ...ORDER,
  ...CONTRACT,
  ...CONVOLUTIONS,
  ...LOOKUP,
  ...RANDOM,
  ...FUSED,
  ...NORM,
  ...SCANS,
  ...ATTENTIONS,
};
