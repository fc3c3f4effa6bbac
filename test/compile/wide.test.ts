/**
 * @file Expressions with more operands than one instruction holds are cut into several, wherever they come from. All values
 * are such that float32 computes them exactly: results are the float64 interpreter's, element for element.
 */
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import * as isa from "../../assembly/isa.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import type { Program } from "../../src/program/program.ts";
import { allocate, bytesOf, type DType, DTYPES, isFloat } from "../../src/core/dtype.ts";
import { numel, type Shape } from "../../src/core/shape.ts";
import { apply, BINARY, cast, COMPARE, LOGICAL, SELECT, UNARY, where } from "../../src/ops/elementwise.ts";
import { interpret, type Values } from "../../src/ops/interpret.ts";
import { constant, LEAF, leaf } from "../../src/ops/leaf.ts";
import { concat, expand, flip, pad, permute, slice } from "../../src/ops/movement.ts";
import { type Node, type OpDef, toposort } from "../../src/graph/node.ts";
import { Session } from "../../src/run/session.ts";
import { random } from "../assembly/harness.ts";

const session = new Session({ workers: 2 });
afterAll(() => session.dispose());

/** Multiples of 1/64 up to here are kept: float32 has sums and products of two exactly, if they are no larger than that. */
const EXACT = 2 ** 11;
const isKept = (v: number): boolean => Math.abs(v) <= EXACT && Number.isInteger(v * 64);

/** A graph in the making: leaves with values, and whatever is asked for at random. */
class Graph {
  readonly values: Values = new Map();
  private readonly next: () => number;

  constructor(seed: number) {
    this.next = random(seed + 1);
    this.next();
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  private number(dtype: DType): number {
    if (dtype === "bool") return this.below(2);
    return dtype === "uint8" ? this.below(256) : this.below(17) - 8;
  }

  leaf(shape: Shape, dtype: DType = "float32"): Node {
    const n = leaf(shape, dtype);
    this.values.set(
      n,
      Float64Array.from({ length: numel(shape) }, () => this.number(dtype)),
    );
    return n;
  }

  constant(shape: Shape, dtype: DType): Node {
    return constant(this.number(dtype) + (isFloat(dtype) ? this.below(8) / 8 : 0), shape, dtype);
  }

  /** An operand that was not there before: dense, a constant, or one of the views an instruction can read. */
  operand(shape: Shape, dtype: DType, kind = this.below(7)): Node {
    const axes = shape.map((_, i) => i);
    switch (kind) {
      case 0:
        return this.constant(shape, dtype);
      case 1:
        return expand(this.leaf(this.of([[], shape.map(() => 1)]), dtype), shape);
      case 2:
        return expand(
          this.leaf(
            shape.map((d) => (this.below(2) === 1 ? d : 1)),
            dtype,
          ),
          shape,
        );
      case 3:
        return permute(this.leaf([...shape].reverse(), dtype), [...axes].reverse());
      case 4:
        return flip(this.leaf(shape, dtype), axes.slice(this.below(2)));
      case 5: {
        const begin = shape.map(() => this.below(3));
        const larger = shape.map((d, i) => d + begin[i] + this.below(2));
        return slice(this.leaf(larger, dtype), begin, [...shape]);
      }
      default:
        return this.leaf(shape, dtype);
    }
  }
}

/** Of each dtype, operations on operands of it that round nothing. */
const NUMBER = [BINARY.add, BINARY.sub, BINARY.mul, BINARY.maximum, BINARY.minimum];
const BITS = [LOGICAL.and, LOGICAL.or, LOGICAL.xor];
const ANY = Object.values(COMPARE);
const OPERATIONS: Record<DType, readonly (readonly OpDef[])[]> = {
  float32: [
    [UNARY.neg, UNARY.abs, UNARY.relu, UNARY.floor],
    [...NUMBER, ...ANY, SELECT.reluMask],
  ],
  int32: [[LOGICAL.not], [...NUMBER, ...ANY, ...BITS]],
  uint8: [[LOGICAL.not], [...NUMBER, ...ANY, ...BITS]],
  bool: [[LOGICAL.not], [...ANY, ...BITS]],
};

const CONDITIONS: readonly DType[] = ["bool", "uint8", "int32"];

interface Recipe {
  readonly shape: Shape;
  readonly size: number;
  /** Of ten operands as many are new ones. */
  readonly fresh: number;
  /** Of ten operands as many are choices between new ones. */
  readonly choices: number;
  /** What new operands are, if not anything. */
  readonly kind: number | undefined;
  readonly outputs: number;
  readonly seed: number;
}

const recipe: fc.Arbitrary<Recipe> = fc.record({
  shape: fc.constantFrom([40, 8], [5, 7], [3], [1, 1], [300], [2, 3, 5], [], [0, 4]),
  size: fc.integer({ min: 1, max: 120 }),
  fresh: fc.integer({ min: 1, max: 10 }),
  choices: fc.integer({ min: 0, max: 10 }),
  kind: fc.option(fc.nat(6), { nil: undefined }),
  outputs: fc.constantFrom(1, 5, 64),
  seed: fc.noBias(fc.nat(0xffffff)),
});

/** Elementwise nodes over operands old and new, and parts put together of some of them. */
function build({ shape, size, fresh, choices, kind, outputs, seed }: Recipe): { graph: Graph; roots: Node[] } {
  const graph = new Graph(seed);
  const made: Node[] = [];
  const any = (dtype: DType): Node => {
    const operand = (d = dtype): Node => graph.operand(shape, d, kind);
    if (graph.below(10) < choices) return where(operand(graph.of(CONDITIONS)), operand(), operand());
    const old = graph.below(10) < fresh ? [] : made.filter((n) => n.dtype === dtype);
    return old.length > 0 ? graph.of(old) : operand();
  };
  while (made.length < size) {
    // One operand is the last node or one shortly before it, so that all are one expression.
    const old = made[made.length - 1 - graph.of([0, 0, 0, 1, 5])] ?? graph.operand(shape, graph.of(DTYPES), kind);
    const { dtype } = old;
    const [unary, binary] = OPERATIONS[dtype];
    const [x, y] = graph.below(2) === 1 ? [old, any(dtype)] : [any(dtype), old];
    const n = graph.of([
      () => apply(graph.of(binary), x, y),
      () => apply(graph.of(binary), x, y),
      () => where(any(graph.of(CONDITIONS)), x, y),
      () => (isFloat(dtype) ? where(any("bool"), y, x) : where(old, any("float32"), any("float32"))),
      () => cast(old, graph.of(DTYPES)),
      () => apply(graph.of(unary), old),
    ])();
    const value = interpret([n], graph.values).get(n) as Float64Array;
    // What would be rounded next is held down before others see it.
    const kept = value.every(isKept) ? n : bounded(isFloat(n.dtype) ? apply(UNARY.floor, n) : n);
    for (const [k, v] of interpret([kept], graph.values)) graph.values.set(k, v);
    made.push(kept);
  }
  const roots: Node[] = Array.from({ length: outputs }, () => graph.of(made));
  if (shape.length > 0) {
    const dtype = graph.of(made).dtype;
    const parts = Array.from({ length: 3 }, () => any(dtype));
    const whole = concat(parts, graph.below(shape.length));
    const begin = shape.map(() => graph.below(3));
    roots.push(whole, where(apply(COMPARE.ne, whole, whole), whole, whole));
    roots.push(
      pad(
        any(dtype),
        begin,
        shape.map((d, i) => d + begin[i] + 1),
      ),
    );
  }
  return { graph, roots };
}

function bounded(n: Node): Node {
  const at = (v: number): Node => constant(v, n.shape, n.dtype);
  return apply(BINARY.minimum, apply(BINARY.maximum, n, at(-EXACT)), at(EXACT));
}

/** Most slots and registers of any Map of a program. */
function widest({ code, labels }: Program): { slots: number; registers: number } {
  const most = { slots: 0, registers: 0 };
  for (const { word } of labels) {
    if (code[word] !== isa.Opcode.Map) continue;
    const count = code[word + isa.Map.Slots];
    most.slots = Math.max(most.slots, count);
    for (let s = 0; s < count; s++) {
      const at = word + code[word + isa.Map.SlotsAt] + 2 * s;
      if (code[at] === isa.Slot.Register) most.registers = Math.max(most.registers, code[at + 1] + 1);
    }
  }
  return most;
}

/** Compiles, runs, and compares with the interpreter. Returns the number of instructions. */
async function check(graph: Graph, outputs: readonly Node[]): Promise<number> {
  const inputs = toposort(outputs).filter((n) => n.op === LEAF);
  const program = compileGraph({ inputs, residents: [], outputs, updates: [] });
  const { slots, registers } = widest(program);
  expect(slots).toBeLessThanOrEqual(isa.MapTile.Slots);
  expect(registers).toBeLessThanOrEqual(isa.MapTile.Registers);
  const arrays = inputs.map((n) => {
    const array = allocate(n.dtype, numel(n.shape));
    array.set(graph.values.get(n) as Float64Array);
    return array;
  });
  const got = await session.launch(program, { inputs: arrays, residents: [], updates: [] });
  const want = interpret(outputs, graph.values);
  outputs.forEach((n, i) => {
    expect(got[i].byteLength).toBe(numel(n.shape) * bytesOf(n.dtype));
    const wrong = (want.get(n) as Float64Array).findIndex((v, k) => got[i][k] !== v);
    expect(wrong, `${n.op.name} ${n.dtype}: first wrong element`).toBe(-1);
  });
  return program.labels.filter((l) => l.op !== "barrier").length;
}

describe("expressions with many operands", { timeout: 60_000 }, () => {
  test("at random: all dtypes, views, constants, results put together", async () => {
    const property = fc.asyncProperty(recipe, async (r) => {
      const { graph, roots } = build(r);
      await check(graph, roots);
    });
    await fc.assert(property, { numRuns: 400, seed: Number(process.env.GRAPHS_SEED ?? 1) });
  });

  const SHAPE = [64, 32];
  type Term = (g: Graph, i: number) => Node;
  const row = (g: Graph, dtype: DType = "float32"): Node => expand(g.leaf([32], dtype), SHAPE);
  const one = (g: Graph, dtype: DType = "float32"): Node => expand(g.leaf([1], dtype), SHAPE);
  const chosen: Term = (g) => where(g.leaf(SHAPE, "bool"), row(g), row(g));
  const plus = (a: Node, b: Node): Node => apply(BINARY.add, a, b);
  const TERMS: readonly (readonly [string, number, Term])[] = [
    ["vectors chosen by masks", 40, chosen],
    ["vectors", 200, (g) => row(g)],
    ["columns of bytes", 100, (g) => cast(expand(g.leaf([64, 1], "uint8"), SHAPE), "float32")],
    [
      "constants, compared",
      300,
      (g, i) => cast(apply(COMPARE.gt, row(g), constant(i / 8, SHAPE, "float32")), "float32"),
    ],
    ["numbers chosen by numbers", 40, (g) => where(one(g, "bool"), one(g), one(g))],
    ["masks", 100, (g) => cast(apply(LOGICAL.and, g.leaf(SHAPE, "bool"), row(g, "bool")), "float32")],
  ];
  for (const [name, count, term] of TERMS)
    test.each([
      ["first", (acc: Node, t: Node) => plus(t, acc)],
      ["last", (acc: Node, t: Node) => plus(acc, t)],
    ])(`sums of ${count} terms, ${name}, the term %s`, async (_, sum) => {
      const g = new Graph(1);
      const start: Node = g.leaf(SHAPE);
      const y = Array.from({ length: count }, (_, i) => i).reduce((acc, i) => sum(acc, term(g, i)), start);
      await check(g, [y]);
    });

  test.each([
    ["first", (acc: Node, m: Node, v: Node) => where(m, acc, v)],
    ["second", (acc: Node, m: Node, v: Node) => where(m, v, acc)],
  ])("a chain of 120 choices, the one before %s, all of them results", async (_, choose) => {
    const g = new Graph(2);
    const all: Node[] = [g.leaf(SHAPE)];
    for (let i = 0; i < 120; i++) all.push(choose(all[i], g.leaf(SHAPE, "bool"), row(g)));
    await check(g, all.slice(-64));
    await check(g, all.slice(-1));
  });

  test("one instruction holds what there is room for: 20 sums of dense operands are not cut", async () => {
    const g = new Graph(3);
    let y: Node = g.leaf(SHAPE);
    for (let i = 0; i < 20; i++) y = plus(g.leaf(SHAPE), y);
    expect(await check(g, [y])).toBe(1);
  });
});
