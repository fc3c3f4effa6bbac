// The instruction set: read by asc (kernels) and by tsc (compiler, printer, tests). No copies anywhere else.
//
// A program is a sequence of instructions in linear memory, each a run of 32-bit words:
//
//   word 0      1       2      3      4 ...
//        opcode length  units  lanes  operands, at the word offsets of the enum named after the opcode
//
// `length` counts all words. The work of an instruction is cut into `units` equal pieces whose size depends on shapes
// alone. Of W workers the first L = min(W, lanes) take part: worker w does the units [units*w/L, units*(w+1)/L).
// Every kernel has the signature (ip, begin, end, scratch): the byte address of its instruction, its range of units,
// and Scratch.Bytes of memory that belongs to the calling worker alone.
//
// Addresses are in bytes, sizes and strides in elements. "Dense" means row-major without gaps.

/** Word offsets common to all instructions. No instruction is shorter than this header. */
export enum At {
  Opcode = 0,
  Length = 1,
  Units = 2,
  /** Beside what it limits, an estimate of the whole work: one for each Lane.Nanoseconds of it, at least. */
  Lanes = 3,
}

/** A worker must have this much to do before another one joins in. */
export enum Lane {
  Nanoseconds = 10000,
}

/**
 * Families of instructions. The kernels of each are a binary, assembly/families/<name>.ts, which a page loads once a
 * program has an instruction of it; those of Core it loads at once.
 */
export enum Family {
  Core = 0,
  Various = 1,
  Convolution = 2,
  Pooling = 3,
  Norm = 4,
  Attention = 5,
}

/** An opcode divided by `Opcodes`, rounded down, is the number of its family. */
export enum Range {
  Opcodes = 32,
}

/** Instructions. The kernel of each is the WASM export of that name, in what is shipped of that number; what has no number above 0 is the worker's own. */
export enum Opcode {
  Loop = -1,
  // Core
  Barrier = 0,
  Map = 1,
  Gemm = 2,
  Reduce = 3,
  Softmax = 4,
  SoftmaxGrad = 5,
  CrossEntropy = 6,
  CrossEntropyGrad = 7,
  Random = 8,
  Transpose = 9,
  Adam = 10,

  // Various
  Gather = 32,
  ScatterAdd = 33,
  Cumsum = 34,
  Argsort = 35,
  Fold = 36,
  Product = 37,
  Assert = 38,

  // Convolution
  Convolution = 64,
  ConvolutionKernel = 65,
  Winograd = 66,
  WinogradTaps = 67,
  WinogradKernel = 68,

  // Pooling
  MaxPool = 96,
  TakeTaps = 97,
  PutTaps = 98,
  SumWindows = 99,
  SpreadWindows = 100,

  // Norm
  Norm = 128,
  NormGrad = 129,
  NormParameters = 130,

  // Attention
  Attention = 160,
  AttentionGrad = 161,
}

/** Sizes of memory, in bytes but for Pages. */
export enum Size {
  /** A cache line: what memory is handed out in, and what every contended word has to itself. */
  Line = 64,
  /** What memory grows by. */
  Page = 65536,
  /** Most pages there may be: 4 GiB. */
  Pages = 65536,
}

/** Memory map. Page 0 stays untouched: static data, if a compiler ever emitted any, would land there. */
export enum Memory {
  /** Constants of the kernels, written once by `writeConstants`. */
  Constants = Size.Page,
  /** Control words of the pool: see Control in src/run. */
  Control = 69696,
  /** First byte the allocator of src/run may hand out; per-worker scratch comes first. */
  Heap = 73728,
}

/** Bytes of private scratch per worker. The word behind it is its heartbeat: while it counts, the worker is not hung. */
export enum Scratch {
  Bytes = 1048576,
}

/**
 * Byte offsets in a worker's fault record, which begins `Record` bytes from its scratch, behind it. Code 0 = no fault; of
 * several it has the one of the earliest instruction, and there the one of the first place.
 */
export enum Fault {
  Record = Scratch.Bytes + 32,
  Code = 0,
  Ip = 4,
  /** Which element or row of the index operand, or of what is asserted. */
  Where = 8,
  /** The offending value. */
  Value = 12,
  /** The exclusive upper bound it violated. */
  Bound = 16,
  /** Of the record. */
  Bytes = 20,
}

export enum FaultCode {
  None = 0,
  IndexOutOfRange = 1,
  /** A NaN or an infinity: where, says Assert. */
  NonFinite = 2,
}

/**
 * Map: one or several elementwise expressions over the same dense iteration space of N elements, in tiles of
 * MapTile.Elements. Operands of micro-operations are slots. The slot table (2 words each: kind, value) starts at word
 * `SlotsAt`, the micro-program (5 words each: Micro, dst, a, b, c; slot numbers) at `MicrosAt`; both are word offsets
 * from the start of the instruction. The first `Once` micro-operations run once per call, the rest once per tile.
 */
export enum Map {
  N = 4,
  /** Elements per unit, a multiple of 4. */
  Grain = 5,
  Slots = 6,
  SlotsAt = 7,
  Micros = 8,
  MicrosAt = 9,
  Once = 10,
  /** Of the fixed part; slots, micro-program and views follow. */
  Length = 11,
}

export enum MapTile {
  Elements = 256,
  /** Most registers of one tile each that scratch holds (beside the slot pointers). */
  Registers = 48,
  /** Most slots of an instruction. */
  Slots = 128,
}

/** Slot kinds of Map. */
export enum Slot {
  /** value = register number: a tile of 4-byte elements in scratch. */
  Register = 0,
  /** value = byte address of element 0 of a dense operand of 4-byte elements: read or written in place. */
  Dense = 1,
  /** value = byte address of element 0 of a dense operand of 1-byte elements (LoadByte and StoreByte only). */
  Bytes = 2,
  /** value = word offset, from the start of the instruction, of a View (LoadView and StoreView only). */
  View = 3,
  /** value = 32 bits of an immediate (Splat only). */
  Immediate = 4,
}

/** A strided view of the iteration space, for LoadView and StoreView. */
export enum View {
  Address = 0,
  /** 1 or 4; 1-byte elements are zero-extended on load and truncated on store. */
  ElementBytes = 1,
  Rank = 2,
  /** `Rank` extents, outermost first, then `Rank` strides in elements (0 and negative are allowed). */
  Dims = 3,
}

/** The tile of C that the matrix kernel computes at once. */
export enum GemmTile {
  Rows = 4,
  Cols = 8,
}

/**
 * Gemm: C[b] = A[b] B[b] for b < Batch; C is M x N with row stride CRow and column stride 1, A is M x K, B is K x N with
 * any strides. K = 0 gives zeros. Add = 1: the product is added to what C holds. A unit is `Block` rows of one C[b] (Slice = 0; Block a multiple of
 * GemmTile.Rows, the last one ragged) or `Block` columns (Slice = 1; a multiple of GemmTile.Cols); units = Batch * ceil((Slice ? N : M) / Block), batch-major.
 * Every element of C is the same sum in the same order whatever the slicing.
 */
export enum Gemm {
  C = 4,
  A = 5,
  B = 6,
  M = 7,
  N = 8,
  K = 9,
  ARow = 10,
  ACol = 11,
  BRow = 12,
  BCol = 13,
  Batch = 14,
  ABatch = 15,
  BBatch = 16,
  Block = 17,
  Slice = 18,
  CRow = 19,
  CBatch = 20,
  Add = 21,
  Length = 22,
}

/**
 * Reduce: In is dense [Outer, R, Inner], Out is dense [Outer, Blocks, Inner]; block k covers the rows
 * [k*Block, min(R, (k+1)*Block)) of R. The outputs, flat, are cut into units of `Grain` elements (a multiple of 4).
 * Sums are pairwise over R. R = 0 gives the neutral element (arg reductions never have R = 0, nor Blocks > 1).
 */
export enum Reduce {
  Out = 4,
  In = 5,
  Outer = 6,
  R = 7,
  Inner = 8,
  Block = 9,
  Blocks = 10,
  Kind = 11,
  Grain = 12,
  Length = 13,
}

/** I = on int32. Max and Min give NaN if there is one; the arg reductions give the first best, a NaN being best. */
export enum ReduceKind {
  Sum = 0,
  Prod = 1,
  Max = 2,
  Min = 3,
  ArgMax = 4,
  ArgMin = 5,
  SumI = 6,
  ProdI = 7,
  MaxI = 8,
  MinI = 9,
  ArgMaxI = 10,
  ArgMinI = 11,
}

/** Softmax: rows of dense [Rows, Cols]; Log = 1 gives log-softmax. A unit is `Block` rows. In may equal Out. */
export enum Softmax {
  Out = 4,
  In = 5,
  Rows = 6,
  Cols = 7,
  Log = 8,
  Block = 9,
  Length = 10,
}

/** SoftmaxGrad: Y = the forward result, G = its cotangent; Log = 0: Y*(G - sum(G*Y)), Log = 1: G - exp(Y)*sum(G). */
export enum SoftmaxGrad {
  Out = 4,
  Y = 5,
  G = 6,
  Rows = 7,
  Cols = 8,
  Log = 9,
  Block = 10,
  Length = 11,
}

/**
 * CrossEntropy: Out[r] = logSumExp(X[r]) - X[r, Label[r]] for float32 X dense [Rows, Cols] and int32 labels; a label
 * equal to Ignore gives 0. Any other label outside [0, Cols) records a fault and gives NaN, touching nothing else.
 */
export enum CrossEntropy {
  Out = 4,
  X = 5,
  Label = 6,
  Rows = 7,
  Cols = 8,
  Ignore = 9,
  Block = 10,
  Length = 11,
}

/**
 * CrossEntropyGrad: Out[r] = (softmax(X[r]) - onehot(Label[r])) * G[r], 0 where ignored. Faults as CrossEntropy, whose operands
 * come first.
 */
export enum CrossEntropyGrad {
  Out = 4,
  X = 5,
  Label = 6,
  Rows = 7,
  Cols = 8,
  Ignore = 9,
  Block = 10,
  G = 11,
  Length = 12,
}

/**
 * Gather: Out[o, i, n] = In[o, Index[o, i, n], n] for 4-byte elements; Out is dense [Outer, Rows, Inner], In is dense
 * [Outer, Bound, Inner], and Index is a view of int32 by the strides IndexOuter, IndexRow and IndexInner. An index outside
 * [0, Bound) faults and gives 0. A unit is `Block` of the Outer * Rows rows of Out.
 */
export enum Gather {
  Out = 4,
  In = 5,
  Index = 6,
  Outer = 7,
  Rows = 8,
  Bound = 9,
  Inner = 10,
  IndexOuter = 11,
  IndexRow = 12,
  IndexInner = 13,
  Block = 14,
  Length = 15,
}

/**
 * ScatterAdd: the adjoint of Gather. Out is dense [Outer, Bound, Inner] and starts as 0; then Out[o, Index[o, i, n], n] +=
 * In[o, i, n] for i = 0, 1, ... in that order, In being dense [Outer, Rows, Inner]. Kind Last writes i instead, over -1, and
 * reads no In. A unit is `Block` of the Outer * Bound rows of Out. A bad index faults and is passed over.
 */
export enum ScatterAdd {
  Out = 4,
  In = 5,
  Index = 6,
  Outer = 7,
  Rows = 8,
  Bound = 9,
  Inner = 10,
  IndexOuter = 11,
  IndexRow = 12,
  IndexInner = 13,
  Kind = 14,
  Block = 15,
  Length = 16,
}

/** I = on int32. */
export enum ScatterKind {
  Sum = 0,
  SumI = 1,
  Last = 2,
}

/**
 * Random: N elements from threefry2x32-20 (Salmon et al., SC 2011). State = address of three int32 words: key 0, key 1,
 * counter. Element e is word (e >> 2) & 1 of the block with counter words ((e >> 3) * 4 + (e & 3), counter + Draw).
 * Uniform and Normal are float32: low + (high-low)*u with u = (bits >>> 8) * 2^-24, A = low, B = high; and A + B*z, z by Box and Muller from
 * BOTH words (x0, x1) of block (e, counter + Draw), u1 = ((x0 >>> 8) + 1) * 2^-24, u2 = (x1 >>> 8) * 2^-24, z = sqrt(-2 ln u1) cos(2 pi u2).
 */
export enum Random {
  Out = 4,
  State = 5,
  Draw = 6,
  N = 7,
  Kind = 8,
  /** float32 bits. */
  A = 9,
  /** float32 bits. */
  B = 10,
  /** Elements per unit, a multiple of 8. */
  Grain = 11,
  Length = 12,
}

export enum RandomKind {
  Bits = 0,
  Uniform = 1,
  Normal = 2,
}

/** Transpose: Out[b] = In[b]^T for dense In [Batch, Rows, Cols] of 4-byte elements. A unit is `Block` rows of an Out[b]. */
export enum Transpose {
  Out = 4,
  In = 5,
  Batch = 6,
  Rows = 7,
  Cols = 8,
  Block = 9,
  Length = 10,
}

/**
 * Adam: over N float32 elements, NewM = Beta1 M + Rest1 G, NewV = Beta2 V + Rest2 G G,
 * NewW = W - NewM stepSize / (sqrt(NewV) root + Eps), with stepSize and root (1 / sqrt(1 - beta2^t)) read at addresses.
 * New values may lie over old ones. A unit is `Grain` elements, a multiple of 4.
 */
export enum Adam {
  W = 4,
  M = 5,
  V = 6,
  G = 7,
  NewW = 8,
  NewM = 9,
  NewV = 10,
  /** Address of one float32. */
  StepSize = 11,
  /** Address of one float32. */
  Root = 12,
  N = 13,
  Grain = 14,
  /** The rest are float32 bits. */
  Beta1 = 15,
  Rest1 = 16,
  Beta2 = 17,
  Rest2 = 18,
  Eps = 19,
  Length = 20,
}

/**
 * Cumsum: Out[o, r, n] = the sum of In[o, k, n] over k <= r (Reverse = 1: over k >= r), dense [Outer, R, Inner]. float32 is
 * summed in float64; Integer = 1: int32, wrapping. A unit is `Grain` of the Outer * Inner columns.
 */
export enum Cumsum {
  Out = 4,
  In = 5,
  Outer = 6,
  R = 7,
  Inner = 8,
  Reverse = 9,
  Integer = 10,
  Grain = 11,
  Length = 12,
}

/**
 * Argsort: Out[r] = the int32 positions of the elements of In[r] in stable ascending (Descending = 1: descending) order, a
 * NaN counting as above infinity; dense [Rows, Cols] of float32 (Integer = 1: of int32). Spare has the size of Out and is
 * overwritten. A unit is `Block` rows.
 */
export enum Argsort {
  Out = 4,
  In = 5,
  Spare = 6,
  Rows = 7,
  Cols = 8,
  Descending = 9,
  Integer = 10,
  Block = 11,
  Length = 12,
}

/**
 * Fold: Out[o, e, n] = the sum of In[o, w, n, t] over all w and t with w * Step + t * Dilation = e, float32 summed in
 * float64, Out dense [Outer, Extent, Inner], In dense [Outer, Windows, Inner, Size]. A unit is `Block` of the Outer * Extent rows.
 */
export enum Fold {
  Out = 4,
  In = 5,
  Outer = 6,
  Extent = 7,
  Windows = 8,
  Inner = 9,
  Size = 10,
  Step = 11,
  Dilation = 12,
  Block = 13,
  Length = 14,
}

/**
 * Product: the first operands of Gemm, and what it does with a dense C, but each element is summed in float64 and rounded once; Integer = 1: of int32, wrapping. A
 * third as fast as Gemm at best. A unit is `Block` of the Batch * M rows of C.
 */
export enum Product {
  C = 4,
  A = 5,
  B = 6,
  M = 7,
  N = 8,
  K = 9,
  ARow = 10,
  ACol = 11,
  BRow = 12,
  BCol = 13,
  Batch = 14,
  ABatch = 15,
  BBatch = 16,
  Block = 17,
  Integer = 18,
  Length = 19,
}

/** Assert: Out = In, N words. One that is not 0 is a fault with this FaultCode. One unit. */
export enum Assert {
  Out = 4,
  In = 5,
  N = 6,
  Code = 7,
  Length = 8,
}

/**
 * Micro-operations of Map. Registers and dense operands hold 4-byte elements: float32, or int32 (names that end in I).
 * Comparisons give int32 1 or 0. dst may be the same slot as an input. The WASM export of a micro-operation that computes
 * is `micro` + its name, with the signature (dst, a, b, c, n): byte addresses and a number of elements, a multiple of 4;
 * element i's bits depend on the inputs' element i alone. Operands a micro-operation does not have may name any slot.
 */
export enum Micro {
  // Moves: carried out by Map itself, they know the element's place in the iteration space.
  /** dst = immediate. */
  Splat = 0,
  /** dst[i] = element i of view a. */
  LoadView = 1,
  /** view dst's element i = a[i]. */
  StoreView = 2,
  /** dst[i] = zero-extended byte. */
  LoadByte = 3,
  /** byte = low 8 bits of a[i]. */
  StoreByte = 4,
  /** dst[i] = i, the flat index, int32. */
  Iota = 5,

  // Unary, float32.
  Copy = 16,
  Neg = 17,
  Abs = 18,
  Exp = 19,
  Log = 20,
  Log1p = 21,
  Expm1 = 22,
  Tanh = 23,
  Sigmoid = 24,
  Sqrt = 25,
  Rsqrt = 26,
  Reciprocal = 27,
  Sin = 28,
  Cos = 29,
  Tan = 30,
  Erf = 31,
  Sinh = 32,
  Cosh = 33,
  Asin = 34,
  Acos = 35,
  Atan = 36,
  Square = 37,
  /** -1, 0, 1; 0 for NaN as in PyTorch. */
  Sign = 38,
  Floor = 39,
  Ceil = 40,
  /** Half to even. */
  Round = 41,
  Trunc = 42,
  /** max(x, 0), NaN stays NaN. */
  Relu = 43,
  /** log(1 + e^x). */
  Softplus = 44,
  /** x Phi(x), by erf. */
  Gelu = 45,
  /** x sigmoid(x). */
  Silu = 46,
  /** The fraction: a - trunc(a). */
  Frac = 47,
  /** min(max(x, 0), 6), NaN stays NaN. */
  Relu6 = 48,
  /** Phi(x) + x phi(x), the slope of gelu. */
  GeluSlope = 49,

  // Binary, float32.
  Add = 64,
  Sub = 65,
  Mul = 66,
  Div = 67,
  Pow = 68,
  /** NaN if either is. */
  Maximum = 69,
  Minimum = 70,
  Atan2 = 71,
  /** 0 where b <= 0, else a (the backward pass of relu): a also where b is NaN, as in PyTorch. */
  ReluMask = 72,
  Eq = 73,
  Ne = 74,
  Lt = 75,
  Le = 76,
  Gt = 77,
  Ge = 78,
  /** a - b floor(a / b), the divisor's sign (torch.remainder). */
  Remainder = 79,
  /** 0 where b <= 0 or b >= 6, else a (the backward pass of relu6). */
  Relu6Mask = 80,

  // int32.
  NegI = 96,
  AbsI = 97,
  SignI = 98,
  AddI = 99,
  SubI = 100,
  MulI = 101,
  /** a - b floor(a / b); 0 where b is 0. */
  RemainderI = 102,
  MaximumI = 103,
  MinimumI = 104,
  EqI = 105,
  NeI = 106,
  LtI = 107,
  LeI = 108,
  GtI = 109,
  GeI = 110,
  AndI = 111,
  OrI = 112,
  XorI = 113,
  /** 1 where a is 0, else 0. */
  NotI = 114,
  /** a^b, wrapping; for b < 0 it is 0, unless a is 1 or -1. */
  PowI = 115,

  // Conversions.
  /** float32 of an int32. */
  ToFloat = 128,
  /** int32 of a float32: toward zero, saturating, NaN = 0. */
  ToInt = 129,
  /** int32 1 where the float32 is not 0 (NaN counts as true). */
  ToBool = 130,

  // Ternary.
  /** b where int32 a is not 0, else c; 4-byte elements of any type. */
  Where = 144,
}

/** What is around an image: zeros, or elements of its own, as far as each mode reaches. */
export enum Border {
  Zeros = 0,
  /** A mirror lies on the last element. */
  Reflect = 1,
  /** The last element. */
  Replicate = 2,
  /** From the other end. */
  Circular = 3,
}

/** How a convolution is computed: see assembly/convolution/. */
export enum ConvolutionPath {
  /** As a product whose panels are gathered. */
  Gathered = 0,
  /** In float64, place by place. */
  Precise = 1,
  /** Plane by plane: for few channels of a group. */
  Planes = 2,
  /** A product of matrices as they lie: one tap, at every place. */
  Plain = 3,
}

/**
 * Convolution: Out[n, g O + o, q] = the sum over c and taps t of In[n, g C + c, i] Kernels[g, o, c, t], wherever
 * q Stride + t Dilation - Pad = i Spread with i inside of In; three spatial axes D, H, W, float32, In dense. Spread is 1 but
 * place by place and plane by plane. Elements of Kernels and of a plane of Out are OutFirst and KernelFirst, plus a step for each place or tap along
 * each axis: so it may be the adjoint, with kernels turned around, and of some of the places of Out. With a Border other than zeros i is
 * outside of In nowhere. Add = 1, gathered or place by place: Out += the sum, place by place. A unit is piece u % Pieces of the rows
 * (places of D and H) of Block samples.
 *
 * ConvolutionKernel: Out[b, g O + o, c, t] = the sum over q and the samples n of block b, Block of them, of In[n, g C + c, i]
 * Kernels[n, g O + o, q], all dense, Kernels being what comes back from the result; Spread and steps are not read. A unit is piece
 * u % Pieces of the channels of a block.
 */
export enum Convolution {
  Out = 4,
  In = 5,
  Kernels = 6,
  N = 7,
  Groups = 8,
  /** C and O, of a group. */
  Channels = 9,
  Results = 10,
  InD = 11,
  InH = 12,
  InW = 13,
  OutD = 14,
  OutH = 15,
  OutW = 16,
  TapsD = 17,
  TapsH = 18,
  TapsW = 19,
  StrideD = 20,
  StrideH = 21,
  StrideW = 22,
  DilationD = 23,
  DilationH = 24,
  DilationW = 25,
  /** May be negative. */
  PadD = 26,
  PadH = 27,
  PadW = 28,
  SpreadD = 29,
  SpreadH = 30,
  SpreadW = 31,
  Path = 32,
  Block = 33,
  Pieces = 34,
  /** Elements from one plane of Out to the next, to the first place of a plane, and from place to place. */
  OutPlane = 35,
  OutFirst = 36,
  OutStepD = 37,
  OutStepH = 38,
  OutStepW = 39,
  /** Elements from one group, result, channel to the next, to the first tap, and from tap to tap; may be negative. */
  KernelGroup = 40,
  KernelResult = 41,
  KernelChannel = 42,
  KernelFirst = 43,
  KernelStepD = 44,
  KernelStepH = 45,
  KernelStepW = 46,
  /** Around In, a Border. */
  Around = 47,
  Add = 48,
  Length = 49,
}

/** What tiles of a convolution need of scratch: the part of In that the places of a tile see, zeros around it. */
export enum ConvolutionTile {
  /** Longest block of a sum. */
  Depth = 400,
  /** Most taps of a channel. */
  Taps = 2048,
  ImageBytes = 229376,
  /** Plane by plane: sums of taps. */
  Sums = 4096,
}

/**
 * Winograd: a convolution by 3x3 taps with stride 1 of two axes, by minimal filtering. Kernels are what WinogradTaps has made of
 * them. A tile is 4x4 places of the result, from 6x6 elements of In, both of 4 x 4 or more. A unit is piece u % Pieces of the rows of
 * tiles of Block samples.
 *
 * WinogradKernel: Out[b, o, c, t] = the sum over q and the samples n of block b, Block of them, of what is at t of q in In[n, c],
 * times Kernels[n, o, q], Kernels being what comes back from the result. A unit is piece u % Pieces of the channels of a block. Sums
 * is room for the sums at all points: [blocks][36][Results, up to a multiple of 4][Channels, of 8].
 */
export enum Winograd {
  Out = 4,
  In = 5,
  Kernels = 6,
  Sums = 7,
  N = 8,
  Channels = 9,
  Results = 10,
  InH = 11,
  InW = 12,
  OutH = 13,
  OutW = 14,
  PadH = 15,
  PadW = 16,
  Block = 17,
  Pieces = 18,
  /** Around In, a Border. */
  Around = 19,
  Length = 20,
}

/**
 * Kernels [Results, Channels, 3, 3], or if Adjoint [Channels, Results, 3, 3] turned around, at the points of minimal filtering, in
 * panels of 8 results: [36][Results / 8, rounded up][Channels][8], each of the 36 in an odd number of cache lines. A unit is a panel.
 */
export enum WinogradTaps {
  Out = 4,
  Taps = 5,
  Channels = 6,
  Results = 7,
  Adjoint = 8,
  Length = 9,
}

/** What minimal filtering computes at once, and how many points there are for each tile. */
export enum WinogradTile {
  Places = 4,
  Points = 36,
  /** Most tiles, and channels, of a product. */
  Tiles = 32,
  Channels = 256,
}

/**
 * Windows on three axes D, H, W of `Planes` dense images of float32; Count of them along each axis. Tap t < Kernel of window k is
 * element k Stride - Pad + t Dilation; with Adaptive = 1 it is element floor(k Image / Count) + t, up to ceil((k + 1) Image / Count).
 * (where taps are given, they may lie beyond that). Taps are numbered through the three axes, of Kernel each, in bytes (Wide = 1: in words). A unit is piece u % Pieces of the rows
 * (places of D and H) of the result, of Block planes.
 *
 * MaxPool: Out[k] = the largest element of window k of In, the last NaN if there is one; Taps[k] = the first tap that has it. Of a
 * window without an element they are Fill and 0.
 * TakeTaps: Out[k] = the element of In that is tap Taps[k] of window k, Fill if there is none.
 * PutTaps: Out = images of zeros, plus In[k] where tap Taps[k] of window k is, if it is inside; in the order of k.
 * SumWindows: Out[k] = the sum of window k of In; SpreadWindows: Out[i] = the sum of In[k] over the windows k that element i is in.
 * Float64 rounded once, but halves of both H and W are sums of four in float32. Dilation, Taps and Fill are not read.
 */
export enum Pool {
  Out = 4,
  In = 5,
  Taps = 6,
  Planes = 7,
  ImageD = 8,
  ImageH = 9,
  ImageW = 10,
  CountD = 11,
  CountH = 12,
  CountW = 13,
  KernelD = 14,
  KernelH = 15,
  KernelW = 16,
  StrideD = 17,
  StrideH = 18,
  StrideW = 19,
  DilationD = 20,
  DilationH = 21,
  DilationW = 22,
  /** Not negative. */
  PadD = 23,
  PadH = 24,
  PadW = 25,
  Adaptive = 26,
  Wide = 27,
  /** float32 bits. */
  Fill = 28,
  Block = 29,
  Pieces = 30,
  Length = 31,
}

/**
 * Norm: In is dense [A, Rows, Channels, Places]; a row is what has one second index, and its group that modulo Groups.
 * Statistics[row] = its mean (0 unless Centered) and 1 / sqrt(its variance + Eps), two float64; and Out = (In - mean) /
 * sqrt(variance + Eps) Weight + Bias, which are dense [Groups, Channels]. A or Channels is 1. Address 0: a weight of 1, a bias of
 * 0; no Moments, else [2, Rows], means and variances. Stage says what of it is done here. A unit is `Block` rows.
 *
 * Where Split is not 0 (Channels is 1 then), a unit is Split samples of all rows, to be measured as Partials[unit, row], its mean
 * and its variance in float64, or to be standardised. Merge makes Statistics of Partials; its unit is Block rows. Apply merges for
 * itself where it is given Partials; it has scratch for NormParts.Most of them.
 */
export enum Norm {
  Out = 4,
  In = 5,
  Weight = 6,
  Bias = 7,
  Statistics = 8,
  Partials = 9,
  Moments = 10,
  A = 11,
  Rows = 12,
  Groups = 13,
  Channels = 14,
  Places = 15,
  /** float32 bits. */
  Eps = 16,
  Centered = 17,
  Stage = 18,
  Block = 19,
  Split = 20,
  Length = 21,
}

/** Bits. */
export enum NormStage {
  Measure = 1,
  Apply = 2,
  Merge = 4,
}

/**
 * NormGrad: Out = what Norm sends back to In, given Grad, what comes back to its result; with Statistics as Norm left them. Where
 * Places or A is not 1, Sums, dense [Rows / Groups, 2, Groups, Channels], gets for each row and channel the sums of Grad and of
 * Grad times standardised elements. Address 0: a weight of 1, no Out, no Sums. A unit is `Block` rows.
 *
 * Where Split is not 0 (Rows is Groups and Channels is 1 then), a unit is Split samples of all rows. Stage Measure makes their
 * Sums, dense [units, 2, Rows], and Apply makes Out, with Sums, dense [2, Rows], of all of them. Else both are done.
 */
export enum NormGrad {
  Out = 4,
  In = 5,
  Weight = 6,
  Grad = 7,
  Statistics = 8,
  Sums = 9,
  A = 10,
  Rows = 11,
  Groups = 12,
  Channels = 13,
  Places = 14,
  Centered = 15,
  Stage = 16,
  Block = 17,
  Split = 18,
  /** Of Apply, where Split is not 0: how many blocks of Sums there are still to be added, [Blocks, 2, Rows]; 0: none. */
  Blocks = 19,
  Length = 20,
}

/**
 * NormParameters: Out, dense [blocks, 2, Groups, Channels], is the sums of Grad and of Grad times standardised elements over blocks
 * of Block * Groups rows, for In and Grad dense [Rows, Channels], with Statistics as Norm left them. A unit is NormStrip.Columns of
 * the channels of a group in a block; of those the last one may have fewer.
 */
export enum NormParameters {
  Out = 4,
  In = 5,
  Grad = 6,
  Statistics = 7,
  Rows = 8,
  Groups = 9,
  Channels = 10,
  Block = 11,
  Length = 12,
}

/** Rows times blocks of samples up to which each worker merges what was measured for itself. */
export enum NormParts {
  Most = 8192,
}

/** What is summed or standardised side by side: a cache line. */
export enum NormStrip {
  Columns = 16,
}

/**
 * A loop: the worker runs the instructions that follow the operands `Count` times, barriers among them and all. Where several take
 * part, each runs a copy of its own: addresses in it move on from step to step. Behind the instructions are pairs, a word's place
 * among them and what is added to it after each step; then pairs whose sign turns each time.
 */
export enum Loop {
  Count = 4,
  /** Where the first worker's copy lies, and bytes from one to the next; there are as many as lanes. */
  Copies = 5,
  Bytes = 6,
  /** Words of the instructions, and how many these are, with those of loops among them. */
  Words = 7,
  Instructions = 8,
  /** Pairs of either kind. */
  Steps = 9,
  Turns = 10,
  Length = 11,
}

/**
 * Attention: Out = softmax(Scale Q K^T + Mask) V for each of the entries of a batch, over keys in tiles of AttentionTile.Keys
 * (Dao et al. 2022). Causal: query i attends to keys up to i. Mask: address 0 is none; of MaskBytes 1 elements of 0 exclude, of 4
 * they are float32 to add. Statistics, dense [entries, L, 2], are for each query the largest score (0 where there is none) and 1 / the
 * sum of e^(score - largest), 0 where there is nothing to attend to: then Out is 0.
 *
 * AttentionGrad: with Grad, what comes back to Out, and Out and Statistics as Attention left them, what Q, K and V get back: ToQ, ToK and
 * ToV, unless their addresses are 0.
 *
 * Elements of a row lie side by side, but those of Mask; rows and entries lie apart as strides say: behind the fixed words there are `Rank`
 * extents of the batch, then for each AttentionOperand as many strides. Units of an entry: Split None has one; Queries has one of Block
 * queries each, in the order first, last, second, ... if Causal; Keys has one of Block keys each.
 */
export enum Attention {
  Out = 4,
  Q = 5,
  K = 6,
  V = 7,
  Mask = 8,
  Statistics = 9,
  Grad = 10,
  ToQ = 11,
  ToK = 12,
  ToV = 13,
  /** Queries and keys of an entry, elements of a row of Q and K, and of V. */
  L = 14,
  S = 15,
  E = 16,
  Ev = 17,
  /** float32 bits. */
  Scale = 18,
  Causal = 19,
  MaskBytes = 20,
  Split = 21,
  Block = 22,
  /** Elements from row to row, and of Mask from key to key. */
  OutRow = 23,
  QRow = 24,
  KRow = 25,
  VRow = 26,
  MaskRow = 27,
  MaskCol = 28,
  GradRow = 29,
  ToQRow = 30,
  ToKRow = 31,
  ToVRow = 32,
  Rank = 33,
  /** Of the fixed part. */
  Length = 34,
}

/** Whose strides come when. */
export enum AttentionOperand {
  Out = 0,
  Q = 1,
  K = 2,
  V = 3,
  Mask = 4,
  Grad = 5,
  ToQ = 6,
  ToK = 7,
  ToV = 8,
  Count = 9,
}

export enum AttentionSplit {
  None = 0,
  Queries = 1,
  Keys = 2,
}

export enum AttentionTile {
  Queries = 64,
  Keys = 64,
}
