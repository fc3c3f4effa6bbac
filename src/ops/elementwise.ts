/**
 * @file Elementwise operations. An entry gives f and, per operand, the linear map t -> (df/dx_i) t. The Jacobian of an
 * elementwise operation is diagonal, so that one map serves forward mode (on tangents) and reverse mode (on cotangents).
 * Operands have equal shapes: broadcasting is an explicit `expand`.
 */
import { type DType, isFloat } from "../core/dtype.ts";
import { DTypeError, ShapeError } from "../core/errors.ts";
import { sameShape, show } from "../core/shape.ts";
import { makeNode, type NoAttrs, type Node, type OpDef } from "../graph/node.ts";
import { constantLike, constantValue } from "./leaf.ts";

/** The linear map of one operand: t times the partial derivative, as a graph; null where it is zero everywhere. */
type Partial1 = ((n: Node, t: Node) => Node) | null;

type Domain = "float" | "number" | "int" | "any";

export type CastAttrs = { readonly dtype: DType };

interface Entry {
  /** The function on float64 numbers. */
  f: (...x: number[]) => number;
  /** One per operand. */
  d: Partial1[];
  /** See OpDef; default what a slope of its own for each element does. */
  pattern?: string;
  /** dtypes the operands may have (all the same); default float. */
  domain?: Domain;
  /** dtype of the result; default that of the operands. */
  result?: () => DType;
  /** The reference on integers, where float64 would round: at least the low 32 bits are right. */
  int?: (...x: number[]) => number;
  /** Checks the operands itself (where). */
  infer?: OpDef<NoAttrs>["infer"];
}

function takes(domain: Domain, dtype: DType): boolean {
  if (domain === "any") return true;
  if (domain === "float") return isFloat(dtype);
  if (domain === "int") return !isFloat(dtype);
  return dtype !== "bool";
}

/** An integer as the dtype keeps it. */
function wrap(v: number, dtype: DType): number {
  return dtype === "int32" ? v | 0 : dtype === "uint8" ? v & 255 : v;
}

/** A node that is zero but where a condition holds (`first`), or where it does not. */
interface Masked {
  readonly condition: Node;
  readonly values: Node;
  readonly first: boolean;
}

const holds = ({ condition, first }: Masked): Node => (first ? condition : apply(LOGICAL.not, condition));

/** A node as values and the condition beyond which it is zero; undefined if no `where` says so. */
function maskOf({ op, src }: Node): Masked | undefined {
  if (op !== WHERE) return undefined;
  const [condition, a, b] = src;
  let outer: Masked;
  if (constantValue(b) === 0) outer = { condition, values: a, first: true };
  else if (constantValue(a) === 0) outer = { condition, values: b, first: false };
  else return undefined;
  const inner = maskOf(outer.values);
  if (!inner) return outer;
  return { condition: apply(LOGICAL.and, holds(outer), holds(inner)), values: inner.values, first: true };
}

/**
 * A linear map of each element by itself. What a `where` made 0 stays 0 whatever the slope there: the branch that was not taken
 * may have an infinite one, and 0 times that is no number. The selection moves outward and costs nothing more.
 */
function mapped(map: (n: Node, t: Node) => Node, n: Node, t: Node): Node {
  const mask = maskOf(t);
  if (!mask) return map(n, t);
  const y = map(n, mask.values);
  const zero = constantLike(y, 0);
  return mask.first ? where(mask.condition, y, zero) : where(mask.condition, zero, y);
}

/** The sum of two cotangents; where both were made 0 by a `where`, so is the sum. */
export function addCotangents(a: Node, b: Node): Node {
  const [x, y] = [maskOf(a), maskOf(b)];
  if (!x || !y) return add(a, b);
  const sum = add(a, b);
  return where(apply(LOGICAL.or, holds(x), holds(y)), sum, constantLike(sum, 0));
}

function elementwise(name: string, entry: Entry): OpDef<NoAttrs> {
  const { f, d, domain = "float", result } = entry;
  return {
    name,
    kind: "elementwise",
    pattern: entry.pattern ?? (d.some((di) => di) ? "scales" : "stops"),
    infer:
      entry.infer ??
      ((src) => {
        const [x] = src;
        for (const y of src) {
          if (!sameShape(x.shape, y.shape))
            throw new ShapeError(`${name}: shapes ${src.map((s) => show(s.shape)).join(" and ")} differ`);
          if (y.dtype !== x.dtype || !takes(domain, y.dtype))
            throw new DTypeError(`${name}: dtypes ${src.map((s) => s.dtype).join(" and ")} are not supported`);
        }
        return { shape: x.shape, dtype: result ? result() : x.dtype };
      }),
    vjp: (n, g) => n.src.map((x, i) => (isFloat(x.dtype) && d[i] ? mapped(d[i], n, g) : null)),
    jvp: (n, ts) => {
      let sum: Node | null = null;
      ts.forEach((t, i) => {
        const di = d[i];
        if (!t || !di) return;
        const term = mapped(di, n, t);
        sum = sum ? addCotangents(sum, term) : term;
      });
      return sum;
    },
    ref: (src, n) => {
      const g = (!isFloat(n.dtype) && entry.int) || f;
      const out = new Float64Array(src[0].data.length);
      const args = new Array<number>(src.length);
      for (let i = 0; i < out.length; i++) {
        for (let k = 0; k < src.length; k++) args[k] = src[k].data[i];
        out[i] = wrap(g(...args), n.dtype);
      }
      return out;
    },
  };
}

const unary = (
  name: string,
  f: (x: number) => number,
  d: (x: Node, t: Node, y: Node) => Node,
  { domain, pattern }: Pick<Entry, "domain" | "pattern"> = {},
): OpDef<NoAttrs> => elementwise(name, { f, d: [(n, t) => d(n.src[0], t, n)], domain, pattern });

/** A function whose derivative is zero wherever it has one. */
const flat = (name: string, f: (x: number) => number, domain?: Domain): OpDef<NoAttrs> =>
  elementwise(name, { f, d: [null], domain });

const compare = (name: string, f: (a: number, b: number) => boolean): OpDef<NoAttrs> =>
  elementwise(name, { f: (a, b) => (f(a, b) ? 1 : 0), d: [null, null], domain: "any", result: () => "bool" });

const logical = (name: string, f: (...x: number[]) => number, arity: number): OpDef<NoAttrs> =>
  elementwise(name, { f, d: new Array(arity).fill(null), domain: "int" });

function roundHalfEven(x: number): number {
  const r = Math.round(x);
  return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

/** erf by its Taylor series below 3 and by the continued fraction of erfc above (Abramowitz and Stegun 7.1.6, 7.1.14). */
function erfRef(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (a > 6) return Math.sign(x);
  if (a < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 120; n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
      if (Math.abs(term) < 1e-18 * Math.abs(sum)) break;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }
  let cf = 0;
  for (let k = 60; k > 0; k--) cf = k / 2 / (a + cf);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + cf));
}

const sigmoidRef = (x: number): number => 1 / (1 + Math.exp(-x));
const softplusRef = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

// Builders the rules below need. Explicit types: the definitions refer to each other.
export const add = (a: Node, b: Node): Node => makeNode(ADD, [a, b]);
export const sub = (a: Node, b: Node): Node => makeNode(SUB, [a, b]);
export const mul = (a: Node, b: Node): Node => makeNode(MUL, [a, b]);
export const div = (a: Node, b: Node): Node => makeNode(DIV, [a, b]);
export const neg = (a: Node): Node => makeNode(NEG, [a]);
export const where = (c: Node, a: Node, b: Node): Node => makeNode(WHERE, [c, a, b]);
export const apply = (op: OpDef<NoAttrs>, ...src: Node[]): Node => makeNode(op, src);
/** a times the number s. */
export const scale = (a: Node, s: number): Node => mul(a, constantLike(a, s));
/** a plus the number s. */
export const shift = (a: Node, s: number): Node => add(a, constantLike(a, s));

/** n converted to another dtype; n itself if it has it already. */
export function cast(n: Node, dtype: DType): Node {
  return n.dtype === dtype ? n : makeNode(CAST, [n], { dtype });
}

/** Half of t where a and b are equal, 0 where `loses` holds, else t (NaN too): how PyTorch splits the gradient of a tie. */
const routed = (n: Node, t: Node, loses: OpDef<NoAttrs>): Node =>
  where(apply(EQ, n.src[0], n.src[1]), scale(t, 0.5), where(apply(loses, n.src[0], n.src[1]), constantLike(t, 0), t));

const NEG = elementwise("neg", { f: (x) => -x, d: [(_, t) => neg(t)], pattern: "negates", domain: "number" });
const ADD = elementwise("add", {
  f: (a, b) => a + b,
  d: [(_, t) => t, (_, t) => t],
  pattern: "distributes",
  domain: "number",
});
const SUB = elementwise("sub", {
  f: (a, b) => a - b,
  d: [(_, t) => t, (_, t) => neg(t)],
  pattern: "distributes",
  domain: "number",
});
const MUL = elementwise("mul", {
  f: (a, b) => a * b,
  int: Math.imul,
  d: [(n, t) => mul(t, n.src[1]), (n, t) => mul(t, n.src[0])],
  pattern: "switches",
  domain: "number",
});
const DIV = elementwise("div", {
  f: (a, b) => a / b,
  d: [(n, t) => div(t, n.src[1]), (n, t) => neg(mul(t, div(n, n.src[1])))],
});
const EQ = compare("eq", (a, b) => a === b);
const GT = compare("gt", (a, b) => a > b);
const LT = compare("lt", (a, b) => a < b);
const WHERE = elementwise("where", {
  f: (c, a, b) => (c !== 0 ? a : b),
  d: [null, (n, t) => where(n.src[0], t, constantLike(t, 0)), (n, t) => where(n.src[0], constantLike(t, 0), t)],
  pattern: "routes",
  infer: ([c, a, b]) => {
    if (!sameShape(c.shape, a.shape) || !sameShape(a.shape, b.shape))
      throw new ShapeError(`where: shapes ${show(c.shape)}, ${show(a.shape)} and ${show(b.shape)} differ`);
    if (isFloat(c.dtype) || a.dtype !== b.dtype)
      throw new DTypeError(`where: dtypes ${c.dtype}, ${a.dtype} and ${b.dtype} are not supported`);
    return { shape: a.shape, dtype: a.dtype };
  },
});
const CAST: OpDef<CastAttrs> = {
  name: "cast",
  kind: "elementwise",
  pattern: "passes",
  infer: ([x], { dtype }) => ({ shape: x.shape, dtype }),
  vjp: (n, g) => [isFloat(n.dtype) && isFloat(n.src[0].dtype) ? g : null],
  jvp: (n, [t]) => (isFloat(n.dtype) ? t : null),
  ref: ([x], n) =>
    x.data.map((v) => {
      if (n.dtype === "bool") return v !== 0 ? 1 : 0;
      return isFloat(n.dtype) ? v : wrap(Math.min(2147483647, Math.max(-2147483648, v)), n.dtype);
    }),
};
const EXP = unary("exp", Math.exp, (_x, t, y) => mul(t, y));
const SQRT = unary("sqrt", Math.sqrt, (_x, t, y) => div(t, scale(y, 2)));
const RELU_MASK = elementwise("reluMask", {
  f: (t, x) => (x <= 0 ? 0 : t), // what is NaN lets NaN through, as in PyTorch
  d: [(n, t) => makeNode(RELU_MASK, [t, n.src[1]]), null],
  pattern: "masks",
});
const RELU6_MASK = elementwise("relu6Mask", {
  f: (t, x) => (x <= 0 || x >= 6 ? 0 : t),
  d: [(n, t) => makeNode(RELU6_MASK, [t, n.src[1]]), null],
  pattern: "masks",
});
const SIN = unary("sin", Math.sin, (x, t) => mul(t, apply(COS, x)));
const COS: OpDef<NoAttrs> = unary("cos", Math.cos, (x, t) => neg(mul(t, apply(SIN, x))));
const SINH = unary("sinh", Math.sinh, (x, t) => mul(t, apply(COSH, x)));
const COSH: OpDef<NoAttrs> = unary("cosh", Math.cosh, (x, t) => mul(t, apply(SINH, x)));
const SIGN = flat("sign", (x) => (x > 0 ? 1 : x < 0 ? -1 : 0), "number");
const SQUARE = unary(
  "square",
  (x) => x * x,
  (x, t) => mul(t, scale(x, 2)),
);
const SIGMOID = unary("sigmoid", sigmoidRef, (_x, t, y) => mul(t, mul(y, sub(constantLike(y, 1), y))));
const ERF = unary("erf", erfRef, (x, t) => mul(t, scale(apply(EXP, neg(apply(SQUARE, x))), 2 / Math.sqrt(Math.PI))));
const LOG = unary("log", Math.log, (x, t) => div(t, x));
/** The partial of pow to its base, 0 where the exponent is 0. */
const powBase = (n: Node, t: Node): Node => {
  const [x, y] = n.src;
  const partial = mul(y, makeNode(POW, [x, shift(y, -1)]));
  return where(apply(EQ, y, constantLike(y, 0)), constantLike(t, 0), mul(t, partial));
};
/** The partial of pow to its exponent, 0 where the base is 0 and the exponent is not negative. */
const powExponent = (n: Node, t: Node): Node => {
  const [x, y] = n.src;
  const zero = constantLike(x, 0);
  const edge = apply(AND, apply(EQ, x, zero), apply(GE, y, zero));
  return where(edge, constantLike(t, 0), mul(t, mul(n, apply(LOG, x))));
};
/** x^y by squares. */
function powInt(x: number, y: number): number {
  return y < 2 ? x ** y : Math.imul(powInt(Math.imul(x, x), y >> 1), y & 1 ? x : 1);
}
const POW: OpDef<NoAttrs> = elementwise("pow", {
  // C's pow: 1 to the anything is 1, where JavaScript says NaN.
  f: (x, y) => (x === 1 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y),
  int: powInt,
  d: [powBase, powExponent],
  domain: "number",
});
const GE = compare("ge", (a, b) => a >= b);
const AND = logical("and", (a, b) => a & b, 2);
const MAXIMUM = elementwise("maximum", {
  f: Math.max,
  d: [(n, t) => routed(n, t, LT), (n, t) => routed(n, t, GT)],
  pattern: "routes",
  domain: "number",
});
const MINIMUM = elementwise("minimum", {
  f: Math.min,
  d: [(n, t) => routed(n, t, GT), (n, t) => routed(n, t, LT)],
  pattern: "routes",
  domain: "number",
});

/** The larger or smaller of an element and a limit, which alone has the gradient of what is beyond it. */
const clamped = (name: string, f: (x: number, limit: number) => number, beyond: OpDef<NoAttrs>): OpDef<NoAttrs> =>
  elementwise(name, {
    f,
    d: [
      (n, t) => where(apply(beyond, ...n.src), constantLike(t, 0), t),
      (n, t) => where(apply(beyond, ...n.src), t, constantLike(t, 0)),
    ],
    pattern: "routes",
    domain: "number",
  });

/** sqrt(1 - x^2) as sqrt((1 - x)(1 + x)): no cancellation near the ends. */
const root = (x: Node): Node => apply(SQRT, mul(sub(constantLike(x, 1), x), shift(x, 1)));

const density = (x: number): number => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
/** Its own slope is phi(x) (2 - x^2). */
const GELU_SLOPE = unary(
  "geluSlope",
  (x) => (Math.abs(x) === Infinity ? (x > 0 ? 1 : 0) : 0.5 * (1 + erfRef(x / Math.SQRT2)) + x * density(x)),
  (x, t) => {
    const squared = apply(SQUARE, x);
    const pdf = scale(apply(EXP, scale(squared, -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return mul(t, mul(pdf, sub(constantLike(x, 2), squared)));
  },
);

/** Unary operations from float32 to float32, by name: each becomes a method of Tensor and a function. */
export const UNARY = {
  /** |x|; the gradient at 0 is 0. */
  abs: unary("abs", Math.abs, (x, t) => mul(t, apply(SIGN, x)), { domain: "number" }),
  /** e^x, within 1 ulp. */
  exp: EXP,
  /** Natural logarithm, within 1 ulp. */
  log: LOG,
  /** log(1 + x), accurate near 0. */
  log1p: unary("log1p", Math.log1p, (x, t) => div(t, shift(x, 1))),
  /** e^x - 1, accurate near 0. */
  expm1: unary("expm1", Math.expm1, (_x, t, y) => mul(t, shift(y, 1))),
  /** Hyperbolic tangent. */
  tanh: unary("tanh", Math.tanh, (_x, t, y) => mul(t, sub(constantLike(y, 1), mul(y, y)))),
  /** 1 / (1 + e^-x). */
  sigmoid: SIGMOID,
  /** Square root; the gradient at 0 is infinite, as in PyTorch. */
  sqrt: SQRT,
  /** 1 / sqrt(x). */
  rsqrt: unary(
    "rsqrt",
    (x) => 1 / Math.sqrt(x),
    (_x, t, y) => mul(t, scale(mul(y, mul(y, y)), -0.5)),
  ),
  /** 1 / x. */
  reciprocal: unary(
    "reciprocal",
    (x) => 1 / x,
    (_x, t, y) => neg(mul(t, mul(y, y))),
  ),
  /** Sine of x in radians. */
  sin: SIN,
  /** Cosine of x in radians. */
  cos: COS,
  /** Tangent of x in radians. */
  tan: unary("tan", Math.tan, (_x, t, y) => mul(t, shift(mul(y, y), 1))),
  /** The error function. */
  erf: ERF,
  /** Hyperbolic sine. */
  sinh: SINH,
  /** Hyperbolic cosine. */
  cosh: COSH,
  /** Inverse sine, in radians. */
  asin: unary("asin", Math.asin, (x, t) => div(t, root(x))),
  /** Inverse cosine, in radians. */
  acos: unary("acos", Math.acos, (x, t) => neg(div(t, root(x)))),
  /** Inverse tangent, in radians. */
  atan: unary("atan", Math.atan, (x, t) => div(t, shift(mul(x, x), 1))),
  /** x^2. */
  square: SQUARE,
  /** -1, 0 or 1. */
  sign: SIGN,
  /** Largest integer not above x. */
  floor: flat("floor", Math.floor),
  /** Smallest integer not below x. */
  ceil: flat("ceil", Math.ceil),
  /** Nearest integer, halves to even. */
  round: flat("round", roundHalfEven),
  /** x without its fraction. */
  trunc: flat("trunc", Math.trunc),
  /** The fraction of x, with the sign of x; the gradient is 1 everywhere. */
  frac: unary(
    "frac",
    (x) => x - Math.trunc(x),
    (_x, t) => t,
  ),
  /** max(x, 0); the gradient at 0 is 0. Its Jacobian is a diagonal mask and never materialised. */
  relu: unary(
    "relu",
    (x) => (x < 0 ? 0 : x), // NaN and -0 stay what they are
    (_x, t, y) => makeNode(RELU_MASK, [t, y]),
    { pattern: "masks" },
  ),
  /** x limited to [0, 6]; the gradient at both limits is 0. */
  relu6: unary(
    "relu6",
    (x) => (x < 0 ? 0 : x > 6 ? 6 : x),
    (_x, t, y) => makeNode(RELU6_MASK, [t, y]),
    { pattern: "masks" },
  ),
  /** log(1 + e^x). */
  softplus: unary("softplus", softplusRef, (x, t) => mul(t, apply(SIGMOID, x))),
  /** x Phi(x), Phi the normal distribution's cumulative function, by erf. */
  gelu: unary(
    "gelu",
    (x) => (x === -Infinity ? 0 : 0.5 * x * (1 + erfRef(x / Math.SQRT2))),
    (x, t) => mul(t, apply(GELU_SLOPE, x)),
  ),
  /** x sigmoid(x). */
  silu: unary(
    "silu",
    (x) => x * sigmoidRef(x),
    (x, t) => {
      const s = apply(SIGMOID, x);
      return mul(t, mul(s, shift(mul(x, sub(constantLike(s, 1), s)), 1)));
    },
  ),
  /** -x. */
  neg: NEG,
};

/** Binary operations with broadcasting, by name: each becomes a method of Tensor and a function. */
export const BINARY = {
  /** a + b. Backward distributes the gradient to both. */
  add: ADD,
  /** a - b. */
  sub: SUB,
  /** a b. Backward switches: each gets the gradient times the other. */
  mul: MUL,
  /** a / b in float32. */
  div: DIV,
  /** a^b, by C's rules: 0^0 = 1. */
  pow: POW,
  /** The larger; NaN if either is. Backward routes the gradient to it, half to each on a tie. */
  maximum: MAXIMUM,
  /** The larger of x and a limit, NaN if either is; at the limit the gradient goes to x. */
  clampMin: clamped("clampMin", Math.max, LT),
  /** The smaller of x and a limit, NaN if either is; at the limit the gradient goes to x. */
  clampMax: clamped("clampMax", Math.min, GT),
  /** The smaller; NaN if either is. */
  minimum: MINIMUM,
  /** The angle of the point (b, a), in radians. */
  atan2: elementwise("atan2", {
    f: Math.atan2,
    d: [
      (n, t) => div(mul(t, n.src[1]), add(apply(SQUARE, n.src[0]), apply(SQUARE, n.src[1]))),
      (n, t) => neg(div(mul(t, n.src[0]), add(apply(SQUARE, n.src[0]), apply(SQUARE, n.src[1])))),
    ],
  }),
  /** a - b floor(a / b): the remainder with the sign of b. Its slope for b is the whole number taken off: (a - this) / b. */
  remainder: elementwise("remainder", {
    f: (a, b) => {
      const r = a % b;
      return r !== 0 && r < 0 !== b < 0 ? r + b : r + 0;
    },
    d: [(_, t) => t, (n, t) => neg(mul(t, apply(UNARY.round, div(sub(n.src[0], n), n.src[1]))))],
    domain: "number",
  }),
};

/** Comparisons with broadcasting, to bool. */
export const COMPARE = {
  /** a == b, elementwise. */
  eq: EQ,
  /** a != b, elementwise. */
  ne: compare("ne", (a, b) => a !== b),
  /** a < b, elementwise. */
  lt: LT,
  /** a <= b, elementwise. */
  le: compare("le", (a, b) => a <= b),
  /** a > b, elementwise. */
  gt: GT,
  /** a >= b, elementwise. */
  ge: GE,
};

/** Operations on bool and integers. */
export const LOGICAL = {
  /** Bitwise and; logical and on bool. */
  and: AND,
  /** Bitwise or; logical or on bool. */
  or: logical("or", (a, b) => a | b, 2),
  /** Bitwise exclusive or. */
  xor: logical("xor", (a, b) => a ^ b, 2),
  /** true where 0 or false. */
  not: elementwise("not", { f: (a) => (a === 0 ? 1 : 0), d: [null], domain: "int", result: () => "bool" }),
};

export const SELECT = {
  /** a where the condition holds, else b; nothing leaks from the branch not taken. */
  where: WHERE,
  /** Conversion between dtypes. */
  cast: CAST,
  /** t where x > 0, else 0: the backward pass of relu. */
  reluMask: RELU_MASK,
  /** t where 0 < x < 6, else 0: the backward pass of relu6. */
  relu6Mask: RELU6_MASK,
  /** Phi(x) + x phi(x), what gelu's backward pass multiplies by: one function of x, as gelu is. */
  geluSlope: GELU_SLOPE,
};

export { ADD, CAST, DIV, MUL, NEG, SUB, WHERE };
