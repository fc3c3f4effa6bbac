/** @file The rule of each operation that has an instruction of its own. A new family adds a file, and lines here. */
import type { Node, OpDef } from "../../graph/node.ts";
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

/** Operations with instructions of their own; elementwise ones become Map, views become addresses. */
export const RULES: ReadonlyMap<OpDef, (l: Lowering, n: Node) => void> = new Map<OpDef, (l: Lowering, n: Node) => void>(
  [
    [CONTRACT.matmul, matmul],
    [STRUCTURE.sum, reduce],
    [STRUCTURE.max, reduce],
    [STRUCTURE.min, reduce],
    [STRUCTURE.argmax, argReduce],
    [STRUCTURE.argmin, argReduce],
    [STRUCTURE.concat, concat],
    [STRUCTURE.pad, pad],
    [STRUCTURE.iota, iota],
    [STRUCTURE.bytes, bytes],
    [STRUCTURE.fence, fence],
    [FUSED.softmax, softmax],
    [FUSED.logSoftmax, softmax],
    [FUSED.softmaxGrad, softmaxGrad],
    [FUSED.logSoftmaxGrad, softmaxGrad],
    [FUSED.crossEntropyRows, crossEntropy],
    [FUSED.crossEntropyGradRows, crossEntropy],
    [RANDOM.randomBits, random],
    [RANDOM.uniform, random],
    [RANDOM.normal, random],
    [STRUCTURE.prod, reduce],
    [LOOKUP.gather, gather],
    [LOOKUP.scatterAdd, scatter],
    [LOOKUP.scatterLast, scatter],
    [SCAN.cumsum, cumsum],
    [SCAN.argsort, argsort],
    [WINDOW.fold, fold],
  ],
);
