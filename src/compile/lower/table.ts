/** @file The rule of each operation that has an instruction of its own. A new family adds a file, and lines here. */
import type { Attrs, Node, OpDef } from "../../graph/node.ts";
import { CONTRACT } from "../../ops/contract.ts";
import { FUSED } from "../../ops/fused.ts";
import { LOOKUP } from "../../ops/lookup.ts";
import { RANDOM } from "../../ops/random.ts";
import { SCAN } from "../../ops/scan.ts";
import { STRUCTURE } from "../../ops/structure.ts";
import { WINDOW } from "../../ops/windows.ts";
import type { Lowering } from "./lowering.ts";
import { matmul } from "./rules/contraction.ts";
import { gather, scatter } from "./rules/lookup.ts";
import { bytes, concat, fence, iota, pad } from "./rules/movement.ts";
import { argsort, cumsum } from "./rules/order.ts";
import { random } from "./rules/random.ts";
import { argReduce, reduce } from "./rules/reduction.ts";
import { crossEntropy, softmax, softmaxGrad } from "./rules/rows.ts";
import { fold } from "./rules/windows.ts";

type Rule<A extends Attrs = Attrs> = (l: Lowering, n: Node<A>) => void;

/** An operation with its rule, which knows its attributes. */
const rule = <A extends Attrs>(op: OpDef<A>, lower: Rule<NoInfer<A>>): readonly [OpDef, Rule] => [op, lower as Rule];

/** Operations with instructions of their own; elementwise ones become Map, views become addresses. */
export const RULES: ReadonlyMap<OpDef, Rule> = new Map([
  rule(CONTRACT.matmul, matmul),
  rule(STRUCTURE.sum, reduce),
  rule(STRUCTURE.max, reduce),
  rule(STRUCTURE.min, reduce),
  rule(STRUCTURE.argmax, argReduce),
  rule(STRUCTURE.argmin, argReduce),
  rule(STRUCTURE.concat, concat),
  rule(STRUCTURE.pad, pad),
  rule(STRUCTURE.iota, iota),
  rule(STRUCTURE.bytes, bytes),
  rule(STRUCTURE.fence, fence),
  rule(FUSED.softmax, softmax),
  rule(FUSED.logSoftmax, softmax),
  rule(FUSED.softmaxGrad, softmaxGrad),
  rule(FUSED.logSoftmaxGrad, softmaxGrad),
  rule(FUSED.crossEntropyRows, crossEntropy),
  rule(FUSED.crossEntropyGradRows, crossEntropy),
  rule(RANDOM.randomBits, random),
  rule(RANDOM.uniform, random),
  rule(RANDOM.normal, random),
  rule(STRUCTURE.prod, reduce),
  rule(LOOKUP.gather, gather),
  rule(LOOKUP.scatterAdd, scatter),
  rule(LOOKUP.scatterLast, scatter),
  rule(SCAN.cumsum, cumsum),
  rule(SCAN.argsort, argsort),
  rule(WINDOW.fold, fold),
]);
