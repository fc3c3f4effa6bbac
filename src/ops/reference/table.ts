/**
 * @file What operations mean, in float64 and plain loops: the other half of their entries, in a folder of its own because a page
 * that only trains does not load it. Elementwise operations have theirs in their entry.
 */
import { numel } from "../../core/shape.ts";
import type { OpDef, Reference } from "../../graph/node.ts";
import { IOTA } from "../leaf.ts";
import { attentions } from "./attention.ts";
import { contractions } from "./contract.ts";
import { convolutions } from "./convolution.ts";
import { cumulatives } from "./cumulative.ts";
import { extensions } from "./extend.ts";
import { fusions } from "./fused.ts";
import { lookups } from "./lookup.ts";
import { movements } from "./movement.ts";
import { norms } from "./norm.ts";
import { orders } from "./order.ts";
import { type Entry, entry } from "./places.ts";
import { poolings } from "./pooling.ts";
import { draws } from "./random.ts";
import { reductions } from "./reduction.ts";
import { loops } from "./scan.ts";
import { windows } from "./windows.ts";

const leaves = (): readonly Entry[] => [
  entry(IOTA, (_, n) => Float64Array.from({ length: numel(n.shape) }, (_v, i) => i)),
];

/** Made when the first one is asked for: what ran at once, a bundler could not leave out. */
let references: ReadonlyMap<string, Reference> | undefined;

const all = (): readonly Entry[] => [
  ...leaves(),
  ...movements(),
  ...reductions(),
  ...windows(),
  ...poolings(),
  ...extensions(),
  ...cumulatives(),
  ...orders(),
  ...contractions(),
  ...convolutions(),
  ...lookups(),
  ...draws(),
  ...fusions(),
  ...norms(),
  ...loops(),
  ...attentions(),
];

/** What an operation computes, in float64; undefined for leaves. */
export function referenceOf(op: OpDef): Reference | undefined {
  if (op.ref) return op.ref;
  references ??= new Map(all());
  return references.get(op.name);
}
