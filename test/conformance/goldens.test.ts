/**
 * Samples of PyTorch 1.13's operations: results, gradients and tangents in float64 from float32 inputs, made by PyTorch
 * itself. Tolerance: torch.testing's for float32. A file whose operation has no adapter below fails.
 */
import { readdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { jvp } from "../../src/diff/jvp.ts";
import { vjp } from "../../src/diff/vjp.ts";
import * as fl from "../../src/index.ts";
import { evaluate } from "../../src/trace/evaluate.ts";
import { expectClose } from "../ops/reference.ts";
import { DTYPES, load } from "./samples.ts";

// GOLDENS names another folder of samples: there are more of them than are kept here.
const dir = process.env.GOLDENS ? pathToFileURL(`${process.env.GOLDENS}/`) : new URL("./goldens/", import.meta.url);

afterAll(() => fl.dispose());

type Value = fl.Tensor | number | boolean | string | null | Value[];
type Sizes = number | number[];
/** What the metadata of a file say. */
type Case = { op: string; input: unknown; args: unknown[]; kwargs: Record<string, unknown> };
type Kwargs = Record<string, Value>;
type Adapter = (x: fl.Tensor, args: Value[], kwargs: Kwargs) => fl.Tensor | fl.Tensor[];

const T = (v: Value | undefined): fl.Tensor => v as fl.Tensor;
const N = (v: Value | undefined, otherwise = 0): number => (v ?? otherwise) as number;
const axes = (k: Kwargs): number | number[] | undefined => (k.dim ?? undefined) as number | number[] | undefined;
const keep = (k: Kwargs): boolean => (k.keepdim ?? false) as boolean;

const F = fl.nn.functional;

const unary =
  (name: keyof fl.Tensor & string): Adapter =>
  (x) =>
    (x[name] as () => fl.Tensor)();
const binary =
  (name: keyof fl.Tensor & string): Adapter =>
  (x, [y]) =>
    (x[name] as (y: fl.Tensor) => fl.Tensor)(T(y));

const reduction = (k: Kwargs): { reduction?: "mean" | "sum" | "none" } =>
  k.reduction ? { reduction: k.reduction as "sum" } : {};

/** [the extreme value, where it is] along an axis. */
const withIndex =
  (name: "max" | "min"): Adapter =>
  (x, [axis, keepdim]) => [
    x[name](N(axis), (keepdim ?? false) as boolean),
    x[name === "max" ? "argmax" : "argmin"](N(axis), (keepdim ?? false) as boolean),
  ];

const spread = ([unbiased]: Value[], k: Kwargs): { correction: number; keepdim: boolean } => ({
  correction: k.correction === undefined ? ((k.unbiased ?? unbiased) === false ? 0 : 1) : N(k.correction, 1),
  keepdim: keep(k),
});

type PoolOf<Result> = (x: fl.Tensor, size: Sizes, options?: object) => Result;

/** Pooling over so many axes. */
function poolings(rank: number): Record<string, Adapter> {
  const pools = F as unknown as Record<string, PoolOf<fl.Tensor> & PoolOf<[fl.Tensor, fl.Tensor]>>;
  const options = ({
    stride,
    padding = 0,
    dilation = 1,
    ceil_mode = false,
  }: Kwargs): fl.nn.functional.MaxPoolOptions => ({
    stride: stride as Sizes | null,
    padding: padding as Sizes,
    dilation: dilation as Sizes,
    ceilMode: ceil_mode as boolean,
  });
  return {
    [`nn.functional.max_pool${rank}d`]: (x, _, k) => {
      const both = pools[`maxPool${rank}dWithIndices`](x, k.kernel_size as Sizes, options(k)) as unknown as fl.Tensor[];
      return k.return_indices ? both : pools[`maxPool${rank}d`](x, k.kernel_size as Sizes, options(k));
    },
    [`nn.functional.max_unpool${rank}d`]: (x, [indices], { kernel_size, stride, padding, output_size }) =>
      [F.maxUnpool1d, F.maxUnpool2d, F.maxUnpool3d][rank - 1](x, T(indices), kernel_size as Sizes, {
        stride: stride as Sizes | null,
        padding: padding as Sizes,
        outputSize: output_size as number[],
      }),
    [`nn.functional.avg_pool${rank}d`]: (x, [kernel, stride, padding, ceil, include, divisor], k) => {
      const { dilation: _, ...own } = options({
        stride: stride ?? k.stride,
        padding: padding ?? k.padding ?? 0,
        ceil_mode: ceil ?? k.ceil_mode ?? false,
      });
      return pools[`avgPool${rank}d`](x, (kernel ?? k.kernel_size) as Sizes, {
        ...own,
        countIncludePad: (include ?? k.count_include_pad ?? true) as boolean,
        ...(rank > 1 ? { divisorOverride: (divisor ?? k.divisor_override) as number | null } : {}),
      });
    },
    [`nn.functional.adaptive_avg_pool${rank}d`]: (x, [size]) => pools[`adaptiveAvgPool${rank}d`](x, size as Sizes),
    [`nn.functional.adaptive_max_pool${rank}d`]: (x, [size, indices]) =>
      indices
        ? (pools[`adaptiveMaxPool${rank}dWithIndices`](x, size as Sizes) as unknown as fl.Tensor[])
        : pools[`adaptiveMaxPool${rank}d`](x, size as Sizes),
  };
}

const ADAPTERS: Record<string, Adapter> = {
  ...Object.fromEntries(
    ["abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "exp", "expm1", "floor", "log", "log1p", "neg"].map(
      (n) => [n, unary(n as keyof fl.Tensor & string)],
    ),
  ),
  ...Object.fromEntries(
    ["reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh"].map((n) => [
      n,
      unary(n as keyof fl.Tensor & string),
    ]),
  ),
  "nn.functional.relu": unary("relu"),
  "nn.functional.gelu": (x, _, { approximate }) => fl.nn.functional.gelu(x, { approximate: approximate as "tanh" }),
  "nn.functional.silu": (x) => fl.nn.functional.silu(x),
  ...Object.fromEntries(
    ["atan2", "maximum", "minimum", "mul", "pow", "matmul"].map((n) => [n, binary(n as keyof fl.Tensor & string)]),
  ),
  mm: (x, [y]) => fl.mm(x, T(y)),
  bmm: (x, [y]) => fl.bmm(x, T(y)),
  mv: (x, [y]) => fl.mv(x, T(y)),
  dot: (x, [y]) => fl.dot(x, T(y)),
  "div.no_rounding_mode": binary("div"),
  add: (x, [y], { alpha }) => x.add(alpha === undefined ? T(y) : T(y).mul(N(alpha))),
  sub: (x, [y], { alpha }) => x.sub(alpha === undefined ? T(y) : T(y).mul(N(alpha))),
  addmm: (x, [a, b], k) => fl.addmm(x, T(a), T(b), k as { alpha: number; beta: number }),
  addmv: (x, [a, v], k) => fl.addmv(x, T(a), T(v), k as { alpha: number; beta: number }),
  outer: (x, [y]) => fl.outer(x, T(y)),
  amax: (x, _, k) => fl.amax(x, axes(k), keep(k)),
  amin: (x, _, k) => fl.amin(x, axes(k), keep(k)),
  argmax: (x, _, k) => x.argmax(k.dim as number | undefined, keep(k)),
  argmin: (x, _, k) => x.argmin(k.dim as number | undefined, keep(k)),
  "max.reduction_no_dim": (x) => x.max(),
  "max.reduction_with_dim": withIndex("max"),
  "min.reduction_with_dim": withIndex("min"),
  sum: (x, _, k) => x.sum(axes(k), keep(k)),
  mean: (x, _, k) => x.mean(axes(k), keep(k)),
  var: (x, args, k) => x.var(axes(k), spread(args, k)),
  std: (x, args, k) => fl.std(x, axes(k), spread(args, k)),
  softmax: (x, [axis]) => fl.nn.functional.softmax(x, N(axis)),
  log_softmax: (x, [axis]) => fl.nn.functional.logSoftmax(x, N(axis)),
  expand: (x, [shape]) => x.expand(shape as number[]),
  flip: (x, _, { dims }) => x.flip(dims as number[]),
  index_select: (x, [axis, index]) => x.indexSelect(N(axis), T(index)),
  narrow: (x, [axis, start, length]) => x.narrow(N(axis), N(start), N(length)),
  permute: (x, [order]) => x.permute(order as number[]),
  reshape: (x, [shape]) => x.reshape(shape as number[]),
  squeeze: (x, [axis]) => x.squeeze(axis as number | undefined),
  transpose: (x, [a, b]) => x.transpose(N(a), N(b)),
  unsqueeze: (x, [axis]) => x.unsqueeze(N(axis)),
  where: (x, [condition, y]) => fl.where(T(condition), x, T(y)),
  masked_fill: (x, [mask, value]) => fl.maskedFill(x, T(mask), value as fl.Tensor | number),
  chunk: (x, [n, axis]) => fl.chunk(x, N(n), N(axis)),
  split: (x, [n, axis]) => fl.split(x, N(n), N(axis)),
  repeat: (x, [counts]) => fl.repeat(x, counts as number[]),
  tile: (x, [counts]) => fl.tile(x, counts as number[]),
  roll: (x, [by, axis]) => fl.roll(x, by as number, axis as number),
  tril: (x, [k]) => fl.tril(x, N(k)),
  triu: (x, [k]) => fl.triu(x, N(k)),
  logsumexp: (x, [axis, keepdim]) => fl.logsumexp(x, axis as number[], keepdim as boolean),
  norm: (x, [p, axis, keepdim]) => fl.norm(x, N(p), axis as number | undefined, (keepdim ?? false) as boolean),
  "nn.functional.elu": (x) => F.elu(x),
  "nn.functional.selu": (x) => F.selu(x),
  "nn.functional.leaky_relu": (x) => F.leakyRelu(x),
  "nn.functional.prelu": (x, [w], k) => F.prelu(x, T(w ?? k.weight)),
  "nn.functional.hardtanh": (x, _, k) => F.hardtanh(x, N(k.min_val, -1), N(k.max_val, 1)),
  "nn.functional.hardswish": (x) => F.hardswish(x),
  "nn.functional.mish": (x) => F.mish(x),
  "nn.functional.softplus": (x, _, { beta, threshold }) => F.softplus(x, N(beta), N(threshold)),
  "nn.functional.l1_loss": (x, [y], k) => F.l1Loss(x, T(y), reduction(k)),
  "nn.functional.smooth_l1_loss": (x, [y], k) => F.smoothL1Loss(x, T(y), { ...reduction(k), beta: N(k.beta, 1) }),
  "nn.functional.huber_loss": (x, [y], k) => F.huberLoss(x, T(y), { ...reduction(k), delta: N(k.delta, 1) }),
  "nn.functional.kl_div": (x, [y], k) => F.klDiv(x, T(y), { ...reduction(k), logTarget: k.log_target as boolean }),
  "nn.functional.binary_cross_entropy": (x, [y], k) =>
    F.binaryCrossEntropy(x, T(y), { ...reduction(k), weight: k.weight as fl.Tensor | undefined }),
  "nn.functional.binary_cross_entropy_with_logits": (x, [y], k) =>
    F.binaryCrossEntropyWithLogits(x, T(y), {
      ...reduction(k),
      weight: k.weight as fl.Tensor | undefined,
      posWeight: k.pos_weight as fl.Tensor | undefined,
    }),
  "nn.functional.cross_entropy": (x, [y], k) =>
    fl.crossEntropy(x, T(y), {
      ...reduction(k),
      ignoreIndex: N(k.ignore_index, -100),
      weight: k.weight as fl.Tensor | undefined,
      labelSmoothing: N(k.label_smoothing),
    }),
  "nn.functional.layer_norm": (x, [shape, w, b], k) =>
    F.layerNorm(x, shape as number[], w as fl.Tensor, b as fl.Tensor, N(k.eps, 1e-5)),
  "nn.functional.group_norm": (x, [groups], k) =>
    F.groupNorm(x, N(groups), k.weight as fl.Tensor, k.bias as fl.Tensor, N(k.eps, 1e-5)),
  "nn.functional.instance_norm": (x, [mean, variance, w, b], k) =>
    F.instanceNorm(x, T(mean ?? k.running_mean), T(variance ?? k.running_var), T(w ?? k.weight), T(b ?? k.bias), {
      useInputStats: (k.use_input_stats ?? true) as boolean,
      momentum: N(k.momentum, 0.1),
      eps: N(k.eps, 1e-5),
    }),
  "nn.functional.cosine_similarity": (x, [y], k) => F.cosineSimilarity(x, T(y), N(k.dim, 1), N(k.eps, 1e-8)),
  "nn.functional.pixel_shuffle": (x, _, k) => F.pixelShuffle(x, N(k.upscale_factor)),
  "nn.functional.hinge_embedding_loss": (x, [y], k) =>
    F.hingeEmbeddingLoss(x, T(y), { ...reduction(k), margin: N(k.margin, 1) }),
  "nn.functional.linear": (x, [w, b]) => fl.linear(x, T(w), (b ?? null) as fl.Tensor | null),
  "nn.functional.mse_loss": (x, [y], k) => fl.mseLoss(x, T(y), reduction(k)),
  clamp: (x, [low, high], k) => x.clamp((low ?? k.min) as fl.TensorLike, (high ?? k.max) as fl.TensorLike),
  cumsum: (x, [axis]) => x.cumsum(N(axis)),
  prod: (x, [axis], k) => x.prod((axis ?? k.dim ?? undefined) as number | undefined, keep(k)),
  sort: (x, [axis, descending], k) => x.sort(N(axis ?? k.dim, -1), (descending ?? k.descending ?? false) as boolean),
  topk: (x, [n, axis, largest]) => x.topk(N(n), N(axis, -1), (largest ?? true) as boolean),
  gather: (x, [axis, index]) => x.gather(N(axis), T(index)),
  scatter: (x, [axis, index, source], k) =>
    x.scatter(N(axis), T(index), source as fl.Tensor | number, { reduce: k.reduce as "add" | "multiply" | undefined }),
  scatter_add: (x, [axis, index, source]) => x.scatterAdd(N(axis), T(index), T(source)),
  index_add: (x, [axis, index, source], k) => x.indexAdd(N(axis), T(index), T(source), { alpha: N(k.alpha, 1) }),
  "nn.functional.pad.constant": (x, [by, , value]) => F.pad(x, by as number[], "constant", N(value)),
  "nn.functional.pad.reflect": (x, [by]) => F.pad(x, by as number[], "reflect"),
  "nn.functional.pad.replicate": (x, [by]) => F.pad(x, by as number[], "replicate"),
  "nn.functional.unfold": (x, [kernel, dilation, padding, stride]) =>
    F.unfold(x, kernel as Sizes, {
      dilation: (dilation ?? undefined) as Sizes | undefined,
      padding: (padding ?? undefined) as Sizes | undefined,
      stride: (stride ?? undefined) as Sizes | undefined,
    }),
  "nn.functional.conv1d": (x, [w, b], k) => F.conv1d(x, T(w), b as fl.Tensor | null, k as object),
  "nn.functional.conv2d": (x, [w, b], k) => F.conv2d(x, T(w), b as fl.Tensor | null, k as object),
  "nn.functional.conv_transpose2d": (x, [w, b], { output_padding, ...k }) =>
    F.convTranspose2d(x, T(w), b as fl.Tensor | null, { ...k, outputPadding: (output_padding ?? 0) as Sizes }),
  ...Object.fromEntries([1, 2, 3].flatMap((rank) => Object.entries(poolings(rank)))),
  "nn.functional.local_response_norm": (x, [size], k) =>
    F.localResponseNorm(x, N(size), N(k.alpha, 1e-4), N(k.beta, 0.75), N(k.k, 1)),
  "nn.functional.batch_norm": (x, [mean, variance, w, b], k) =>
    F.batchNorm(x, T(mean), T(variance), T(w ?? k.weight), T(b ?? k.bias), {
      training: (k.training ?? false) as boolean,
      momentum: N(k.momentum, 0.1),
      eps: N(k.eps, 1e-5),
    }),
  "nn.functional.embedding": (weight, [at], k) =>
    F.embedding(T(at), weight, {
      paddingIdx: k.padding_idx as number | null,
      maxNorm: k.max_norm as number | null,
      normType: N(k.norm_type, 2),
      scaleGradByFreq: k.scale_grad_by_freq as boolean,
    }),
  "nn.functional.nll_loss": (x, [y], k) =>
    F.nllLoss(x, T(y), {
      ...reduction(k),
      ignoreIndex: N(k.ignore_index, -100),
      weight: k.weight as fl.Tensor | undefined,
    }),
  "nn.functional.one_hot": (x, _, k) => fl.oneHot(x, N(k.num_classes, -1)),
  ...Object.fromEntries(
    ["nearest", "area", "linear", "bilinear", "trilinear", "bicubic"].map((mode): [string, Adapter] => [
      `nn.functional.interpolate.${mode}`,
      (x, [size, scale, m, corners]) =>
        F.interpolate(x, {
          size: size as Sizes | null,
          scaleFactor: scale as Sizes | null,
          mode: m as "nearest",
          alignCorners: corners as boolean | null,
        }),
    ]),
  ),
};

/** Those whose first operand is a list. */
const LISTS: Record<string, (x: fl.Tensor[], args: Value[], kwargs: Kwargs) => fl.Tensor> = {
  cat: (x, _, { dim }) => fl.cat(x, N(dim)),
  stack: (x, [axis]) => fl.stack(x, N(axis)),
  einsum: (x, [equation]) => fl.einsum(equation as string, ...x),
};

/** Cases no float32 kernel can meet, by how much of the tolerance they need, and why. */
const WAIVERS: Record<string, { factor: number; why: string }> = {
  "pow.02 jvp.0": {
    factor: 4,
    why: "two terms of 3.3e5 cancel to 1.2e4: rounding each once already exceeds the tolerance",
  },
};

const files = readdirSync(dir).filter((f) => f.endsWith(".safetensors"));

describe("PyTorch's samples", () => {
  test("there are samples of every adapter", () => {
    const sampled = new Set(files.map((f) => f.replace(/\.\d+\.safetensors$/, "")));
    for (const name of [...Object.keys(ADAPTERS), ...Object.keys(LISTS)]) expect(sampled, name).toContain(name);
  });

  test.each(files.map((f) => f.replace(".safetensors", "")))("%s", async (name) => {
    const { arrays, case: sample } = load<Case>(new URL(`${name}.safetensors`, dir));
    const inputs = new Map<string, fl.Tensor>();
    for (const [key, { shape, dtype, data }] of arrays)
      if (key.startsWith("in.")) inputs.set(key, fl.tensor([...data], shape, { dtype: DTYPES[dtype] }));
    const decode = (x: unknown): Value => {
      if (Array.isArray(x)) return x.map(decode);
      if (typeof x === "object" && x !== null && "tensor" in x) {
        const t = inputs.get((x as { tensor: string }).tensor) as fl.Tensor;
        // A scalar index where a number is wanted.
        return t;
      }
      return x as Value;
    };
    const op = name.replace(/\.\d+$/, "");
    const args = sample.args.map((a, i) => {
      const v = decode(a);
      return op === "narrow" && i === 1 && v instanceof fl.Tensor
        ? (arrays.get((a as { tensor: string }).tensor)?.data[0] ?? 0)
        : v;
    });
    const kwargs = Object.fromEntries(Object.entries(sample.kwargs).map(([k, v]) => [k, decode(v)]));
    const first = decode(sample.input);
    const run = LISTS[op] ?? ADAPTERS[op];
    expect(run, `no adapter for ${op}`).toBeDefined();
    const result = (run as (x: Value, a: Value[], k: Kwargs) => fl.Tensor | fl.Tensor[])(first, args, kwargs);
    const outs = Array.isArray(result) ? result : [result];

    const get = (key: string): fl.Tensor => {
      const { shape, data } = arrays.get(key) as { shape: number[]; data: Float64Array };
      return fl.tensor([...data], shape);
    };
    const keys = (prefix: string): string[] => [...arrays.keys()].filter((k) => k.startsWith(prefix)).sort();
    const nodes = outs.map((t) => t.node);
    const names = outs.map((_, i) => `out.${i}`);
    // ct.K belongs to out.K.
    const cts = keys("ct.");
    const gradKeys = keys("grad.");
    if (gradKeys.length > 0) {
      const wrt = gradKeys.map((k) => (inputs.get(k.replace("grad", "in")) as fl.Tensor).node);
      const grads = vjp(
        cts.map((k) => outs[Number(k.slice(3))].node),
        cts.map((k) => get(k).node),
        wrt,
      );
      grads.forEach((g, i) => {
        const want = arrays.get(gradKeys[i]) as { data: Float64Array };
        if (!g)
          expect(
            [...want.data].every((v) => v === 0),
            `${gradKeys[i]} is not zero`,
          ).toBe(true);
        else {
          nodes.push(g);
          names.push(gradKeys[i]);
        }
      });
    }
    const jvpKeys = keys("jvp.");
    if (jvpKeys.length > 0) {
      const tans = keys("tan.");
      const tangents = jvp(
        jvpKeys.map((k) => outs[Number(k.slice(4))].node),
        tans.map((k) => (inputs.get(k.replace("tan", "in")) as fl.Tensor).node),
        tans.map((k) => get(k).node),
      );
      tangents.forEach((t, i) => {
        const want = arrays.get(jvpKeys[i]) as { data: Float64Array };
        if (!t)
          expect(
            [...want.data].every((v) => v === 0),
            `${jvpKeys[i]} is not zero`,
          ).toBe(true);
        else {
          nodes.push(t);
          names.push(jvpKeys[i]);
        }
      });
    }
    const values = await evaluate(nodes);
    values.forEach((v, i) => {
      const want = arrays.get(names[i]) as { shape: number[]; data: Float64Array; dtype: string };
      expect(nodes[i].shape, names[i]).toEqual(want.shape);
      const waiver = WAIVERS[`${name} ${names[i]}`];
      if (want.dtype === "F64" || want.dtype === "F32") expectClose(v, want.data, names[i], waiver?.factor);
      else expect([...v], names[i]).toEqual([...want.data]);
    });
  });
});
