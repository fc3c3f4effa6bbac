/** @file Convolutions. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import { type ConvAttrs, CONVOLUTIONS } from "../../../ops/convolution.ts";
import type { Ref } from "../../instr.ts";
import { NS } from "../cost.ts";
import { ROWS } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { type Geometry, PIECES, three } from "./geometry.ts";
import { reduceInto } from "./reduction.ts";
import { byTiles, winograd, winogradKernel } from "./winograd.ts";

/** Multiply-adds up to which a convolution is computed in float64: some microseconds. */
const SMALL = 1 << 14;
const { Convolution: C, ConvolutionTile: Tile } = isa;

/** Whether the part of a channel (of several, where a block of the sum has them) that one tile sees is too much for tiles. */
function isVast({ taps, stride, dilation, outer }: Geometry, channels: number): boolean {
  const count = numel(taps);
  const seen = Math.min(channels, Math.ceil((Tile.Depth + count) / count) + 1);
  const span = (i: number, places: number): number => (places - 1) * stride[i] + (taps[i] - 1) * dilation[i] + 1;
  const least = seen * taps[0] * span(1, 1) * span(2, Math.min(outer[2], 8)) * 4;
  return count > Tile.Taps || least > Tile.ImageBytes;
}

interface Convolved {
  readonly out: Ref;
  readonly from: Ref;
  readonly kernels: Ref;
  readonly samples: number;
  readonly groups: number;
  readonly channels: number;
  readonly results: number;
  readonly adjoint: boolean;
  readonly block: number;
  readonly pieces: number;
}

function words(l: Lowering, g: Geometry, of: Convolved, direct: boolean) {
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
    [C.Adjoint]: of.adjoint ? 1 : 0,
    [C.Direct]: direct ? 1 : 0,
    [C.Block]: of.block,
    [C.Pieces]: of.pieces,
  });
}

/** A convolution, or its adjoint to the input: one of the elements set apart by the stride with the kernels turned around. */
export function convolution(l: Lowering, n: Node<ConvAttrs>): void {
  const [x, w] = n.src;
  const { groups } = n.attrs;
  const adjoint = n.op === CONVOLUTIONS.convolutionInput;
  const taps = three(w.shape.slice(2));
  const dilation = three(n.attrs.dilation);
  const padding = three(n.attrs.padding, 0);
  const stride = three(n.attrs.stride);
  const ones = [1, 1, 1];
  const geometry: Geometry = {
    inner: three(x.shape.slice(2)),
    outer: three(n.shape.slice(2)),
    taps,
    dilation,
    stride: adjoint ? ones : stride,
    spread: adjoint ? stride : ones,
    padding: adjoint ? padding.map((p, i) => dilation[i] * (taps[i] - 1) - p) : padding,
  };
  const [samples, results] = n.shape;
  const channels = x.shape[1] / groups;
  if (byTiles(geometry, samples, groups, channels, results)) {
    winograd(l, n, geometry, adjoint);
    return;
  }
  const rows = geometry.outer[0] * geometry.outer[1];
  const byRows = samples < 2 * ROWS;
  const pieces = byRows ? Math.max(1, Math.min(rows, Math.ceil(PIECES / Math.max(1, samples)))) : 1;
  const block = byRows ? 1 : ROWS;
  const from = l.ref(x);
  const kernels = l.ref(w);
  const out = l.result(n);
  const work = numel(n.shape) * channels * numel(taps);
  const direct = work <= SMALL || isVast(geometry, channels);
  const of = { out, from, kernels, samples, groups, channels, results: results / groups, adjoint, block, pieces };
  l.emit(
    isa.Opcode.Convolution,
    words(l, geometry, of, direct),
    Math.ceil(samples / block) * pieces,
    n,
    [
      [from, byRows ? 0 : ROWS * numel(x.shape.slice(1)) * 4],
      [kernels, 0],
    ],
    [[out, byRows ? 0 : ROWS * numel(n.shape.slice(1)) * 4]],
    work * (direct ? NS.preciseMultiplyAdd : NS.multiplyAdd),
  );
}

/** What comes back to the kernels: a sum for each block of samples, then theirs. */
export function convolutionKernel(l: Lowering, n: Node<ConvAttrs>): void {
  const [x, y] = n.src;
  const { groups } = n.attrs;
  const geometry: Geometry = {
    inner: three(x.shape.slice(2)),
    outer: three(y.shape.slice(2)),
    taps: three(n.shape.slice(2)),
    stride: three(n.attrs.stride),
    dilation: three(n.attrs.dilation),
    padding: three(n.attrs.padding, 0),
    spread: [1, 1, 1],
  };
  const samples = x.shape[0];
  const channels = n.shape[1];
  if (byTiles(geometry, samples, groups, channels, y.shape[1])) {
    winogradKernel(l, n, geometry);
    return;
  }
  const work = numel(y.shape) * channels * numel(geometry.taps);
  const direct = work <= SMALL || isVast(geometry, channels);
  const block = direct ? Math.max(1, samples) : Math.max(1, Math.ceil(samples / PIECES));
  const blocks = Math.max(1, Math.ceil(samples / block));
  const pieces = Math.max(1, Math.min(channels, Math.ceil(PIECES / blocks)));
  const from = l.ref(x);
  const kernels = l.ref(y);
  const size = numel(n.shape);
  const out = blocks > 1 ? { buffer: l.buffer(blocks * size * 4, n.dtype), offset: 0 } : l.result(n);
  const results = y.shape[1] / groups;
  const of = { out, from, kernels, samples, groups, channels, results, adjoint: false, block, pieces };
  const cut = (a: Node): number => (pieces === 1 ? block * numel(a.shape.slice(1)) * 4 : 0);
  l.emit(
    isa.Opcode.ConvolutionKernel,
    words(l, geometry, of, direct),
    blocks * pieces,
    n,
    [
      [from, cut(x)],
      [kernels, cut(y)],
    ],
    [[out, pieces === 1 ? size * 4 : 0]],
    work * (direct ? NS.preciseMultiplyAdd : NS.multiplyAdd),
  );
  if (blocks > 1) reduceInto(l, n, out, l.result(n), isa.ReduceKind.Sum, 1, blocks, size, 0);
}
