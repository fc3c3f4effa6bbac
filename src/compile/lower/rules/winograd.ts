/** @file Convolutions by 3x3 taps with stride 1, by minimal filtering: a quarter of the multiplications. */
import * as isa from "../../../../assembly/isa.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import type { Ref } from "../../instr.ts";
import { NS } from "../cost.ts";
import type { Lowering } from "../lowering.ts";
import { PIECES } from "./axes.ts";
import { cutSamples, type Geometry } from "./geometry.ts";
import { reduceInto } from "./reduction.ts";

const { Winograd: W, WinogradTaps: T, WinogradTile: Tile } = isa;

/** Fewer channels on either side and transforms cost more than the multiplications they save. */
const LEAST = 8;
/** Scratch has room for four tiles of so many. */
const MOST = 1024;
/** Places in tiles for each one there is: beyond, most of what is saved is lost again. */
const WASTE = 1.8;
/** Places of all samples, below which turning the kernels into values at all points costs as much as it saves. */
const PLACES = 256;
/** Bytes of sums at all points, of all blocks of samples, and tiles that a block has at least, to be worth its sums. */
const SUMS = 6 << 20;
const TILES = 64;
/** Units there should be at least of what is summed over samples: each of a block's transforms all that comes back. */
const UNITS = 4;

const tiles = (places: number): number => Math.ceil(places / Tile.Places);
const upTo = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/** Whether minimal filtering applies, and pays. */
export function byTiles(g: Geometry, samples: number, groups: number, channels: number, results: number): boolean {
  const [, h, w] = g.outer;
  const one = [g.taps[0], ...g.stride, ...g.dilation, ...g.spread, g.inner[0], g.outer[0], groups];
  return (
    samples * h * w >= PLACES &&
    one.every((v) => v === 1) &&
    g.taps[1] === 3 &&
    g.taps[2] === 3 &&
    Math.min(channels, results) >= LEAST &&
    Math.max(channels, results) <= MOST &&
    Math.min(h, w, g.inner[1], g.inner[2]) >= Tile.Places &&
    tiles(h) * tiles(w) * Tile.Places ** 2 <= WASTE * h * w
  );
}

/** Multiply-adds at all points of one sample. */
const work = ([, h, w]: readonly number[], channels: number, results: number): number =>
  tiles(h) * tiles(w) * Tile.Points * channels * results;

function words(
  l: Lowering,
  g: Geometry,
  of: { out: Ref; from: Ref; kernels: Ref; sums: Ref | number; shape: readonly number[]; results: number },
  block: number,
  pieces: number,
) {
  return l.words<typeof W>({
    [W.Out]: of.out,
    [W.In]: of.from,
    [W.Kernels]: of.kernels,
    [W.Sums]: of.sums,
    [W.N]: of.shape[0],
    [W.Channels]: of.shape[1],
    [W.Results]: of.results,
    [W.InH]: g.inner[1],
    [W.InW]: g.inner[2],
    [W.OutH]: g.outer[1],
    [W.OutW]: g.outer[2],
    [W.PadH]: g.padding[1],
    [W.PadW]: g.padding[2],
    [W.Block]: block,
    [W.Pieces]: pieces,
    [W.Around]: g.around,
  });
}

/** The convolution of x, or its adjoint to the input, of kernels at all points, which all workers compute before. */
export function winograd(l: Lowering, n: Node, [x, w]: readonly Node[], g: Geometry, adjoint: boolean): void {
  const [samples, results] = n.shape;
  const channels = x.shape[1];
  const panels = Math.ceil(results / isa.GemmTile.Cols);
  const from = l.ref(x);
  const given = l.ref(w);
  const bytes = upTo(panels * channels * isa.GemmTile.Cols * 4, isa.Size.Line) | isa.Size.Line;
  const kernels = { buffer: l.buffer(Tile.Points * bytes, n.dtype), offset: 0 };
  const taps = l.words<typeof T>({
    [T.Out]: kernels,
    [T.Taps]: given,
    [T.Channels]: channels,
    [T.Results]: results,
    [T.Adjoint]: adjoint ? 1 : 0,
  });
  l.emit(isa.Opcode.WinogradTaps, taps, panels, n, [[given, 0]], [[kernels, 0]], numel(w.shape) * NS.taps);
  const { block, pieces, units, unitOf } = cutSamples(samples, tiles(g.outer[1]));
  const out = l.result(n);
  l.emit(
    isa.Opcode.Winograd,
    words(l, g, { out, from, kernels, sums: 0, shape: x.shape, results }, block, pieces),
    units,
    n,
    [
      [from, unitOf(x)],
      [kernels, 0],
    ],
    [[out, unitOf(n)]],
    samples * work(g.outer, channels, results) * NS.multiplyAdd * 2,
  );
}

/** What comes back to the kernels: sums at all points for each block of samples, made taps, then theirs. */
export function winogradKernel(l: Lowering, n: Node, [x, y]: readonly Node[], g: Geometry): void {
  const [samples, channels] = x.shape;
  const results = y.shape[1];
  const room = Tile.Points * upTo(results, 4) * upTo(channels, 8) * 4;
  const all = samples * tiles(g.outer[1]) * tiles(g.outer[2]);
  const most = Math.max(1, Math.min(PIECES, samples, Math.floor(SUMS / room), Math.floor(all / TILES)));
  const block = Math.ceil(samples / most);
  const blocks = Math.ceil(samples / block);
  const pieces = Math.min(Math.ceil(channels / 16), Math.ceil(UNITS / blocks));
  const from = l.ref(x);
  const kernels = l.ref(y);
  const size = numel(n.shape);
  const sums = { buffer: l.buffer(blocks * room, n.dtype), offset: 0 };
  const out = blocks > 1 ? { buffer: l.buffer(blocks * size * 4, n.dtype), offset: 0 } : l.result(n);
  const cut = (a: Node): number => (pieces === 1 ? block * numel(a.shape.slice(1)) * 4 : 0);
  l.emit(
    isa.Opcode.WinogradKernel,
    words(l, g, { out, from, kernels, sums, shape: x.shape, results }, block, pieces),
    blocks * pieces,
    n,
    [
      [from, cut(x)],
      [kernels, cut(y)],
    ],
    [
      [out, pieces === 1 ? size * 4 : 0],
      [sums, pieces === 1 ? room : 0],
    ],
    samples * work(g.outer, channels, results) * NS.multiplyAdd * 2,
  );
  if (blocks > 1) reduceInto(l, n, out, l.result(n), isa.ReduceKind.Sum, 1, blocks, size, 0);
}
