/**
 * Kernels give signs of life within one unit, however long it takes. Operands are virtual memory that nobody wrote:
 * reading it costs no memory; strides of 0 make little memory a large operand.
 */
import { expect, it } from "vitest";
import { hasRelaxedSimd } from "../../src/run/kernels.ts";
import { isa, Machine } from "./harness.ts";

/** Milliseconds that may pass without a sign of life, on a busy machine: a quarter of the shortest timeout. */
const GAP = 25;
const GB = 2 ** 30;
/** Where nothing was written, and nothing will be. */
const ZEROS = GB;
/** Where results may go. */
const OUT = 64 * 2 ** 20;

type Build = (m: Machine) => number;

const put = (opcode: keyof typeof isa.Opcode, length: number, operands: Record<number, number>): Build => {
  return (m) => m.instruction(isa.Opcode[opcode], length, 1, operands);
};

const gemm = (rows: number, cols: number, depth: number, o: Record<number, number>, slice = 0): Build => {
  const { Gemm } = isa;
  return put("Gemm", Gemm.Length, {
    [Gemm.C]: OUT,
    [Gemm.A]: ZEROS,
    [Gemm.B]: ZEROS,
    [Gemm.M]: rows,
    [Gemm.N]: cols,
    [Gemm.K]: depth,
    [Gemm.CRow]: 0,
    [Gemm.Batch]: 1,
    [Gemm.Slice]: slice,
    [Gemm.Block]: slice ? cols : rows,
    ...o,
  });
};

const product = (cols: number, depth: number, integer: number): Build => {
  const { Product } = isa;
  return put("Product", Product.Length, {
    [Product.C]: OUT,
    [Product.A]: ZEROS,
    [Product.B]: ZEROS,
    [Product.M]: 4,
    [Product.N]: cols,
    [Product.K]: depth,
    [Product.BCol]: 1,
    [Product.Batch]: 1,
    [Product.Block]: 4,
    [Product.Integer]: integer,
  });
};

const reduce = (kind: isa.ReduceKind, r: number, inner: number): Build => {
  const { Reduce } = isa;
  return put("Reduce", Reduce.Length, {
    [Reduce.Out]: OUT,
    [Reduce.In]: ZEROS,
    [Reduce.Outer]: 1,
    [Reduce.R]: r,
    [Reduce.Inner]: inner,
    [Reduce.Block]: r,
    [Reduce.Blocks]: 1,
    [Reduce.Kind]: kind,
    [Reduce.Grain]: 4096,
  });
};

const softmax = (cols: number, log: number): Build => {
  const { Softmax } = isa;
  return put("Softmax", Softmax.Length, {
    [Softmax.Out]: OUT,
    [Softmax.In]: OUT,
    [Softmax.Rows]: 1,
    [Softmax.Cols]: cols,
    [Softmax.Log]: log,
    [Softmax.Block]: 1,
  });
};

const softmaxGrad = (cols: number, log: number): Build => {
  const { SoftmaxGrad } = isa;
  return put("SoftmaxGrad", SoftmaxGrad.Length, {
    [SoftmaxGrad.Out]: OUT,
    [SoftmaxGrad.Y]: ZEROS,
    [SoftmaxGrad.G]: ZEROS,
    [SoftmaxGrad.Rows]: 1,
    [SoftmaxGrad.Cols]: cols,
    [SoftmaxGrad.Log]: log,
    [SoftmaxGrad.Block]: 1,
  });
};

const gather = (rows: number, inner: number, each: number): Build => {
  const { Gather } = isa;
  return put("Gather", Gather.Length, {
    [Gather.Out]: OUT,
    [Gather.In]: ZEROS,
    [Gather.Index]: 2 * GB,
    [Gather.Outer]: 1,
    [Gather.Rows]: rows,
    [Gather.Bound]: 1,
    [Gather.Inner]: inner,
    [Gather.IndexInner]: each,
    [Gather.Block]: rows,
  });
};

const scatter = (rows: number, inner: number, each: number): Build => {
  const { ScatterAdd } = isa;
  return put("ScatterAdd", ScatterAdd.Length, {
    [ScatterAdd.Out]: OUT,
    [ScatterAdd.In]: ZEROS,
    [ScatterAdd.Index]: 2 * GB,
    [ScatterAdd.Outer]: 1,
    [ScatterAdd.Rows]: rows,
    [ScatterAdd.Bound]: 1,
    [ScatterAdd.Inner]: inner,
    [ScatterAdd.IndexInner]: each,
    [ScatterAdd.Kind]: isa.ScatterKind.Sum,
    [ScatterAdd.Block]: 1,
  });
};

const cumsum = (r: number, inner: number): Build => {
  const { Cumsum } = isa;
  return put("Cumsum", Cumsum.Length, {
    [Cumsum.Out]: OUT,
    [Cumsum.In]: ZEROS,
    [Cumsum.Outer]: 1,
    [Cumsum.R]: r,
    [Cumsum.Inner]: inner,
    [Cumsum.Grain]: inner,
  });
};

/** 3 x 3 taps of 8 channels of a line of 256 places, to 8 results. */
const convolved = (name: "Convolution" | "ConvolutionKernel", more: Record<number, number>): Build => {
  const { Convolution: V } = isa;
  return put(name, V.Length, {
    ...{ [V.Out]: OUT, [V.In]: ZEROS, [V.Kernels]: ZEROS, [V.N]: 1, [V.Groups]: 1, [V.Channels]: 8, [V.Results]: 8 },
    ...{ [V.InD]: 1, [V.InH]: 8, [V.InW]: 256, [V.OutD]: 1, [V.OutH]: 8, [V.OutW]: 256 },
    ...{ [V.TapsD]: 1, [V.TapsH]: 3, [V.TapsW]: 3, [V.StrideD]: 1, [V.StrideH]: 1, [V.StrideW]: 1 },
    ...{ [V.DilationD]: 1, [V.DilationH]: 1, [V.DilationW]: 1, [V.PadD]: 0, [V.PadH]: 1, [V.PadW]: 1 },
    ...{ [V.SpreadD]: 1, [V.SpreadH]: 1, [V.SpreadW]: 1, [V.Path]: isa.ConvolutionPath.Gathered, [V.Block]: 1 },
    ...{ [V.Pieces]: 1, [V.OutPlane]: 2048, [V.OutStepD]: 2048, [V.OutStepH]: 256, [V.OutStepW]: 1 },
    ...{ [V.KernelResult]: 72, [V.KernelChannel]: 9, [V.KernelStepH]: 3, [V.KernelStepW]: 1 },
    ...more,
  });
};

/** 3 x 3 taps of 8 channels of 16 x 64 places, to 8 results. */
const filtered = (name: "Winograd" | "WinogradKernel", more: Record<number, number>): Build => {
  const { Winograd: W } = isa;
  return put(name, W.Length, {
    ...{ [W.Out]: OUT, [W.In]: ZEROS, [W.Kernels]: ZEROS, [W.Sums]: OUT + GB / 2, [W.N]: 1, [W.Channels]: 8 },
    ...{ [W.Results]: 8, [W.InH]: 16, [W.InW]: 64, [W.OutH]: 16, [W.OutW]: 64, [W.PadH]: 1, [W.PadW]: 1 },
    ...{ [W.Block]: 1, [W.Pieces]: 1 },
    ...more,
  });
};

/** Windows of 3 x 3 with stride 1 on an image, as many as it has elements; of one long row the kernel is one row. */
const pooled = (
  name: "MaxPool" | "TakeTaps" | "PutTaps" | "SumWindows" | "SpreadWindows",
  [height, width]: [number, number],
  more: Record<number, number> = {},
): Build => {
  const { Pool: P } = isa;
  return put(name, P.Length, {
    ...{ [P.Out]: OUT, [P.In]: ZEROS, [P.Taps]: name === "MaxPool" ? OUT : 2 * GB, [P.Planes]: 1 },
    ...{ [P.ImageD]: 1, [P.ImageH]: height, [P.ImageW]: width, [P.CountD]: 1, [P.CountH]: height, [P.CountW]: width },
    ...{ [P.KernelD]: 1, [P.KernelH]: 3, [P.KernelW]: 3, [P.StrideD]: 1, [P.StrideH]: 1, [P.StrideW]: 1 },
    ...{ [P.DilationD]: 1, [P.DilationH]: 1, [P.DilationW]: 1, [P.PadD]: 0, [P.PadH]: 1, [P.PadW]: 1 },
    ...{ [P.Block]: 1, [P.Pieces]: 1 },
    ...more,
  });
};
const { Pool: P } = isa;
/** One window, as large as the image. */
const oneWindow = (height: number, width: number): Record<number, number> => ({
  ...{ [P.CountH]: 1, [P.CountW]: 1, [P.KernelH]: height, [P.KernelW]: width, [P.PadH]: 0, [P.PadW]: 0 },
});
/** Windows of 2 x 2, side by side. */
const quarters = (height: number, width: number): Record<number, number> => ({
  ...{ [P.CountH]: height / 2, [P.CountW]: width / 2, [P.KernelH]: 2, [P.KernelW]: 2 },
  ...{ [P.StrideH]: 2, [P.StrideW]: 2, [P.PadH]: 0, [P.PadW]: 0 },
});

/** One row, or one column: samples, channels, places. */
const norm = (stage: number, [samples, channels, places]: number[], more: Record<number, number> = {}): Build => {
  const { Norm } = isa;
  return put("Norm", Norm.Length, {
    ...{ [Norm.Out]: OUT, [Norm.In]: OUT, [Norm.Statistics]: OUT - 4096, [Norm.Partials]: OUT - 2048 },
    ...{ [Norm.A]: samples, [Norm.Rows]: 1, [Norm.Groups]: 1, [Norm.Channels]: channels, [Norm.Places]: places },
    ...{ [Norm.Centered]: 1, [Norm.Stage]: stage, [Norm.Block]: 1, ...more },
  });
};

const normGrad = ([samples, channels, places]: number[], more: Record<number, number> = {}): Build => {
  const { NormGrad } = isa;
  return put("NormGrad", NormGrad.Length, {
    ...{ [NormGrad.Out]: OUT, [NormGrad.In]: ZEROS, [NormGrad.Grad]: ZEROS, [NormGrad.Statistics]: ZEROS },
    ...{ [NormGrad.A]: samples, [NormGrad.Rows]: 1, [NormGrad.Groups]: 1, [NormGrad.Channels]: channels },
    ...{
      [NormGrad.Places]: places,
      [NormGrad.Stage]: isa.NormStage.Measure | isa.NormStage.Apply,
      [NormGrad.Block]: 1,
    },
    ...{ [NormGrad.Sums]: OUT - 4096, ...more },
  });
};

const { ReduceKind, NormStage } = isa;

/**
 * Of these a unit has few elements whatever the shapes: the worker gives signs of life between calls of the kernel. An Assert has
 * one element for each tensor that is checked.
 */
type Bounded = "Barrier" | "Loop" | "Map" | "Random" | "Transpose" | "Adam" | "Assert";

/** Any other opcode without cases does not compile. Each is one unit. */
const attended = (opcode: keyof typeof isa.Opcode, more: Record<number, number>): Build => {
  const { Attention: A } = isa;
  return put(opcode, A.Length, {
    ...{ [A.Q]: ZEROS, [A.K]: ZEROS, [A.V]: ZEROS, [A.Out]: OUT, [A.Grad]: ZEROS, [A.Statistics]: OUT + GB / 2 },
    ...{ [A.ToQ]: OUT, [A.ToK]: OUT, [A.ToV]: OUT, [A.L]: 64, [A.S]: 64, [A.E]: 64, [A.Ev]: 64, [A.Block]: 64 },
    [A.Split]: opcode === "Attention" ? isa.AttentionSplit.Queries : isa.AttentionSplit.None,
    ...more,
  });
};

const CASES: Record<Exclude<keyof typeof isa.Opcode, Bounded>, Record<string, Build>> = {
  Gemm: {
    "few rows, B in place": gemm(8, 2 ** 15, 2 ** 14, { [isa.Gemm.BCol]: 1, [isa.Gemm.ACol]: 1 }),
    "few rows, B packed": gemm(8, 2 ** 15, 2 ** 14, { [isa.Gemm.BRow]: 1, [isa.Gemm.ACol]: 1 }),
    "13 rows, B along K": gemm(13, 2 ** 14, 2 ** 14, { [isa.Gemm.BRow]: 1, [isa.Gemm.ACol]: 1 }),
    "many rows": gemm(2 ** 13, 2 ** 10, 2 ** 9, { [isa.Gemm.BCol]: 1, [isa.Gemm.ACol]: 1 }),
    "many rows, little depth": gemm(2 ** 15, 2 ** 15, 4, { [isa.Gemm.BCol]: 1, [isa.Gemm.ACol]: 1 }),
    "8 columns": gemm(2 ** 19, 8, 2 ** 10, { [isa.Gemm.BCol]: 1, [isa.Gemm.ACol]: 1 }, 1),
    "one row": gemm(1, 2 ** 17, 2 ** 14, { [isa.Gemm.BCol]: 1, [isa.Gemm.ACol]: 1 }),
    "one column": gemm(2 ** 17, 1, 2 ** 14, { [isa.Gemm.CRow]: 1, [isa.Gemm.ARow]: 1, [isa.Gemm.BRow]: 1 }, 1),
    "one element": gemm(1, 1, 2 ** 27, {}),
    "no depth": gemm(2 ** 9, 2 ** 22, 0, {}),
  },
  Reduce: {
    sum: reduce(ReduceKind.Sum, 2 ** 28, 1),
    "sum of columns": reduce(ReduceKind.Sum, 2 ** 16, 2 ** 12),
    "sum of two columns": reduce(ReduceKind.SumI, 2 ** 26, 2),
    argMax: reduce(ReduceKind.ArgMax, 2 ** 28, 1),
    "argMax of columns": reduce(ReduceKind.ArgMax, 2 ** 15, 2 ** 12),
    "argMin of two columns": reduce(ReduceKind.ArgMin, 2 ** 25, 2),
  },
  Softmax: { softmax: softmax(2 ** 25, 0), log: softmax(2 ** 25, 1) },
  SoftmaxGrad: { softmax: softmaxGrad(2 ** 25, 0), log: softmaxGrad(2 ** 25, 1) },
  CrossEntropy: {
    "one row": put("CrossEntropy", isa.CrossEntropy.Length, {
      [isa.CrossEntropy.Out]: OUT,
      [isa.CrossEntropy.X]: ZEROS,
      [isa.CrossEntropy.Label]: 2 * GB,
      [isa.CrossEntropy.Rows]: 1,
      [isa.CrossEntropy.Cols]: 2 ** 25,
      [isa.CrossEntropy.Ignore]: -1,
      [isa.CrossEntropy.Block]: 1,
    }),
  },
  CrossEntropyGrad: {
    "one row": put("CrossEntropyGrad", isa.CrossEntropyGrad.Length, {
      [isa.CrossEntropyGrad.Out]: OUT,
      [isa.CrossEntropyGrad.X]: ZEROS,
      [isa.CrossEntropyGrad.Label]: 2 * GB,
      [isa.CrossEntropyGrad.G]: ZEROS,
      [isa.CrossEntropyGrad.Rows]: 1,
      [isa.CrossEntropyGrad.Cols]: 2 ** 25,
      [isa.CrossEntropyGrad.Ignore]: -1,
      [isa.CrossEntropyGrad.Block]: 1,
    }),
  },
  Gather: {
    "many rows": gather(2 ** 24, 1, 0),
    "one long row": gather(1, 2 ** 26, 0),
    "one index for each element": gather(1, 2 ** 24, 1),
  },
  ScatterAdd: {
    "many rows": scatter(2 ** 25, 1, 0),
    "rows that are long": scatter(8, 2 ** 24, 0),
    "one index for each element": scatter(1, 2 ** 24, 1),
  },
  Cumsum: { "one column": cumsum(2 ** 25, 1), "side by side": cumsum(2 ** 16, 2 ** 10) },
  Argsort: {
    "one long row": put("Argsort", isa.Argsort.Length, {
      [isa.Argsort.Out]: OUT,
      [isa.Argsort.In]: ZEROS,
      [isa.Argsort.Spare]: 2 * GB + GB / 2,
      [isa.Argsort.Rows]: 1,
      [isa.Argsort.Cols]: 2 ** 22,
      [isa.Argsort.Block]: 1,
    }),
  },
  Fold: {
    "many windows": put("Fold", isa.Fold.Length, {
      [isa.Fold.Out]: OUT,
      [isa.Fold.In]: ZEROS,
      [isa.Fold.Outer]: 1,
      [isa.Fold.Extent]: 2 ** 11,
      [isa.Fold.Windows]: 2 ** 10,
      [isa.Fold.Inner]: 2 ** 5,
      [isa.Fold.Size]: 2 ** 10,
      [isa.Fold.Step]: 1,
      [isa.Fold.Dilation]: 1,
      [isa.Fold.Block]: 2 ** 11,
    }),
  },
  Convolution: {
    "a large image": convolved("Convolution", { [isa.Convolution.OutH]: 2 ** 12, [isa.Convolution.InH]: 2 ** 12 }),
    "many channels": convolved("Convolution", { [isa.Convolution.Channels]: 2 ** 15 }),
    "many results": convolved("Convolution", { [isa.Convolution.Results]: 2 ** 15 }),
    "plane by plane": convolved("Convolution", {
      [isa.Convolution.Path]: isa.ConvolutionPath.Planes,
      [isa.Convolution.OutH]: 2 ** 13,
      [isa.Convolution.InH]: 2 ** 13,
    }),
    "many samples": convolved("Convolution", { [isa.Convolution.N]: 2 ** 10, [isa.Convolution.Block]: 2 ** 10 }),
    "place by place": convolved("Convolution", {
      [isa.Convolution.Path]: isa.ConvolutionPath.Precise,
      [isa.Convolution.Channels]: 2 ** 8,
    }),
  },
  ConvolutionKernel: {
    "a large image": convolved("ConvolutionKernel", {
      [isa.Convolution.OutH]: 2 ** 12,
      [isa.Convolution.InH]: 2 ** 12,
    }),
    "many channels": convolved("ConvolutionKernel", { [isa.Convolution.Channels]: 2 ** 14 }),
    "many samples": convolved("ConvolutionKernel", { [isa.Convolution.N]: 2 ** 10, [isa.Convolution.Block]: 2 ** 10 }),
    "tap by tap": convolved("ConvolutionKernel", {
      [isa.Convolution.Path]: isa.ConvolutionPath.Precise,
      [isa.Convolution.Channels]: 2 ** 9,
    }),
  },
  Winograd: {
    "a large image": filtered("Winograd", { [isa.Winograd.OutH]: 2 ** 15, [isa.Winograd.InH]: 2 ** 15 }),
    "many samples": filtered("Winograd", { [isa.Winograd.N]: 2 ** 11, [isa.Winograd.Block]: 2 ** 11 }),
    "many channels": filtered("Winograd", { [isa.Winograd.Channels]: 2 ** 14 }),
    "many results": filtered("Winograd", { [isa.Winograd.Results]: 2 ** 14 }),
  },
  WinogradTaps: {
    "many channels": put("WinogradTaps", isa.WinogradTaps.Length, {
      [isa.WinogradTaps.Out]: OUT,
      [isa.WinogradTaps.Taps]: ZEROS,
      [isa.WinogradTaps.Channels]: 2 ** 17,
      [isa.WinogradTaps.Results]: 8,
    }),
  },
  WinogradKernel: {
    "a large image": filtered("WinogradKernel", { [isa.Winograd.OutH]: 2 ** 15, [isa.Winograd.InH]: 2 ** 15 }),
    "many samples": filtered("WinogradKernel", { [isa.Winograd.N]: 2 ** 11, [isa.Winograd.Block]: 2 ** 11 }),
  },
  MaxPool: {
    "a large image": pooled("MaxPool", [2 ** 12, 2 ** 11]),
    "a long row": pooled("MaxPool", [1, 2 ** 23]),
    "one large window": pooled("MaxPool", [2 ** 13, 2 ** 13], oneWindow(2 ** 13, 2 ** 13)),
    "one long window": pooled("MaxPool", [1, 2 ** 26], oneWindow(1, 2 ** 26)),
    quarters: pooled("MaxPool", [2 ** 13, 2 ** 13], quarters(2 ** 13, 2 ** 13)),
    "quarters of long rows": pooled("MaxPool", [2, 2 ** 24], quarters(2, 2 ** 24)),
  },
  TakeTaps: { "a large image": pooled("TakeTaps", [2 ** 12, 2 ** 12]) },
  PutTaps: {
    "a large image": pooled("PutTaps", [2 ** 12, 2 ** 12]),
    quarters: pooled("PutTaps", [2 ** 13, 2 ** 13], quarters(2 ** 13, 2 ** 13)),
  },
  SumWindows: {
    "a large image": pooled("SumWindows", [2 ** 12, 2 ** 11]),
    "a long row": pooled("SumWindows", [1, 2 ** 24]),
    "one large window": pooled("SumWindows", [2 ** 13, 2 ** 13], oneWindow(2 ** 13, 2 ** 13)),
    "one long window": pooled("SumWindows", [1, 2 ** 26], oneWindow(1, 2 ** 26)),
    "one high window": pooled("SumWindows", [2 ** 25, 2], oneWindow(2 ** 25, 2)),
    quarters: pooled("SumWindows", [2 ** 13, 2 ** 14], quarters(2 ** 13, 2 ** 14)),
  },
  SpreadWindows: {
    "a large image": pooled("SpreadWindows", [2 ** 12, 2 ** 11]),
    "one large window": pooled("SpreadWindows", [2 ** 13, 2 ** 12], oneWindow(2 ** 13, 2 ** 12)),
    quarters: pooled("SpreadWindows", [2 ** 13, 2 ** 14], quarters(2 ** 13, 2 ** 14)),
  },
  Norm: {
    "one long row": norm(NormStage.Measure | NormStage.Apply, [1, 2 ** 26, 1]),
    "one long channel": norm(NormStage.Measure | NormStage.Apply, [1, 1, 2 ** 26]),
    "many short pieces": norm(NormStage.Measure | NormStage.Apply, [2 ** 22, 1, 4]),
    "many channels": norm(NormStage.Measure | NormStage.Apply, [1, 2 ** 22, 4]),
    "one long column": norm(NormStage.Measure | NormStage.Apply, [2 ** 24, 1, 1]),
    "samples of many channels": norm(NormStage.Apply, [4, 1, 4], { [isa.Norm.Rows]: 2 ** 22, [isa.Norm.Split]: 4 }),
    "many blocks of samples": norm(NormStage.Merge, [2 ** 24, 1, 1], {
      [isa.Norm.Partials]: ZEROS,
      [isa.Norm.Split]: 1,
    }),
  },
  NormGrad: {
    "one long row": normGrad([1, 2 ** 25, 1]),
    "one long channel": normGrad([1, 1, 2 ** 26]),
    "many short pieces": normGrad([2 ** 22, 1, 4]),
    "many channels": normGrad([1, 2 ** 21, 4], { [isa.NormGrad.Sums]: OUT + 2 ** 29 }),
    "one long column": normGrad([2 ** 24, 1, 1]),
    "samples of many channels": normGrad([4, 1, 4], {
      ...{ [isa.NormGrad.Rows]: 2 ** 20, [isa.NormGrad.Groups]: 2 ** 20, [isa.NormGrad.Split]: 4 },
      ...{ [isa.NormGrad.Stage]: NormStage.Apply, [isa.NormGrad.Sums]: ZEROS },
    }),
  },
  NormParameters: {
    "many rows": put("NormParameters", isa.NormParameters.Length, {
      ...{ [isa.NormParameters.Out]: OUT, [isa.NormParameters.In]: ZEROS, [isa.NormParameters.Grad]: ZEROS },
      ...{ [isa.NormParameters.Statistics]: ZEROS, [isa.NormParameters.Rows]: 2 ** 22, [isa.NormParameters.Groups]: 1 },
      ...{ [isa.NormParameters.Channels]: 16, [isa.NormParameters.Block]: 2 ** 22 },
    }),
  },
  Attention: {
    "many keys": attended("Attention", { [isa.Attention.S]: 2 ** 18 }),
    "many queries": attended("Attention", { [isa.Attention.L]: 2 ** 18, [isa.Attention.Block]: 2 ** 18 }),
    "wide keys": attended("Attention", { [isa.Attention.E]: 2 ** 18 }),
    "wide values": attended("Attention", { [isa.Attention.Ev]: 2 ** 18 }),
  },
  AttentionGrad: {
    "many keys": attended("AttentionGrad", { [isa.Attention.S]: 2 ** 17 }),
    "many queries": attended("AttentionGrad", { [isa.Attention.L]: 2 ** 17 }),
    "wide keys": attended("AttentionGrad", { [isa.Attention.E]: 2 ** 17 }),
    "wide values": attended("AttentionGrad", { [isa.Attention.Ev]: 2 ** 17 }),
    "keys nobody sees": attended("AttentionGrad", { [isa.Attention.S]: 2 ** 23, [isa.Attention.Causal]: 1 }),
  },
  Product: {
    "many columns": product(2 ** 16, 2 ** 11, 0),
    "one long sum": product(4, 2 ** 26, 0),
    "one long sum of integers": product(4, 2 ** 24, 1),
  },
};

/** But for products the two binaries have the same loops. */
const VARIANTS: [string, string[]][] = [
  ["plain", Object.keys(CASES)],
  ["relaxed", hasRelaxedSimd() ? ["Gemm"] : []],
];
const ALL = VARIANTS.flatMap(([variant, opcodes]) =>
  opcodes.flatMap((opcode) =>
    Object.entries(CASES[opcode as keyof typeof CASES]).map(([name, build]) => [variant, opcode, name, build] as const),
  ),
);

const machines: Record<string, Machine> = {};

it.each(ALL)("%s %s: %s", (variant, _opcode, _name, build) => {
  machines[variant] ??= new Machine(variant, 65536);
  const m = machines[variant];
  m.reset();
  const ip = build(m);
  // Others may keep this thread from running, but not each time, nor for most of it.
  let [least, took] = [1, 0];
  for (let tries = 5; tries > 0 && least > 0; tries--) {
    const start = performance.now();
    let [last, silent] = [start, 0];
    m.beat = () => {
      const now = performance.now();
      if (now - last > GAP) silent += now - last;
      last = now;
    };
    m.run(ip);
    m.beat();
    took = last - start;
    least = Math.min(least, silent / took);
  }
  expect(least).toBeLessThan(0.3);
  expect(took).toBeGreaterThan(GAP); // else there was nothing to see
});
