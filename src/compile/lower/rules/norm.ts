/**
 * @file Norms: rows measured and standardised, what comes back to them, to weight and to bias.
 *
 * Where a row lies together, its worker measures and standardises it in one instruction, while the cache has it. A channel of a
 * batch lies in all samples. Where those are many, each worker measures the channels of its own, in blocks cut by shape alone, and
 * standardises them when the blocks are merged: two barriers with next to nothing between them, and what comes before and
 * after stays with the worker that has the sample. Else a channel is a worker's as a whole.
 */
import * as isa from "../../../../assembly/isa.ts";
import { byteLength } from "../../../core/dtype.ts";
import { numel } from "../../../core/shape.ts";
import { type Attrs, isOp, type Node, type OpDef } from "../../../graph/node.ts";
import { constantValue } from "../../../ops/leaf.ts";
import { NORM, type NormAttrs } from "../../../ops/norm.ts";
import type { Ref, Word } from "../../instr.ts";
import { NS } from "../cost.ts";
import { floatBits, ROWS, type Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { reduceRun } from "./reduction.ts";

/** Bytes of a row's statistics: two float64. */
const STATISTICS = 16;
/** Elements of a channel in a block of samples for which it pays to measure it by blocks. */
const BLOCK = 256;
/** Rows whose sums for the parameters are one partial result, at least; and how many of these there are at most. */
const PARAMETER_ROWS = 64;
const PARAMETER_BLOCKS = 8;

const { NormStage: Stage } = isa;

interface Geometry {
  readonly samples: number;
  readonly rows: number;
  readonly groups: number;
  readonly channels: number;
  readonly places: number;
}

const geometryOf = ({ shape: [samples, q, groups, channels, places] }: Node): Geometry => ({
  samples,
  rows: q * groups,
  groups,
  channels,
  places,
});

/** Whether a row lies together, and each of its elements has a parameter of its own. */
const isPlain = ({ samples, places }: Geometry): boolean => samples === 1 && places === 1;

/** How x is cut into units. */
interface Cut {
  /** Rows of a unit of rows. */
  readonly block: number;
  /** Samples of a unit of samples; 0 for units of rows. */
  readonly split: number;
  /** Bytes of x that a unit has; 0 if they lie apart. */
  readonly unit: number;
  readonly units: number;
}

/** Rows that lie together as the first of these values is cut, if a unit is whole rows of it: their bits are the same in any. */
function cutOf(l: Lowering, { samples, rows, groups, channels, places }: Geometry, refs: readonly Ref[]): Cut {
  const width = channels * places;
  if (samples === 1) {
    const like = refs.map(({ buffer, offset }) => {
      const writer = l.writerOf(buffer);
      const own = (writer?.writes.find((w) => w.buffer === buffer)?.unit ?? 0) / (width * 4);
      return offset === 0 && Number.isInteger(own) && own > 0 && writer?.units === Math.ceil(rows / own) ? own : 0;
    });
    const block = like.find((own) => own > 0) ?? (rows >= 2 * ROWS ? ROWS : 1);
    return { block, split: 0, unit: block * width * 4, units: Math.ceil(rows / block) };
  }
  if (samples >= 2 * ROWS && rows === groups && ROWS * places >= BLOCK) {
    const unit = ROWS * rows * places * 4;
    return { block: isa.NormStrip.Columns, split: ROWS, unit, units: Math.ceil(samples / ROWS) };
  }
  const block = width === 1 ? isa.NormStrip.Columns : 1;
  return { block, split: 0, unit: 0, units: Math.ceil(rows / block) };
}

/** Where a parameter lies; 0 if it is this number everywhere. */
function parameter(l: Lowering, n: Node, none: number): Word {
  return constantValue(l.view(n).base) === none ? 0 : l.ref(n);
}

/** Places that are read or written; an address of 0 is none. */
const touches = (...list: readonly (readonly [Word, number])[]): Touch[] =>
  list.filter((t): t is readonly [Ref, number] => typeof t[0] === "object");

/** The name under which statistics are kept. */
const statisticsName = (x: Node, { eps, centered }: NormAttrs): string => `statistics ${x.id} ${eps} ${centered}`;

/** The node of an operation that reads x as its first source, if the program has one that fits. */
function sibling<A extends Attrs>(
  l: Lowering,
  x: Node,
  op: OpDef<A>,
  fits: (n: Node<A>) => boolean,
): Node<A> | undefined {
  for (const n of l.readersOf(x)) if (isOp(n, op) && n.src[0] === x && fits(n)) return n;
  return undefined;
}

/** Measures the rows of x, unless that was done, and standardises them, if there is a node for the result. */
function emitNorm(l: Lowering, x: Node, attrs: NormAttrs, label: Node, result?: Node<NormAttrs>): Ref {
  const geometry = geometryOf(x);
  const { samples, rows, groups, channels, places } = geometry;
  const name = statisticsName(x, attrs);
  const known = l.kept.get(name);
  const from = l.ref(x);
  const { block, split, unit, units } = cutOf(l, geometry, [from]);
  const statistics = known ?? { buffer: l.buffer(rows * STATISTICS, "float32"), offset: 0 };
  l.kept.set(name, statistics);
  const [weight, bias] = result ? [parameter(l, result.src[1], 1), parameter(l, result.src[2], 0)] : [0, 0];
  const out = result ? l.result(result) : 0;
  const wanted = known || !attrs.centered ? undefined : sibling(l, x, NORM.moments, () => true);
  const moments = wanted ? l.result(wanted) : 0;
  const partials = known || split === 0 ? 0 : { buffer: l.buffer(units * rows * STATISTICS, "float32"), offset: 0 };
  // No worker waits for the one that merges for all, and for backward.
  const alone = units * rows <= isa.NormParts.Most;
  const stage = (what: number, count: number, reads: Touch[], writes: Touch[], cost: number): void => {
    const words = l.words<typeof isa.Norm>({
      [isa.Norm.Out]: out,
      [isa.Norm.In]: from,
      [isa.Norm.Weight]: weight,
      [isa.Norm.Bias]: bias,
      [isa.Norm.Statistics]: statistics,
      [isa.Norm.Partials]: what === Stage.Apply && !alone ? 0 : partials,
      [isa.Norm.Moments]: moments,
      [isa.Norm.A]: samples,
      [isa.Norm.Rows]: rows,
      [isa.Norm.Groups]: groups,
      [isa.Norm.Channels]: channels,
      [isa.Norm.Places]: places,
      [isa.Norm.Eps]: floatBits(attrs.eps),
      [isa.Norm.Centered]: attrs.centered ? 1 : 0,
      [isa.Norm.Stage]: what,
      [isa.Norm.Block]: block,
      [isa.Norm.Split]: split,
    });
    l.emit(isa.Opcode.Norm, words, count, label, reads, writes, cost, `${label.op.name}${TEXT[what]}`);
  };
  const size = numel(x.shape) * NS.norm;
  const own = block * STATISTICS;
  const read = touches([from, unit], [weight, 0], [bias, 0]);
  const measured = touches([statistics, own], [moments, 0]);
  if (split === 0) {
    const what = (known ? 0 : Stage.Measure) | (result ? Stage.Apply : 0);
    const reads = known ? [...read, ...touches([statistics, own])] : read;
    const writes = touches([out, unit]);
    stage(what, units, reads, known ? writes : [...writes, ...measured], known || !result ? size : 2 * size);
    return statistics;
  }
  if (!known) {
    stage(Stage.Measure, units, touches([from, unit]), touches([partials, rows * STATISTICS]), size);
    stage(Stage.Merge, Math.ceil(rows / block), touches([partials, 0]), measured, units * rows * NS.merge);
  }
  const source = known || !alone ? statistics : partials;
  if (result) stage(Stage.Apply, units, [...read, ...touches([source, 0])], touches([out, unit]), size);
  return statistics;
}

/** What instructions say that do a part of it. */
const TEXT: Readonly<Record<number, string>> = {
  [Stage.Measure]: " (measure)",
  [Stage.Apply]: " (apply)",
  [Stage.Merge]: " (merge)",
  [Stage.Measure | Stage.Apply]: "",
};

function statisticsOf(l: Lowering, x: Node, attrs: NormAttrs, label: Node): Ref {
  return l.kept.get(statisticsName(x, attrs)) ?? emitNorm(l, x, attrs, label);
}

export function standardize(l: Lowering, n: Node<NormAttrs>): void {
  if (!l.places.has(n)) emitNorm(l, n.src[0], n.attrs, n, n);
}

export function moments(l: Lowering, n: Node): void {
  if (l.places.has(n)) return;
  const [x] = n.src;
  // With the statistics of a norm that follows, if there is one, or together with it.
  const norm = sibling(l, x, NORM.standardize, ({ attrs }) => attrs.centered);
  const together = norm?.src.every((s) => l.isMade(s)) ? norm : undefined;
  emitNorm(l, x, norm?.attrs ?? { eps: 0, centered: true }, together ?? n, together);
}

const isAlike = (a: Node<NormAttrs>, b: Node<NormAttrs>): boolean =>
  a.src.every((s, i) => s === b.src[i]) && a.attrs.eps === b.attrs.eps && a.attrs.centered === b.attrs.centered;

/** What comes back to x, and, where they are sums of its rows, to the parameters: what there are nodes for. */
function emitGrad(l: Lowering, label: Node<NormAttrs>, input?: Node<NormAttrs>, parameters?: Node<NormAttrs>): void {
  const [x, w, g] = label.src;
  const { attrs } = label;
  const geometry = geometryOf(x);
  const { samples, rows, groups, channels, places } = geometry;
  const statistics = statisticsOf(l, x, attrs, label);
  const from = l.ref(x);
  const grad = l.ref(g);
  const weight = parameter(l, w, 1);
  const { block, split, unit, units } = cutOf(l, geometry, [grad, from]);
  const out = input ? l.result(input) : 0;
  const size = 2 * groups * channels;
  const buffer = (count: number): Ref => ({ buffer: l.buffer(count * size * 4, "float32"), offset: 0 });
  const alone = units * rows <= isa.NormParts.Most;
  const stage = (what: number, sums: Word, reads: Touch[], writes: Touch[], cost: number): void => {
    const words = l.words<typeof isa.NormGrad>({
      [isa.NormGrad.Out]: out,
      [isa.NormGrad.In]: from,
      [isa.NormGrad.Weight]: weight,
      [isa.NormGrad.Grad]: grad,
      [isa.NormGrad.Statistics]: statistics,
      [isa.NormGrad.Sums]: sums,
      [isa.NormGrad.A]: samples,
      [isa.NormGrad.Rows]: rows,
      [isa.NormGrad.Groups]: groups,
      [isa.NormGrad.Channels]: channels,
      [isa.NormGrad.Places]: places,
      [isa.NormGrad.Centered]: attrs.centered ? 1 : 0,
      [isa.NormGrad.Stage]: what,
      [isa.NormGrad.Block]: block,
      [isa.NormGrad.Split]: split,
      [isa.NormGrad.Blocks]: what === Stage.Apply && alone ? units : 0,
    });
    l.emit(isa.Opcode.NormGrad, words, units, label, reads, writes, cost, `${label.op.name}${TEXT[what]}`);
  };
  const add = (n: Node, partial: Ref, count: number): Ref =>
    reduceRun(l, n, partial, isa.ReduceKind.Sum, 1, count, size, n === parameters);
  const cost = numel(x.shape) * NS.normGrad;
  const read = touches([from, unit], [grad, unit]);
  if (split === 0) {
    const count = rows / groups;
    const sums = !parameters ? 0 : count === 1 ? l.result(parameters) : buffer(count);
    const reads = [...read, ...touches([weight, 0], [statistics, block * STATISTICS])];
    stage(Stage.Measure | Stage.Apply, sums, reads, touches([out, unit], [sums, 0]), 2 * cost);
    if (parameters && typeof sums === "object" && count !== 1) add(parameters, sums, count);
    return;
  }
  const partial = buffer(units);
  stage(Stage.Measure, partial, [...read, ...touches([statistics, 0])], touches([partial, size * 4]), cost);
  const sums = parameters || !alone ? add(parameters ?? label, partial, units) : partial;
  if (!input) return;
  const source = alone ? partial : sums;
  const reads = [...read, ...touches([weight, 0], [statistics, 0], [source, 0])];
  stage(Stage.Apply, source, reads, touches([out, unit]), cost);
}

export function standardizeInput(l: Lowering, n: Node<NormAttrs>): void {
  if (l.places.has(n)) return;
  const [x] = n.src;
  const also = isPlain(geometryOf(x)) ? undefined : sibling(l, x, NORM.standardizeParameters, (p) => isAlike(n, p));
  emitGrad(l, n, n, also);
}

export function standardizeParameters(l: Lowering, n: Node<NormAttrs>): void {
  if (l.places.has(n)) return;
  const [x, , g] = n.src;
  const geometry = geometryOf(x);
  if (!isPlain(geometry)) {
    const also = sibling(l, x, NORM.standardizeInput, (i) => isAlike(n, i));
    emitGrad(l, n, also, n);
    return;
  }
  const { rows, groups, channels } = geometry;
  const statistics = statisticsOf(l, x, n.attrs, n);
  const [from, grad] = [l.ref(x), l.ref(g)];
  const lines = rows / groups;
  const block = Math.max(1, Math.ceil(lines / Math.min(PARAMETER_BLOCKS, Math.ceil(lines / PARAMETER_ROWS))) || 1);
  const blocks = Math.ceil(lines / block);
  const size = byteLength(n.shape, n.dtype);
  const out = blocks === 1 ? l.result(n) : { buffer: l.buffer(blocks * size, n.dtype), offset: 0 };
  const words = l.words<typeof isa.NormParameters>({
    [isa.NormParameters.Out]: out,
    [isa.NormParameters.In]: from,
    [isa.NormParameters.Grad]: grad,
    [isa.NormParameters.Statistics]: statistics,
    [isa.NormParameters.Rows]: rows,
    [isa.NormParameters.Groups]: groups,
    [isa.NormParameters.Channels]: channels,
    [isa.NormParameters.Block]: block,
  });
  l.emit(
    isa.Opcode.NormParameters,
    words,
    blocks * groups * Math.ceil(channels / isa.NormStrip.Columns),
    n,
    touches([from, 0], [grad, 0], [statistics, 0]),
    touches([out, 0]),
    numel(x.shape) * NS.normGrad,
  );
  if (blocks !== 1) reduceRun(l, n, out, isa.ReduceKind.Sum, 1, blocks, size / 4, true);
}
