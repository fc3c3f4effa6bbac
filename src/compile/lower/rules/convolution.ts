/** @file Convolutions, and their adjoints. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import { isOp, type Node } from "../../../graph/node.ts";
import { type ConvAttrs, CONVOLUTIONS } from "../../../ops/convolution.ts";
import { bordersOf, type ExtendAttrs, EXTENSION } from "../../../ops/extend.ts";
import type { Ref } from "../../instr.ts";
import { NS } from "../cost.ts";
import type { Lowering } from "../lowering.ts";
import { PIECES, three } from "./axes.ts";
import { adjoints, cutSamples, type Geometry, strides, trimmed } from "./geometry.ts";
import { reduceInto } from "./reduction.ts";
import { byTiles, winograd, winogradKernel } from "./winograd.ts";

const { Convolution: C, ConvolutionPath: Path, ConvolutionTile: Tile } = isa;

/** Multiply-adds up to which a convolution is computed in float64: some microseconds. */
const SMALL = 1 << 14;
/** Most results of a group, or products for one of them, for which a tile would be too empty, or too short. */
const FEW = 4;
const SHORT = 16;
/** Most residues that have an instruction each; plane by plane, as many cost more than the zeros between elements. */
const PARTS = 64;
const SPREAD = 4;

const span = (g: Geometry, i: number, places: number): number =>
  (places - 1) * g.stride[i] + (g.taps[i] - 1) * g.dilation[i] + 1;

/** Whether the part of a channel (of several, where a block of the sum has them) that one tile sees is too much for tiles. */
function isVast(g: Geometry, channels: number): boolean {
  const count = numel(g.taps);
  const seen = Math.min(channels, Math.ceil((Tile.Depth + count) / count) + 1);
  const least = seen * g.taps[0] * span(g, 1, 1) * span(g, 2, Math.min(g.outer[2], 8)) * 4;
  return count > Tile.Taps || least > Tile.ImageBytes;
}

/** One tap at every place. */
function isPlain({ inner, outer, taps, stride, padding, places }: Geometry): boolean {
  return (
    [...taps, ...stride].every((v) => v === 1) &&
    padding.every((p) => p === 0) &&
    String(inner) === String(outer) &&
    String(places.step) === String(strides(outer))
  );
}

/** Whether tiles would be almost empty. */
function hasFew(g: Geometry, channels: number, results: number): boolean {
  const products = channels * numel(g.taps);
  // Whole vectors of places.
  const row = channels * g.taps[0] * span(g, 1, 1) * span(g, 2, Math.ceil(g.outer[2] / 4) * 4) * 4;
  return (
    products > 0 &&
    // Taps of a row share what is loaded for it; a single one shares nothing.
    (results <= FEW || (products <= SHORT && numel(g.taps) > 1)) &&
    products <= Tile.Depth &&
    results * products <= Tile.Sums &&
    numel(g.spread) <= SPREAD &&
    row <= Tile.ImageBytes
  );
}

function pathOf(g: Geometry, work: number, channels: number, results: number, add = false): isa.ConvolutionPath {
  if (work <= SMALL) return Path.Precise;
  if (!add && isPlain(g)) return Path.Plain;
  if (!add && hasFew(g, channels, results)) return Path.Planes;
  return numel(g.spread) !== 1 || isVast(g, channels) ? Path.Precise : Path.Gathered;
}

interface Convolved {
  readonly out: Ref;
  readonly from: Ref;
  readonly kernels: Ref;
  readonly samples: number;
  readonly groups: number;
  readonly channels: number;
  readonly results: number;
  readonly path: isa.ConvolutionPath;
  readonly block: number;
  readonly pieces: number;
  /** Elements of a plane of the result, and from a kernel to those of the next group, result, channel. */
  readonly plane: number;
  readonly between: readonly number[];
  /** Whether it is added to what is there. */
  readonly add: boolean;
}

function words(l: Lowering, g: Geometry, of: Convolved) {
  return l.words<typeof C>({
    [C.Out]: of.out,
    [C.In]: of.from,
    [C.Kernels]: of.kernels,
    [C.N]: of.samples,
    [C.Groups]: of.groups,
    [C.Channels]: of.channels,
    [C.Results]: of.results,
    [C.InD]: g.inner[0],
    [C.InH]: g.inner[1],
    [C.InW]: g.inner[2],
    [C.OutD]: g.outer[0],
    [C.OutH]: g.outer[1],
    [C.OutW]: g.outer[2],
    [C.TapsD]: g.taps[0],
    [C.TapsH]: g.taps[1],
    [C.TapsW]: g.taps[2],
    [C.StrideD]: g.stride[0],
    [C.StrideH]: g.stride[1],
    [C.StrideW]: g.stride[2],
    [C.DilationD]: g.dilation[0],
    [C.DilationH]: g.dilation[1],
    [C.DilationW]: g.dilation[2],
    [C.PadD]: g.padding[0],
    [C.PadH]: g.padding[1],
    [C.PadW]: g.padding[2],
    [C.SpreadD]: g.spread[0],
    [C.SpreadH]: g.spread[1],
    [C.SpreadW]: g.spread[2],
    [C.Path]: of.path,
    [C.Block]: of.block,
    [C.Pieces]: of.pieces,
    [C.OutPlane]: of.plane,
    [C.OutFirst]: g.places.first,
    [C.OutStepD]: g.places.step[0],
    [C.OutStepH]: g.places.step[1],
    [C.OutStepW]: g.places.step[2],
    [C.KernelGroup]: of.between[0],
    [C.KernelResult]: of.between[1],
    [C.KernelChannel]: of.between[2],
    [C.KernelFirst]: g.kernel.first,
    [C.KernelStepD]: g.kernel.step[0],
    [C.KernelStepH]: g.kernel.step[1],
    [C.KernelStepW]: g.kernel.step[2],
    [C.Around]: g.around,
    [C.Add]: of.add ? 1 : 0,
  });
}

const AROUND = {
  reflect: isa.Border.Reflect,
  replicate: isa.Border.Replicate,
  circular: isa.Border.Circular,
} as const;

/** What lies in memory of what a convolution reads: see borders.ts. */
const sourceOf = (x: Node): Node => (isOp(x, EXTENSION.extend) ? x.src[0] : x);

/** The geometry of a convolution of x with kernels w that gives y. */
function geometryOf({ attrs }: Node<ConvAttrs>, x: Node, w: Node, y: Node): Geometry {
  const [inner, outer, taps] = [sourceOf(x), y, w].map((n) => three(n.shape.slice(2)));
  const more = isOp(x, EXTENSION.extend) ? x.attrs : undefined;
  return {
    inner,
    outer,
    taps,
    stride: three(attrs.stride),
    dilation: three(attrs.dilation),
    padding: three(
      attrs.padding.map((p, i) => p + (more?.before[i + 2] ?? 0)),
      0,
    ),
    around: more ? AROUND[more.mode] : isa.Border.Zeros,
    spread: [1, 1, 1],
    places: { first: 0, step: strides(outer) },
    kernel: { first: 0, step: strides(taps) },
  };
}

/** The same as one convolution of elements set apart by the stride. */
function spread(whole: Geometry): Geometry {
  const { taps, stride, dilation, padding } = whole;
  const last = taps.map((t) => t - 1);
  const step = strides(taps);
  return {
    ...whole,
    stride: [1, 1, 1],
    padding: padding.map((p, i) => dilation[i] * last[i] - p),
    spread: stride,
    kernel: { first: last.reduce((s, t, i) => s + t * step[i], 0), step: step.map((s) => -s) },
  };
}

/** The convolutions that make up the adjoint. */
function partsOf(whole: Geometry, channels: number, results: number, add = false): Geometry[] {
  const set = spread(whole);
  const each = numel(whole.stride) === 1 || (numel(whole.stride) <= PARTS && (add || !hasFew(set, channels, results)));
  return each ? adjoints(whole) : [set];
}

/** A convolution, or its adjoint to the input. */
export function convolution(l: Lowering, n: Node<ConvAttrs>): void {
  const adjoint = n.op === CONVOLUTIONS.convolutionInput;
  // What flows back beyond the ends of axes is added to where that came from: computed with it.
  if (adjoint && l.readersOf(n).some(({ op }) => op === EXTENSION.retract)) return;
  const whole = geometryOf(n, n.src[0], n.src[1], n);
  convolved(l, n, n, adjoint, whole);
}

/** What a convolution sends back to its input, from beyond the ends of axes to where it came from. */
export function retract(l: Lowering, n: Node<ExtendAttrs>): void {
  const back = n.src[0] as Node<ConvAttrs>;
  const whole = geometryOf(back, back.src[0], back.src[1], back);
  const inner = three(n.shape.slice(2));
  const step = strides(inner);
  // Of each axis what is inside, first, and what is before and behind.
  const regions = inner.map((size, axis) => {
    const i = axis - 3 + n.shape.length;
    const inside = { at: n.attrs.before[i] ?? 0, count: size, from: 0, step: 1 };
    return i < 2 ? [inside] : [inside, ...bordersOf(n.attrs, i, size)];
  });
  for (const d of regions[0])
    for (const h of regions[1])
      for (const w of regions[2]) {
        const axes = [d, h, w];
        const add = axes.some((r, i) => r !== regions[i][0]);
        const part = {
          ...whole,
          outer: axes.map((r) => r.count),
          padding: axes.map((r, i) => whole.padding[i] + r.at),
          places: {
            first: axes.reduce((sum, r, i) => sum + r.from * step[i], 0),
            step: axes.map((r, i) => r.step * step[i]),
          },
        };
        convolved(l, back, n, true, part, add);
      }
}

/** One convolution to a part of `to`; if `add` it is added to what is there, so that places may be the same for several. */
function convolved(l: Lowering, n: Node<ConvAttrs>, to: Node, adjoint: boolean, whole: Geometry, add = false): void {
  const [x, w] = [sourceOf(n.src[0]), n.src[1]];
  const { groups } = n.attrs;
  const [samples] = n.shape;
  const [channels, results] = [x.shape[1] / groups, n.shape[1] / groups];
  const volume = numel(whole.taps);
  const all = !adjoint ? [whole] : partsOf(whole, channels, results, add);
  // At an edge most taps see nothing.
  const parts = add && numel(all[0].spread) === 1 ? all.map(trimmed) : all;
  if (!add && parts.length === 1 && byTiles(parts[0], samples, groups, channels, results)) {
    winograd(l, to, [x, w], parts[0], adjoint);
    return;
  }
  const from = l.ref(x);
  const kernels = l.ref(w);
  const out = l.places.get(to) ?? l.result(to);
  const group = channels * results * volume;
  const between = adjoint ? [group, volume, results * volume] : [group, channels * volume, volume];
  const work = parts.reduce(
    (sum, g) => sum + samples * groups * results * channels * numel(g.outer) * numel(g.taps),
    0,
  );
  for (const part of parts) {
    // Places that nothing comes back to are sums of nothing.
    const nothing = numel(part.taps) === 0;
    if (nothing && add) continue;
    const g = nothing ? { ...part, taps: [1, 1, 1] } : part;
    const { block, pieces, units, unitOf } = cutSamples(samples, add ? 1 : g.outer[0] * g.outer[1]);
    const path = nothing ? Path.Gathered : pathOf(g, work, channels, results, add);
    const cut = { path, block, pieces, add };
    const of = { out, from, kernels, samples, groups, channels: nothing ? 0 : channels, results, ...cut };
    const cost = samples * groups * results * numel(g.outer) * (nothing ? 1 : channels * numel(g.taps));
    l.emit(
      isa.Opcode.Convolution,
      words(l, g, { ...of, plane: numel(to.shape.slice(2)), between }),
      units,
      to,
      [[from, unitOf(x)], [kernels, 0], ...(add ? [[out, unitOf(to)] as const] : [])],
      [[out, unitOf(to)]],
      cost * (path === Path.Precise ? NS.preciseMultiplyAdd : NS.multiplyAdd),
    );
  }
}

/** What comes back to the kernels: a sum for each block of samples, then theirs. */
export function convolutionKernel(l: Lowering, n: Node<ConvAttrs>): void {
  const [x, y] = [sourceOf(n.src[0]), n.src[1]];
  const { groups } = n.attrs;
  const geometry = geometryOf(n, n.src[0], n, y);
  const samples = x.shape[0];
  const channels = n.shape[1];
  const results = y.shape[1] / groups;
  if (byTiles(geometry, samples, groups, channels, results)) {
    winogradKernel(l, n, [x, y], geometry);
    return;
  }
  const work = numel(y.shape) * channels * numel(geometry.taps);
  const path = pathOf(geometry, work, channels, results);
  const block = path === Path.Precise ? Math.max(1, samples) : Math.max(1, Math.ceil(samples / PIECES));
  const blocks = Math.max(1, Math.ceil(samples / block));
  const pieces = Math.max(1, Math.min(channels, Math.ceil(PIECES / blocks)));
  const from = l.ref(x);
  const kernels = l.ref(y);
  const size = numel(n.shape);
  const out = blocks > 1 ? { buffer: l.buffer(blocks * size * 4, n.dtype), offset: 0 } : l.result(n);
  const of = {
    out,
    from,
    kernels,
    samples,
    groups,
    channels,
    results,
    path,
    block,
    pieces,
    plane: 0,
    between: [0, 0, 0],
    add: false,
  };
  const cut = (a: Node): number => (pieces === 1 ? block * numel(a.shape.slice(1)) * 4 : 0);
  l.emit(
    isa.Opcode.ConvolutionKernel,
    words(l, geometry, of),
    blocks * pieces,
    n,
    [
      [from, cut(x)],
      [kernels, cut(y)],
    ],
    [[out, pieces === 1 ? size * 4 : 0]],
    work * (path === Path.Precise ? NS.preciseMultiplyAdd : NS.multiplyAdd),
  );
  if (blocks > 1) reduceInto(l, n, out, l.result(n), isa.ReduceKind.Sum, 1, blocks, size, 0);
}
