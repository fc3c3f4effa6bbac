/** @file What must hold. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import { NS } from "../cost.ts";
import type { Lowering } from "../lowering.ts";

export function assertFinite(l: Lowering, n: Node): void {
  const from = l.ref(n.src[0]);
  const out = l.result(n);
  const size = numel(n.shape);
  const words = l.words<typeof isa.Assert>({
    [isa.Assert.Out]: out,
    [isa.Assert.In]: from,
    [isa.Assert.N]: size,
    [isa.Assert.Code]: isa.FaultCode.NonFinite,
  });
  l.emit(isa.Opcode.Assert, words, 1, n, [[from, 0]], [[out, 0]], size * NS.micro);
}
