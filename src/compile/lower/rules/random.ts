/** @file Random draws. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { Node, OpDef } from "../../../graph/node.ts";
import { type DrawAttrs, RANDOM } from "../../../ops/random.ts";
import { NS } from "../cost.ts";
import { floatBits, grainOf } from "../emission.ts";
import type { Lowering } from "../lowering.ts";

const KINDS: ReadonlyMap<OpDef, isa.RandomKind> = new Map([
  [RANDOM.randomBits, isa.RandomKind.Bits],
  [RANDOM.uniform, isa.RandomKind.Uniform],
  [RANDOM.normal, isa.RandomKind.Normal],
]);

export function random(l: Lowering, n: Node<DrawAttrs>): void {
  const state = l.ref(n.src[0]);
  const out = l.result(n);
  const size = numel(n.shape);
  // Whole blocks of threefry.
  const grain = grainOf(n.shape, 8);
  const words = l.words<typeof isa.Random>({
    [isa.Random.Out]: out,
    [isa.Random.State]: state,
    [isa.Random.Draw]: n.attrs.draw,
    [isa.Random.N]: size,
    [isa.Random.Kind]: KINDS.get(n.op) ?? isa.RandomKind.Bits,
    [isa.Random.A]: floatBits(n.attrs.a),
    [isa.Random.B]: floatBits(n.attrs.b),
    [isa.Random.Grain]: grain,
  });
  l.emit(isa.Opcode.Random, words, Math.ceil(size / grain), n, [[state, 0]], [[out, grain * 4]], size * NS.random);
}
