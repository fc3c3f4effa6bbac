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
    old.map((r) => r.buffer),
    n,
  );
  const [w, m, v, g] = old;
  const words = l.words(isa.Adam, {
    W: w,
    M: m,
    V: v,
    G: g,
    NewW: newW,
    NewM: newM,
    NewV: newV,
    StepSize: stepSize,
    Root: root,
    N: n,
    Grain: grain,
    Beta1: floatBits(a.beta1),
    Rest1: floatBits(a.rest1),
    Beta2: floatBits(a.beta2),
    Rest2: floatBits(a.rest2),
    Eps: floatBits(a.eps),
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
