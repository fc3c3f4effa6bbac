/**
 * @file The rule of each operation that has an instruction of its own. A new family adds a file, and lines here; or an extension,
 * if few programs have it.
 */
import type { Attrs, Node, OpDef } from "../../graph/node.ts";
import { ASSERT } from "../../ops/assert.ts";
import { CONTRACT } from "../../ops/contract.ts";
import { FUSED } from "../../ops/fused.ts";
import { LOOKUP } from "../../ops/lookup.ts";
import { RANDOM } from "../../ops/random.ts";
import { CUMULATIVE } from "../../ops/cumulative.ts";
import { IDENTITY } from "../../ops/identity.ts";
import { IOTA } from "../../ops/leaf.ts";
import { MOVEMENT } from "../../ops/movement.ts";
import { ORDER } from "../../ops/order.ts";
import { REDUCTION } from "../../ops/reduction.ts";
import { WINDOW } from "../../ops/windows.ts";
import type { Lowering } from "./lowering.ts";
import { assertFinite } from "./rules/assert.ts";
import { addmm, matmul } from "./rules/contraction.ts";
import { gather, scatter } from "./rules/lookup.ts";
import { bytes, fence, iota, pieces } from "./rules/movement.ts";
import { cumsum } from "./rules/cumulative.ts";
import { argsort } from "./rules/order.ts";
import { random } from "./rules/random.ts";
import { argReduce, reduce } from "./rules/reduction.ts";
import { crossEntropy, softmax, softmaxGrad } from "./rules/rows.ts";
import { fold } from "./rules/windows.ts";

type Rule<A extends Attrs = Attrs> = (l: Lowering, n: Node<A>) => void;

/** An operation with its rule, which knows its attributes. */
export const rule = <A extends Attrs>(op: OpDef<A>, lower: Rule<NoInfer<A>>): readonly [OpDef, Rule] => [
  op,
  lower as Rule,
];

/** Operations with instructions of their own; elementwise ones become Map, views become addresses. */
const RULES = new Map<OpDef, Rule>([
  rule(CONTRACT.matmul, matmul),
  rule(CONTRACT.addmm, addmm),
  rule(MOVEMENT.sum, reduce),
  rule(REDUCTION.max, reduce),
  rule(REDUCTION.min, reduce),
  rule(REDUCTION.argmax, argReduce),
  rule(REDUCTION.argmin, argReduce),
  rule(MOVEMENT.concat, pieces),
  rule(MOVEMENT.pad, pieces),
  rule(IOTA, iota),
  rule(MOVEMENT.bytes, bytes),
  rule(IDENTITY.fence, fence),
  rule(FUSED.softmax, softmax),
  rule(FUSED.logSoftmax, softmax),
  rule(FUSED.softmaxGrad, softmaxGrad),
  rule(FUSED.logSoftmaxGrad, softmaxGrad),
  rule(FUSED.crossEntropyRows, crossEntropy),
  rule(FUSED.crossEntropyGradRows, crossEntropy),
  rule(RANDOM.randomBits, random),
  rule(RANDOM.uniform, random),
  rule(RANDOM.normal, random),
  rule(REDUCTION.prod, reduce),
  rule(LOOKUP.gather, gather),
  rule(LOOKUP.scatterAdd, scatter),
  rule(LOOKUP.scatterLast, scatter),
  rule(CUMULATIVE.cumsum, cumsum),
  rule(ORDER.argsort, argsort),
  rule(WINDOW.fold, fold),
  rule(ASSERT.assertFinite, assertFinite),
]);

export const ruleOf = (op: OpDef): Rule | undefined => RULES.get(op);

/** For extensions. */
export function addRules(rules: readonly ReturnType<typeof rule>[]): void {
  for (const [op, lower] of rules) RULES.set(op, lower);
}
