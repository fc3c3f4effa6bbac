/** @file An optimiser's update in one pass. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { AdamUpdate } from "../../match.ts";
import { NS } from "../cost.ts";
import { floatBits, type Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { grainFor } from "../map.ts";

export function emitAdam(l: Lowering, a: AdamUpdate): void {
  const n = numel(a.newW.shape);
  const old = [a.w, a.m, a.v, a.g].map((x) => l.ref(x));
  const [stepSize, root] = [l.ref(a.stepSize), l.ref(a.root)];
  const [newW, newM, newV] = [a.newW, a.newM, a.newV].map((x) => l.result(x));
  const grain = grainFor(
    l,
    a.newW.shape,
    old.map((r) => [r, n]),
    n,
  );
  const [w, m, v, g] = old;
  const words = l.words<typeof isa.Adam>({
    [isa.Adam.W]: w,
    [isa.Adam.M]: m,
    [isa.Adam.V]: v,
    [isa.Adam.G]: g,
    [isa.Adam.NewW]: newW,
    [isa.Adam.NewM]: newM,
    [isa.Adam.NewV]: newV,
    [isa.Adam.StepSize]: stepSize,
    [isa.Adam.Root]: root,
    [isa.Adam.N]: n,
    [isa.Adam.Grain]: grain,
    [isa.Adam.Beta1]: floatBits(a.beta1),
    [isa.Adam.Rest1]: floatBits(a.rest1),
    [isa.Adam.Beta2]: floatBits(a.beta2),
    [isa.Adam.Rest2]: floatBits(a.rest2),
    [isa.Adam.Eps]: floatBits(a.eps),
  });
  l.emit(
    isa.Opcode.Adam,
    words,
    Math.ceil(n / grain),
    a.newW,
    [...old.map((r): Touch => [r, grain * 4]), [stepSize, 0], [root, 0]],
    [newW, newM, newV].map((r): Touch => [r, grain * 4]),
    n * NS.adam,
    "adam",
  );
}
