/** @file Pooling: a unit of work is a block of samples, as a convolution's is, or some planes of few samples. */
import * as isa from "../../../../assembly/isa.ts";
import { bytesOf, byteLength } from "../../../core/dtype.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import { type PoolAttrs, type PoolSizes, POOLING, type TakeAttrs } from "../../../ops/pooling.ts";
import type { Ref } from "../../instr.ts";
import { NS } from "../cost.ts";
import { floatBits, ROWS, type Touch } from "../emission.ts";
import type { Lowering } from "../lowering.ts";
import { PIECES, three } from "./axes.ts";

const { Pool: P } = isa;

/** Farther than any window that is one of several. */
const FAR = 2 ** 24;

/** What an instruction reads and writes: a place, and the node whose shape and dtype its elements have. */
interface Operand {
  readonly ref: Ref;
  readonly like: Node;
}

interface Pooled {
  readonly out: Operand;
  readonly from: Operand;
  /** Read, or written with Out. */
  readonly taps?: Operand;
  readonly images: Node;
  readonly windows: Node;
  readonly fill?: number;
}

function emit(
  l: Lowering,
  opcode: isa.Opcode,
  label: Node,
  of: PoolSizes,
  pooled: Pooled,
  cost: number,
  text?: string,
): void {
  const { out, from, taps, images, windows, fill = 0 } = pooled;
  const at = images.shape.length - of.kernel.length;
  const [image, count] = [images, windows].map((n) => three(n.shape.slice(at)));
  const kernel = three(of.kernel);
  // Steps that nobody takes may be longer than 32 bits count: those of one window, those to a second tap.
  const stride = three(of.stride).map((s, i) => (count[i] === 1 ? Math.min(s, FAR) : s));
  const dilation = three(of.dilation).map((d, i) => (kernel[i] === 1 ? 1 : d));
  const padding = three(of.padding, 0);
  const planes = numel(images.shape.slice(0, at));
  const samples = at > 0 ? images.shape[0] : 1;
  const bySamples = samples >= 2 * ROWS;
  const block = bySamples ? (ROWS * planes) / samples : Math.max(1, Math.ceil(planes / PIECES));
  const blocks = Math.ceil(planes / block);
  const rows = opcode === isa.Opcode.PutTaps || opcode === isa.Opcode.SpreadWindows ? image : count;
  const pieces = bySamples ? 1 : Math.max(1, Math.min(rows[0] * rows[1], Math.ceil(PIECES / Math.max(1, blocks))));
  const wide = taps && bytesOf(taps.like.dtype) === 4;
  const words = l.words<typeof P>({
    [P.Out]: out.ref,
    [P.In]: from.ref,
    [P.Taps]: taps?.ref ?? 0,
    [P.Planes]: planes,
    [P.ImageD]: image[0],
    [P.ImageH]: image[1],
    [P.ImageW]: image[2],
    [P.CountD]: count[0],
    [P.CountH]: count[1],
    [P.CountW]: count[2],
    [P.KernelD]: kernel[0],
    [P.KernelH]: kernel[1],
    [P.KernelW]: kernel[2],
    [P.StrideD]: stride[0],
    [P.StrideH]: stride[1],
    [P.StrideW]: stride[2],
    [P.DilationD]: dilation[0],
    [P.DilationH]: dilation[1],
    [P.DilationW]: dilation[2],
    [P.PadD]: padding[0],
    [P.PadH]: padding[1],
    [P.PadW]: padding[2],
    [P.Adaptive]: of.adaptive ? 1 : 0,
    [P.Wide]: wide ? 1 : 0,
    [P.Fill]: floatBits(fill),
    [P.Block]: block,
    [P.Pieces]: pieces,
  });
  const touch = ({ ref, like }: Operand): Touch => {
    const plane = numel(like.shape.slice(at)) * bytesOf(like.dtype);
    return [ref, pieces === 1 ? block * plane : 0];
  };
  const reads = [from, ...(taps && opcode !== isa.Opcode.MaxPool ? [taps] : [])].map(touch);
  const writes = [out, ...(taps && opcode === isa.Opcode.MaxPool ? [taps] : [])].map(touch);
  l.emit(opcode, words, blocks * pieces, label, reads, writes, cost, text);
}

const costOf = (images: Node, windows: Node, { kernel }: PoolSizes): number =>
  numel(images.shape) * NS.pool + numel(windows.shape) * numel(kernel) * NS.poolTap;

/** Taps and the elements there, in one pass; `values`, if someone wants these, reads them. */
export function maxPool(l: Lowering, n: Node<PoolAttrs>, values?: Node<TakeAttrs>): void {
  const [x] = n.src;
  const from = { ref: l.ref(x), like: x };
  const taps = { ref: l.result(n), like: n };
  const spare = (): Ref => ({ buffer: l.buffer(byteLength(n.shape, x.dtype), x.dtype), offset: 0 });
  const out = { ref: values ? l.result(values) : spare(), like: { ...n, dtype: x.dtype } };
  const fill = values?.attrs.outside ?? 0;
  const pooled = { out, from, taps, images: x, windows: n, fill };
  emit(l, isa.Opcode.MaxPool, values ?? n, n.attrs, pooled, costOf(x, n, n.attrs), "maxPool");
}

export function takeTaps(l: Lowering, n: Node<TakeAttrs>): void {
  const [x, t] = n.src;
  const from = { ref: l.ref(x), like: x };
  const taps = { ref: l.ref(t), like: t };
  const pooled = { out: { ref: l.result(n), like: n }, from, taps, images: x, windows: n, fill: n.attrs.outside };
  emit(l, isa.Opcode.TakeTaps, n, n.attrs, pooled, numel(n.shape) * NS.takeTap);
}

export function putTaps(l: Lowering, n: Node<PoolAttrs>): void {
  const [y, t] = n.src;
  const from = { ref: l.ref(y), like: y };
  const taps = { ref: l.ref(t), like: t };
  const pooled = { out: { ref: l.result(n), like: n }, from, taps, images: n, windows: y };
  emit(l, isa.Opcode.PutTaps, n, n.attrs, pooled, numel(n.shape) * NS.pool + numel(y.shape) * NS.takeTap);
}

export function sumWindows(l: Lowering, n: Node<PoolAttrs>): void {
  const [x] = n.src;
  const spread = n.op === POOLING.spreadWindows;
  const [images, windows] = spread ? [n, x] : [x, n];
  const opcode = spread ? isa.Opcode.SpreadWindows : isa.Opcode.SumWindows;
  const from = { ref: l.ref(x), like: x };
  const pooled = { from, out: { ref: l.result(n), like: n }, images, windows };
  emit(l, opcode, n, n.attrs, pooled, costOf(images, windows, n.attrs));
}
